"""Whether each person's choices in force are those of the last choice that the ledger knows of the person.

A person's column says, under a MAC of the person's own, how many choices were made and which entry the last one is. A
value of before that is put back has a valid MAC, and counts fewer. Each entry of a choice has one row in the history,
and that row a tie to the same person; so a row that is deleted, or moved to another person, makes a count differ.

No key is needed. A count that somebody made up is not found here: it has no MAC, and the broker refuses the person.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from broker.ids import person_text
from broker.ledger.findings import Kind
from broker.own_keys import NEVER, Mark, claimed_mark
from broker.persons.model import ACTIVE
from broker.store.driver import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from broker.ledger.findings import Report

RUN: Final = 5_000
"""Rows read in one statement: each ends well within a store's time for an answer."""

_LOWEST: Final = -(1 << 63)
_PERSONS: Final = "SELECT id, state, choices FROM person WHERE id > ? ORDER BY id LIMIT ?"
_HISTORY: Final = (
    "SELECT choice.person, choice.entry, ledger_person.entry IS NOT NULL FROM choice LEFT JOIN ledger_person"
    " ON ledger_person.person = choice.person AND ledger_person.entry = choice.entry"
    " WHERE (choice.person, choice.entry) > (?, ?) ORDER BY choice.person, choice.entry LIMIT ?"
)
_ERASED: Final = "SELECT entry FROM ledger_erased WHERE entry > ? ORDER BY entry LIMIT ?"


class Choices:
    """The choices of all persons, beside the entries of choices."""

    def __init__(self, connection: Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._entries: set[int] = set()

    def take(self, index: int, _entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """As `Follower.take`."""
        if type == "choice":
            self._entries.add(index)

    def finish(self) -> None:
        """As `Follower.finish`."""
        self._entries.difference_update(self._erased())
        histories = self._histories()
        person, made = next(histories, (None, NEVER))
        for row, state, choices in self._persons():
            while person is not None and person < row:
                self._nobody(made)
                person, made = next(histories, (None, NEVER))
            own = NEVER
            if person == row:
                own = made
                person, made = next(histories, (None, NEVER))
            self._compare(row, state, choices, own)
        while person is not None:
            self._nobody(made)
            person, made = next(histories, (None, NEVER))
        for entry in sorted(self._entries):
            self._add(entry, f"entry {entry} is a choice, and no person's history has it")

    def _compare(self, person: int, state: str, choices: str, made: Mark) -> None:
        if state != ACTIVE:
            if made.number:
                self._nobody(made)
            return
        mark, name = claimed_mark(choices), person_text(person)
        if mark is None:
            self._add(made.last if made.number else None, f"the choices of person {name} were emptied or replaced")
        elif mark != made:
            self._add(
                made.last if made.number else None,
                f"person {name} made {made.number} choices up to entry {made.last}; the choices in force are those of"
                f" {mark.number} up to entry {mark.last}",
            )

    def _nobody(self, made: Mark) -> None:
        self._add(made.last, f"choices up to entry {made.last} are kept of a person who is not on record")

    def _add(self, entry: int | None, said: str) -> None:
        self._report.add(Kind.CHOICE, entry, said)

    def _histories(self) -> Iterator[tuple[int, Mark]]:
        """Who made choices, by id: how many, and the last one."""
        for person, rows in groupby(self._rows(), key=itemgetter(0)):
            count = last = 0
            for _, entry, tied in rows:
                count, last = count + 1, entry
                if not tied or entry not in self._entries:
                    said = f"a row of a person's history names entry {entry}, which is no choice of this person"
                    self._add(entry, said)
                self._entries.discard(entry)
            yield person, Mark(count, last)

    def _rows(self) -> Iterator[tuple[int, int, bool]]:
        after = (_LOWEST, _LOWEST)
        while found := fetch(self._connection, _HISTORY, (*after, RUN)):
            yield from found
            after = (found[-1][0], found[-1][1])

    def _persons(self) -> Iterator[tuple[int, str, str]]:
        after = _LOWEST
        while found := fetch(self._connection, _PERSONS, (after, RUN)):
            yield from found
            after = found[-1][0]

    def _erased(self) -> Iterator[int]:
        after = _LOWEST
        while found := fetch(self._connection, _ERASED, (after, RUN)):
            yield from (entry for (entry,) in found)
            after = found[-1][0]
