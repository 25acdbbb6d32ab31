"""The history of choices as it is stored, and what of it is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import select

from broker.choices.model import ChoiceMade, Line
from broker.choices.rule import ANY, InForce, merge
from broker.store import tables
from broker.store.driver import parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

CHOICE: Final = tables.core(tables.Choice)


def of_person(connection: Connection, person: int, before: int, limit: int) -> list[Line]:
    """Up to `limit` choices of a person with entries below `before`, newest first."""
    query = select(CHOICE).where(CHOICE.c.person == person, CHOICE.c.entry < before)
    return [_line(row) for row in connection.execute(query.order_by(CHOICE.c.entry.desc()).limit(limit))]


def of_persons(connection: Connection, persons: Sequence[int]) -> dict[int, list[Line]]:
    """All choices of some persons, oldest first, by person."""
    found: dict[int, list[Line]] = {person: [] for person in persons}
    for part in parts(persons):
        query = select(CHOICE).where(CHOICE.c.person.in_(part)).order_by(CHOICE.c.person, CHOICE.c.entry)
        for row in connection.execute(query):
            found[row.person].append(_line(row))
    return found


def _line(row: Row[Any]) -> Line:
    choice = ChoiceMade(row.purpose, row.state, tuple(orjson.loads(row.channels)), row.medium)
    return Line(row.entry, choice, row.source, row.evidence, row.policy, row.chosen_at, row.at)


def in_force(lines: Iterable[Line]) -> InForce:
    """What stands after some choices, whatever their order."""
    made: dict[str, Any] = {}
    for line in lines:
        choice = line.choice
        made[choice.purpose] = merge(made.get(choice.purpose, {}), choice.channels, choice.state, line.chosen_at)
    return made


def deciding(lines: Iterable[Line], made: InForce) -> Mapping[int, tuple[str, ...]]:
    """Entry of a choice in force -> the channels for which it stands, empty for all that have nothing newer.

    Of two equal choices the later entry counts.
    """
    by_key: dict[tuple[str, str], int] = {}
    for line in lines:
        choice = line.choice
        for key in choice.channels or (ANY,):
            stand = made.get(choice.purpose, {}).get(key)
            if stand is not None and stand == (choice.state, line.chosen_at):
                by_key[choice.purpose, key] = max(line.entry, by_key.get((choice.purpose, key), -1))
    found: dict[int, tuple[str, ...]] = {}
    for (_, key), entry in sorted(by_key.items()):
        found[entry] = (*found.get(entry, ()), *([key] if key != ANY else []))
    return found
