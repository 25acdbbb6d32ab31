"""A trace, step by step; each step is one short transaction, however long the list.

    1. find       part by part: whom its rows speak of (finding.py)
    2. tie        what recipients got of them, page by page (ties.py)
    3. settle     the part's values: who had received each; persons are forgotten but for their ids
    4. hold       once for all: of how many persons each recipient had received anything
    5. conclude   how likely each is; the trace's entry is in the ledger before anything is answered

One object is one trace of one caller. What it keeps of a row are ids and bits, so that the longest list fits.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from broker.errors import invalid
from broker.ids import PERSON_BITS
from broker.ledger import entry
from broker.store.queries import count_persons
from broker.tracing.finding import find
from broker.tracing.likelihood import Pattern, posterior
from broker.tracing.model import MAX_ROWS, Claim, FoundRow, FoundValue, Recipient, Status, Summary, Traced
from broker.tracing.ties import START, Ties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.desk import Change, View
    from broker.tracing.model import Leaked, Tracing
    from broker.tracing.ties import Got, Place

PART: Final = 200
"""Rows of one part."""
TIES_READ: Final = 5_000
"""Ties of one step: each is done well within the time of a call."""
HELD_READ: Final = 10_000
HELD_STEPS: Final = 40
"""Ties of everybody that are counted for what recipients hold; with more of them it is estimated."""

Claimed = dict[int, list[tuple[FoundValue, Claim]]]
Row = tuple[int, bool, bool]
"""Who had received all of it, whether it is of a canary, whether it is of anybody."""


class Trace:
    """A trace of a list.

    Attributes:
        asked: why, and of when.
        rows: those traced so far, in order.
    """

    def __init__(self, asked: Tracing) -> None:
        self.asked = asked
        self.rows: list[Traced] = []
        self._ties = Ties(asked.before_us)
        self._part: list[FoundRow] = []
        self._claimed: Claimed = {}
        self._place: Place = START
        self._all: Counter[Row] = Counter()
        self._once: Counter[Row] = Counter()
        self._counted: set[tuple[int, ...]] = set()
        self._undisclosed = 0
        self._held: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._held_at: Place = START
        self._held_whole = False

    # --- 1 to 3 -----------------------------------------------------------------------------------

    def begin_part(self, view: View, rows: Sequence[Leaked]) -> None:
        """Step 1, of up to `PART` rows.

        Raises:
            SlussError: as `find`; INVALID_REQUEST beyond the longest list.
        """
        if len(self.rows) + len(rows) > MAX_ROWS:
            raise invalid("rows", f"at most {MAX_ROWS:,}")
        self._part = find(view, rows)
        self._claimed, self._place = {}, START
        for row in self._part:
            for value in row.values:
                for claim in value.claims:
                    self._claimed.setdefault(claim.person, []).append((value, claim))

    def tie(self, view: View) -> bool:
        """Step 2, a page; whether that was the last one of the part."""
        if not self._claimed:
            return True
        page = self._ties.page(view, self._claimed.keys(), self._place, TIES_READ)
        for person, index, got in page:
            self._place = person, index
            for value, claim in self._claimed[person]:
                if got.holds(claim) or self._ties.is_hash(view, got, claim):
                    value.got.add((got.source, claim.field, got.fields[claim.field]))
                    self._saw(got)
        return len(page) < TIES_READ

    def _saw(self, got: Got) -> None:
        source = self._ties.sources[got.source]
        source.first_at = min(source.first_at, got.at)
        source.last_at = max(source.last_at, got.at)
        source.retain_until = max(source.retain_until, got.retain_until)

    def end_part(self) -> None:
        """Step 3."""
        for row in self._part:
            for value in row.values:
                if value.got:
                    value.status = Status.RECEIVED
            self._settle(row)
        self._part, self._claimed = [], {}

    def _settle(self, row: FoundRow) -> None:
        masks = [value.mask for value in row.values if value.claims]
        wholly = partly = 0
        if masks:
            wholly = masks[0]
            for mask in masks:
                wholly, partly = wholly & mask, partly | mask
        for value in row.values:
            for bit in _bits(value.mask):
                self._ties.sources[bit].values += 1
            for bit, field, transform in value.got:
                self._ties.sources[bit].forms[field, transform] += 1
        for bit in _bits(partly):
            source = self._ties.sources[bit]
            source.rows += wholly >> bit & 1
            source.rows_partly += not wholly >> bit & 1
            source.canaries += row.canary
        self._undisclosed += row.canary and not partly
        pattern = wholly, row.canary, bool(row.persons)
        self._all[pattern] += 1
        # A person who stands in the list twice is one draw of it; whom nobody knows may be many.
        if not row.persons or row.persons not in self._counted:
            self._once[pattern] += 1
            self._counted.add(row.persons)
        values = tuple((value.field, value.status, value.mask, value.former) for value in row.values)
        self.rows.append(Traced(row.row, row.persons, row.canary, values))

    # --- 4 ----------------------------------------------------------------------------------------

    def hold(self, view: View) -> bool:
        """Step 4, a page; whether that was the last one.

        Ids are random, so whoever comes first in their order is a fair sample of all.
        """
        page = self._ties.held(view, self._held_at, HELD_READ)
        for row in page:
            self._held_at = row.person, row.id
            bit = self._ties.bit(row.under)
            if bit >= 0 and self._last.get(bit) != row.person:
                self._last[bit] = row.person
                self._held[bit] = self._held.get(bit, 0) + 1
        self._held_whole = len(page) < HELD_READ
        return self._held_whole

    def _hold_all(self) -> None:
        share = 1.0 if self._held_whole else self._held_at[0] / (1 << PERSON_BITS)
        for bit, source in enumerate(self._ties.sources):
            source.held = max(round(self._held.get(bit, 0) / share), source.rows, 1)
            source.estimated = not self._held_whole

    # --- 5 ----------------------------------------------------------------------------------------

    def conclude(self, change: Change) -> Summary:
        """Step 5.

        Raises:
            SlussError: INVALID_REQUEST for an empty list.
        """
        if not self.rows:
            raise invalid("rows", "none came")
        self._hold_all()
        persons = count_persons(change.connection)
        sources = self._ties.sources
        once = [Pattern(mask, count, canary, known) for (mask, canary, known), count in self._once.items()]
        found, elsewhere = posterior(once, [source.held for source in sources], max(persons, 1), self.asked.assumed)
        for source, likelihood in zip(sources, found, strict=True):
            source.likelihood = likelihood
        order = sorted((bit for bit, source in enumerate(sources) if source.values), key=self._rank)
        recipients = self._recipients(order)
        values = sum(len(row.values) for row in self.rows)
        asked, by = self.asked, change.principal.name
        index = change.tx.append(entry.trace(change.now_us, values, len(recipients), by, asked.reason))
        return Summary(
            entry=index,
            rows=len(self.rows),
            values=values,
            found=sum(bool(row.persons) for row in self.rows),
            received=sum(count for key, count in self._all.items() if key[0]),
            canaries=sum(row.canary for row in self.rows),
            canaries_undisclosed=self._undisclosed,
            persons=persons,
            sources=sources,
            order=order,
            recipients=recipients,
            elsewhere=elsewhere,
            assumed=asked.assumed,
        )

    def _rank(self, bit: int) -> tuple[float, int, int, str]:
        source = self._ties.sources[bit]
        return -source.likelihood, -source.canaries, -source.rows, source.contract or source.case

    def _recipients(self, order: Sequence[int]) -> list[Recipient]:
        sources = self._ties.sources
        bits: dict[str, list[int]] = {}
        for bit in order:
            bits.setdefault(sources[bit].who, []).append(bit)
        whole = sum(count for key, count in self._all.items() if key[2])
        found = []
        for name, own in bits.items():
            mask = sum(1 << bit for bit in own)
            rows = sum(count for key, count in self._all.items() if key[0] & mask)
            likelihood = sum(sources[bit].likelihood for bit in own)
            found.append(Recipient(name, rows, rows == whole, likelihood))
        return sorted(found, key=lambda each: (-each.likelihood, -each.rows, each.name))


def _bits(mask: int) -> Iterable[int]:
    """The places of the bits that are set."""
    place = 0
    while mask:
        if mask & 1:
            yield place
        mask >>= 1
        place += 1
