"""`sluss choice import` and `export`: preference lists as CSV, and registers of those who have opted out.

    person,purpose,channels,state,medium,source,evidence,chosen_at,policy_version
    P-04CVZ6HGRM5PX,offers,email sms,out,web,preference-centre,,2026-11-23T22:33:57.123456Z,2026-01

In place of `person` a list may name persons by `customer_number`, `email` or `phone`. What a list does not say row by
row is given once as an option. `policy_version` is in exports and is not read: the broker finds the version
that was in force when the person chose. An exported file changes nothing when it is imported; a cell that got an
apostrophe, so that no spreadsheet runs it as a formula, is read without it.

A list with headers and words of its own, as a spreadsheet or another system writes it, is read by a mapping
(`choice_mapping`): `--guess` prints one, a person reviews it.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Annotated

import grpc
import typer
from sluss.v1 import choice_pb2 as pb

from broker.catalogue import default_catalogue, parse_catalogue
from broker.contracts import CODE
from broker.intake.csv_reader import CsvSource
from broker.intake.faults import Fault, FaultyRows, Record, Row
from broker.intake.lines import Lines
from broker.intake.reading import sample
from sluss_cli.choice_guess import guess
from sluss_cli.choice_mapping import (
    COLUMNS,
    KEYS,
    TOLD,
    UNKNOWN,
    Column,
    ListMapping,
    check_header,
    check_zone,
    own_mapping,
    parse_list_mapping,
    to_toml,
)
from sluss_cli.choice_rows import Reader
from sluss_cli.exits import Exit
from sluss_cli.given_file import check_regular, own_files, read_text
from sluss_cli.imports import SHOWN_FAULTS
from sluss_cli.legal.asking import counted
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.row_file import create_private, spreadsheet_cell
from sluss_cli.sender import Batches
from sluss_cli.session import Session
from sluss_cli.times import DAY_OR_TIME, first_moment
from sluss_cli.values import CHOICES, state_text
from sluss_cli.verb import verb

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
    "country": re.compile(r"[A-Za-z]{2}", re.ASCII),
}
"""What an option's text looks like."""
_TRIES = 5

MappingFile = Annotated[Path | None, typer.Option(help="Which column says what, in which words.", metavar="FILE.toml")]
GuessOption = Annotated[
    bool, typer.Option("--guess", help="Print a guessed mapping to review, and stop; needs no profile.")
]
ListFile = Annotated[Path, typer.Argument(help="CSV with a header, or one key a line with --key.", metavar="FILE")]

KeyOption = Annotated[
    str,
    typer.Option(help="The file has no header and one column: person, customer_number, email or phone.", metavar="KEY"),
]
PurposeOption = Annotated[str, typer.Option(help="For rows that name no purpose.", metavar="PURPOSE")]
StateOption = Annotated[str, typer.Option(help="For rows that say neither: `in` or `out`.", metavar="in|out")]
ChannelOption = Annotated[
    list[str] | None, typer.Option(help="For rows that name none; repeatable; default: all.", metavar="CHANNEL")
]
MediumOption = Annotated[
    str, typer.Option(help="For rows that do not say how the choice was made; default: list.", metavar="MEDIUM")
]
SourceOption = Annotated[
    str, typer.Option(help="For rows that do not say where they come from; default: import.", metavar="NAME")
]
EvidenceOption = Annotated[str, typer.Option(help="For rows without one.", metavar="TEXT")]
AsOfOption = Annotated[
    str,
    typer.Option(
        help=f"When the list was true: {DAY_OR_TIME}; by default when the file was last written.", metavar="TIME"
    ),
]
CountryOption = Annotated[
    str, typer.Option(help="Of telephone numbers without a country code, such as SE.", metavar="CODE")
]
ZoneOption = Annotated[
    str, typer.Option(help="Of times and days without one, such as Europe/Stockholm.", metavar="ZONE")
]
CatalogueOption = Annotated[
    Path | None,
    typer.Option(help="The broker's catalogue, if not the standard one; for --guess.", metavar="FILE.toml"),
]
FaultyOption = Annotated[
    Path | None, typer.Option(help="Where faulty rows go; default: FILE.faulty.EXT.", metavar="FILE")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Ask the broker what it would do, and record nothing.")]


def register(app: typer.Typer) -> None:
    """Adds the two verbs to the group."""
    verb(
        app,
        "import",
        examples=(
            "sluss choice import preferences.csv --dry-run",
            "sluss choice import preferences.csv",
            "sluss choice import val.csv --guess > val.toml",
            "sluss choice import val.csv --mapping val.toml --dry-run",
            "sluss choice import register.txt --key phone --country SE --purpose offers --state out --channel phone",
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


def import_(
    session: Session,
    file: ListFile,
    *,
    mapping: MappingFile = None,
    guess_: GuessOption = False,
    key: KeyOption = "",
    purpose: PurposeOption = "",
    state: StateOption = "",
    channel: ChannelOption = None,
    medium: MediumOption = "",
    source: SourceOption = "",
    evidence: EvidenceOption = "",
    as_of: AsOfOption = "",
    country: CountryOption = "",
    zone: ZoneOption = "",
    catalogue: CatalogueOption = None,
    faulty: FaultyOption = None,
    dry_run: DryRun = False,
) -> None:
    """Import a preference list, or a register of those who have opted out.

    Newer choices on record stand. Importing a file again changes nothing, so a cut-off import is simply repeated. Of a
    day without a time nobody knows the order: a no counts as of its end, a yes as of its beginning.
    """
    said = {"purpose": purpose, "state": state, "channels": ",".join(channel or ()), "medium": medium}
    said |= {"source": source, "evidence": evidence}
    if key and key not in KEYS:
        raise usage(f"--key is one of {', '.join(KEYS)}", key=key)
    if catalogue is not None and not guess_:
        raise usage("--catalogue is for --guess: what is imported is checked by the broker's own")
    if key and (mapping is not None or guess_):
        raise usage("--key is for a file without a header: it has no columns to map")
    _check_forms(said | {"country": country})
    check_zone(zone)
    check_regular(file)
    with own_files():
        if guess_:
            _print_guess(session, file, catalogue, said, zone=zone, country=country.upper())
            return
        plan = parse_list_mapping(read_text(mapping)) if mapping is not None else None
        run = _Import(said, country.upper(), zone, first_moment(as_of, "--as-of") or _written(file), dry_run=dry_run)
        run.run(session, file, key, plan, faulty or file.with_name(f"{file.stem}.faulty{file.suffix}"))
    _report(session, run, dry_run=dry_run)


def _check_forms(said: Mapping[str, str]) -> None:
    """USAGE for an option whose text is not of its form."""
    if said["state"] and said["state"] not in CHOICES:
        raise usage("a choice is `in` or `out`", state=said["state"])
    for name, shape in _FORMS.items():
        if said[name] and not shape.fullmatch(said[name]):
            raise usage(f"--{'channel' if name == 'channels' else name} is not of its form")


def _print_guess(
    session: Session, file: Path, catalogue: Path | None, said: dict[str, str], *, zone: str, country: str
) -> None:
    purposes = parse_catalogue(read_text(catalogue)) if catalogue else default_catalogue()
    detection, names, rows = sample(file)
    if detection.input != "csv":
        raise usage("a preference list is CSV, or one key a line with --key")
    mapping = guess(names, rows, purposes, said, zone=zone, country=country, encoding=detection.encoding)
    text = to_toml(mapping)
    session.output.result({"mapping": text})
    if not session.output.as_json:
        typer.echo(text, nl=False)
    if UNKNOWN in text:
        session.output.note("Say what stands as a question mark, then import with --mapping.")


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
    NOBODY = pb.ChoiceResult.OUTCOME_NOBODY

    def __init__(self, session: Session, as_of: str, *, dry_run: bool) -> None:
        def stream(requests: Iterator[pb.ImportChoicesRequest]) -> Iterable[pb.ImportChoicesResponse]:
            return session.choices.ImportChoices(requests, timeout=_STREAM_S)

        super().__init__(stream)
        self._as_of = as_of
        self._dry_run = dry_run
        self.nobody: list[int] = []

    def _count(self, reply: pb.ImportChoicesResponse, refused: Callable[[object, pb.ChoiceResult], None]) -> None:
        """Notes the first lines that are of nobody on record, which is no fault of a list."""
        for result in reply.results:
            row = self._waiting.get(result.line)
            if result.outcome == self.NOBODY and isinstance(row, Record) and len(self.nobody) < SHOWN_FAULTS:
                self.nobody += [row.line] if row.line not in self.nobody else []
        super()._count(reply, refused)

    def pack(self, rows: list[pb.ChoiceRow]) -> pb.ImportChoicesRequest:
        """A batch."""
        return pb.ImportChoicesRequest(rows=rows, as_of=self._as_of, dry_run=self._dry_run)


@dataclass
class _Import:
    """One import of one file, and what became of its rows."""

    said: Mapping[str, str]
    country: str
    zone: str
    as_of: str
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    nobody: list[int] = field(default_factory=list)
    first: list[Fault] = field(default_factory=list)
    file: Path | None = None
    reasons: Path | None = None
    _copied: set[int] = field(default_factory=set)
    _writing: Lock = field(default_factory=Lock)

    def run(self, session: Session, file: Path, key: str, plan: ListMapping | None, faulty_file: Path) -> None:
        """Sends the good rows, writes the faulty ones."""
        rows = _Rows(session, self.as_of, dry_run=self.dry_run)
        with Lines(file, plan.encoding if plan else "") as lines:
            source = _Headless(lines, key) if key else CsvSource(lines, plan.delimiter if plan else "")
            reader = self._reader(source, key, plan)
            with (
                FaultyRows(faulty_file, source.header, lines.encoding, original=file) as faulty,
                progress(session.output, "rows") as advance,
            ):
                try:
                    rows.send(
                        self._good(source, reader, faulty),
                        lambda record, result: self._refused(faulty, record, result),
                        lambda done: advance(done, 0),
                    )
                finally:
                    self.counts += Counter({name: rows.sent.of(number) for name, number in _OUTCOMES.items()})
                    self._tell_how_far(session, rows)
                self.nobody = rows.nobody
                self.counts["faulty"] = faulty.count
                if faulty.count:
                    self.file, self.reasons = faulty.path, faulty.reasons_path

    def _reader(self, source: CsvSource | _Headless, key: str, plan: ListMapping | None) -> Reader:
        if isinstance(source, _Headless):
            plan = ListMapping({key: Column(key)})
        elif plan is None:
            plan = own_mapping(source.names)
        else:
            check_header(plan, source.names)
        given = {**plan.constants, **{name: text for name, text in self.said.items() if text}}
        if not plan.headers("state") and not given.get("state"):
            raise usage("no column says yes or no: give --state in or --state out")
        as_of = datetime.fromisoformat(self.as_of)
        return Reader(plan, given, self.country or plan.country, self.zone or plan.zone, as_of)

    def _tell_how_far(self, session: Session, rows: _Rows) -> None:
        done = rows.sent.outcomes.total()
        if not rows.whole and done:
            session.output.note(f"{done} rows are done, and stay so. Import the file again: they will be unchanged.")

    def _good(
        self, source: CsvSource | _Headless, reader: Reader, faulty: FaultyRows
    ) -> Iterator[tuple[int, pb.ChoiceRow, object]]:
        """The choices to send, numbered: a row may make several, and the answers come by number."""
        number = 0
        for record in source:
            rows, faults = reader.read(record)
            for fault in faults:
                self._write(faulty, record, (fault,))
            self.left_out += not rows and not faults
            for row in rows:
                number += 1
                row.line = number
                yield number, row, record

    def _refused(self, faulty: FaultyRows, record: object, result: pb.ChoiceResult) -> None:
        if not isinstance(record, Record):
            raise TypeError("an answer about a row that was not sent")
        faults = tuple(Fault(record.line, fault.field, f"{fault.reason}: {fault.detail}") for fault in result.faults)
        self._write(faulty, record, faults)

    def _write(self, faulty: FaultyRows, record: Record, faults: tuple[Fault, ...]) -> None:
        """A row is copied once, however many of its choices are faulty."""
        with self._writing:
            raw = "" if record.line in self._copied else record.raw
            self._copied.add(record.line)
            faulty.add(Row(record.line, {}, faults, raw))
            self.first += faults[: SHOWN_FAULTS - len(self.first)]


def _report(session: Session, run: _Import, *, dry_run: bool) -> None:
    counts = {name: run.counts[name] for name in _OUTCOMES}
    run.first.sort(key=lambda fault: fault.line)  # what the broker finds comes later than what is found here
    faults = [{"line": f.line, "field": f.field, "reason": f.reason, "masked": f.masked} for f in run.first]
    files = {"faulty_file": str(run.file or ""), "reasons_file": str(run.reasons or "")}
    if not sum(counts.values()) + run.left_out:
        raise usage("no row is in the file")
    beside = {
        "without_choice": run.left_out,
        "nobody_lines": run.nobody,
        "as_of": run.as_of,
        "faults": faults,
        "dry_run": dry_run,
    }
    session.output.result({**counts, **beside, **files})
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    session.output.line(("Would be: " if dry_run else "") + told + ".")
    if run.nobody:
        more = " ..." if len(run.nobody) == SHOWN_FAULTS else ""
        session.output.line(f"Of nobody on record: line {', '.join(map(str, run.nobody))}{more}.")
    if run.left_out:
        session.output.line(f"{counted(run.left_out, 'row makes', 'rows make')} no choice.")
    if not counts["faulty"]:
        return
    session.output.table(
        ("line", "field", "what is wrong", "value, masked"), [(f.line, f.field, f.reason, f.masked) for f in run.first]
    )
    session.output.line(f"Faulty rows: {run.file}   every reason: {run.reasons}")
    session.output.line("Correct them there and import that file in the same way.")
    raise typer.Exit(int(Exit.FOUND_WRONG))


def export(
    session: Session,
    *,
    out: Annotated[Path, typer.Option(help="The new CSV file.", metavar="FILE")],
    key: Annotated[
        str,
        typer.Option(
            help="How persons are named: person, customer_number or email; by id where they have none of their own.",
            metavar="KEY",
        ),
    ] = "person",
    purpose: Annotated[
        str, typer.Option(help="Only choices on this purpose and those below it.", metavar="PURPOSE")
    ] = "",
) -> None:
    """Export the choices in force of all persons as CSV that `sluss choice import` takes back."""
    if key not in EXPORT_KEYS:
        raise usage(f"--key is one of {', '.join(EXPORT_KEYS)}", key=key)
    columns = ("person", *([key] if key != "person" else []), *COLUMNS, *TOLD)
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
    session.output.line(f"{counted(count, 'choice in force is', 'choices in force are')} in {out}.")


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
        "policy_version": row.policy_version,
    }
    return spreadsheet_cell(cells[column])


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
