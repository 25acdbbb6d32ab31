"""Who is asking. Locally: whoever came by the one-time link. For a team: the certificate of the browser's connection.

The console answers for no one: each user's calls go out with the user's own profile, and it is the broker that tells
two people apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sluss_client.errors import ProfileError
from sluss_client.profile import Profile

from broker import pki
from broker.errors import SlussError
from sluss_legal.web.sessions import Links, Sessions

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from sluss_legal.web.sessions import Session

BROWSER_KEYS = "browser-keys"
"""In a profile folder: SHA-256 of the public keys that the user's browsers hold besides the profile's own, in hex, one
a line."""
PEER = "peer_certificate"
"""In the state of a request: the certificate of the connection, DER."""

_SPIFFE = re.compile(r"spiffe://[a-z0-9.-]{1,255}/legal/([a-z0-9][a-z0-9-]{0,62})")


class NobodyKnownError(Exception):
    """The connection's certificate belongs to no user of this console."""


class Door(Protocol):
    """How users come in."""

    cookie: str
    secure: bool
    sessions: Sessions

    def session(self, request: Request) -> Session | None:
        """The session of a request; None if there is none yet.

        Raises:
            NobodyKnownError: the caller is no user of this console.
        """

    def arrive(self, request: Request) -> Session | None:
        """A new session for somebody without one; None if a one-time link is needed for that."""


@dataclass
class LocalDoor:
    """One user on this machine, who comes by a one-time link.

    Attributes:
        folder: the user's profile.
        cookie: browsers share cookies among the ports of a host, so its name holds the port.
    """

    folder: Path
    cookie: str
    links: Links = field(default_factory=Links)
    sessions: Sessions = field(default_factory=Sessions)
    secure: bool = False

    def session(self, request: Request) -> Session | None:
        """By cookie alone."""
        return self.sessions.find(request.cookies.get(self.cookie, ""))

    def arrive(self, request: Request) -> Session | None:  # noqa: ARG002 - nobody arrives without a link
        """Nobody arrives without a link."""
        return None

    def enter(self, token: str) -> Session | None:
        """The session that a one-time link opens; None if the link is used up."""
        return self.sessions.begin(self.folder) if self.links.redeem(token) else None


@dataclass
class TeamDoor:
    """The legal team, by client certificate.

    Attributes:
        profiles: holds one profile folder per user, `legal-anna` for `legal/anna`.
    """

    profiles: Path
    cookie: str = "__Host-sluss_console"
    sessions: Sessions = field(default_factory=Sessions)
    secure: bool = True

    def session(self, request: Request) -> Session | None:
        """The certificate is looked at with every request; a cookie of somebody else's session opens nothing."""
        folder = self._folder(request)
        session = self.sessions.find(request.cookies.get(self.cookie, ""))
        return session if session is not None and session.folder == folder else None

    def arrive(self, request: Request) -> Session:
        """The certificate is enough."""
        return self.sessions.begin(self._folder(request))

    def _folder(self, request: Request) -> Path:
        certificate = getattr(request.state, PEER, None)
        if not certificate:
            raise NobodyKnownError
        return folder_of(self.profiles, certificate)


def folder_of(profiles: Path, certificate: bytes) -> Path:
    """The profile folder of the user whose certificate (DER) it is.

    Raises:
        NobodyKnownError: no such user, or a key that is neither the profile's nor listed in its folder.
    """
    try:
        pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
        facts = pki.describe(pem)
    except (ValueError, SlussError):
        raise NobodyKnownError from None
    match = _SPIFFE.fullmatch(facts.uri)
    folder = profiles / f"legal-{match[1]}" if match else None
    if folder is None or not (folder / "profile.toml").is_file() or facts.spki not in _keys(folder, facts.uri):
        raise NobodyKnownError
    return folder


def _keys(folder: Path, uri: str) -> set[bytes]:
    """SHA-256 of the public keys by which the folder's user may come; none if the profile is not that user's."""
    try:
        own = pki.describe(Profile.load(folder).identity()[1])
    except (ProfileError, SlussError, OSError):
        return set()
    if own.uri != uri:
        return set()
    listed = folder / BROWSER_KEYS
    lines = listed.read_text(encoding="ascii").split() if listed.is_file() else []
    return {own.spki, *(bytes.fromhex(line) for line in lines if re.fullmatch(r"[0-9a-fA-F]{64}", line))}
