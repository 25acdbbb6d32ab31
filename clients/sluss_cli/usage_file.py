"""`sluss aggregate record`: a CSV file of usage events into the broker.

    person,event,at,seconds,id,advertisement,country
    P-04CVZ6HGRM5PX,advertisement.visited,2026-10-14T09:30:00Z,40,web1-88213,spring_trial,SE

`id` may be left out, as may what stands under `seconds`; every other column is an attribute.
"""

import hashlib
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import aggregate_pb2 as pb

from broker.intake.csv_reader import CsvSource
from broker.intake.faults import Record
from broker.intake.lines import Lines
from sluss_cli.exits import Exit
from sluss_cli.given_file import LIST, own_files, read_bytes
from sluss_cli.imports import SHOWN_FAULTS
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.values import is_utf8
from sluss_cli.verb import verb

_BATCH = 1_000
_COLUMNS = ("person", "event", "at", "seconds")
_OWN = (*_COLUMNS, "id")
_MAX_DIGITS = 9
"""Of a number of seconds: fits 32 bits."""

Fault = tuple[int, str, str]
"""Line, reason, what is wrong."""


def register(app: typer.Typer) -> None:
    """Adds the verb to the group."""
    verb(app, "record", examples=("sluss aggregate record usage.csv", "sluss aggregate record usage.csv --json"))(
        record
    )


def record(
    session: Session,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV: person, event, at, seconds, perhaps id, and a column for each attribute.", metavar="FILE"
        ),
    ],
) -> None:
    """Record usage events; the same event counts once, in whatever file it is sent again.

    It is the same by its id, its sender's own; without one, if it says the same: person, event, time, seconds,
    attributes. Where times are coarser than events, to the minute for instance, give ids.
    """
    digest = hashlib.sha256(read_bytes(file, LIST)).digest()
    recorded = repeated = nobody = done = 0
    faults: list[Fault] = []
    with own_files(), Lines(file) as lines, progress(session.output, "rows") as advance:
        source = CsvSource(lines)
        _check_header(source.names)
        records = iter(source)
        for number in range(1 << 32):
            rows = list(islice(records, _BATCH))
            if not rows:
                break
            events = list(_events(rows, faults))
            request = pb.RecordUsageRequest(request_id=_id(digest, number), events=[event for _, event in events])
            if events:
                reply = session.aggregates.RecordUsage(request, timeout=DEADLINE_S)
                recorded, repeated = recorded + reply.recorded, repeated + reply.repeated
                nobody += reply.without_person
                faults += [(events[fault.index][0], fault.reason, fault.detail) for fault in reply.faults]
            done += len(rows)
            advance(done, 0)
    if not done:
        raise usage("no row is in the file")
    _report(session, recorded, repeated, nobody, sorted(faults))


def _check_header(names: list[str]) -> None:
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise usage(f"the file has no column {', '.join(missing)}; it needs {', '.join(_COLUMNS)}, and may have id")


def _events(rows: list[Record], faults: list[Fault]) -> Iterator[tuple[int, pb.UsageEvent]]:
    """The rows that can be sent, with their lines; what is wrong with the others goes to the faults."""
    for row in rows:
        seconds = row.columns.get("seconds", "0").strip()
        if row.problem:
            faults.append((row.line, "MALFORMED", row.problem))
        elif not all(map(is_utf8, row.columns.values())):
            faults.append((row.line, "MALFORMED", "encoding: not UTF-8 text"))
        elif not (seconds.isascii() and seconds.isdigit() and len(seconds) <= _MAX_DIGITS):
            faults.append((row.line, "INVALID_VALUE", "seconds: not a whole number"))
        else:
            cells = row.columns
            yield (
                row.line,
                pb.UsageEvent(
                    person_id=cells.get("person", ""),
                    event=cells.get("event", ""),
                    at=cells.get("at", ""),
                    seconds=int(seconds),
                    attributes={name: cell for name, cell in cells.items() if name not in _OWN},
                    id=cells.get("id", ""),
                ),
            )


def _id(digest: bytes, number: int) -> str:
    """A request id that the same batch of the same file gets again."""
    made = hashlib.sha256(number.to_bytes(8, "big") + digest).digest()
    return str(uuid.UUID(bytes=made[:16], version=4))


def _report(session: Session, recorded: int, repeated: int, nobody: int, faults: list[Fault]) -> None:
    told = [{"line": line, "reason": reason, "detail": detail} for line, reason, detail in faults]
    counts = {"recorded": recorded, "repeated": repeated, "without_person": nobody}
    session.output.result({**counts, "faults": told})
    session.output.line(
        f"{recorded} recorded, {repeated} on record already, {nobody} of nobody known and not kept,"
        f" {len(faults)} faulty."
    )
    if faults:
        session.output.table(("line", "reason", "what is wrong"), faults[:SHOWN_FAULTS])
        if len(faults) > SHOWN_FAULTS:
            session.output.line(f"... and {len(faults) - SHOWN_FAULTS} more; --json tells all of them.")
        raise typer.Exit(int(Exit.FOUND_WRONG))
