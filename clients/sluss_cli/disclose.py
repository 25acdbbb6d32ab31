"""`sluss disclose` and `sluss open`: ask for slices, prove them, open them, keep them for their owner."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.message import DecodeError
from sluss.v1.disclosure_pb2 import Disclosure
from sluss_client.core import MAX_CHUNK
from sluss_client.errors import Aborted, Refused
from sluss_client.results import OpenedPerson, Result, UnavailablePerson

from broker.clock import SECOND, rfc3339, system_clock
from broker.errors import Reason, SlussError
from broker.handles import parse_handle
from sluss_cli.entry_text import moment
from sluss_cli.exits import Exit
from sluss_cli.given_file import SLICES, read_bytes
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.row_file import Progress, ResumableFile, Row, RowFormat, write_private
from sluss_cli.session import Session
from sluss_cli.values import read_lines
from sluss_cli.verb import verb

_SUFFIXES = (".csv", ".jsonl")
UNARY_HANDLES = 10_000
"""Handles that one call takes; a longer list goes as a stream."""
PATIENCE_S = 20.0
"""Seconds that a person waits for an answer, all attempts together."""

Purpose = Annotated[str, typer.Option("--purpose", help="What for, such as billing.collection.", metavar="PURPOSE")]
Fields = Annotated[
    list[str],
    typer.Option("--field", "-f", help="A field; several, or with commas between.", metavar="FIELD"),
]
Handles = Annotated[list[str] | None, typer.Option("--handle", help="A person's handle; several.", metavar="HANDLE")]
Everyone = Annotated[bool, typer.Option("--all", help="Everybody in the grant's population, as a stream.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="A new file, readable by you only.", metavar="FILE")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="csv or jsonl for programs, spreadsheet for people: CSV without formulas. Default: by --out.",
        metavar="FORMAT",
    ),
]


@dataclass(frozen=True)
class Ask:
    """What is asked for."""

    contract: str
    purpose: str
    fields: list[str]
    chunk_size: int = MAX_CHUNK


@dataclass(frozen=True)
class Keep:
    """Where the answer goes besides the terminal.

    Checked before anything is asked for: a disclosure can't be undone because a file was in the way.
    """

    out: Path | None
    format: str
    sealed: Path | None

    def check(self) -> None:
        """Refuses to overwrite, and an unknown format."""
        RowFormat(self.format, [])
        for path in (self.out, self.sealed):
            if path is not None and path.exists():
                raise usage("the file exists already; it is not overwritten", file=str(path))
            if path is not None and not path.parent.is_dir():
                raise usage("no such folder", file=str(path.parent))

    def write(self, ask: Ask, opened: Sequence[OpenedPerson]) -> int:
        """Writes what was asked to be kept; how many values a spreadsheet would take for formulas."""
        if self.sealed is not None and opened:
            parts = dict.fromkeys(person.sealed for person in opened)
            write_private(self.sealed, b"".join(_framed(part) for part in parts))
        if self.out is not None:
            shape = RowFormat(self.format, ask.fields)
            write_private(self.out, shape.header() + shape.rows([_row(person) for person in opened]))
            return shape.formulas
        return 0


def register(app: typer.Typer) -> None:
    """Adds the verbs to the command."""
    verb(
        app,
        "disclose",
        examples=(
            "sluss disclose C-2026-0001 --purpose billing -f email,phone --handle h_AAAAAAAAAAAAAAAAAAAAAA",
            "sluss disclose C-2026-0001 --purpose billing -f email --handles-file list.txt --out slices.csv",
            "sluss disclose C-2026-0001 --purpose billing -f email --all --out slices.jsonl",
            "sluss disclose C-2026-0001 --purpose billing -f email --all --out slices.jsonl --resume",
            "sluss disclose C-2026-0001 --purpose billing -f email --handles-file list.txt --dry-run",
        ),
    )(disclose)
    verb(app, "open", examples=("sluss open slice.sealed", "sluss open slice.sealed --json"))(open_)


def disclose(
    session: Session,
    contract: Annotated[str, typer.Argument(help="The contract, such as C-2026-0001.", metavar="CONTRACT")],
    *,
    purpose: Purpose,
    fields: Fields,
    handles: Handles = None,
    handles_file: Annotated[str, typer.Option(help="One handle per line; - is standard input.", metavar="FILE")] = "",
    everyone: Everyone = False,
    out: Out = None,
    format_: Format = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stream that was cut off.")] = False,
    chunk_size: Annotated[
        int, typer.Option(help="Persons per message of a stream.", min=1, max=MAX_CHUNK, metavar="COUNT")
    ] = MAX_CHUNK,
    sealed: Annotated[
        Path | None,
        typer.Option(help="Also keep the disclosure as it came; `sluss open` reads it.", metavar="FILE"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it would be allowed, and how.")] = False,
) -> None:
    """Ask for slices. Each answer is proven to be in the ledger before it is opened."""
    ask = Ask(contract, purpose, _split(fields), chunk_size)
    wanted = _handles(handles, handles_file)
    if everyone and wanted:
        raise usage(f"--all and {'--handle' if handles else '--handles-file'} exclude each other: everybody, or a list")
    if not everyone and not wanted:
        raise usage("say whom: --handle or --handles-file, or --all for everybody that the contract covers")
    if dry_run:
        if everyone:
            raise usage("a dry run takes handles; any will do, since it tells nothing about a person")
        _dry_run(session, ask, wanted)
    elif everyone or resume or len(wanted) > UNARY_HANDLES:
        if out is None or sealed is not None:
            raise usage("a stream goes to a file: name it with --out; --sealed is for up to 10,000 handles")
        _stream(session, ask, wanted, out, _format(format_, out), resume=resume)
    else:
        _single(session, ask, wanted, Keep(out, _format(format_, out), sealed))


def _split(fields: Sequence[str]) -> list[str]:
    names = [name.strip() for item in fields for name in item.split(",") if name.strip()]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise usage("a field is named twice", field=min(double))
    return names


def _handles(given: Sequence[str] | None, file: str) -> list[str]:
    wanted = [*(given or ()), *(read_lines(file) if file else ())]
    for number, handle in enumerate(wanted, 1):
        _check_handle(number, handle)
    if len(set(wanted)) < len(wanted):
        raise usage("a handle is named twice")
    return wanted


def _check_handle(number: int, handle: str) -> None:
    try:
        parse_handle(handle)
    except SlussError:
        raise usage(f"handle {number} is not h_ and 22 characters, as `sluss person handles` prints it") from None


def _format(name: str, out: Path | None) -> str:
    if name or out is None:
        return name or "jsonl"
    if out.suffix not in _SUFFIXES:
        raise usage("the name of --out ends in .csv or .jsonl; or say --format csv or --format jsonl", file=str(out))
    return out.suffix.removeprefix(".")


def _dry_run(session: Session, ask: Ask, handles: Sequence[str]) -> None:
    answer = session.subcontractor.dry_run(ask.contract, ask.purpose, ask.fields, handles)
    fields = {field.field: field.transform for field in answer.fields}
    session.output.result(
        {
            "allowed": True,
            "granted_purpose": answer.granted_purpose,
            "fields": fields,
            "retain_until": answer.retain_until,
            "contract_version": answer.contract_version,
        }
    )
    session.output.line(
        f"Allowed by the grant of {answer.granted_purpose}, contract version {answer.contract_version}."
    )
    session.output.line(f"To be deleted by {answer.retain_until}. Nothing was disclosed, nothing written.")
    session.output.table(("field", "form in which it would leave"), list(fields.items()))


def _single(session: Session, ask: Ask, handles: Sequence[str], keep: Keep) -> None:
    keep.check()
    results = session.subcontractor.disclose(ask.contract, ask.purpose, ask.fields, handles, deadline_s=PATIENCE_S)
    opened = [result for result in results if isinstance(result, OpenedPerson)]
    missing = [result for result in results if isinstance(result, UnavailablePerson)]
    formulas = keep.write(ask, opened)
    session.output.result(_document(results))
    if keep.out is None:
        _print(session, ask.fields, opened)
    else:
        session.output.line(f"Wrote {_slices(len(opened))} to {keep.out}, readable by you only.")
    _say_formulas(session, formulas)
    _say_missing(session, [person.handle for person in missing])


def _document(results: Sequence[Result]) -> dict[str, object]:
    return {
        "slices": [_slice_document(result) for result in results if isinstance(result, OpenedPerson)],
        "unavailable": [
            {"handle": result.handle, "reason": result.reason}
            for result in results
            if isinstance(result, UnavailablePerson)
        ],
    }


def _slice_document(person: OpenedPerson) -> dict[str, object]:
    terms = person.terms
    return {
        "handle": person.handle,
        "values": dict(person.values),
        "entry_index": person.entry_index,
        "terms": {
            "contract": terms.contract,
            "contract_version": terms.contract_version,
            "disclosure": terms.disclosure,
            "purpose": terms.purpose,
            "fields": dict(terms.fields),
            "policy": terms.policy,
            "issued": terms.issued,
            "retain_until": terms.retain_until,
            "onward_transfer": "forbidden",
        },
    }


def _row(person: OpenedPerson) -> Row:
    return Row(person.handle, person.values, person.terms.retain_until, person.entry_index)


def _print(session: Session, fields: Sequence[str], opened: Sequence[OpenedPerson]) -> None:
    if not opened:
        return
    rows = [(person.handle, *(person.values.get(field, "") for field in fields)) for person in opened]
    session.output.table(("handle", *fields), rows)
    for entry, terms in {person.entry_index: person.terms for person in opened}.items():
        session.output.line(
            f"Ledger entry {entry}, proven by its receipt: for {terms.purpose} under {terms.contract}."
            f" Delete by {terms.retain_until}; passing on is forbidden."
        )


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def _say_missing(session: Session, handles: Sequence[str]) -> None:
    if not handles:
        return
    session.output.note(f"PERSON_UNAVAILABLE: {len(handles)} of the handles got no slice; no reason is ever given")
    raise typer.Exit(int(Exit.FOUND_WRONG))


def _stream(session: Session, ask: Ask, handles: Sequence[str], out: Path, format_: str, *, resume: bool) -> None:
    client = session.subcontractor  # first: a profile that can't be used leaves no file behind
    mark = Progress(str(uuid.uuid4()), ask.contract, ask.purpose, ask.fields, format_)
    missing: list[str] = []
    with ResumableFile(out, mark, resume=resume) as file, progress(session.output, "slices") as advance:

        def follow() -> None:
            chunks = client.bulk(
                ask.contract,
                ask.purpose,
                ask.fields,
                handles or None,
                resume=file.progress.cursor or None,
                request_id=file.progress.request_id,
                chunk_size=ask.chunk_size,
            )
            for chunk in chunks:
                file.append([_row(person) for person in chunk.persons], chunk.cursor)
                missing.extend(person.handle for person in chunk.unavailable)
                advance(chunk.done, chunk.total)

        with _resumable(session, file, out):
            _following(follow, file)
        file.complete()
        rows, formulas = file.progress.rows, file.formulas
    session.output.result({"file": str(out), "slices": rows, "unavailable": missing})
    session.output.line(f"Wrote {_slices(rows)} to {out}, readable by you only.")
    _say_formulas(session, formulas)
    _say_missing(session, missing)


def _say_formulas(session: Session, count: int) -> None:
    if count:
        session.output.note(
            f"Values that a spreadsheet would run as formulas: {count}. For one, write it with --format spreadsheet."
        )


def _say_volume(session: Session, error: BaseException) -> None:
    """What can still be had when a chunk is more than the window has left, and when the next window begins."""
    if not isinstance(error, Refused) or error.reason != Reason.VOLUME_EXCEEDED:
        return
    left, wait_s = error.metadata.get("left", ""), error.retry_after_s
    if left.isdecimal() and int(left):
        session.output.note(f"{left} are left in this window: a chunk of so many still goes, with --chunk-size {left}.")
    if wait_s:
        ends = moment(rfc3339(system_clock() + int(wait_s * SECOND)))
        session.output.note(f"The window ends at {ends} UTC.")


def _following(follow: Callable[[], None], file: ResumableFile) -> None:
    """Follow the chunks to their end.

    One that was on its way when a stream broke, and has changed since, is not given again as it was: it is asked anew.
    """
    while True:
        try:
            follow()
        except Aborted as error:
            if error.reason != Reason.RECORD_CHANGED:
                raise
            file.ask_anew(str(uuid.uuid4()))
        else:
            return


@contextmanager
def _resumable(session: Session, file: ResumableFile, out: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _say_volume(session, error)
        if isinstance(error, Refused) and not file.progress.cursor:
            file.discard()  # refused before anything came: there is nothing to go on with
            raise
        sys.stderr.write(f"Cut off. What came is in {out}; the same command with --resume goes on.\n")
        raise


def open_(
    session: Session,
    file: Annotated[Path, typer.Argument(help="What `sluss disclose --sealed FILE` kept.", metavar="FILE")],
) -> None:
    """Open kept slices with this profile's keys; they are verified again first. Works without the broker."""
    parts = list(_unframed(read_bytes(file, SLICES), str(file)))
    opened = [person for part in parts for person in session.offline.open_stored(part)]
    session.output.result(_document(opened))
    _print(session, sorted({field for person in opened for field in person.values}), opened)


_LENGTH = 4


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(_LENGTH, "big") + part


def _unframed(data: bytes, file: str) -> Iterator[bytes]:
    """The disclosures of a kept file, each after its length in 4 bytes.

    Raises:
        Problem: USAGE, if it is not such a file, is empty or was cut: nothing in it claims to come from the broker.
    """
    if not data:
        raise usage("the file is empty: it holds no kept slices", file=file)
    while data:
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "big")
        if len(data) < max(end, _LENGTH + 1) or not _is_disclosure(data[_LENGTH:end]):
            raise usage("the file of kept slices is cut off or no such file", file=file)
        yield data[_LENGTH:end]
        data = data[end:]


def _is_disclosure(part: bytes) -> bool:
    try:
        found = Disclosure.FromString(part)
    except DecodeError:
        return False
    return bool(found.entry and found.receipt and found.slices)
