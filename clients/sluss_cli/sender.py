"""Rows to the broker: batches over one stream, a few in flight, memory bounded whatever the file's size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sluss.v1 import person_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

BATCH = 500
"""Rows in a message."""
IN_FLIGHT = 4
"""Batches sent and not answered yet."""
_POLL_S = 0.2

Sent_ = TypeVar("Sent_")
Request = TypeVar("Request")
Reply = TypeVar("Reply", bound=Any)
Asked_contra = TypeVar("Asked_contra", contravariant=True)
Told_co = TypeVar("Told_co", covariant=True)


def sendable(line: int, values: Mapping[str, str], row: object) -> tuple[int, pb.ImportRow, object]:
    """A row that was read without a fault: its line, its values, and the reader's own row if the broker refuses it."""
    fields = [pb.FieldValue(field=name, value=value) for name, value in values.items()]
    return line, pb.ImportRow(line=line, values=fields), row


class Stream(Protocol[Asked_contra, Told_co]):
    """A method of a stub that takes and gives a stream."""

    def __call__(self, requests: Iterator[Asked_contra]) -> Iterable[Told_co]:
        """Sends batches and yields one answer per batch, in order."""


@dataclass
class Sent:
    """What became of the rows."""

    outcomes: Counter[int] = field(default_factory=Counter)

    def of(self, outcome: int) -> int:
        """How many rows had this outcome."""
        return self.outcomes[outcome]


class Batches(ABC, Generic[Sent_, Request, Reply]):
    """Sends rows over one stream.

    The request iterator runs on a thread of gRPC: what it raises is kept and raised again by `send`, and it
    never waits for longer than the stream lives.

    Attributes:
        FAULTY: the outcome of a row that was refused.
        sent: what the broker has answered so far; each answered batch is durable.
        whole: whether every row has been answered.
    """

    FAULTY: int

    def __init__(self, stream: Stream[Request, Reply]) -> None:
        self.sent = Sent()
        self.whole = False
        self._stream = stream
        self._room = BoundedSemaphore(IN_FLIGHT)
        self._over = Event()
        self._reading = Lock()
        self._failure: Exception | None = None
        self._waiting: dict[int, object] = {}

    @abstractmethod
    def pack(self, rows: list[Sent_]) -> Request:
        """A message with these rows."""

    def send(
        self,
        rows: Iterable[tuple[int, Sent_, object]],
        refused: Callable[[object, Any], None],
        done: Callable[[int], None],
    ) -> Sent:
        """Sends every row.

        Args:
            rows: what to send, with its line and the reader's own row; read as fast as the broker answers.
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
        self.whole = True
        return self.sent

    def _count(self, reply: Reply, refused: Callable[[object, Any], None]) -> None:
        for result in reply.results:
            self.sent.outcomes[result.outcome] += 1
            row = self._waiting.pop(result.line, None)
            if result.outcome == self.FAULTY:
                refused(row, result)

    def _batches(self, rows: Iterator[tuple[int, Sent_, object]]) -> Iterator[Request]:
        try:
            while batch := self._next(rows):
                while not self._room.acquire(timeout=_POLL_S):
                    if self._over.is_set():
                        return
                yield self.pack(batch)
        except Exception as error:  # noqa: BLE001 - gRPC would swallow it on its thread; send() raises it
            self._failure = error

    def _next(self, rows: Iterator[tuple[int, Sent_, object]]) -> list[Sent_]:
        batch: list[Sent_] = []
        with self._reading:
            while not self._over.is_set() and len(batch) < BATCH and (row := next(rows, None)) is not None:
                line, message, own = row
                self._waiting[line] = own
                batch.append(message)
        return batch if not self._over.is_set() else []


class Sender(Batches[pb.ImportRow, pb.ImportPersonsRequest, pb.ImportPersonsResponse]):
    """Rows of a customer file."""

    FAULTY = pb.ImportResult.OUTCOME_FAULTY

    def __init__(
        self,
        stream: Stream[pb.ImportPersonsRequest, pb.ImportPersonsResponse],
        *,
        source: str,
        dry_run: bool,
        confirm: bool = False,
    ) -> None:
        super().__init__(stream)
        self._source = source
        self._dry_run = dry_run
        self._confirm = confirm

    def pack(self, rows: list[pb.ImportRow]) -> pb.ImportPersonsRequest:
        """A batch."""
        return pb.ImportPersonsRequest(rows=rows, source=self._source, dry_run=self._dry_run, confirm=self._confirm)
