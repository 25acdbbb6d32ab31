"""Who received a person's data: finding the person, the accounting, and the same to take along."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
from sluss.v1 import legal_pb2 as pb

from sluss_legal.dates import is_day
from sluss_legal.documents.accounting import KINDS, Accounting
from sluss_legal.documents.accounting import accounting as document
from sluss_legal.web.intake import FINDERS, find
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, download
from sluss_legal.web.proofs import prove_rows
from sluss_legal.web.scope_form import PERSON_ID
from sluss_legal.words import N_

if TYPE_CHECKING:
    from starlette.responses import Response

PAGE_SIZE = 100
WHOLE_PAGE = 500


def search(page: Page) -> Response:
    """The form by which a person is found."""
    return _search(page)


def found(page: Page) -> Response:
    """Persons by what was typed. By POST, so that no name stands in an address, a history or a log."""
    value = page.typed("find_value")
    if PERSON_ID.fullmatch(value):
        return page.go(f"/persons/{value}")
    return _search(page, **find(page))


def _search(page: Page, **more: object) -> Response:
    shown = {"errors": {}, "find_by": "name", "find_value": "", "found": None, "more": False} | more
    return page.render("persons.html", 422 if shown["errors"] else 200, finders=FINDERS, **shown)


def accounting(page: Page) -> Response:
    """A person's accounting of disclosures, page by page, each row proven before it is shown."""
    first, last = page.asked("first"), page.asked("last")
    error = _fault(page, first, last)
    request = pb.ListRecipientsRequest(
        person_id=page.path("person"),
        first_day="" if error else first,
        last_day="" if error else last,
        page_size=PAGE_SIZE,
        page_token="" if error else page.asked("after"),
    )
    try:
        reply = page.line.legal.ListRecipients(request, timeout=DEADLINE_S)
        prove_rows(page, reply.received)
    except grpc.RpcError as failure:
        return page.render("trouble.html", 404, trouble=page.trouble(failure))
    return page.render(
        "accounting.html",
        422 if error else 200,
        person=page.path("person"),
        received=reply.received,
        first=first,
        last=last,
        error=error,
        after=reply.next_page_token,
        kinds=tuple(KINDS),
    )


def _fault(page: Page, first: str, last: str) -> str:
    if any(day and not is_day(day) for day in (first, last)):
        return page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    return page.say(N_("The period ends before it begins.")) if first and last and last < first else ""


def take_along(page: Page) -> Response:
    """The whole accounting as a file: PDF, HTML, CSV or JSON, in either language."""
    kind = page.path("kind")
    first, last = page.asked("first"), page.asked("last")
    if kind not in KINDS or _fault(page, first, last):
        return page.go(f"/persons/{page.path('person')}")
    language = page.asked("language") or page.tongue.language
    rows, person = everything(page, first, last), page.path("person")
    about = Accounting(person, first, last, rows, page.line.profile.origin, datetime.now(UTC))
    return download(document(kind, language, about), KINDS[kind], f"{person}-{language}.{kind}")


def everything(page: Page, first: str, last: str) -> list[pb.Received]:
    """All rows of the period, proven."""
    rows: list[pb.Received] = []
    token = ""
    while True:
        request = pb.ListRecipientsRequest(
            person_id=page.path("person"), first_day=first, last_day=last, page_size=WHOLE_PAGE, page_token=token
        )
        reply = page.line.legal.ListRecipients(request, timeout=DEADLINE_S)
        rows.extend(reply.received)
        token = reply.next_page_token
        if not token:
            prove_rows(page, rows)
            return rows
