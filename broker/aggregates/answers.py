"""From totals to an answer: noise on every cell, and nothing of a cell behind which too few persons may be. Pure rules.

The rule of suppression looks at the noisy number of persons only, so it tells nothing that the noise does not cover:

    published if and only if   noisy persons >= min_persons - 1 + margin

where noise reaches `margin` with the question's small chance (`slip_nano`): a cell with fewer persons than the
minimum is published at that chance at most. What is suppressed, and how much, is part of the noisy answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from broker.aggregates import noise
from broker.aggregates.question import EVENTS, PERSONS, SECONDS
from broker.catalogue.usage import Noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.aggregates.question import Question
    from broker.catalogue.usage import AggregateRules, Event


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of an answer; `values` are empty if it is suppressed."""

    key: Mapping[str, str]
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it is kept: its canonical bytes, and what they say."""

    data: bytes
    cells: tuple[Cell, ...]

    @property
    def released(self) -> int:
        """How many cells are published."""
        return sum(bool(cell.values) for cell in self.cells)

    @property
    def suppressed(self) -> int:
        """How many are not."""
        return len(self.cells) - self.released


def mechanism_of(question: Question, quantity: str) -> noise.Mechanism:
    """The noise for a quantity of a question.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    bound = noise.Bound(question.most(quantity), question.cells_per_person)
    return noise.mechanism(question.noise, bound, question.epsilon_micro, question.delta_nano, question.slip_nano)


def threshold(question: Question) -> int:
    """A cell is published from so many noisy persons on.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    return question.min_persons - 1 + mechanism_of(question, PERSONS).margin


def usual_threshold(event: Event, rules: AggregateRules, min_persons: int) -> int:
    """Likewise for a question about an event with as many cells as count a person, and the catalogue's own noise.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    delta_nano = rules.delta_nano if rules.noise is Noise.GAUSSIAN else 0
    bound = noise.Bound(1, event.cells_per_person)
    return (
        min_persons - 1 + noise.mechanism(rules.noise, bound, rules.epsilon_micro, delta_nano, rules.slip_nano).margin
    )


def draw(question: Question, totals: Mapping[str, Sequence[int]]) -> Answer:
    """An answer, with noise drawn anew.

    Args:
        question: the question.
        totals: quantity -> exact totals of all cells, in order; nothing but the noise looks at them.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    noisy = {name: mechanism_of(question, name).release(totals[name]) for name in question.quantities}
    least = threshold(question)
    cells = [
        _cell(question, key, {name: noisy[name][place] for name in question.quantities}, least)
        for place, key in enumerate(question.cells)
    ]
    scales = {name: f"{mechanism_of(question, name).scale:.6f}" for name in question.quantities}
    body = {"cells": cells, "question": question.document, "scales": scales, "threshold": least}
    return read(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def read(data: bytes) -> Answer:
    """The answer behind its bytes."""
    cells = orjson.loads(data)["cells"]
    return Answer(
        data,
        tuple(
            Cell(each["key"], {name: value for name, value in each.items() if name not in ("key", "suppressed")})
            for each in cells
        ),
    )


def _cell(question: Question, key: Sequence[str], noisy: Mapping[str, int], least: int) -> dict[str, Any]:
    body: dict[str, Any] = {"key": dict(zip(question.group_by, key, strict=True))}
    if noisy[PERSONS] < least:
        return {**body, "suppressed": True}
    shown = {name: max(value, 0) for name, value in noisy.items()}
    if shown.get(EVENTS) and SECONDS in shown:
        shown["mean_milliseconds"] = (1000 * shown[SECONDS] + shown[EVENTS] // 2) // shown[EVENTS]
    return {**body, **shown}
