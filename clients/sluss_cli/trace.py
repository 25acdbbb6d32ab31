"""`sluss trace`: which recipients had received what has leaked, for the privacy and the legal team."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import trace_pb2 as pb

from broker.intake.convert import international
from sluss_cli.entry_text import moment
from sluss_cli.given_file import LIST, read_text_or_input
from sluss_cli.leaked_list import LeakedList, of_text, of_values
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.row_file import write_private
from sluss_cli.session import Session
from sluss_cli.times import last_moment
from sluss_cli.verb import verb

TRACE_S = 600.0
"""Seconds that the longest list may take."""
_SENT = 500
_SENT_BYTES = 512 << 10
_SHOWN = 20
_SHOWN_SOURCES = 50
STATUSES = {
    pb.TracedValue.STATUS_RECEIVED: "received",
    pb.TracedValue.STATUS_NOT_DISCLOSED: "not disclosed",
    pb.TracedValue.STATUS_DIFFERS: "differs",
    pb.TracedValue.STATUS_UNKNOWN: "unknown",
    pb.TracedValue.STATUS_UNREADABLE: "unreadable",
}
_MILLION = 1_000_000
_NATIONAL = "0123456"


def register(app: typer.Typer) -> None:
    """Adds the verb to the command."""
    verb(
        app,
        "trace",
        examples=(
            'sluss trace anna@example.org --reason "shown on a forum"',
            'sluss trace --file leaked.csv --reason "a list on a forum" --before 2026-11-01',
            'sluss trace --file leaked.csv --reason "a list" --column Mejl=email --out traced.csv',
        ),
    )(trace)


def trace(
    session: Session,
    value: Annotated[
        str,
        typer.Argument(help="An e-mail address, phone or customer number; - reads many from input.", metavar="VALUE"),
    ] = "",
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; stands in the ledger for good, so no personal data.", metavar="TEXT")
    ],
    file: Annotated[
        Path | None, typer.Option(help="A leaked list: CSV with a header, or a value a line.", metavar="FILE")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column of the file and its field; repeatable.", metavar="HEADER=FIELD"),
    ] = None,
    country: Annotated[
        str, typer.Option(help="Of phone numbers without their country's code, such as SE.", metavar="CODE")
    ] = "",
    before: Annotated[
        str, typer.Option(help="It had leaked by then: a day, itself included, or a time.", metavar="TIME")
    ] = "",
    noise: Annotated[
        int, typer.Option(help="Rows in a hundred that may not come from the source.", metavar="NUMBER", min=1, max=99)
    ] = 5,
    elsewhere: Annotated[
        int,
        typer.Option(help="Chance in a hundred, beforehand, of no recipient.", metavar="NUMBER", min=1, max=99),
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Write what is known of each value there, without values.", metavar="FILE")
    ] = None,
) -> None:
    """Say who had received values that have leaked, and how likely each is their source."""
    leaked = _leaked(value, file, _columns(column or []), _known(country))
    assumed = {"noise_ppm": noise * _MILLION // 100, "elsewhere_ppm": elsewhere * _MILLION // 100}
    header = pb.TraceHeader(reason=reason, leaked_before=last_moment(before, "--before"), **assumed)
    summary, rows = _ask(session, header, leaked)
    session.output.result(_document(summary, rows, leaked))
    _print(session, summary, rows, leaked)
    if out is not None:
        write_private(out, _csv(summary, rows, leaked))
        session.output.line(f"What is known of each value stands in {out}.")


def _known(country: str) -> str:
    code = country.upper()
    if code and international(_NATIONAL, code) == _NATIONAL:
        raise usage("--country is a code of two letters, such as SE")
    return code


def _leaked(value: str, file: Path | None, columns: dict[str, str], country: str) -> LeakedList:
    if bool(value) == bool(file):
        raise usage("name a value, or a list with --file")
    if file is None and value != "-":
        return of_values([value], country)
    return of_text(read_text_or_input(str(file or "-"), LIST), columns, country)


def _columns(given: Sequence[str]) -> dict[str, str]:
    columns = {}
    for each in given:
        header, equals, field = each.rpartition("=")
        if not equals or not header or not field:
            raise usage("--column takes HEADER=FIELD, such as Mejl=email")
        columns[header.strip()] = field.strip()
    return columns


def _ask(session: Session, header: pb.TraceHeader, leaked: LeakedList) -> tuple[pb.TraceSummary, list[pb.TracedRow]]:
    summary = pb.TraceSummary()
    rows: list[pb.TracedRow] = []
    with progress(session.output, "rows") as advance:

        def sent() -> Iterator[pb.TraceLeakRequest]:
            done = 0
            for some in _parts(leaked.rows):
                yield pb.TraceLeakRequest(header=None if done else header, rows=some)
                done += len(some)
                advance(done, len(leaked.rows))

        for reply in session.traces.TraceLeak(sent(), timeout=TRACE_S):
            if reply.WhichOneof("part") == "summary":
                summary = reply.summary
            else:
                rows.extend(reply.rows.rows)
    return summary, rows


def _parts(rows: Sequence[pb.LeakedRow]) -> Iterator[Sequence[pb.LeakedRow]]:
    """Rows by the message: so many, and of so many bytes, as one can hold."""
    start = size = 0
    for end, row in enumerate(rows):
        length = row.ByteSize()
        if end - start == _SENT or (size + length > _SENT_BYTES and end > start):
            yield rows[start:end]
            start, size = end, 0
        size += length
    yield rows[start:]


# --- for people -----------------------------------------------------------------------------------


def _print(session: Session, summary: pb.TraceSummary, rows: Sequence[pb.TracedRow], leaked: LeakedList) -> None:
    output = session.output
    output.facts(
        {
            "rows": summary.rows,
            "of somebody on record": summary.found,
            "received in full": f"{summary.received}, by one recipient or another",
            "canaries": summary.canaries or "",
            "ledger entry": summary.entry_index,
            "left out": ", ".join(leaked.left_out),
        }
    )
    if summary.canaries_undisclosed:
        output.line(
            f"{summary.canaries_undisclosed} rows are of canaries that were never sent to anybody: look inside the"
            " company."
        )
    output.line()
    output.table(
        ("had received", "under", "rows", "in part", "canaries", "holds", "first", "last", "likelihood"),
        [_line(source, summary.found) for source in summary.sources[:_SHOWN_SOURCES]],
        empty="No recipient had received any of it.",
    )
    for source in summary.sources[:_SHOWN_SOURCES]:
        forms = ", ".join(f"{form.field} ({form.transform}) {form.values}" for form in source.forms)
        output.line(f"{source.contract_id or source.case_id}: {forms}{_due(source)}")
    for recipient in several(summary):
        output.line(
            f"{recipient.recipient}, from one of its contracts or out of several: {recipient.rows} rows,"
            f" {_percent(recipient.likelihood_ppm / _MILLION)}."
        )
    output.line()
    _print_rows(session, summary, rows, leaked)
    if summary.sources:
        assumed = f"{summary.noise_ppm / _MILLION:.0%} noise, {summary.elsewhere_ppm / _MILLION:.0%} for none of them"
        output.line(f"None of them is the source: {_percent(summary.likelihood_elsewhere_ppm / _MILLION)}.")
        output.line(
            f"A likelihood supposes one source, a list drawn at random from what it holds, {assumed} beforehand."
            " To have received is not to have leaked."
        )


def _line(source: pb.TraceSource, found: int) -> tuple[object, ...]:
    name = f"{source.recipient} ({source.recipient_name})" if source.recipient else source.recipient_name
    held = f"about {source.held}" if source.held_estimated else source.held
    return (
        name,
        source.contract_id or source.case_id,
        f"{source.rows} of {found}",
        source.rows_partly,
        source.canaries,
        held,
        moment(source.first_at),
        moment(source.last_at),
        _percent(source.likelihood_ppm / _MILLION),
    )


def several(summary: pb.TraceSummary) -> list[pb.TraceRecipient]:
    """Recipients that had received under several contracts: what each of them says is not all."""
    contracts = Counter(source.recipient for source in summary.sources if source.recipient)
    return [each for each in summary.recipients if contracts[each.recipient] > 1]


def _due(source: pb.TraceSource) -> str:
    return f"; to be deleted by {source.retain_until}" if source.retain_until else ""


def _percent(likelihood: float) -> str:
    """Rounded so that nothing that is not certain looks so."""
    if likelihood > 0.999:  # noqa: PLR2004 - what rounds to 100 %
        return "> 99.9 %"
    return "< 0.1 %" if likelihood < 0.001 else f"{likelihood:.1%}".replace("%", " %")  # noqa: PLR2004 - likewise, to 0 %


def _print_rows(session: Session, summary: pb.TraceSummary, rows: Sequence[pb.TracedRow], leaked: LeakedList) -> None:
    told = [
        (leaked.lines[row.row], value.field, _status(row, value), ", ".join(_who(summary, value)))
        for row in rows[:_SHOWN]
        for value in row.values
    ]
    session.output.table(("line", "field", "what", "had received"), told)
    if len(rows) > _SHOWN:
        session.output.line(f"... and {len(rows) - _SHOWN} rows more; --out FILE.csv or --json tells all of them.")
    session.output.line()


def _status(row: pb.TracedRow, value: pb.TracedValue) -> str:
    words = STATUSES.get(value.status, f"status {value.status}")
    return f"{words}{', a canary' if row.canary else ''}{', corrected since' if value.former else ''}"


def _who(summary: pb.TraceSummary, value: pb.TracedValue) -> list[str]:
    return [summary.sources[place].contract_id or summary.sources[place].case_id for place in value.sources]


# --- for programs ---------------------------------------------------------------------------------


def _csv(summary: pb.TraceSummary, rows: Sequence[pb.TracedRow], leaked: LeakedList) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("line", "field", "status", "former", "canary", "received_under", "persons"))
    for row in rows:
        for value in row.values:
            writer.writerow(
                (
                    leaked.lines[row.row],
                    value.field,
                    STATUSES.get(value.status, "").replace(" ", "_"),
                    str(value.former).lower(),
                    str(row.canary).lower(),
                    " ".join(_who(summary, value)),
                    " ".join(row.person_ids),
                )
            )
    return text.getvalue().encode()


def _document(summary: pb.TraceSummary, rows: Sequence[pb.TracedRow], leaked: LeakedList) -> dict[str, Any]:
    return {
        "entry_index": summary.entry_index,
        "rows": summary.rows,
        "values": summary.values,
        "found": summary.found,
        "received": summary.received,
        "canaries": summary.canaries,
        "canaries_undisclosed": summary.canaries_undisclosed,
        "persons_on_record": summary.persons,
        "left_out": leaked.left_out,
        "sources": [_source(source) for source in summary.sources],
        "recipients": [
            {
                "recipient": r.recipient,
                "rows": r.rows,
                "everything": r.everything,
                "likelihood": r.likelihood_ppm / _MILLION,
            }
            for r in summary.recipients
        ],
        "likelihood_elsewhere": summary.likelihood_elsewhere_ppm / _MILLION,
        "assumed": {
            "noise": summary.noise_ppm / _MILLION,
            "elsewhere": summary.elsewhere_ppm / _MILLION,
        },
        "traced": [
            {
                "line": leaked.lines[row.row],
                "canary": row.canary,
                "persons": list(row.person_ids),
                "values": [
                    {
                        "field": value.field,
                        "status": STATUSES.get(value.status, "").replace(" ", "_"),
                        "former": value.former,
                        "received_under": _who(summary, value),
                    }
                    for value in row.values
                ],
            }
            for row in rows
        ],
    }


def _source(source: pb.TraceSource) -> dict[str, Any]:
    return {
        "contract": source.contract_id,
        "case": source.case_id,
        "recipient": source.recipient,
        "recipient_name": source.recipient_name,
        "rows": source.rows,
        "rows_partly": source.rows_partly,
        "values": source.values,
        "canaries": source.canaries,
        "held": source.held,
        "held_estimated": source.held_estimated,
        "forms": [{"field": f.field, "transform": f.transform, "values": f.values} for f in source.forms],
        "first_at": source.first_at,
        "last_at": source.last_at,
        "retain_until": source.retain_until,
        "likelihood": source.likelihood_ppm / _MILLION,
    }
