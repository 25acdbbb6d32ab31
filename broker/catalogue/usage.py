"""What may be counted: events, their attributes with all values known beforehand, and the rules of answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DAY: Final = "day"
MONTH: Final = "month"
TIMES: Final = frozenset({DAY, MONTH})
"""Dimensions that every event has."""


class Noise(StrEnum):
    """The distribution that noise is drawn from."""

    LAPLACE = "laplace"
    GAUSSIAN = "gaussian"


class Period(StrEnum):
    """How long a privacy budget lasts: the calendar's, UTC."""

    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something to group or filter events by.

    Attributes:
        name: dotted lower-case name, `advertisement`.
        values: all that it can be, ascending: which cells an answer has tells nothing about persons.
        label_en: what people are shown, in English.
        label_sv: the same in Swedish.
    """

    name: str
    values: tuple[str, ...]
    label_en: str
    label_sv: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person used.

    Attributes:
        name: dotted lower-case name, `advertisement.visited`.
        attributes: names of attributes, ascending; each event has them all.
        label_en: what people are shown, in English.
        label_sv: the same in Swedish.
        cells_per_person: so many cells of an answer count a person at most.
        max_events: so many events of a person count in a cell at most.
        max_seconds: so many seconds of a person count in a cell at most; 0 for an event without a duration.
    """

    name: str
    attributes: tuple[str, ...]
    label_en: str
    label_sv: str
    cells_per_person: int
    max_events: int
    max_seconds: int


@dataclass(frozen=True, slots=True)
class AggregateRules:
    """What holds for every question. Epsilon in millionths, chances in thousand-millionths.

    Attributes:
        min_persons: the fewest distinct persons behind a published cell.
        epsilon_micro: what each measure of a question costs.
        delta_nano: what each measure costs besides with Gaussian noise: the delta of its guarantee.
        slip_nano: the chance at which a cell below the minimum is published all the same.
        noise: what is drawn from unless the question says otherwise.
        period: of all budgets but the contracts'.
        budget_micro: what a recipient may spend in a period over all of its contracts; a contract at most as much.
        analysis_micro: what the company's own analysis may spend in a period.
        total_micro: what all of them may spend together in a period.
        closing_days: a day is closed so many days after its end.
        budget_delta_nano: delta of a recipient, like `budget_micro`; 0 for no Gaussian noise.
        analysis_delta_nano: delta of the company's own analysis likewise.
        total_delta_nano: delta of all of them together likewise.
    """

    min_persons: int
    epsilon_micro: int
    delta_nano: int
    slip_nano: int
    noise: Noise
    period: Period
    budget_micro: int
    analysis_micro: int
    total_micro: int
    closing_days: int
    budget_delta_nano: int = 0
    analysis_delta_nano: int = 0
    total_delta_nano: int = 0
