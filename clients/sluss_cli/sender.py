"""Rows to the broker: batches over one stream, a few in flight, memory bounded whatever the file's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event, Lock
from typing import Protocol

from sluss.v1 import person_pb2 as pb

BATCH = 500
"""Rows in a message."""
IN_FLIGHT = 4
"""Batches sent and not answered yet."""
_POLL_S = 0.2


@dataclass(frozen=True)
class Sendable:
    """A row that was read without a fault.

    Attributes:
        line: its line in the file.
        values: field -> value.
        row: the reader's own row, handed back if the broker refuses it.
    """

    line: int
    values: Mapping[str, str]
    row: object


class Stream(Protocol):
    """`PersonServiceStub.ImportPersons`."""

    def __call__(self, requests: Iterator[pb.ImportPersonsRequest]) -> Iterable[pb.ImportPersonsResponse]:
        """Sends batches and yields one answer per batch, in order."""


@dataclass
class Sent:
    """What became of the rows."""

    outcomes: Counter[int] = field(default_factory=Counter)

    def of(self, outcome: int) -> int:
        """How many rows had this outcome."""
        return self.outcomes[outcome]


Refusal = Callable[[object, pb.ImportResult], None]
"""Told of each row that the broker found faulty: the reader's row and the result."""


class Sender:
    """Sends rows over one stream.

    The request iterator runs on a thread of gRPC: what it raises is kept and raised again by `send`, and it
    never waits for longer than the stream lives.

    Attributes:
        sent: what the broker has answered so far; each answered batch is durable.
    """

    def __init__(self, stream: Stream, *, source: str, dry_run: bool, confirm: bool = False) -> None:
        self.sent = Sent()
        self._stream = stream
        self._source = source
        self._dry_run = dry_run
        self._confirm = confirm
        self._room = BoundedSemaphore(IN_FLIGHT)
        self._over = Event()
        self._reading = Lock()
        self._failure: Exception | None = None
        self._waiting: dict[int, object] = {}

    def send(self, rows: Iterable[Sendable], refused: Refusal, done: Callable[[int], None]) -> Sent:
        """Sends every row.

        Args:
            rows: what to send; read as fast as the broker answers.
            refused: told of each faulty row.
            done: told how many rows have been answered so far.
        """
        try:
            for reply in self._stream(self._batches(iter(rows))):
                self._room.release()
                self._count(reply, refused)
                done(self.sent.outcomes.total())
        finally:
            self._over.set()
            with self._reading:
                pass  # from here on nobody reads a row: the caller may close its files
            if self._failure is not None:
                raise self._failure
        return self.sent

    def _count(self, reply: pb.ImportPersonsResponse, refused: Refusal) -> None:
        for result in reply.results:
            self.sent.outcomes[result.outcome] += 1
            row = self._waiting.pop(result.line, None)
            if result.outcome == pb.ImportResult.OUTCOME_FAULTY:
                refused(row, result)

    def _batches(self, rows: Iterator[Sendable]) -> Iterator[pb.ImportPersonsRequest]:
        try:
            while batch := self._next(rows):
                while not self._room.acquire(timeout=_POLL_S):
                    if self._over.is_set():
                        return
                yield batch
        except Exception as error:  # noqa: BLE001 - gRPC would swallow it on its thread; send() raises it
            self._failure = error

    def _next(self, rows: Iterator[Sendable]) -> pb.ImportPersonsRequest | None:
        batch = pb.ImportPersonsRequest(source=self._source, dry_run=self._dry_run, confirm=self._confirm)
        with self._reading:
            while not self._over.is_set() and len(batch.rows) < BATCH and (row := next(rows, None)) is not None:
                self._waiting[row.line] = row.row
                values = [pb.FieldValue(field=name, value=value) for name, value in row.values.items()]
                batch.rows.append(pb.ImportRow(line=row.line, values=values))
        return batch if batch.rows and not self._over.is_set() else None
