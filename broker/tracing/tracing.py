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
from broker.store.queries import count_on_record
from broker.tracing.finding import find
from broker.tracing.likelihood import Pattern, posterior
from broker.tracing.model import MAX_ROWS, Claim, FoundRow, FoundValue, Recipient, Status, Summary, Traced
from broker.tracing.ties import START, Ties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.desk import Change, View
    from broker.tracing.model import Leaked, Tracing
    from broker.tracing.ties import Got, Place

PART: Final = 200
"""Rows of one part."""
TIES_READ: Final = 5_000
"""Ties of one step: each is done well within the time of a call."""
MAX_TRIED: Final = 20
"""Different values of a financial field that one list may have of one person."""
HELD_READ: Final = 10_000
HELD_STEPS: Final = 40
"""Ties of everybody that are counted for what recipients hold; with more of them it is estimated."""

Claimed = dict[int, list[tuple[FoundValue, Claim]]]
Row = tuple[int, int, bool, bool]
"""Sources of all of it, recipients of all of it under whatever contracts, whether it is of a canary, or of anybody."""


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
        self._drawn: dict[tuple[int, ...], Row] = {}
        self._strangers: Counter[Row] = Counter()
        self._undisclosed = 0
        self._tried: dict[tuple[int, str], set[int]] = {}
        self._held = _Holdings()
        self._held_together = _Holdings()
        self._held_at: Place = START
        self._held_whole = False

    # --- 1 to 3 -----------------------------------------------------------------------------------

    def begin_part(self, view: View, rows: Sequence[Leaked]) -> None:
        """Step 1, of up to `PART` rows.

        Raises:
            SlussError: as `find`; INVALID_REQUEST beyond the longest list, or for too many financial values of one
                person.
        """
        if len(self.rows) + len(rows) > MAX_ROWS:
            raise invalid("rows", f"at most {MAX_ROWS:,}")
        self._part = find(view, rows)
        self._tell_guessing(view, rows)
        self._claimed, self._place = {}, START
        for row in self._part:
            for value in row.values:
                for claim in value.claims:
                    self._claimed.setdefault(claim.person, []).append((value, claim))

    def _tell_guessing(self, view: View, rows: Sequence[Leaked]) -> None:
        """A list of guesses would tell a card's number to who may see its last digits only."""
        fields = view.snapshot.catalogue.fields
        for row, found in zip(rows, self._part, strict=True):
            for name, text in row.values:
                if not fields[name].financial:
                    continue
                for person in found.persons:
                    tried = self._tried.setdefault((person, name), set())
                    tried.add(hash(text))
                    if len(tried) > MAX_TRIED:
                        raise invalid("rows", f"row {row.row}: at most {MAX_TRIED} values of {name} of one person")

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
        wholly = partly = together = 0
        if masks:
            wholly, together = masks[0], self._recipients_of(masks[0])
            for mask in masks:
                wholly, partly, together = wholly & mask, partly | mask, together & self._recipients_of(mask)
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
        pattern = wholly, together, row.canary, bool(row.persons)
        self._all[pattern] += 1
        if row.persons:
            # Who stands there twice is one draw of the list, with all that is said; whom nobody knows may be many.
            before = self._drawn.get(row.persons, pattern)
            self._drawn[row.persons] = before[0] & wholly, before[1] & together, row.canary, True
        else:
            self._strangers[pattern] += 1
        values = tuple((value.field, value.status, value.mask, value.former) for value in row.values)
        self.rows.append(Traced(row.row, row.persons, row.canary, values))

    def _recipients_of(self, mask: int) -> int:
        return sum(1 << who for who in {self._ties.whose[bit] for bit in _bits(mask)})

    # --- 4 ----------------------------------------------------------------------------------------

    def hold(self, view: View) -> bool:
        """Step 4, a page; whether that was the last one.

        Ids are random, so whoever comes first in their order is a fair sample of all.
        """
        page = self._ties.held(view, self._held_at, HELD_READ)
        for row in page:
            self._held_at = row.person, row.id
            bit = self._ties.bit(row.under)
            if bit >= 0:
                self._held.add(bit, row.person)
                self._held_together.add(self._ties.whose[bit], row.person)
        self._held_whole = len(page) < HELD_READ
        return self._held_whole

    def _hold_all(self) -> None:
        share = 1.0 if self._held_whole else self._held_at[0] / (1 << PERSON_BITS)
        for bit, source in enumerate(self._ties.sources):
            source.held = self._no_fewer(round(self._held.of(bit) / share), 0, bit)
            source.estimated = not self._held_whole

    def _no_fewer(self, held: int, place: int, bit: int) -> int:
        """An estimate, or more if more persons of the list alone are held; `place` is that of the mask with the bit."""
        if self._held_whole:
            return max(held, 1)
        return max(held, sum(draw[place] >> bit & 1 for draw in self._drawn.values()), 1)

    def _together(self) -> tuple[dict[int, int], list[int]]:
        """Recipients with several contracts, with the bits of all these together; and how many persons those hold."""
        whose = self._ties.whose
        several = sorted(who for who, contracts in Counter(whose).items() if contracts > 1)
        share = 1.0 if self._held_whole else self._held_at[0] / (1 << PERSON_BITS)
        held = []
        for who in several:
            least = max(source.held for source, its in zip(self._ties.sources, whose, strict=True) if its == who)
            held.append(max(self._no_fewer(round(self._held_together.of(who) / share), 1, who), least))
        return {who: len(whose) + place for place, who in enumerate(several)}, held

    # --- 5 ----------------------------------------------------------------------------------------

    def conclude(self, change: Change) -> Summary:
        """Step 5.

        Raises:
            SlussError: INVALID_REQUEST for an empty list.
        """
        if not self.rows:
            raise invalid("rows", "none came")
        self._hold_all()
        persons = count_on_record(change.connection)
        sources = self._ties.sources
        likelihoods, elsewhere = self._likelihoods(persons)
        order = sorted((bit for bit, source in enumerate(sources) if source.values), key=self._rank(likelihoods))
        recipients = self._recipients(order, likelihoods)
        values = sum(len(row.values) for row in self.rows)
        asked, by = self.asked, change.principal.name
        index = change.tx.append(entry.trace(change.now_us, values, len(recipients), by, asked.reason))
        return Summary(
            entry=index,
            rows=len(self.rows),
            values=values,
            found=sum(bool(row.persons) for row in self.rows),
            received=sum(count for key, count in self._all.items() if key[1]),
            canaries=sum(row.canary for row in self.rows),
            canaries_undisclosed=self._undisclosed,
            persons=persons,
            sources=sources,
            order=order,
            recipients=recipients,
            elsewhere=elsewhere,
            assumed=asked.assumed,
        )

    def _likelihoods(self, persons: int) -> tuple[list[float], float]:
        """How likely each recipient is, by its number, and how likely none of them; tells its sources theirs."""
        sources, whose = self._ties.sources, self._ties.whose
        places, held = self._together()
        once = []
        for (mask, together, canary, known), count in (Counter(self._drawn.values()) + self._strangers).items():
            as_one = sum(1 << place for who, place in places.items() if together >> who & 1)
            once.append(Pattern(mask | as_one, count, canary, known))
        found, elsewhere = posterior(
            once, [*(source.held for source in sources), *held], [*whose, *places], max(persons, 1), self.asked.assumed
        )
        likelihoods = [0.0] * len({*whose})
        for who, likelihood in zip([*whose, *places], found, strict=True):
            likelihoods[who] += likelihood
        for source, likelihood in zip(sources, found, strict=False):
            source.likelihood = likelihood
        return likelihoods, elsewhere

    def _rank(self, likelihoods: Sequence[float]) -> Callable[[int], tuple[float, float, int, int, str]]:
        def rank(bit: int) -> tuple[float, float, int, int, str]:
            source, whole = self._ties.sources[bit], likelihoods[self._ties.whose[bit]]
            return -whole, -source.likelihood, -source.canaries, -source.rows, source.contract or source.case

        return rank

    def _recipients(self, order: Sequence[int], likelihoods: Sequence[float]) -> list[Recipient]:
        names = {self._ties.whose[bit]: self._ties.sources[bit].who for bit in order}
        whole = sum(count for key, count in self._all.items() if key[3])
        found = []
        for who, name in names.items():
            rows = sum(count for key, count in self._all.items() if key[1] >> who & 1)
            found.append(Recipient(name, rows, rows == whole, likelihoods[who]))
        return sorted(found, key=lambda each: (-each.likelihood, -each.rows, each.name))


class _Holdings:
    """How many persons each of some holds; their ties come person by person."""

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()
        self._last: dict[int, int] = {}

    def add(self, whose: int, person: int) -> None:
        """A tie."""
        if self._last.get(whose) != person:
            self._last[whose] = person
            self._count[whose] += 1

    def of(self, whose: int) -> int:
        """How many so far."""
        return self._count[whose]


def _bits(mask: int) -> Iterable[int]:
    """The places of the bits that are set."""
    place = 0
    while mask:
        if mask & 1:
            yield place
        mask >>= 1
        place += 1
