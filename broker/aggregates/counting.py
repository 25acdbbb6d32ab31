"""Exact totals of a question's cells, each person bounded. They never leave the process: noise comes over them first.

    1. which combinations of attributes are in which cell    a small table, read once
    2. slices of persons, each by a statement of its own      within the store's time limit, bounded memory
    3. each person: seconds and events clamped per cell, at most so many cells (`bounded`, pure)
    4. added up

What a person adds depends on that person's events alone: whoever has more cells than count keeps some that a keyed
order picks, whatever others did. So one person moves the totals by no more than the question says.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker.aggregates.question import EVENTS, PERSONS, SECONDS
from broker.aggregates.recording import day_number
from broker.catalogue.usage import DAY, TIMES
from broker.store.driver import fetch
from broker.store.engine import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from broker.aggregates.question import Question

SLICE: Final = 20_000
"""Events in a slice, about: more slices of persons for more events."""
TAGS: Final = 1 << 62
_COUNT: Final = "SELECT COUNT(*) FROM usage_event"
_COMBINATIONS: Final = "SELECT id, attributes FROM usage_combination WHERE event = ?"
_READ: Final = (
    "SELECT person, combination, day, COUNT(*) AS events, SUM(seconds) AS seconds FROM usage_event "
    "WHERE person >= ? AND person < ? AND day BETWEEN ? AND ? GROUP BY person, combination, day ORDER BY person"
)

Row = tuple[int, int, int, int, int]
"""Tag of the person, combination, day, events, seconds."""
Share = dict[int, tuple[int, int]]
"""What a person adds: cell -> events and seconds, clamped."""
Totals = dict[str, list[int]]
"""Quantity -> the totals of all cells."""


def count(engine: Engine, question: Question, stop: Callable[[], None]) -> Totals:
    """The exact totals.

    Args:
        engine: the store.
        question: the question.
        stop: called before each slice; raises if nobody waits for the answer any more.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, and what `stop` raises.
    """
    totals: Totals = {name: [0] * question.size for name in question.quantities}
    first, last = day_number(question.first_day), day_number(question.last_day)
    with reading(engine) as connection:
        cell_of = _cells(connection, question)
        slices = fetch(connection, _COUNT)[0][0] // SLICE + 1
        for number in range(slices):
            stop()
            edges = TAGS * number // slices, TAGS * (number + 1) // slices
            add(totals, fetch(connection, _READ, (*edges, first, last)), question, cell_of)
    return totals


def add(
    totals: Totals, rows: Iterable[Sequence[int]], question: Question, cell_of: Callable[[int, int], int | None]
) -> None:
    """Add the shares of the persons behind rows, which come person by person."""
    for tag, of_person in groupby(rows, key=lambda row: row[0]):
        share = bounded(tag, of_person, question, cell_of)
        for cell, (events, seconds) in share.items():
            totals[PERSONS][cell] += 1
            if EVENTS in totals:
                totals[EVENTS][cell] += events
            if SECONDS in totals:
                totals[SECONDS][cell] += seconds


def bounded(
    tag: int, rows: Iterable[Sequence[int]], question: Question, cell_of: Callable[[int, int], int | None]
) -> Share:
    """What one person adds to the cells: never more cells, events and seconds than the question counts."""
    share: Share = {}
    for _, combination, day, events, seconds in rows:
        cell = cell_of(combination, day)
        if cell is not None:
            before = share.get(cell, (0, 0))
            share[cell] = (
                min(before[0] + int(events), question.max_events),
                min(before[1] + int(seconds), question.max_seconds),
            )
    if len(share) > question.cells_per_person:
        kept = sorted(share, key=lambda cell: _order(question.digest, tag, cell))[: question.cells_per_person]
        share = {cell: share[cell] for cell in kept}
    return share


def _order(digest: bytes, tag: int, cell: int) -> bytes:
    """An order of a person's cells that favours no cell over all persons."""
    return hashlib.blake2b(tag.to_bytes(8, "big") + cell.to_bytes(4, "big"), key=digest, digest_size=8).digest()


def _cells(connection: Connection, question: Question) -> Callable[[int, int], int | None]:
    """Which cell a combination is in on a day; None for what is not asked about."""
    rows = fetch(connection, _COMBINATIONS, (question.event,))
    return cells(question, {row[0]: orjson.loads(row[1]) for row in rows})


def cells(question: Question, combinations: Mapping[int, Mapping[str, str]]) -> Callable[[int, int], int | None]:
    """Which cell a combination of attributes is in on a day; None for what is not asked about."""
    place = {key: number for number, key in enumerate(question.cells)}
    known: dict[tuple[int, str], int | None] = {}
    times = [name for name in question.group_by if name in TIMES]
    texts = _day_texts(question, times[0]) if times else {}

    def cell(combination: int, day: int) -> int | None:
        text = texts.get(day, "")
        name = combination, text
        if name not in known:
            known[name] = _place(question, combinations.get(combination), text, place)
        return known[name]

    return cell


def _day_texts(question: Question, by: str) -> dict[int, str]:
    days: dict[int, str] = {}
    day: date = question.first_day
    while day <= question.last_day:
        days[day_number(day)] = day.isoformat() if by == DAY else day.isoformat()[:7]
        day += timedelta(days=1)
    return days


def _place(
    question: Question, attributes: Mapping[str, str] | None, time: str, place: Mapping[tuple[Any, ...], int]
) -> int | None:
    if attributes is None or not question.admits(attributes):
        return None
    return place.get(tuple(time if name in TIMES else attributes.get(name, "") for name in question.group_by))
