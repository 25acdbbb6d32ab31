"""What must stand beside the entries, entry by entry: rows that tie persons to them, and published checkpoints.

Neither is under a signature of its own; both follow from the entries closely enough to miss what was deleted.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Final

from broker.clock import SECOND
from broker.ledger.entry import MAX_SLICES, SLICED, parse
from broker.ledger.findings import Kind
from broker.ledger.shapes import DIGEST_LISTS, ONE_PERSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.ledger.entry import Columns
    from broker.ledger.findings import Report
    from broker.ledger.sources import Source

WINDOW: Final = 1 << 22
"""Entries whose rows are counted in one walk of the table, at 4 bytes each; a larger ledger is walked again."""
PAUSE_US: Final = 10 * SECOND
"""Between entries further apart the broker may have stood still, and nobody published."""
UNPUBLISHED_US: Final = 60 * SECOND
"""A broker publishes every second; so much of its working time without a checkpoint can't be."""
FOUNDED_US: Final = 10 * SECOND
"""Founding a ledger publishes it; one that is older than this has a checkpoint."""

_OFFLINE: Final = frozenset({"genesis", "certificate", "catalogue", "key_ring", "policy"})
"""Types that operators append to a ledger that no broker may be serving."""


class Persons:
    """What ties persons to entries, against what each entry speaks of. Entries are given in ascending order.

    A tie is a row of `ledger_person`, or one of those that an erasure destroyed, which are kept as a number per entry;
    the numbers must add up to what the erasures' entries say.
    """

    def __init__(self, source: Source, report: Report, size: int) -> None:
        self._source = source
        self._report = report
        self._size = size
        self._start = 0
        self._destroyed = 0
        self._rows = array("I")
        self._count(0)

    def check(self, index: int, entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """Compare the rows of one well-formed entry with it."""
        if index >= self._start + WINDOW:
            self._count(index // WINDOW * WINDOW)
        stored, spoken = self._rows[index - self._start], _speaks_of(entry, type)
        if type == "erasure":
            self._destroyed -= int(parse(entry)["ties"])
        if type == "sealed" and stored <= MAX_SLICES:
            # What it speaks of is hidden for a time; whoever may open it can count.
            return
        if stored != spoken:
            said = f"entry {index} speaks of {spoken} persons and {stored} rows tie persons to it"
            self._report.add(Kind.PERSON, index, said)

    def finish(self) -> None:
        """All entries have been given."""
        if self._destroyed:
            said = f"{self._destroyed:+d} ties to entries are kept as destroyed, beside what the erasures destroyed"
            self._report.add(Kind.PERSON, None, said)

    def _count(self, start: int) -> None:
        """Count the rows of a window; the first walk also tells of rows that belong to no entry."""
        self._start = start
        self._rows = array("I", bytes(4 * max(0, min(WINDOW, self._size - start))))
        stray, lowest = 0, 0
        for entry, count in chain(self._source.persons(), self._erased(first=start == 0)):
            if start <= entry < start + len(self._rows):
                self._rows[entry - start] += count
            elif not 0 <= entry < self._size:
                lowest = min(lowest, entry) if stray else entry
                stray += count
        if stray and start == 0:
            self._report.add(Kind.PERSON, lowest, f"{stray} rows tie persons to entries that are not in the ledger")

    def _erased(self, *, first: bool) -> Iterator[tuple[int, int]]:
        for entry, ties in self._source.erased():
            if first:
                self._destroyed += ties
            yield entry, ties


class Publication:
    """Whether checkpoints were published while entries came. Entries are given in ascending order."""

    def __init__(self, source: Source, report: Report) -> None:
        self._report = report
        self._sizes: Iterator[int] = (row[0] for row in source.checkpoints())
        self._next = next(self._sizes, None)
        self._none = self._next is None
        self._first_at = self._last_at = 0
        self._since = 0
        self._worked_us = 0

    def check(self, index: int, said: Columns) -> None:
        """Take in one well-formed entry."""
        while self._next is not None and self._next <= index:
            self._restart(self._next)
            self._next = next(self._sizes, None)
        self._first_at = self._first_at or said.at
        passed = said.at - self._last_at
        if 0 < passed < PAUSE_US and said.type not in _OFFLINE:
            self._worked_us += passed
        self._last_at = max(self._last_at, said.at)

    def finish(self, size: int) -> None:
        """All entries have been given."""
        if self._none:
            if self._last_at - self._first_at > FOUNDED_US:
                self._report.add(Kind.UNPUBLISHED, 0, f"none of {size} entries was ever published")
        else:
            self._restart(size)

    def _restart(self, size: int) -> None:
        if self._worked_us > UNPUBLISHED_US:
            seconds = self._worked_us // SECOND
            said = f"entries {self._since} to {size - 1} came in {seconds} s of work, and nothing was published"
            self._report.add(Kind.UNPUBLISHED, self._since, said)
        self._since, self._worked_us = size, 0


def _speaks_of(entry: bytes, type: str) -> int:  # noqa: A002 - the member's name in the entry
    """How many persons a well-formed entry speaks of."""
    if type in SLICED:
        # Quotes within a canonical string are escaped, so this is the member's name, which only slices have.
        return entry.count(b'"sha256":')
    if type in DIGEST_LISTS:
        return sum(len(parse(entry)[member]) for member in DIGEST_LISTS[type])
    return int(type in ONE_PERSON)
