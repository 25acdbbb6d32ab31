"""A profile: one folder that says who calls, where, and what it trusts.

profile.toml      endpoint, principal, origin and ledger keys; the server's name if it is not the endpoint's
ca.pem            the company's certificate authority
certificate.pem   our certificate
key.pem           its private key, mode 0600
key.new.pem       a key whose certificate has been requested and not installed yet, mode 0600
keys.json         our encryption keys (keys.py), mode 0600
checkpoint        the last checkpoint of the ledger that was seen (heads.py)
"""

from __future__ import annotations

import json
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker import pki
from broker.errors import SlussError
from broker.ledger.checkpoint import Verifier
from sluss_client.errors import ProfileError
from sluss_client.files import PUBLIC, SECRET, locked, read_public, read_secret, sync_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TEXTS = {"endpoint", "principal", "origin"}
_OPTIONAL = {"server_name"}
_LISTS = {"ledger_keys"}


_LOOKS = 5
"""How often certificate and key are read anew when another process replaces them meanwhile."""

Stamp: TypeAlias = tuple[int, int, int]


class Identity(NamedTuple):
    """A private key and the certificate of it, both PEM."""

    key: bytes
    certificate: bytes

    def __repr__(self) -> str:
        return "Identity(...)"

    def sign(self, message: bytes) -> bytes:
        """An ECDSA P-256 signature with SHA-256 (DER)."""
        return _load_key(self.key).sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class Profile:
    """A profile as its folder holds it.

    Attributes:
        folder: where it is.
        endpoint: `host:port` of the broker.
        principal: ourselves, such as `subcontractor/acme-pay`.
        origin: the ledger's name.
        ledger_keys: the ledger's public keys as vkey strings (c2sp.org/signed-note).
        server_name: the name in the broker's certificate; empty if it is the endpoint's host.
    """

    folder: Path
    endpoint: str
    principal: str
    origin: str
    ledger_keys: tuple[str, ...]
    server_name: str = ""

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile folder.

        Raises:
            FileNotFoundError: there is no profile.toml.
            ProfileError: it is not well-formed, or names ledger keys of another ledger.
        """
        folder = Path(path)
        try:
            settings = tomllib.loads((folder / "profile.toml").read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"profile.toml can't be read: {error}") from None
        return cls._from_settings(folder, settings)

    @classmethod
    def _from_settings(cls, folder: Path, settings: dict[str, Any]) -> Profile:
        unknown = settings.keys() - _TEXTS - _OPTIONAL - _LISTS
        missing = (_TEXTS | _LISTS) - settings.keys()
        if unknown or missing:
            names = ", ".join(sorted(unknown or missing))
            raise ProfileError(f"profile.toml {'has an unknown' if unknown else 'lacks a'} setting: {names}")
        keys = settings.pop("ledger_keys")
        if not isinstance(keys, list) or not all(isinstance(text, str) for text in (*settings.values(), *keys)):
            raise ProfileError("profile.toml has a setting of another type than text")
        profile = cls(folder=folder, ledger_keys=tuple(keys), **settings)
        profile.verifier()
        return profile

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        endpoint: str,
        principal: str,
        origin: str,
        ledger_keys: Sequence[str],
        ca: bytes,
        server_name: str = "",
    ) -> Profile:
        """Make a profile folder (mode 0700) from what the company hands out; key and certificate come later.

        Raises:
            ProfileError: there is a profile already, or the ledger keys are not its origin's.
        """
        folder = Path(path)
        if (folder / "profile.toml").exists():
            raise ProfileError("there is a profile in this folder already")
        profile = cls(folder, endpoint, principal, origin, tuple(ledger_keys), server_name)
        profile.verifier()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(folder / "ca.pem", ca)
        write_atomic(folder / "profile.toml", profile._toml().encode(), PUBLIC)
        return profile

    def _toml(self) -> str:
        """TOML's basic strings and arrays of them are written as JSON's."""
        settings: dict[str, object] = {"endpoint": self.endpoint, "principal": self.principal}
        if self.server_name:
            settings["server_name"] = self.server_name
        settings |= {"origin": self.origin, "ledger_keys": list(self.ledger_keys)}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())

    def verifier(self) -> Verifier:
        """The ledger's public keys; ProfileError if they are not well-formed or not this origin's."""
        try:
            verifier = Verifier(self.ledger_keys)
        except SlussError as error:
            raise ProfileError(f"the profile's ledger keys are not right: {error.detail}") from None
        if verifier.origin != self.origin:
            raise ProfileError("the profile's ledger keys are of another ledger than its origin")
        return verifier

    @property
    def keys_path(self) -> Path:
        """The encryption keys."""
        return self.folder / "keys.json"

    @property
    def checkpoint_path(self) -> Path:
        """The last checkpoint seen."""
        return self.folder / "checkpoint"

    # --- the certificate and its key ---

    def create_key(self) -> None:
        """Make a new P-256 key and keep it aside for its certificate; replaces one not used yet."""
        with self._changing():
            self._make_key()

    def certificate_request(self) -> bytes:
        """A request (PEM) for a certificate of the new key, which is made if need be.

        It names nobody: the company's authority sets the name.
        """
        with self._changing():
            if not self._new_key_path.exists():
                self._make_key()
            key = _load_key(read_secret(self._new_key_path))
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def install_certificate(self, pem: bytes) -> str:
        """Put the certificate in use, with the key that was kept aside for it: both or, after a crash, neither.

        Returns:
            The serial number (hexadecimal) of the certificate that it replaces, for the company to revoke; empty
            if there was none.

        Raises:
            ProfileError: it is not of that key, not of this principal, or not by this company's authority.
        """
        with self._changing():
            self._check_certificate(pem, read_secret(self._new_key_path))
            replaced = self._serial()
            # The certificate decides: from here on, whoever looks finds the key still waiting and takes it.
            write_atomic(self._certificate_path, pem)
            self._take_new_key()
        return replaced

    def identity(self) -> Identity:
        """Private key and certificate, PEM, that belong together.

        Raises:
            ProfileError: one is missing, they don't match, or the key is open to others.
        """
        for _ in range(_LOOKS):
            certificate = read_public(self._certificate_path)
            waiting = self._waiting_key()
            if waiting and _is_pair(certificate, waiting):
                with suppress(ProfileError, OSError), self._changing():
                    pass  # entering has finished it; on a read-only folder the pair is whole as it is
                return Identity(waiting, certificate)
            key = read_secret(self._key_path)
            if _is_pair(certificate, key):
                return Identity(key, certificate)
        raise ProfileError("certificate.pem and key.pem do not belong together")

    def certificate_stamp(self) -> Stamp | None:
        """What changes whenever another certificate is installed; None if there is none."""
        try:
            found = self._certificate_path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def sign(self, message: bytes) -> bytes:
        """An ECDSA P-256 signature with SHA-256 (DER) by the key of our certificate."""
        return self.identity().sign(message)

    def ca(self) -> bytes:
        """The company's authority, PEM."""
        return read_public(self.folder / "ca.pem")

    def _check_certificate(self, pem: bytes, key: bytes) -> None:
        try:
            uri, issued = pki.describe(pem).uri, pki.issued_by(self.ca(), pem)
        except SlussError as error:
            raise ProfileError(error.detail) from None
        if not _is_pair(pem, key):
            raise ProfileError("the certificate is not of the key that was requested for")
        if not issued:
            raise ProfileError("the certificate is not by this profile's authority")
        if uri.split("/", 3)[-1] != self.principal:
            raise ProfileError("the certificate names another principal")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone among processes; what a crash has left half done is finished first."""
        with locked(self.folder / "certificate.lock"):
            self._finish()
            yield

    def _finish(self) -> None:
        waiting = self._waiting_key()
        if waiting and self._certificate_path.exists() and _is_pair(read_public(self._certificate_path), waiting):
            self._take_new_key()

    def _waiting_key(self) -> bytes:
        """The key that was kept aside; empty if there is none. Another process may take it at any moment."""
        return read_secret(self._new_key_path, absent=b"")

    def _serial(self) -> str:
        try:
            return pki.describe(read_public(self._certificate_path)).serial
        except (ProfileError, SlussError):
            return ""

    def _make_key(self) -> None:
        write_atomic(self._new_key_path, pki.make_request().key, SECRET)

    def _take_new_key(self) -> None:
        self._new_key_path.replace(self._key_path)
        sync_folder(self.folder)

    @property
    def _key_path(self) -> Path:
        return self.folder / "key.pem"

    @property
    def _new_key_path(self) -> Path:
        return self.folder / "key.new.pem"

    @property
    def _certificate_path(self) -> Path:
        return self.folder / "certificate.pem"


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise ProfileError("the private key can't be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ProfileError("the private key is not ECDSA")
    return key


def _is_pair(certificate: bytes, key: bytes) -> bool:
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError:
        raise ProfileError("the certificate can't be read") from None
    return public == _load_key(key).public_key()
