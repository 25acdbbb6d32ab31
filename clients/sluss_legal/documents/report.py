"""The transparency report: legal requests and releases of a period by ground, country and outcome, with charts."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluss_legal import words
from sluss_legal.cells import cell
from sluss_legal.charts import Chart, chart
from sluss_legal.documents import writers
from sluss_legal.documents.model import Document, Facts, Heading, Table, Text
from sluss_legal.tongue import tongue_of
from sluss_legal.words import GROUNDS, N_, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.tongue import Tongue

    Say = Callable[[str], str]

KINDS: Mapping[str, str] = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""Forms, and their media types."""
COLUMNS = ("ground", "country", "outcome", "requests", "persons")
WITH_RELEASE = frozenset({"released", "emergency", "elsewhere"})
"""The outcomes in which something was released."""
_HEADS = (N_("Ground"), N_("Country"), N_("Outcome"), N_("Requests"), N_("Persons"))
_WIDTHS = (40, 12, 28, 12, 12)
_MOST_COUNTRIES = 12


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes:
        first: first day.
        last: last day.
        hidden: whether hidden cases are counted: then it is never to be published.
        counted: as the broker counted it.
        made: when, UTC.
    """

    first: str
    last: str
    hidden: bool
    counted: pb.GetTransparencyReportResponse
    made: datetime


def report(kind: str, language: str, about: Report) -> bytes:
    """The report in one of `KINDS`.

    Raises:
        KeyError: no such form.
    """
    return _WRITERS[kind](about, tongue_of(language))


def _pdf(about: Report, tongue: Tongue) -> bytes:
    return writers.pdf(document(about, tongue), about.made)


def _html(about: Report, tongue: Tongue) -> bytes:
    return writers.html(document(about, tongue))


def _csv(about: Report, _: Tongue) -> bytes:
    """Names and not words: the same in every language. With a byte order mark, for spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([[cell(str(value)) for value in row.values()] for row in rows_of(about.counted.rows)])
    return out.getvalue().encode("utf-8-sig")


def _json(about: Report, _: Tongue) -> bytes:
    return json.dumps(as_document(about), ensure_ascii=False, indent=2).encode()


_WRITERS: Mapping[str, Callable[[Report, Tongue], bytes]] = {
    "pdf": _pdf,
    "html": _html,
    "csv": _csv,
    "json": _json,
}


def as_document(about: Report) -> dict[str, object]:
    """The report for programs."""
    return {
        "first_day": about.first,
        "last_day": about.last,
        "include_hidden": about.hidden,
        "made": about.made.isoformat(),
        "size": about.counted.size,
        "checkpoint": about.counted.checkpoint,
        "rows": rows_of(about.counted.rows),
    }


def rows_of(rows: Sequence[pb.ReportRow]) -> list[dict[str, str | int]]:
    """The rows, with the names of what the wire counts."""
    return [
        {
            "ground": words.GROUND_NAMES.get(row.ground, str(row.ground)),
            "country": row.country,
            "outcome": row.outcome,
            "requests": row.requests,
            "persons": row.persons,
        }
        for row in rows
    ]


def document(about: Report, tongue: Tongue) -> Document:
    """The report to be read by the public."""
    say, rows = tongue.say, about.counted.rows
    lead = tongue.say(
        N_("Legal requests and releases from {first} to {last}, counted from the ledger."),
        first=about.first,
        last=about.last,
    )
    warning = say(N_("With hidden cases: for the legal team's own eyes, never to be published."))
    facts = {
        say(N_("Requests")): str(sum(row.requests for row in rows)),
        say(N_("Requests with a release")): str(sum(row.requests for row in rows if row.outcome in WITH_RELEASE)),
        say(N_("Persons affected")): str(sum(row.persons for row in rows)),
        say(N_("Ledger entries counted from")): str(about.counted.size),
        say(N_("Checkpoint")): " ".join(about.counted.checkpoint.split("\n\n")[0].split("\n")),
        say(N_("Made")): f"{about.made:%Y-%m-%d %H:%M} UTC",
    }
    return Document(
        language=tongue.language,
        title=say(N_("Transparency report")),
        lead=lead,
        blocks=[
            *([Text(warning)] if about.hidden else []),
            Facts(facts),
            Heading(say(N_("By ground, country and outcome"))),
            table(rows, tongue),
        ],
        charts=charts(say, rows) if rows else [],
        page=say(N_("Page")),
        of=say(N_("of")),
        note=f"{about.first} / {about.last}" + (f" · {warning}" if about.hidden else ""),
    )


def table(rows: Sequence[pb.ReportRow], tongue: Tongue) -> Table:
    """Its rows, to be read."""
    return Table(
        columns=[tongue.say(head) for head in _HEADS],
        rows=[
            [
                tongue.say(GROUNDS.get(row.ground, str(row.ground))),
                row.country,
                tongue.say(OUTCOMES.get(row.outcome, row.outcome)),
                str(row.requests),
                str(row.persons),
            ]
            for row in rows
        ],
        widths=_WIDTHS,
        empty=tongue.say(N_("Nothing in this period.")),
        numbers=[3, 4],
    )


def charts(say: Say, rows: Sequence[pb.ReportRow]) -> list[Chart]:
    """Requests by ground and outcome, by country, and persons by ground."""
    outcomes = [outcome for outcome in OUTCOMES if any(row.outcome == outcome for row in rows)]
    names = [say(OUTCOMES[outcome]) for outcome in outcomes]
    by_ground = [
        (say(word), [_requests(rows, ground, outcome) for outcome in outcomes]) for ground, word in GROUNDS.items()
    ]
    countries = Counter[str]()
    for row in rows:
        countries[row.country] += row.requests
    persons = [(say(word), [sum(r.persons for r in rows if r.ground == ground)]) for ground, word in GROUNDS.items()]
    return [
        chart("by-ground", say(N_("Requests by ground and outcome")), names, by_ground),
        chart(
            "by-country",
            say(N_("Requests by country")),
            [say(N_("Requests"))],
            [(country, [count]) for country, count in countries.most_common(_MOST_COUNTRIES)],
        ),
        chart("persons", say(N_("Persons affected by ground")), [say(N_("Persons"))], persons),
    ]


def _requests(rows: Sequence[pb.ReportRow], ground: int, outcome: str) -> int:
    return sum(row.requests for row in rows if row.ground == ground and row.outcome == outcome)
