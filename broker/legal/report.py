"""The transparency report: requests and releases by ground, country and outcome, counted from the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from broker.keeping import CaseKeys
from broker.ledger.standing import differs
from broker.legal import hiding
from broker.legal.model import Ground
from broker.legal.rows import STEPS, load
from broker.store import tables
from broker.store.queries import LEGAL_CASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from broker.desk import View

ENTRY: Final = tables.core(tables.LedgerEntry)
PAGE: Final = 1_000
OUTCOMES: Final = ("pending", "rejected", "withdrawn", "released", "emergency", "elsewhere")


@dataclass(frozen=True, order=True, slots=True)
class Line:
    """What a row of the report is about."""

    ground: str
    country: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Count:
    """Requests taken in within the period, and persons affected by their releases."""

    requests: int
    persons: int


@dataclass(slots=True)
class _Tally:
    """One case, from its entries up to the end of the period."""

    opened_at: int = -1
    ground: str = ""
    country: str = ""
    state: str = ""
    emergency: bool = False
    elsewhere: bool = False
    released: bool = False
    persons: int = 0

    def take(self, said: dict[str, Any], at: int) -> None:
        """Take in an entry."""
        if said["type"] == "case":
            self._step(said, at)
        elif said["type"] == "release":
            self.released = True
            self.persons += len(said["slices"])
        else:
            self.elsewhere = True
            self.persons += len(said["persons"])

    def _step(self, said: dict[str, Any], at: int) -> None:
        if said["event"] == "opened":
            self.opened_at, self.ground, self.country = at, said["ground"], said["country"]
        self.state = said["state"]
        self.emergency = self.emergency or said["event"] == "emergency"
        self.released = self.released or said["event"] == "release_began"

    @property
    def outcome(self) -> str:
        """The strongest of what happened."""
        if self.emergency:
            return "emergency"
        if self.released:
            return "released"
        if self.elsewhere:
            return "elsewhere"
        return {"rejected": "rejected", "closed": "withdrawn"}.get(self.state, "pending")


def report(view: View, period: tuple[int, int], *, include_hidden: bool) -> list[tuple[Line, Count]]:
    """The rows of the report, in order.

    Args:
        view: to read with.
        period: microseconds since 1970 UTC, the end not included; a case belongs to it by the entry that opened it.
        include_hidden: cases under secrecy too; never for publication.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    requests: Counter[Line] = Counter()
    persons: Counter[Line] = Counter()
    query = select(LEGAL_CASE.c.id, LEGAL_CASE.c.ground, LEGAL_CASE.c["keys"], LEGAL_CASE.c.hidden_until).order_by(
        LEGAL_CASE.c.number
    )
    cases: list[Row[Any]] = list(view.connection.execute(query))
    _require_all(view, {row.id for row in cases})
    for row in cases:
        if row.hidden_until > view.now_us and not include_hidden:
            load(view, row.id)  # what is left out is hidden by the ledger, too
            continue
        tally = _tally(view, row, period[1])
        if period[0] <= tally.opened_at < period[1]:
            line = Line(tally.ground, tally.country, tally.outcome)
            requests[line] += 1
            persons[line] += tally.persons
    return [(line, Count(requests[line], persons[line])) for line in sorted(requests)]


def _require_all(view: View, cases: set[str]) -> None:
    """Refuse to count while a case that the ledger names is missing; of a hidden one it names none."""
    for case in view.connection.execute(select(ENTRY.c.contract).where(STEPS).distinct()).scalars():
        if case not in cases:
            raise differs("case", case=case)


def _tally(view: View, row: Row[Any], end: int) -> _Tally:
    keys = CaseKeys.load(view.snapshot.vault, row.id, row.keys)
    tally = _Tally()
    counted = row.ground == Ground.MERGER
    for found in _entries(view, row.id, releases=not counted):
        if found.at >= end:
            break
        tally.take(hiding.said(view.connection, row.id, keys, hiding.stored(found)), found.at)
    if counted:
        tally.persons += _merged(view, row.id, end)
    return tally


def _merged(view: View, case: str, end: int) -> int:
    """Persons of a release on ground (d), each of whom has an entry of their own: counted, since they may be many."""
    query = select(func.count()).select_from(ENTRY)
    found: int = view.connection.execute(
        query.where(ENTRY.c.contract == case, ENTRY.c.type == "release", ENTRY.c.at < end)
    ).scalar_one()
    return found


def _entries(view: View, case: str, *, releases: bool) -> Iterator[Row[Any]]:
    """The case's entries, plain and sealed, in the order of the ledger; plain releases only if asked for."""
    left_out = ["refusal"] if releases else ["refusal", "release"]
    sealed = select(hiding.SEALED_ENTRY.c.entry).where(hiding.SEALED_ENTRY.c.case == case)
    after = -1
    while True:
        plain = select(ENTRY).where(ENTRY.c.contract == case, ENTRY.c.id > after, ENTRY.c.type.not_in(left_out))
        hidden = select(ENTRY).where(ENTRY.c.id.in_(sealed), ENTRY.c.id > after)
        page = view.connection.execute(plain.union_all(hidden).order_by("id").limit(PAGE)).all()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id
