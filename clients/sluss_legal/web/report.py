"""The transparency report: requests and releases of a period, as tables and charts, and to take along."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.dates import is_day
from sluss_legal.documents.report import KINDS, WITH_RELEASE, Report, charts
from sluss_legal.documents.report import report as written
from sluss_legal.urgency import today
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, download
from sluss_legal.web.proofs import check_counted
from sluss_legal.words import N_

if TYPE_CHECKING:
    from starlette.responses import Response


def show(page: Page) -> Response:
    """The report as a page."""
    first, last = _period(page)
    hidden = page.asked("hidden") == "yes"
    error = _fault(page, first, last)
    report = pb.GetTransparencyReportResponse() if error else _ask(page, first, last, hidden=hidden)
    rows = list(report.rows)
    return page.render(
        "report.html",
        422 if error else 200,
        error=error,
        first=first,
        last=last,
        hidden=hidden,
        rows=rows,
        kinds=tuple(KINDS),
        size=report.size,
        requests=sum(row.requests for row in rows),
        persons=sum(row.persons for row in rows),
        released=sum(row.requests for row in rows if row.outcome in WITH_RELEASE),
        charts=charts(page.say, rows) if rows else [],
    )


def take_along(page: Page) -> Response:
    """The report as a file: PDF, HTML, CSV or JSON."""
    first, last = _period(page)
    if page.path("kind") not in KINDS or _fault(page, first, last):
        return page.go("/report")
    report = _ask(page, first, last, hidden=page.asked("hidden") == "yes")
    about = Report(first, last, page.asked("hidden") == "yes", report, datetime.now(UTC))
    kind = page.path("kind")
    language = page.asked("language") or page.tongue.language
    return download(written(kind, language, about), KINDS[kind], f"transparency-{first}-{last}.{kind}")


def _period(page: Page) -> tuple[str, str]:
    year = today().year
    return page.asked("first") or date(year, 1, 1).isoformat(), page.asked("last") or today().isoformat()


def _fault(page: Page, first: str, last: str) -> str:
    if not is_day(first) or not is_day(last):
        return page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    return page.say(N_("The period ends before it begins.")) if last < first else ""


def _ask(page: Page, first: str, last: str, *, hidden: bool) -> pb.GetTransparencyReportResponse:
    request = pb.GetTransparencyReportRequest(first_day=first, last_day=last, include_hidden=hidden)
    counted = page.line.legal.GetTransparencyReport(request, timeout=DEADLINE_S)
    check_counted(page, counted)
    return counted
