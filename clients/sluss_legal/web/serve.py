"""Listening: for one user on this machine, or for a team over TLS with client certificates."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from broker import pki
from sluss_legal.web.app import build
from sluss_legal.web.doors import PEER, LocalDoor, TeamDoor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from sluss_legal.web.jobs import Releaser

LOOPBACK = "127.0.0.1"
HTTPS = 443


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that puts the certificate of the connection into the state of each request (DER; absent without TLS)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # TCP
        """Takes the certificate that TLS has verified."""
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, PEER: tls.getpeercert(binary_form=True) if tls else None}
        super().connection_made(transport)


def serve_local(folder: Path, announce: Callable[[str], None], port: int = 0) -> None:
    """Serves one user until interrupted.

    Args:
        folder: the user's profile.
        announce: called with the one-time link once the console listens.
        port: 0 for a free one.
    """
    listener = _listen(LOOPBACK, port)
    port = listener.getsockname()[1]
    door = LocalDoor(folder, cookie=f"sluss_console_{port}")
    app = build(door, {f"{LOOPBACK}:{port}", f"localhost:{port}"}, _releaser())
    announce(f"http://{LOOPBACK}:{port}/enter?token={door.links.issue()}")
    _run(listener, app)


def serve_team(
    address: tuple[str, int],
    certificate: Path,
    key: Path,
    client_ca: Path,
    profiles: Path,
    announce: Callable[[str], None],
) -> None:
    """Serves a team until interrupted.

    Args:
        address: host and port to listen on; port 0 for a free one.
        certificate: of the console, PEM; it answers to the names in it.
        key: its private key, PEM.
        client_ca: the authority that issues the team's certificates, PEM.
        profiles: one profile folder per user.
        announce: called with the address once the console listens.

    Raises:
        SlussError: MALFORMED if the certificate is none.
    """
    names = pki.hosts_of(certificate.read_bytes())
    listener = _listen(*address)
    port = listener.getsockname()[1]
    names_alone = {name.lower() for name in names} if port == HTTPS else set()  # browsers leave its port out
    hosts = {f"{name.lower()}:{port}" for name in names} | names_alone
    app = build(TeamDoor(profiles), hosts, _releaser())
    announce(f"https://{names[0] if names else address[0]}:{port}/")
    _run(
        listener,
        app,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=str(client_ca),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )


def _releaser() -> Releaser | None:
    """What carries releases out; None where what that needs (the extra `legal`) is not installed."""
    try:
        from sluss_legal.console import console_releaser  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as missing:
        if missing.name not in {"pyrage", "typst"}:
            raise
        return None
    return console_releaser


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.strip("[]"), port))
    listener.listen()
    return listener


def _run(listener: socket.socket, app: Any, **tls: Any) -> None:
    """No access log: addresses tell who is looked at."""
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        **tls,
    )
    uvicorn.Server(config).run(sockets=[listener])
