"""The transparency report: requests and releases of a period, as tables, charts and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.cells import cell
from sluss_legal.charts import Chart, chart
from sluss_legal.dates import is_day
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, download, today
from sluss_legal.words import GROUNDS, N_, OUTCOMES

if TYPE_CHECKING:
    from starlette.responses import Response

COLUMNS = ("ground", "country", "outcome", "requests", "persons")
_MOST_COUNTRIES = 12


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
        size=report.size,
        requests=sum(row.requests for row in rows),
        persons=sum(row.persons for row in rows),
        released=sum(row.requests for row in rows if row.outcome in {"released", "emergency", "elsewhere"}),
        charts=charts(page, rows) if rows else [],
    )


def as_csv(page: Page) -> Response:
    """The report as CSV."""
    first, last = _period(page)
    if _fault(page, first, last):
        return page.go("/report")
    report = _ask(page, first, last, hidden=page.asked("hidden") == "yes")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in report.rows:
        name = pb.Ground.Name(row.ground).removeprefix("GROUND_").lower()
        writer.writerow([name, cell(row.country), cell(row.outcome), row.requests, row.persons])
    return download(out.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8", f"transparency-{first}-{last}.csv")


def charts(page: Page, rows: list[pb.ReportRow]) -> list[Chart]:
    """Requests by ground and outcome, by country, and persons by ground."""
    outcomes = [outcome for outcome in OUTCOMES if any(row.outcome == outcome for row in rows)]
    names = [page.say(OUTCOMES[outcome]) for outcome in outcomes]
    by_ground = [
        (
            page.say(word),
            [_requests(rows, ground, outcome) for outcome in outcomes],
        )
        for ground, word in GROUNDS.items()
    ]
    countries = Counter[str]()
    for row in rows:
        countries[row.country] += row.requests
    persons = [
        (page.say(word), [sum(r.persons for r in rows if r.ground == ground)]) for ground, word in GROUNDS.items()
    ]
    return [
        chart("by-ground", page.say(N_("Requests by ground and outcome")), names, by_ground),
        chart(
            "by-country",
            page.say(N_("Requests by country")),
            [page.say(N_("Requests"))],
            [(country, [count]) for country, count in countries.most_common(_MOST_COUNTRIES)],
        ),
        chart("persons", page.say(N_("Persons affected by ground")), [page.say(N_("Persons"))], persons),
    ]


def _requests(rows: list[pb.ReportRow], ground: int, outcome: str) -> int:
    return sum(row.requests for row in rows if row.ground == ground and row.outcome == outcome)


def _period(page: Page) -> tuple[str, str]:
    year = today().year
    return page.asked("first") or date(year, 1, 1).isoformat(), page.asked("last") or today().isoformat()


def _fault(page: Page, first: str, last: str) -> str:
    if not is_day(first) or not is_day(last):
        return page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    return page.say(N_("The period ends before it begins.")) if last < first else ""


def _ask(page: Page, first: str, last: str, *, hidden: bool) -> pb.GetTransparencyReportResponse:
    request = pb.GetTransparencyReportRequest(first_day=first, last_day=last, include_hidden=hidden)
    return page.line.legal.GetTransparencyReport(request, timeout=DEADLINE_S)
