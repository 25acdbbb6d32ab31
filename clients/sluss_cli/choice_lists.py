"""`sluss choice import` and `export`: preference lists as CSV, and registers of those who have opted out.

    person,purpose,channels,state,medium,source,evidence,chosen_at
    P-04CVZ6HGRM5PX,offers,email sms,out,web,preference-centre,,2026-11-23T22:33:57.123456Z

In place of `person` a list may name persons by `customer_number`, `email` or `phone`. What a list does not say row by
row is given once as an option. An exported file changes nothing when it is imported; a cell that got an apostrophe, so
that no spreadsheet runs it as a formula, is read without it.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Annotated

import grpc
import typer
from sluss.v1 import choice_pb2 as pb

from broker.contracts import CODE
from broker.intake.convert import international
from broker.intake.csv_reader import CsvSource
from broker.intake.faults import Fault, FaultyRows, Record, Row
from broker.intake.lines import Lines
from sluss_cli.exits import Exit
from sluss_cli.given_file import check_regular, own_files
from sluss_cli.imports import SHOWN_FAULTS, FaultyFile
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.row_file import create_private, spreadsheet_cell
from sluss_cli.sender import Batches
from sluss_cli.session import Session
from sluss_cli.values import CHOICES, parse_channels, state_text
from sluss_cli.verb import verb

KEYS = {"person": "person_id", "customer_number": "customer_number", "email": "email", "phone": "phone"}
"""A column that names persons -> the field of the message."""
COLUMNS = ("purpose", "channels", "state", "medium", "source", "evidence", "chosen_at")
EXPORT_KEYS = {
    "person": pb.ExportChoicesRequest.KEY_UNSPECIFIED,
    "customer_number": pb.ExportChoicesRequest.KEY_CUSTOMER_NUMBER,
    "email": pb.ExportChoicesRequest.KEY_EMAIL,
}
_OUTCOMES = {
    "recorded": pb.ChoiceResult.OUTCOME_RECORDED,
    "unchanged": pb.ChoiceResult.OUTCOME_UNCHANGED,
    "superseded": pb.ChoiceResult.OUTCOME_SUPERSEDED,
    "nobody": pb.ChoiceResult.OUTCOME_NOBODY,
    "faulty": pb.ChoiceResult.OUTCOME_FAULTY,
}
_STREAM_S = 3600.0
_WORD = re.compile(r"[a-z][a-z0-9._:-]{0,63}", re.ASCII)
_FORMS = {
    "purpose": CODE,
    "channels": re.compile(r"[a-z]{1,16}([ ,]+[a-z]{1,16}){0,15}", re.ASCII),
    "medium": _WORD,
    "source": _WORD,
    "evidence": re.compile(r"[^\x00-\x1f\x7f]{1,200}"),
    "as-of": re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII),
    "country": re.compile(r"[A-Za-z]{2}", re.ASCII),
}
"""What an option's text looks like."""
_TRIES = 5

ListFile = Annotated[Path, typer.Argument(help="CSV with a header, or one key a line with --key.", metavar="FILE")]
KeyOption = Annotated[
    str,
    typer.Option(help="The file has no header and one column: person, customer_number, email or phone.", metavar="KEY"),
]
ChannelsOption = Annotated[
    str, typer.Option(help="For rows that name none, such as email,sms; by default all.", metavar="LIST")
]
MediumOption = Annotated[str, typer.Option(help="For rows that do not say how the choice was made.", metavar="NAME")]
SourceOption = Annotated[str, typer.Option(help="For rows that do not say where they come from.", metavar="NAME")]
AsOfOption = Annotated[
    str,
    typer.Option(help="When the list was true, RFC 3339; by default when the file was last written.", metavar="TIME"),
]
CountryOption = Annotated[
    str, typer.Option(help="Of telephone numbers without a country code, such as SE.", metavar="CODE")
]


def register(app: typer.Typer) -> None:
    """Adds the two verbs to the group."""
    verb(
        app,
        "import",
        examples=(
            "sluss choice import preferences.csv --dry-run",
            "sluss choice import preferences.csv",
            "sluss choice import register.txt --key phone --country SE --purpose offers --state out --channels phone",
        ),
    )(import_)
    verb(
        app,
        "export",
        examples=(
            "sluss choice export --out preferences.csv",
            "sluss choice export --out newsletter.csv --key email --purpose offers.news",
        ),
    )(export)


class _BadRowError(Exception):
    """A row that can't be sent: the column, and why."""


@dataclass(frozen=True)
class Given:
    """What is said once for every row that does not say it, by column."""

    values: Mapping[str, str]
    country: str

    def message(self, record: Record) -> pb.ChoiceRow:
        """A row as the broker takes it.

        Raises:
            _BadRowError: what is wrong with it: the column, and why.
        """
        if record.problem:
            raise _BadRowError("", record.problem)
        cells = {**self.values, **{name: _plain(cell) for name, cell in record.columns.items()}}
        if not all(_is_utf8(cell) for cell in cells.values()):
            raise _BadRowError("", "encoding: not UTF-8 text")
        keys = [name for name in KEYS if cells.get(name)]
        if len(keys) != 1:
            raise _BadRowError("", f"exactly one of {', '.join(KEYS)} is needed")
        state = cells.get("state", "").lower()
        if state not in CHOICES:
            raise _BadRowError("state", "a choice is `in` or `out`")
        key = cells[keys[0]]
        choice = pb.ChoiceMade(
            purpose=cells.get("purpose", ""),
            state=CHOICES[state],
            channels=parse_channels(cells.get("channels", "")),
            medium=cells["medium"],
        )
        return pb.ChoiceRow(
            line=record.line,
            choice=choice,
            source=cells["source"],
            evidence=cells.get("evidence", ""),
            chosen_at=cells.get("chosen_at", ""),
            **{KEYS[keys[0]]: international(key, self.country) if keys[0] == "phone" else key},
        )


def _is_utf8(cell: str) -> bool:
    """Whether a message can carry it."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(cell: str) -> str:
    """A cell as it was before a spreadsheet was kept from running it."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell


def import_(
    session: Session,
    file: ListFile,
    *,
    key: KeyOption = "",
    purpose: Annotated[str, typer.Option(help="For rows that name no purpose.", metavar="PURPOSE")] = "",
    state: Annotated[str, typer.Option(help="For rows that say neither: `in` or `out`.", metavar="in|out")] = "",
    channels: ChannelsOption = "",
    medium: MediumOption = "list",
    source: SourceOption = "import",
    evidence: Annotated[str, typer.Option(help="For rows without one.", metavar="TEXT")] = "",
    as_of: AsOfOption = "",
    country: CountryOption = "",
    faulty: FaultyFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the broker what it would do, and record nothing.")
    ] = False,
) -> None:
    """Import a preference list, or a register of those who have opted out.

    Newer choices on record stand. Importing a file again changes nothing, so a cut-off import is simply repeated.
    """
    if key and key not in KEYS:
        raise usage(f"--key is one of {', '.join(KEYS)}", key=key)
    if state and state not in CHOICES:
        raise usage("a choice is `in` or `out`", state=state)
    said = {"purpose": purpose, "channels": channels, "medium": medium, "source": source, "evidence": evidence}
    for option, text in {**said, "as-of": as_of, "country": country}.items():
        if text and not _FORMS[option].fullmatch(text):
            raise usage(f"--{option} is not of its form")
    check_regular(file)
    given = Given({**said, "state": state}, country.upper())
    with own_files():
        run = _Import(given, as_of or _written(file), dry_run=dry_run)
        run.run(session, file, key, faulty or file.with_name(f"{file.stem}.faulty{file.suffix}"))
    _report(session, run, dry_run=dry_run)


def _written(file: Path) -> str:
    """When a file was last written: the same whenever it is imported again, so what was chosen since stands."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat("T", "microseconds").replace("+00:00", "Z")


class _Headless:
    """A file without a header: one key a line. Reads like `CsvSource`."""

    header = ""

    def __init__(self, lines: Lines, key: str) -> None:
        self._lines = lines
        self._key = key

    def __iter__(self) -> Iterator[Record]:
        for number, line in enumerate(self._lines, 1):
            if "\0" in line:
                raise usage(f"line {number} is not text")
            if text := line.strip().strip('"'):
                yield Record(number, {self._key: text}, line)


class _Rows(Batches[pb.ChoiceRow, pb.ImportChoicesRequest, pb.ImportChoicesResponse]):
    """Rows of choices over one stream."""

    FAULTY = pb.ChoiceResult.OUTCOME_FAULTY

    def __init__(self, session: Session, as_of: str, *, dry_run: bool) -> None:
        def stream(requests: Iterator[pb.ImportChoicesRequest]) -> Iterable[pb.ImportChoicesResponse]:
            return session.choices.ImportChoices(requests, timeout=_STREAM_S)

        super().__init__(stream)
        self._as_of = as_of
        self._dry_run = dry_run

    def pack(self, rows: list[pb.ChoiceRow]) -> pb.ImportChoicesRequest:
        """A batch."""
        return pb.ImportChoicesRequest(rows=rows, as_of=self._as_of, dry_run=self._dry_run)


@dataclass
class _Import:
    """One import of one file, and what became of its rows."""

    given: Given
    as_of: str
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    first: list[Fault] = field(default_factory=list)
    file: Path | None = None
    reasons: Path | None = None
    _writing: Lock = field(default_factory=Lock)

    def run(self, session: Session, file: Path, key: str, faulty_file: Path) -> None:
        """Sends the good rows, writes the faulty ones."""
        rows = _Rows(session, self.as_of, dry_run=self.dry_run)
        with Lines(file) as lines:
            source = _Headless(lines, key) if key else _with_header(lines)
            with (
                FaultyRows(faulty_file, source.header, lines.encoding, original=file) as faulty,
                progress(session.output, "rows") as advance,
            ):
                try:
                    rows.send(
                        self._good(source, faulty),
                        lambda record, result: self._refused(faulty, record, result),
                        lambda done: advance(done, 0),
                    )
                finally:
                    self.counts += Counter({name: rows.sent.of(number) for name, number in _OUTCOMES.items()})
                    self._tell_how_far(session, rows)
                self.counts["faulty"] = faulty.count
                if faulty.count:
                    self.file, self.reasons = faulty.path, faulty.reasons_path

    def _tell_how_far(self, session: Session, rows: _Rows) -> None:
        done = rows.sent.outcomes.total()
        if not rows.whole and done:
            session.output.note(f"{done} rows are done, and stay so. Import the file again: they will be unchanged.")

    def _good(self, source: CsvSource | _Headless, faulty: FaultyRows) -> Iterator[tuple[int, pb.ChoiceRow, object]]:
        for record in source:
            try:
                yield record.line, self.given.message(record), record
            except _BadRowError as error:
                column, why = error.args
                self._write(faulty, Row(record.line, {}, (Fault(record.line, column, why),), record.raw))

    def _refused(self, faulty: FaultyRows, record: object, result: pb.ChoiceResult) -> None:
        raw = record.raw if isinstance(record, Record) else ""
        faults = tuple(Fault(result.line, fault.field, f"{fault.reason}: {fault.detail}") for fault in result.faults)
        self._write(faulty, Row(result.line, {}, faults, raw))

    def _write(self, faulty: FaultyRows, row: Row) -> None:
        with self._writing:
            faulty.add(row)
            self.first += row.faults[: SHOWN_FAULTS - len(self.first)]


def _with_header(lines: Lines) -> CsvSource:
    source = CsvSource(lines)
    unknown = [str(place) for place, name in enumerate(source.names, 1) if name not in (*KEYS, *COLUMNS)]
    if unknown:
        known = ", ".join((*KEYS, *COLUMNS))
        raise usage(f"column {', '.join(unknown[:10])} is none of {known}; a file without a header needs --key")
    if not set(KEYS) & set(source.names):
        raise usage(f"no column names persons: one of {', '.join(KEYS)} is needed")
    return source


def _report(session: Session, run: _Import, *, dry_run: bool) -> None:
    counts = {name: run.counts[name] for name in _OUTCOMES}
    run.first.sort(key=lambda fault: fault.line)  # what the broker finds comes later than what is found here
    faults = [{"line": f.line, "field": f.field, "reason": f.reason, "masked": f.masked} for f in run.first]
    files = {"faulty_file": str(run.file or ""), "reasons_file": str(run.reasons or "")}
    if not sum(counts.values()):
        raise usage("no row is in the file")
    session.output.result({**counts, "as_of": run.as_of, "faults": faults, **files, "dry_run": dry_run})
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    session.output.line(("Would be: " if dry_run else "") + told + ".")
    if not counts["faulty"]:
        return
    session.output.table(
        ("line", "field", "what is wrong", "value, masked"), [(f.line, f.field, f.reason, f.masked) for f in run.first]
    )
    session.output.line(f"Faulty rows: {run.file}   every reason: {run.reasons}")
    raise typer.Exit(int(Exit.FOUND_WRONG))


def export(
    session: Session,
    *,
    out: Annotated[Path, typer.Option(help="The new CSV file.", metavar="FILE")],
    key: Annotated[
        str,
        typer.Option(
            help="How persons are named: person, customer_number or email; by id where they have none.", metavar="KEY"
        ),
    ] = "person",
    purpose: Annotated[
        str, typer.Option(help="Only choices on this purpose and those below it.", metavar="PURPOSE")
    ] = "",
) -> None:
    """Export the choices in force of all persons as CSV that `sluss choice import` takes back."""
    if key not in EXPORT_KEYS:
        raise usage(f"--key is one of {', '.join(EXPORT_KEYS)}", key=key)
    columns = ("person", *([key] if key != "person" else []), *COLUMNS)
    count = 0
    with create_private(out) as file:
        try:
            file.write(_line(columns))
            with progress(session.output, "choices") as advance:
                for rows in _exported(session, EXPORT_KEYS[key], purpose):
                    file.write(b"".join(_line([_cell(row, column) for column in columns]) for row in rows))
                    count += len(rows)
                    advance(count, 0)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            # Half a list looks like a whole one.
            out.unlink(missing_ok=True)
            raise
    session.output.result({"file": str(out), "choices": count})
    session.output.line(f"{count} choices in force are in {out}.")


def _exported(
    session: Session, key: pb.ExportChoicesRequest.Key.ValueType, purpose: str
) -> Iterator[Sequence[pb.ChoiceRow]]:
    """Every message's rows; a stream that breaks off is gone on with behind what has come."""
    cursor, tries = "", 0
    while True:
        request = pb.ExportChoicesRequest(key=key, purpose=purpose, resume_after=cursor)
        try:
            for reply in session.choices.ExportChoices(request, timeout=_STREAM_S):
                yield reply.rows
                cursor, tries = reply.cursor, 0
        except grpc.RpcError as error:
            tries += 1
            if error.code() is not grpc.StatusCode.UNAVAILABLE or tries > _TRIES or not cursor:
                raise
        else:
            return


def _cell(row: pb.ChoiceRow, column: str) -> str:
    if column in KEYS:
        return spreadsheet_cell(getattr(row, KEYS[column]))
    choice = row.choice
    cells = {
        "purpose": choice.purpose,
        "channels": " ".join(choice.channels),
        "state": state_text(choice.state),
        "medium": choice.medium,
        "source": row.source,
        "evidence": row.evidence,
        "chosen_at": row.chosen_at,
    }
    return spreadsheet_cell(cells[column])


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
