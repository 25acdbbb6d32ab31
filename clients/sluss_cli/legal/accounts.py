"""`sluss legal recipients, report, opening`: who received what, how often, and what a hidden entry was."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import legal_pb2 as pb
from sluss_legal.documents import accounting as accounts
from sluss_legal.documents import report as reports
from sluss_legal.proving import ProvenEntry, prove_opening, prove_row
from sluss_legal.tongue import tongue_of

from broker.ledger.checkpoint import Checkpoint, open_checkpoint
from sluss_cli.entry_text import moment, sentence
from sluss_cli.exits import Exit
from sluss_cli.legal.asking import First, Language, Last, counted, language_of, need, period
from sluss_cli.problems import Problem, usage
from sluss_cli.row_file import write_private
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import verb
from sluss_cli.watching import Watch

Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="pdf, html, csv or json; default: by --out.",
        metavar="FORMAT",
        autocompletion=lambda: list(accounts.KINDS),
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Write it here.", metavar="FILE")]
_PAGE = 500
_BINARY = ("pdf", "html")
_NEEDS = {"pdf": ("typst",), "html": ("jinja2",)}


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verb(
        app,
        "recipients",
        examples=(
            "sluss legal recipients P-04CVZ6HGRM5PX",
            "sluss legal recipients P-04CVZ6HGRM5PX --language sv --out accounting.pdf",
            "sluss legal recipients P-04CVZ6HGRM5PX --from 2020-01-01 --until 2026-12-31 --format csv > accounting.csv",
        ),
    )(recipients)
    verb(
        app,
        "report",
        examples=(
            "sluss legal report --from 2026-01-01 --until 2026-12-31",
            "sluss legal report --from 2026-01-01 --until 2026-12-31 --language sv --out report.pdf",
        ),
    )(report)
    verb(app, "opening", examples=("sluss legal opening 42", "sluss legal opening 42 --json"))(opening)


def recipients(
    session: Session,
    person: Annotated[str, typer.Argument(help="The person, such as P-04CVZ6HGRM5PX.", metavar="PERSON")],
    *,
    first: First = "",
    last: Last = "",
    language: Language = "en",
    format_: Format = "",
    out: Out = None,
) -> None:
    """Who received a person's data: each row proven against the ledger. As a table, PDF, web page, CSV or JSON."""
    first, last = period(first, last)
    kind = _kind(format_, out, language)
    rows = _rows(session, person, first, last)
    prove_rows(session, rows)
    about = accounts.Accounting(person, first, last, rows, session.profile.origin, datetime.now(UTC))
    if kind:
        _hand_out(session, accounts.accounting(kind, language, about), out, rows=len(rows))
        return
    tongue = tongue_of(language)
    session.output.result({"person": person, "received": [accounts.item(row, tongue) for row in rows]})
    table = accounts.table(about, tongue)
    shown = [[cell.replace("\n", ", ") for cell in cells] for cells in table.rows]
    session.output.table(table.columns, shown, empty=table.empty)
    session.output.line(f"{counted(len(rows), 'row', 'rows')}, each proven to be in the ledger.")


def _rows(session: Session, person: str, first: str, last: str) -> list[pb.Received]:
    rows: list[pb.Received] = []
    request = pb.ListRecipientsRequest(person_id=person, first_day=first, last_day=last, page_size=_PAGE)
    while True:
        page = session.legal.ListRecipients(request, timeout=DEADLINE_S)
        rows.extend(page.received)
        request.page_token = page.next_page_token
        if not request.page_token:
            return rows


def prove_rows(session: Session, rows: Iterable[pb.Received]) -> None:
    """Each row says what its entry says, and all entries are in the one ledger that was seen before."""
    verifier = session.profile.verifier()
    trees: dict[tuple[int, bytes], Checkpoint] = {}
    for row in rows:
        tree = prove_row(row, verifier).checkpoint
        trees[tree.size, tree.root] = tree
    if trees:
        Watch(session).meet(trees.values())


def report(
    session: Session,
    *,
    first: Annotated[str, typer.Option("--from", help="First day.", metavar="DAY")],
    last: Annotated[str, typer.Option("--until", help="Last day.", metavar="DAY")],
    include_hidden: Annotated[
        bool, typer.Option("--include-hidden", help="Hidden cases too: never to be published.")
    ] = False,
    language: Language = "en",
    format_: Format = "",
    out: Out = None,
) -> None:
    """The transparency report of a period, counted from the ledger: table, charts, PDF, web page, CSV, JSON."""
    first, last = period(first, last)
    if not first or not last:
        raise usage("a report is of a period: --from DAY --until DAY")
    kind = _kind(format_, out, language)
    request = pb.GetTransparencyReportRequest(first_day=first, last_day=last, include_hidden=include_hidden)
    counted = session.legal.GetTransparencyReport(request, timeout=DEADLINE_S)
    check_counted(session, counted)
    about = reports.Report(first, last, include_hidden, counted, datetime.now(UTC))
    if kind:
        _hand_out(session, reports.report(kind, language, about), out, rows=len(counted.rows))
        return
    session.output.result(reports.as_document(about))
    session.output.table(
        ("ground", "country", "outcome", "requests", "persons"),
        reports.table(counted.rows, tongue_of(language)).rows,
        empty="nothing in this period",
    )
    session.output.line(f"Counted from {counted.size} ledger entries.")
    if include_hidden:
        session.output.line("With hidden cases: for the legal team's own eyes, never to be published.")


def check_counted(session: Session, counted: pb.GetTransparencyReportResponse) -> None:
    """The tree that it was counted from is signed, and one with the tree seen last."""
    tree = open_checkpoint(counted.checkpoint, session.profile.verifier())
    if tree.size != counted.size:
        raise Problem(Exit.INTEGRITY, "LEDGER_INCONSISTENT", "the report is of another tree than its checkpoint")
    Watch(session).meet([tree])


def proven_opening(session: Session, index: int) -> tuple[pb.GetOpeningResponse, ProvenEntry]:
    """What a hidden entry was, and that the ledger was committed to it."""
    reply = session.legal.GetOpening(pb.GetOpeningRequest(index=index), timeout=DEADLINE_S)
    proven = prove_opening(reply, index, session.profile.verifier())
    Watch(session).meet([proven.checkpoint])
    return reply, proven


def opening(session: Session, index: Annotated[int, typer.Argument(help="The entry.", min=0, metavar="INDEX")]) -> None:
    """Show what a hidden entry was, and prove that the ledger has been committed to it all along."""
    reply, proven = proven_opening(session, index)
    session.output.result(
        {
            "index": index,
            "entry": dict(proven.entry),
            "sealed_entry": reply.opening.sealed_entry.decode(),
            "salt": reply.opening.salt.hex(),
            "receipt": reply.receipt,
            "proven": True,
        }
    )
    session.output.heading(f"Entry {index}")
    session.output.line(f"{moment(str(proven.entry['at']))}  {sentence(proven.entry)}")
    session.output.line("Proven: the sealed entry in the ledger commits to exactly this.")


def _kind(format_: str, out: Path | None, language: str) -> str:
    """The form of the document; empty for a table on the screen."""
    language_of(language)
    kind = format_ or (out.suffix.lstrip(".").lower() if out else "")
    if (kind or out) and kind not in accounts.KINDS:
        raise usage(f"the format is one of {', '.join(accounts.KINDS)}")
    if kind in _BINARY and out is None:
        raise usage(f"a {kind} goes into a file: --out FILE")
    need(*_NEEDS.get(kind, ()))
    return kind


def _hand_out(session: Session, content: bytes, out: Path | None, *, rows: int) -> None:
    """Into the file, closed to others; or to standard output as it is."""
    if out is None:
        sys.stdout.write(content.decode("utf-8"))
        return
    write_private(out, content)
    session.output.result({"file": str(out), "rows": rows})
    session.output.line(f"Wrote {out}.")
