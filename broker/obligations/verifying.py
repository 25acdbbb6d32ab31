"""Whether the rows that find what recipients owe say what the ledger's entries say.

A row grants nothing: what is answered stands in the ledger. But a row that says less hides what is owed from lists,
from the recipients' stream and from reminders. Each obligation's row must stand where its entries left it, with a row
per entry; each day of deletion must have the first and last disclosure and what was raised for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.held import terms_of
from broker.ledger.entry import parse
from broker.ledger.findings import Kind as Found
from broker.obligations.retention import NONE_RAISED, OPEN
from broker.obligations.rules import Kind
from broker.store.driver import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from broker.ledger.findings import Report

RUN: Final = 2_000
"""Rows read in one statement: each ends well within a store's time for an answer."""

_SETTLING: Final = frozenset({"attested", "not_confirmed"})
_OBLIGATIONS: Final = (
    "SELECT number, id, kind, contract, recipient, until, due, settled, moved,"
    " (SELECT count(*) FROM obligation_event WHERE obligation_event.obligation = obligation.id),"
    " (SELECT coalesce(sum(entry), 0) FROM obligation_event WHERE obligation_event.obligation = obligation.id)"
    " FROM obligation WHERE number > ? ORDER BY number LIMIT ?"
)
_RETENTIONS: Final = (
    "SELECT contract, until, recipient, first, last, raised FROM retention"
    " WHERE (contract, until) > (?, ?) ORDER BY contract, until LIMIT ?"
)
_COLUMNS: Final = ("kind", "contract", "recipient", "until", "due", "settled", "moved")


@dataclass(slots=True)
class _Owed:
    """An obligation as its entries left it; `events` counts them, `indexes` adds them up."""

    kind: str
    contract: str
    recipient: str
    until: str
    due: str
    moved: int
    created: int
    settled: bool = False
    events: int = 1
    indexes: int = 0

    @property
    def row(self) -> tuple[object, ...]:
        """What the row must say."""
        return self.kind, self.contract, self.recipient, self.until, self.due, int(self.settled), self.moved


@dataclass(slots=True)
class _Day:
    """The disclosures under a contract that are to be deleted by a day."""

    recipient: str
    first: int
    last: int
    raised: int = NONE_RAISED


class Obligations:
    """All obligations and days of deletion, beside the entries that they follow from."""

    def __init__(self, connection: Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._owed: dict[str, _Owed] = {}
        self._days: dict[tuple[str, str], _Day] = {}

    def take(self, index: int, entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """As `Follower.take`."""
        if type == "disclosure":
            terms = terms_of(entry)
            day = self._days.setdefault(
                (terms["contract"], terms["retain_until"]), _Day(terms["recipient"], index, index)
            )
            day.last = index
        elif type == "obligation":
            self._event(index, parse(entry))

    def finish(self) -> None:
        """As `Follower.finish`."""
        self._compare_obligations()
        self._compare_days()

    def _event(self, index: int, said: Mapping[str, Any]) -> None:
        name, event = said["obligation"], said["event"]
        if event == "created":
            owed = _Owed(said["kind"], said["contract"], said["recipient"], said["due"], said["due"], index, index)
            self._owed[name] = owed
        elif name in self._owed:
            owed = self._owed[name]
            owed.moved, owed.events = index, owed.events + 1
        else:
            self._add(index, f"entry {index} is about obligation {name}, which was never made")
            return
        owed.indexes += index
        owed.settled = owed.settled or event in _SETTLING
        if event == "delay_granted":
            owed.due = said["until"]
        day = self._days.get((owed.contract, owed.until))
        if owed.kind != Kind.DELETE_BY or day is None:
            return
        if event == "created":
            day.raised = OPEN
        elif event in _SETTLING:
            day.raised = said["through"] if event == "attested" else day.last

    def _compare_obligations(self) -> None:
        for _, name, *columns, events, indexes in self._obligations():
            owed = self._owed.pop(name, None)
            if owed is None:
                self._add(None, f"obligation {name} has a row, and no entry made it")
                continue
            differing = [
                column for column, stored, meant in zip(_COLUMNS, columns, owed.row, strict=True) if stored != meant
            ]
            if differing:
                said = f"the row of obligation {name} does not say what its entries say: {', '.join(differing)}"
                self._add(owed.moved, said)
            if (int(events), int(indexes)) != (owed.events, owed.indexes):
                said = f"obligation {name} has {owed.events} entries, and its {int(events)} rows name others"
                self._add(owed.moved, said)
        for name, owed in sorted(self._owed.items(), key=lambda each: each[1].created):
            self._add(owed.created, f"obligation {name} has no row")

    def _compare_days(self) -> None:
        for contract, until, *columns in self._retentions():
            name = f"what is to be deleted by {until} under {contract}"
            day = self._days.pop((contract, until), None)
            if day is None:
                self._add(None, f"{name} has a row, and nothing was disclosed for it")
            elif columns != [day.recipient, day.first, day.last, day.raised]:
                self._add(day.last, f"the row of {name} does not say what entries {day.first} to {day.last} say")
        for (contract, until), day in sorted(self._days.items()):
            self._add(day.last, f"what is to be deleted by {until} under {contract} has no row")

    def _add(self, entry: int | None, said: str) -> None:
        self._report.add(Found.OWED, entry, said)

    def _obligations(self) -> Iterator[tuple[Any, ...]]:
        after = -(1 << 63)
        while found := fetch(self._connection, _OBLIGATIONS, (after, RUN)):
            yield from found
            after = found[-1][0]

    def _retentions(self) -> Iterator[tuple[Any, ...]]:
        after = ("", "")
        while found := fetch(self._connection, _RETENTIONS, (*after, RUN)):
            yield from found
            after = (found[-1][0], found[-1][1])
