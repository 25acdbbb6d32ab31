"""What a view works with, and the frame around every view: session, form, CSRF token, plain words for failures."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import IntegrityError, Refused, SlussClientError, TransportError, from_rpc_error
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.responses import HTMLResponse, RedirectResponse, Response

from broker.errors import SlussError
from sluss_legal import words
from sluss_legal.web.alarms import Alarms, alarms
from sluss_legal.web.doors import NobodyKnownError
from sluss_legal.web.lines import DEADLINE_S, Line, Lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from sluss_legal.tongue import Tongue
    from sluss_legal.web.doors import Door
    from sluss_legal.web.jobs import Releaser
    from sluss_legal.web.render import Renderer
    from sluss_legal.web.sessions import Session

_WRITTEN_ONLY = {"step", "change", "documents", "passphrase"}
"""Last parts of addresses that only take forms."""
_MAX_FIELDS = 4_000
_MAX_PART = 2 * 1024 * 1024
_NUMBER = re.compile(r"[0-9]+")
_FORBIDDEN = 403
_NOT_FOUND = 404
_BAD_GATEWAY = 502
_UNAVAILABLE = 503
_CONFLICT = 409
_UNPROCESSABLE = 422
_SEE_OTHER = 303


@dataclass
class Desk:
    """What all views share.

    Attributes:
        door: who may come in.
        lines: to the broker.
        renderer: makes pages.
        releaser: carries releases out; None where releasing is not installed.
    """

    door: Door
    lines: Lines
    renderer: Renderer
    releaser: Releaser | None = None


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong, in plain words.

    Attributes:
        text: one or two sentences, translated.
        reason: the catalogue's name; empty if there was no answer.
        status: the page's HTTP status.
        field: the request's field that the broker names; empty if none.
    """

    text: str
    reason: str = ""
    status: int = _CONFLICT
    field: str = ""


@dataclass
class Page:
    """One request of a signed-in user.

    Attributes:
        request: as it came.
        session: whose it is.
        line: that user's own line to the broker.
        desk: what all views share.
        form: what was typed; empty for a GET.
    """

    request: Request
    session: Session
    line: Line
    desk: Desk
    form: FormData

    @property
    def tongue(self) -> Tongue:
        """The language of the page."""
        return self.desk.renderer.tongue(self.session.language, self.request.headers.get("accept-language", ""))

    @property
    def fragment(self) -> bool:
        """Whether HTMX asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    def say(self, text: str, **values: object) -> str:
        """A text in the page's language."""
        return self.tongue.say(text, **values)

    def typed(self, name: str) -> str:
        """A field of the form, without spaces around it; empty if it is absent."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def asked(self, name: str) -> str:
        """A parameter of the query; empty if it is absent."""
        return self.request.query_params.get(name, "").strip()

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def number(self, name: str, digits: int) -> int:
        """A number in the path; one of more digits than that, which nothing can have, leads nowhere.

        Raises:
            HTTPException: 404.
        """
        text = self.path(name)
        if not _NUMBER.fullmatch(text) or len(text) > digits:
            raise HTTPException(_NOT_FOUND)
        return int(text)

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or the part of one that HTMX asked for."""
        shared = self._shared() if not template.startswith("parts/") else {}
        return HTMLResponse(self.draw(template, **shared, **values), status)

    @property
    def back(self) -> str:
        """Where the reader is, as an address that can be read."""
        if self.request.method == "GET":
            return self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else "")
        path, _, last = self.request.url.path.rpartition("/")
        return path if last in _WRITTEN_ONLY else self.request.url.path

    def draw(self, template: str, **values: Any) -> str:
        """The HTML of a template."""
        return self.desk.renderer.render(
            template,
            self.tongue,
            csrf=self.session.csrf,
            path=self.request.url.path,
            query=self.request.url.query,
            back=self.back,
            theme=self.session.theme,
            principal=self.line.profile.principal,
            **values,
        )

    def go(self, path: str, notice: str = "") -> Response:
        """To another page, with a notice on it."""
        if notice:
            self.session.notices.append(notice)
        return RedirectResponse(quote(path, safe="/?=&#"), _SEE_OTHER)

    def get_case(self) -> pb.GetCaseResponse:
        """The case that the path names."""
        return self.line.legal.GetCase(pb.GetCaseRequest(case_id=self.path("case")), timeout=DEADLINE_S)

    def _shared(self) -> dict[str, Any]:
        return {"alarms": self._alarms(), "notices": self.session.take_notices()}

    def _alarms(self) -> Alarms:
        try:
            return alarms(self.line.legal)
        except grpc.RpcError:
            return Alarms([], [], known=False)

    def trouble(self, error: grpc.RpcError | SlussClientError | SlussError) -> Trouble:
        """A failure in plain words. Never with a traceback, and never with an exception's text of this side."""
        return trouble_of(error, self.tongue)


def trouble_of(error: grpc.RpcError | SlussClientError | SlussError, tongue: Tongue) -> Trouble:
    """A failure in plain words."""
    told = from_rpc_error(error) if isinstance(error, grpc.RpcError) else error
    if isinstance(told, Refused):
        return _refusal(told, tongue)
    if isinstance(told, TransportError):
        reason = getattr(told, "reason", "")
        text = words.REASONS.get(
            reason, words.N_("The broker does not answer. Nothing is lost; try again in a moment.")
        )
        return Trouble(tongue.say(text), reason, _UNAVAILABLE)
    if isinstance(told, (IntegrityError, SlussError)):
        text = words.N_("What the broker sent does not prove itself. Stop, and tell the operators at once.")
        return Trouble(tongue.say(text), "INTEGRITY", _BAD_GATEWAY)
    return Trouble(tongue.say(words.N_("Your profile is not right. Ask an operator.")), "PROFILE", _UNAVAILABLE)


def _refusal(told: Refused, tongue: Tongue) -> Trouble:
    known = words.REASONS.get(told.reason)
    detail = told.detail[:1].upper() + told.detail[1:]
    text = tongue.say(known) if known else tongue.say(words.N_("The broker refused this: {detail}"), detail=detail)
    return Trouble(text, told.reason, _CONFLICT, told.metadata.get("field", ""))


def view(desk: Desk, function: Callable[[Page], Response]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a view: finds the session, reads and checks the form, tells failures in plain words."""

    @functools.wraps(function)
    async def endpoint(request: Request) -> Response:
        try:
            session = desk.door.session(request)
            arrived = None if session else desk.door.arrive(request)
        except NobodyKnownError:
            return _plain(desk, request, "forbidden.html", _FORBIDDEN)
        session = session or arrived
        if session is None:
            return _plain(desk, request, "signed_out.html", _FORBIDDEN, ended=True)
        response = await _answer(desk, request, session, function)
        if arrived is not None:
            set_cookie(desk.door, response, arrived)
        return response

    return endpoint


async def _answer(desk: Desk, request: Request, session: Session, function: Callable[[Page], Response]) -> Response:
    form = FormData()
    if request.method == "POST":
        try:
            form = await read_form(request)
        except MultiPartException:
            return _plain(desk, request, "forbidden.html", _UNPROCESSABLE)
        token = form.get("csrf", "")
        if not isinstance(token, str) or not session.owns(token):
            return _plain(desk, request, "stale.html", _FORBIDDEN)
    return await run_in_threadpool(_run, desk, request, session, form, function)


def _run(
    desk: Desk, request: Request, session: Session, form: FormData, function: Callable[[Page], Response]
) -> Response:
    try:
        page = Page(request, session, desk.lines.of(session.folder), desk, form)
    except (SlussClientError, OSError):
        return _plain(desk, request, "stale.html", _UNAVAILABLE)
    try:
        return function(page)
    except (grpc.RpcError, SlussClientError, SlussError) as error:
        trouble = page.trouble(error)
        if page.fragment:
            return page.render("parts/trouble.html", trouble=trouble)
        return page.render("trouble.html", trouble.status, trouble=trouble)


async def read_form(request: Request) -> FormData:
    """The form of a POST. Files stay in memory: a part of a disk is no place for a court's document.

    Raises:
        MultiPartException: it is not well-formed, has too many parts, or text that no page could have sent.
    """
    form = await _parsed(request)
    try:
        for name, value in form.multi_items():
            (name + (value if isinstance(value, str) else value.filename or "")).encode()
    except UnicodeEncodeError:
        raise MultiPartException("not UTF-8") from None
    return form


async def _parsed(request: Request) -> FormData:
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        parser = _InMemory(
            request.headers, request.stream(), max_fields=_MAX_FIELDS, max_files=4, max_part_size=_MAX_PART
        )
        return await parser.parse()
    if kind.startswith("application/x-www-form-urlencoded"):
        return await FormParser(request.headers, request.stream()).parse()
    raise MultiPartException("no form")


class _InMemory(MultiPartParser):
    spool_max_size = 32 * 1024 * 1024


def read_file(page: Page, name: str) -> tuple[str, str, bytes] | None:
    """Name, media type and content of an uploaded file; None if none was chosen."""
    file = page.form.get(name)
    if not isinstance(file, UploadFile) or not file.filename:
        return None
    return file.filename, file.content_type or "application/octet-stream", file.file.read()


def set_cookie(door: Door, response: Response, session: Session) -> None:
    """Gives a browser its session: for this host only, out of reach of scripts and of other sites."""
    response.set_cookie(door.cookie, session.secret, path="/", httponly=True, samesite="strict", secure=door.secure)


def _plain(desk: Desk, request: Request, template: str, status: int, **values: Any) -> Response:
    """A page for somebody without a session."""
    return plain(desk, request.headers, template, status, **values)


def plain(desk: Desk, headers: Headers, template: str, status: int, **values: Any) -> Response:
    """A page without anything of the broker on it."""
    tongue = desk.renderer.tongue("", headers.get("accept-language", ""))
    return HTMLResponse(desk.renderer.render(template, tongue, theme="auto", **values), status)


def download(content: bytes, media_type: str, name: str) -> Response:
    """A file to save. Never shown in the browser, whatever it says it is."""
    ascii_name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name) or "file"
    disposition = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})
