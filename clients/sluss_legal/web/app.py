"""The console's routes, and the pages that need nobody signed in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sluss_legal.tongue import LANGUAGES
from sluss_legal.web import (
    cases,
    contracts,
    disclosures,
    health,
    inbox,
    intake,
    persons,
    releases,
    report,
)
from sluss_legal.web.doors import LocalDoor
from sluss_legal.web.guard import Guard
from sluss_legal.web.lines import Lines
from sluss_legal.web.page import Desk, Page, plain, set_cookie, view
from sluss_legal.web.render import HERE, Renderer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from collections.abc import Set as AbstractSet

    from starlette.requests import Request

    from sluss_legal.web.doors import Door
    from sluss_legal.web.jobs import Releaser

THEMES = ("auto", "light", "dark")
_SEE_OTHER = 303
_NOT_FOUND = 404
_FORBIDDEN = 403
_BROKEN = 500

_READ: dict[str, Callable[[Page], Response]] = {
    "/": inbox.inbox,
    "/cases/new": intake.blank,
    "/cases/{case}": cases.show,
    "/cases/{case}/approval": cases.approval,
    "/cases/{case}/scope": cases.scope,
    "/cases/{case}/secrecy": cases.secrecy,
    "/cases/{case}/release": releases.show,
    "/cases/{case}/release/progress": releases.progress,
    "/cases/{case}/release/package": releases.package,
    "/cases/{case}/elsewhere": releases.elsewhere,
    "/cases/{case}/documents/{number}": cases.document,
    "/disclosures": disclosures.search,
    "/disclosures/{index}": disclosures.entry,
    "/persons": persons.search,
    "/persons/{person}": persons.accounting,
    "/persons/{person}/accounting.{kind}": persons.take_along,
    "/contracts": contracts.listing,
    "/contracts/{contract}": contracts.show,
    "/report": report.show,
    "/report.{kind}": report.take_along,
    "/ledger": health.show,
}
_WRITE: dict[str, Callable[[Page], Response]] = {
    "/cases/new": intake.submit,
    "/cases/preview": intake.preview,
    "/cases/{case}/step": cases.step,
    "/cases/{case}/change": cases.change,
    "/cases/{case}/documents": cases.add_document,
    "/cases/{case}/scope": cases.narrow,
    "/cases/{case}/secrecy": cases.set_secrecy,
    "/cases/{case}/release": releases.start,
    "/cases/{case}/release/passphrase": releases.passphrase,
    "/cases/{case}/elsewhere": releases.record,
    "/persons": persons.found,
    "/ledger": health.verify,
}


def build(door: Door, hosts: AbstractSet[str], releaser: Releaser | None = None) -> Guard:
    """The console as an ASGI application.

    Args:
        door: who may come in.
        hosts: the `host:port` by which it may be addressed.
        releaser: carries releases out; None where releasing is not installed, and the page says so.
    """
    desk = Desk(door, Lines(), Renderer(), releaser)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        desk.lines.close()

    async def missing(request: Request, _: Exception) -> Response:
        return plain(desk, request.headers, "missing.html", _NOT_FOUND)

    async def broken(request: Request, _: Exception) -> Response:
        return plain(desk, request.headers, "broken.html", _BROKEN)

    app = Starlette(
        routes=_routes(desk),
        lifespan=lifespan,
        exception_handlers={_NOT_FOUND: missing, 405: missing, _BROKEN: broken},
    )
    return Guard(app, hosts, secure=door.secure)


def _routes(desk: Desk) -> list[Route | Mount]:
    written = [Route(path, view(desk, function), methods=["POST"]) for path, function in _WRITE.items()]
    read = [Route(path, view(desk, function), methods=["GET"]) for path, function in _READ.items()]
    return [
        Route("/enter", _enter(desk), methods=["GET"]),
        Route("/signed-out", _signed_out(desk), methods=["GET"]),
        Route("/sign-out", view(desk, _sign_out), methods=["POST"]),
        Route("/preferences", view(desk, _preferences), methods=["POST"]),
        *written,
        *read,
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]


def _enter(desk: Desk) -> Callable[[Request], Response]:
    def enter(request: Request) -> Response:
        """Uses up a one-time link."""
        door = desk.door
        session = door.enter(request.query_params.get("token", "")) if isinstance(door, LocalDoor) else None
        if session is None:
            return plain(desk, request.headers, "signed_out.html", _FORBIDDEN, ended=False)
        response = RedirectResponse("/", _SEE_OTHER)
        set_cookie(door, response, session)
        return response

    return enter


def _signed_out(desk: Desk) -> Callable[[Request], Response]:
    def signed_out(request: Request) -> Response:
        """After signing out."""
        return plain(desk, request.headers, "signed_out.html", 200, ended=True)

    return signed_out


def _sign_out(page: Page) -> Response:
    """Ends the session."""
    page.desk.door.sessions.end(page.session)
    response = page.go("/signed-out")
    response.delete_cookie(
        page.desk.door.cookie, path="/", secure=page.desk.door.secure, httponly=True, samesite="strict"
    )
    return response


def _preferences(page: Page) -> Response:
    """Sets language and theme, and goes back to where the reader was."""
    if page.typed("language") in LANGUAGES:
        page.session.language = page.typed("language")
    if page.typed("theme") in THEMES:
        page.session.theme = page.typed("theme")
    back = page.typed("back")
    return page.go(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/")
