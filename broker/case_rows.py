"""Whether the rows of persons' requests, complaints and compromise reports stand where the ledger's entries left them.

Whoever loads one has it proven. But a row whose state says that it is over drops out of the lists of what is open, one
that is gone out of all, and a person whose lock is deleted is open to whoever stole the credential: those are found
here. No key is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.ids import person_text
from broker.ledger.entry import parse
from broker.ledger.findings import Kind
from broker.store.driver import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from broker.ledger.findings import Report

RUN: Final = 2_000
"""Rows read in one statement: each ends well within a store's time for an answer."""
TYPES: Final = frozenset({"person_request", "complaint", "compromise"})

_REQUESTS: Final = (
    "SELECT id, 'person_request', state, deadline, 0, 0,"
    " (SELECT count(*) FROM person_request_event WHERE person_request_event.request = person_request.id),"
    " (SELECT coalesce(sum(entry), 0) FROM person_request_event WHERE person_request_event.request = person_request.id)"
    " FROM person_request WHERE id > ? ORDER BY id LIMIT ?"
)
_FILES: Final = (
    "SELECT id, room, state, '', person, length(private_keys),"
    " (SELECT count(*) FROM case_file_event WHERE case_file_event.file = case_file.id),"
    " (SELECT coalesce(sum(entry), 0) FROM case_file_event WHERE case_file_event.file = case_file.id)"
    " FROM case_file WHERE id > ? ORDER BY id LIMIT ?"
)
_LOCKS: Final = "SELECT person, report FROM credential_lock WHERE person > ? ORDER BY person LIMIT ?"


@dataclass(slots=True)
class _Case:
    """Where the entries left one; `locks` says whether it locks a person's credential."""

    type: str
    last: int
    state: str = ""
    deadline: str = ""
    locks: bool = False
    events: int = 0
    indexes: int = 0


class Cases:
    """All of them, and the locks, beside the entries that they follow from."""

    def __init__(self, connection: Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._cases: dict[str, _Case] = {}

    def take(self, index: int, entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """As `Follower.take`."""
        if type not in TYPES:
            return
        said = parse(entry)
        case = self._cases.setdefault(said["case"], _Case(type, index))
        case.last, case.state, case.deadline = index, said["state"], said.get("deadline", "")
        case.events, case.indexes = case.events + 1, case.indexes + index
        if type == "compromise":
            reported = case.events == 1 and not said["principal"]
            case.locks = (case.locks or reported) and said["event"] != "reinstated"

    def finish(self) -> None:
        """As `Follower.finish`."""
        locking: dict[int, set[str]] = {}
        for query in (_REQUESTS, _FILES):
            for name, *said in self._rows(query, ""):
                case = self._cases.pop(name, None)
                if case is None:
                    self._add(None, f"{name} has a row, and no entry opened it")
                    continue
                self._compare(name, case, said)
                person = said[3]
                if case.locks and case.state == "open" and person:
                    locking.setdefault(person, set()).add(name)
        for name, case in sorted(self._cases.items(), key=lambda each: each[1].last):
            self._add(case.last, f"{name} has no row")
        self._compare_locks(locking)

    def _compare(self, name: str, case: _Case, said: list[Any]) -> None:
        room, state, deadline, person, private, events, indexes = said
        if (room, state, deadline) != (case.type, case.state, case.deadline):
            self._add(case.last, f"the row of {name} does not stand where entry {case.last} left it")
        if (int(events), int(indexes)) != (case.events, case.indexes):
            self._add(case.last, f"{name} has {case.events} entries, and its {int(events)} rows name others")
        if case.locks and bool(person) != bool(private):
            self._add(case.last, f"the row of {name} does not say whose credential it is about")

    def _compare_locks(self, locking: dict[int, set[str]]) -> None:
        for person, report in self._rows(_LOCKS, -(1 << 63)):
            if report not in locking.pop(person, set()):
                self._add(None, f"{person_text(person)} is locked for {report}, which does not lock this person")
        for person, reports in sorted(locking.items()):
            self._add(None, f"{person_text(person)} is not locked, and {min(reports)} stands")

    def _add(self, entry: int | None, said: str) -> None:
        self._report.add(Kind.CASE, entry, said)

    def _rows(self, query: str, after: str | int) -> Iterator[tuple[Any, ...]]:
        while found := fetch(self._connection, query, (after, RUN)):
            yield from found
            after = found[-1][0]
