"""`sluss import`: a customer file into the broker, faulty rows into a file to correct and import again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated

import typer
from sluss.v1 import person_pb2 as pb

from broker.catalogue import Catalogue, default_catalogue, parse_catalogue
from broker.intake.convert import Converter
from broker.intake.faults import Fault, FaultyRows, Record, Row
from broker.intake.guess import guess, warnings
from broker.intake.mapping import Mapping, parse_mapping, to_toml
from broker.intake.reading import Source, open_source, sample
from sluss_cli.exits import Exit
from sluss_cli.given_file import check_regular, own_files, read_text
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.sender import Sender, Sent, Stream, sendable
from sluss_cli.session import Session, of_client
from sluss_cli.verb import verb

SHOWN_FAULTS = 20
"""Faults in the summary; the reasons file holds all of them."""
_STREAM_S = 3600.0

CustomerFile = Annotated[Path, typer.Argument(help="CSV, JSON lines or vCards.", metavar="FILE")]
MappingFile = Annotated[Path | None, typer.Option(help="Which column is which field.", metavar="FILE.toml")]
GuessOption = Annotated[
    bool, typer.Option("--guess", help="Print a guessed mapping to review, and stop; needs no profile.")
]
SourceName = Annotated[
    str,
    typer.Option(help="Where the values were collected; by default, what the mapping says.", metavar="NAME"),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Ask the broker what it would do, and store nothing; needs a profile as well."),
]
FaultyFile = Annotated[
    Path | None, typer.Option(help="Where faulty rows go; default: FILE.faulty.EXT.", metavar="FILE")
]


def register(app: typer.Typer) -> None:
    """Adds the verb to the command."""
    verb(
        app,
        "import",
        examples=(
            "sluss import customers.csv --guess > mapping.toml",
            "sluss import customers.csv --mapping mapping.toml --dry-run",
            "sluss import customers.csv --mapping mapping.toml --source crm-2026",
            "sluss import customers.faulty.csv --mapping mapping.toml",
        ),
    )(import_)


def import_(
    session: Session,
    file: CustomerFile,
    *,
    mapping: MappingFile = None,
    guess_: GuessOption = False,
    source: SourceName = "",
    faulty: FaultyFile = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="The broker's field catalogue, if not the standard one.", metavar="FILE.toml"),
    ] = None,
    dry_run: DryRun = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Queue a confirmation for each new person; else nobody is written to.")
    ] = False,
) -> None:
    """Import a customer file. Good rows are stored; faulty ones are written out with what is wrong."""
    if mapping is None and not guess_:
        raise usage(f"which column is which field? `sluss import {file} --guess > mapping.toml`, then --mapping")
    check_regular(file)
    with own_files():
        fields = parse_catalogue(read_text(catalogue)) if catalogue else default_catalogue()
        if mapping is None or guess_:
            _print_guess(session, file, fields, source)
            return
        plan = parse_mapping(read_text(mapping), fields)
        run = Run(plan.with_source(source) if source else plan, fields, dry_run=dry_run, confirm=confirm)
        outcome = run.run(session, file, faulty or file.with_name(f"{file.stem}.faulty{file.suffix}"))
    _report(session, outcome, dry_run=dry_run)


def _print_guess(session: Session, file: Path, catalogue: Catalogue, source: str) -> None:
    detection, names, rows = sample(file)
    mapping = guess(
        names, rows, catalogue, input=detection.input, encoding=detection.encoding, source=source or "import"
    )
    text, warned = to_toml(mapping), warnings(mapping, rows)
    session.output.result({"mapping": text, "warnings": warned})
    if not session.output.as_json:
        typer.echo("".join(f"# {warning}\n" for warning in warned) + text, nl=False)
    for warning in warned:
        session.output.note(warning)


@dataclass
class Outcome:
    """What became of a file.

    Attributes:
        sent: the rows that the broker answered.
        faulty: how many rows are faulty, here or at the broker.
        first: the first faults.
        file: where the faulty rows are, if there are any.
        reasons: where all faults are told.
    """

    sent: Sent = field(default_factory=Sent)
    faulty: int = 0
    first: list[Fault] = field(default_factory=list)
    file: Path | None = None
    reasons: Path | None = None

    def document(self) -> dict[str, object]:
        """The outcome for `--json`."""
        return {
            "created": self.sent.of(pb.ImportResult.OUTCOME_CREATED),
            "updated": self.sent.of(pb.ImportResult.OUTCOME_UPDATED),
            "unchanged": self.sent.of(pb.ImportResult.OUTCOME_UNCHANGED),
            "faulty": self.faulty,
            "faults": [{"line": f.line, "field": f.field, "reason": f.reason, "masked": f.masked} for f in self.first],
            "faulty_file": str(self.file or ""),
            "reasons_file": str(self.reasons or ""),
        }


class Run:
    """One import of one file."""

    def __init__(self, mapping: Mapping, catalogue: Catalogue, *, dry_run: bool, confirm: bool = False) -> None:
        self._mapping = mapping
        self._converter = Converter(mapping, catalogue)
        self._dry_run = dry_run
        self._confirm = confirm
        self._outcome = Outcome()
        self._writing = Lock()  # rows are read on gRPC's thread, answers come on ours; both find faulty ones

    def run(self, session: Session, file: Path, faulty_file: Path) -> Outcome:
        """Sends the good rows, writes the faulty ones."""
        sender = Sender(_stream(session), source=self._mapping.source, dry_run=self._dry_run, confirm=self._confirm)
        total = _rows_about(file, self._mapping.input)
        with (
            open_source(file, self._mapping) as source,
            source.faulty_rows(faulty_file) as faulty,
            progress(session.output, "rows") as advance,
        ):
            with _cut_off_is_told(session, sender):
                self._outcome.sent = sender.send(
                    self._good(source, faulty),
                    lambda record, result: self._refused(faulty, record, result),
                    lambda done: advance(done, total),
                )
            self._outcome.faulty = faulty.count
            if faulty.count:
                self._outcome.file, self._outcome.reasons = faulty.path, faulty.reasons_path
        return self._outcome

    def _good(self, source: Source, faulty: FaultyRows) -> Iterator[tuple[int, pb.ImportRow, object]]:
        for record in source:
            row = self._converter.row(record)
            if row.faults:
                self._write(faulty, row)
            else:
                yield sendable(row.line, row.values, record)

    def _refused(self, faulty: FaultyRows, record: object, result: pb.ImportResult) -> None:
        raw = record.raw if isinstance(record, Record) else ""
        faults = tuple(
            Fault(result.line, fault.field, f"{fault.reason}: {fault.detail}", fault.masked) for fault in result.faults
        )
        self._write(faulty, Row(result.line, {}, faults, raw))

    def _write(self, faulty: FaultyRows, row: Row) -> None:
        with self._writing:
            faulty.add(row)
            self._outcome.first += row.faults[: SHOWN_FAULTS - len(self._outcome.first)]


def _rows_about(file: Path, kind: str) -> int:
    """About how many rows a file has, for the progress bar: its lines; 0 where lines tell nothing."""
    if kind == "vcard":
        return 0
    with file.open("rb") as lines:
        return sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))


@contextmanager
def _cut_off_is_told(session: Session, sender: Sender) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        done = sender.sent.outcomes.total()
        if _is_cut_off(error):
            session.output.note(
                f"Cut off after {done} rows, which are done. Import the file again: they will be found unchanged."
            )
        elif done:
            session.output.note(f"{done} rows are done, and stay so; none of the others is.")
        raise


def _is_cut_off(error: BaseException) -> bool:
    """Whether the same import can do better next time: after an interruption, or when no answer came."""
    if not isinstance(error, Exception):
        return True
    problem = of_client(error)
    return problem is not None and problem.exit is Exit.UNAVAILABLE


def _report(session: Session, outcome: Outcome, *, dry_run: bool) -> None:
    document = outcome.document()
    session.output.result(document | {"dry_run": dry_run})
    counts = ", ".join(f"{document[name]} {name}" for name in ("created", "updated", "unchanged", "faulty"))
    session.output.line(("Would be: " if dry_run else "") + counts + ".")
    if not outcome.faulty:
        return
    session.output.line()
    session.output.table(
        ("line", "field", "what is wrong", "value, masked"),
        [(fault.line, fault.field, fault.reason, fault.masked) for fault in outcome.first],
    )
    session.output.line(f"Faulty rows: {outcome.file}   every reason: {outcome.reasons}")
    session.output.line("Correct them there and import that file with the same mapping.")
    raise typer.Exit(int(Exit.FOUND_WRONG))


def _stream(session: Session) -> Stream[pb.ImportPersonsRequest, pb.ImportPersonsResponse]:
    def stream(requests: Iterator[pb.ImportPersonsRequest]) -> Iterable[pb.ImportPersonsResponse]:
        return session.persons.ImportPersons(requests, timeout=_STREAM_S)

    return stream
