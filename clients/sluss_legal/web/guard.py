"""What holds for every request before a page sees it: Host, origin, size; and the headers of every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 18 * 1024 * 1024
"""Bytes of the largest request: a document of 16 MiB and its form."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; connect-src 'self'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_READING = {"GET", "HEAD"}
_FOREIGN = 403
_TOO_LARGE = 413
_MISDIRECTED = 421


class Guard:
    """ASGI middleware around the console.

    Args:
        app: the console.
        hosts: the `host:port` by which it may be addressed; any other is an attempt to rebind a name to it.
        secure: whether it is served over TLS.
    """

    def __init__(self, app: ASGIApp, hosts: AbstractSet[str], *, secure: bool) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = {f"{'https' if secure else 'http'}://{host}" for host in hosts}
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what may come in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._headed(scope, send)
        refused = self._refused(scope["method"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, guarded)

    def _refused(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if headers.get("host", "").lower() not in self._hosts:
            return PlainTextResponse("This console does not answer to that name.\n", _MISDIRECTED)
        if method not in _READING and not self._from_here(headers):
            return PlainTextResponse("This request comes from another page than the console's own.\n", _FOREIGN)
        length = headers.get("content-length", "0" if method in _READING else "")
        # A body in chunks may be longer than a length beside it says (RFC 9112, section 6.3): h11 believes the chunks.
        if "transfer-encoding" in headers or not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
            return PlainTextResponse("This is larger than the console takes (16 MiB).\n", _TOO_LARGE)
        return None

    def _from_here(self, headers: Headers) -> bool:
        """Whether a page of ours sent it.

        Under `no-referrer` browsers hide the origin of a form (`null`) but say that it is the same; those that say
        nothing must name it. `Sec-Fetch-Site` can't be set by a page.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin", "null")
        if site is None:
            return origin in self._origins
        return site == "same-origin" and origin in {*self._origins, "null"}

    def _headed(self, scope: Scope, send: Send) -> Send:
        cacheable = scope["path"].startswith("/static/")

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Cache-Control"] = "private, max-age=3600" if cacheable else "no-store"
                if self._secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return headed
