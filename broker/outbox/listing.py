"""What is in the outbox, for operators and the privacy team: how each item stands, without address and contents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker.outbox import holding
from broker.outbox.consumers import FAILED, WAITING, all_of_them, said_of
from broker.outbox.kinds import Failure, Kind
from broker.outbox.queue import ITEM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Row

    from broker.desk import View
    from broker.outbox.consumers import Consumer

_UNDONE: Final = frozenset({WAITING, FAILED})
PART: Final = 200
MOST_PARTS: Final = 10
"""Items that a page looks at, in parts: a rare state makes short pages and no slow ones."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item stands for a consumer; `at` in microseconds since 1970 UTC, 0 while it waits."""

    consumer: str
    state: str
    failure: Failure | None = None
    failures: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """An item in a list; `at`, when it was queued, in microseconds since 1970 UTC.

    `held_back` while it waits for an address that the thief of a credential can't have set (`holding.py`).
    """

    id: int
    kind: Kind
    at: int
    person: int
    standings: tuple[Standing, ...]
    held_back: bool = False


def page(view: View, states: Collection[str], before: int, size: int) -> tuple[list[Listed], int]:
    """A page of items below `before` (0 for all), newest first; and the item to go on below, 0 after the last."""
    found, last = _page(view, states, before, size)
    held = holding.held_back(view, {each.person for each in found})
    waits = {each.id for each in found if any(one.state in _UNDONE for one in each.standings)}
    return [replace(each, held_back=each.person in held and each.id in waits) for each in found], last


def _page(view: View, states: Collection[str], before: int, size: int) -> tuple[list[Listed], int]:
    consumers = all_of_them(view.connection)
    found: list[Listed] = []
    for _ in range(MOST_PARTS):
        query = select(ITEM).order_by(ITEM.c.id.desc()).limit(PART)
        rows = view.connection.execute(query.where(ITEM.c.id < before) if before else query).all()
        said = said_of(view.connection, [row.id for row in rows])
        for row in rows:
            before = row.id
            standings = _standings(row, consumers, said.get(row.id, {}))
            if not states or any(each.state in states for each in standings):
                found.append(Listed(row.id, Kind(row.kind), row.at, row.person, standings))
            if len(found) == size:
                return found, before
        if len(rows) < PART:
            return found, 0
    return found, before


def _standings(row: Row[Any], consumers: Sequence[Consumer], said: Mapping[str, Row[Any]]) -> tuple[Standing, ...]:
    standings = [
        Standing(each.consumer, each.state, Failure(each.reason) if each.reason else None, each.attempts, each.at)
        for each in said.values()
    ]
    if not row.settled_at:
        standings += [Standing(each.name, WAITING) for each in consumers if each.takes(row) and each.name not in said]
    return tuple(sorted(standings, key=lambda each: each.consumer)) or (Standing("", WAITING),)
