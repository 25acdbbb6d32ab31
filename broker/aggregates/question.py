"""A question about usage, and the one form by which it is known again whatever the order it is asked in. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker.catalogue.forbidden import is_technical_identifier
from broker.catalogue.usage import DAY, MONTH, TIMES, Noise
from broker.clock import SECOND, day_of, start_of
from broker.errors import Reason, SlussError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.catalogue import Catalogue
    from broker.catalogue.usage import AggregateRules, Event

VERSION: Final = 1
PERSONS: Final = "persons"
EVENTS: Final = "events"
SECONDS: Final = "seconds"
MEAN: Final = "mean_seconds"
QUANTITIES: Final[Mapping[str, frozenset[str]]] = {
    PERSONS: frozenset({PERSONS}),
    EVENTS: frozenset({PERSONS, EVENTS}),
    SECONDS: frozenset({PERSONS, SECONDS}),
    MEAN: frozenset({PERSONS, EVENTS, SECONDS}),
}
"""Measure -> the quantities that are drawn for it: persons always, since they decide what is published."""
MAX_CELLS: Final = 4_096
MAX_GROUPS: Final = 3
MAX_DAYS: Final = 3_660


@dataclass(frozen=True, slots=True)
class Cost:
    """What is spent, or may be: both add up, whatever is asked and in whatever order."""

    micro: int = 0
    """Millionths of epsilon."""
    delta_nano: int = 0
    """Thousand-millionths of delta."""

    def covers(self, cost: Cost) -> bool:
        """Whether so much may still be spent."""
        return self.micro >= cost.micro and self.delta_nano >= cost.delta_nano


FREE: Final = Cost()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was asked."""

    event: str
    measures: tuple[str, ...]
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    first_day: date
    last_day: date
    noise: Noise | None = None


@dataclass(frozen=True)
class Question:
    """A question in its one form, with all that its answer depends on.

    Attributes:
        event: the event.
        quantities: what is drawn, ascending.
        group_by: dimensions, ascending.
        filters: dimension -> its values, both ascending; none that names all values.
        domain: the values of each dimension of `group_by`, in the same order.
        first_day: the first day, UTC.
        last_day: the last.
        noise: the distribution.
        epsilon_micro: of each quantity.
        delta_nano: of each quantity; 0 for Laplace.
        slip_nano: the chance at which a cell below the minimum is published.
        min_persons: the minimum.
        cells_per_person: so many cells count a person at most.
        max_events: so many events of a person count in a cell.
        max_seconds: so many seconds likewise.
    """

    event: str
    quantities: tuple[str, ...]
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    domain: tuple[tuple[str, ...], ...]
    first_day: date
    last_day: date
    noise: Noise
    epsilon_micro: int
    delta_nano: int
    slip_nano: int
    min_persons: int
    cells_per_person: int
    max_events: int
    max_seconds: int

    @property
    def cost(self) -> Cost:
        """What answering it costs: quantities compose by addition."""
        return Cost(self.epsilon_micro * len(self.quantities), self.delta_nano * len(self.quantities))

    @property
    def size(self) -> int:
        """How many cells it has."""
        return prod(map(len, self.domain))

    def most(self, quantity: str) -> int:
        """By how much one person can move a quantity of one cell."""
        return {PERSONS: 1, EVENTS: self.max_events, SECONDS: self.max_seconds}[quantity]

    @cached_property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Every cell, by its values in the order of `group_by`."""
        return tuple(product(*self.domain))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The question for the answer and for its digest."""
        domain = orjson.dumps(self.domain)
        return {
            "bounds": {
                "cells_per_person": self.cells_per_person,
                "max_events": self.max_events,
                "max_seconds": self.max_seconds,
            },
            "delta_nano": self.delta_nano,
            "domain_sha256": hashlib.sha256(domain).hexdigest(),
            "epsilon_micro": self.epsilon_micro,
            "event": self.event,
            "filters": {name: list(values) for name, values in self.filters},
            "first_day": self.first_day.isoformat(),
            "group_by": list(self.group_by),
            "last_day": self.last_day.isoformat(),
            "min_persons": self.min_persons,
            "noise": str(self.noise),
            "quantities": list(self.quantities),
            "slip_nano": self.slip_nano,
            "v": VERSION,
        }

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of its canonical JSON (RFC 8785): two questions with one digest are one question."""
        return hashlib.sha256(orjson.dumps(self.document, option=orjson.OPT_SORT_KEYS)).digest()

    def admits(self, attributes: Mapping[str, str]) -> bool:
        """Whether an event with these attributes is asked about."""
        return all(attributes.get(name) in values for name, values in self.filters)


def canonical(asked: Asked, catalogue: Catalogue, min_persons: int) -> Question:
    """The one form of a question.

    Args:
        asked: the question.
        catalogue: events, attributes and rules in force.
        min_persons: what the contract demands; the catalogue's minimum holds if it is larger.

    Raises:
        SlussError: FIELD_UNKNOWN for an event or a dimension, TECHNICAL_IDENTIFIER for a dimension that identifies a
            device, INVALID_REQUEST for anything else, with the field.
    """
    event = catalogue.event(asked.event)
    rules = required_rules(catalogue)
    group_by = _groups(asked, event)
    filters = _filters(asked, event, catalogue)
    quantities = _quantities(asked.measures, event)
    _check_days(asked)
    domain = tuple(_values(name, asked, filters, catalogue) for name in group_by)
    size = prod(map(len, domain))
    if size > MAX_CELLS:
        raise invalid("group_by", f"{size:,} cells; at most {MAX_CELLS:,}: filter, or group by less")
    noise = asked.noise or rules.noise
    return Question(
        event=event.name,
        quantities=quantities,
        group_by=group_by,
        filters=tuple(sorted(filters.items())),
        domain=domain,
        first_day=asked.first_day,
        last_day=asked.last_day,
        noise=noise,
        epsilon_micro=rules.epsilon_micro,
        delta_nano=rules.delta_nano if noise is Noise.GAUSSIAN else 0,
        slip_nano=rules.slip_nano,
        min_persons=max(min_persons, rules.min_persons),
        cells_per_person=min(event.cells_per_person, size),
        max_events=event.max_events,
        max_seconds=event.max_seconds,
    )


def required_rules(catalogue: Catalogue) -> AggregateRules:
    """The rules of answers.

    Raises:
        SlussError: FIELD_UNKNOWN where the catalogue counts nothing.
    """
    if catalogue.rules is None:
        raise SlussError(Reason.FIELD_UNKNOWN, "the catalogue has nothing that is counted", field="event")
    return catalogue.rules


def _groups(asked: Asked, event: Event) -> tuple[str, ...]:
    names = asked.group_by
    if len(names) > MAX_GROUPS or len(set(names)) < len(names):
        raise invalid("group_by", f"at most {MAX_GROUPS}, each once")
    if set(names) >= TIMES:
        raise invalid("group_by", "day or month, not both")
    for name in names:
        if name not in TIMES:
            _known(name, event, "group_by")
    return tuple(sorted(names))


def _known(name: str, event: Event, field: str) -> None:
    if is_technical_identifier(name):
        raise SlussError(Reason.TECHNICAL_IDENTIFIER, field=field)
    if name not in event.attributes:
        told = f"{event.name} has the dimensions {', '.join(event.attributes) or 'day and month only'}"
        raise SlussError(Reason.FIELD_UNKNOWN, told, field=field)


def _filters(asked: Asked, event: Event, catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, values in asked.filters:
        if name in TIMES:
            raise invalid("filters", "days are filtered by first_day and last_day")
        _known(name, event, "filters")
        if name in found:
            raise invalid("filters", "a dimension stands twice")
        known = catalogue.attributes[name].values
        if not values or len(set(values)) < len(values) or not set(values) <= set(known):
            raise invalid("filters", f"{name}: values of the catalogue, at least one, each once")
        found[name] = tuple(sorted(values))
    # A filter that lets everything through asks the same as none.
    return {name: values for name, values in found.items() if values != catalogue.attributes[name].values}


def _quantities(measures: Sequence[str], event: Event) -> tuple[str, ...]:
    if not measures or len(set(measures)) < len(measures):
        raise invalid("measures", f"{', '.join(QUANTITIES)}: at least one, each once")
    found: set[str] = set()
    for measure in measures:
        if measure not in QUANTITIES:
            raise invalid("measures", f"one of {', '.join(QUANTITIES)}")
        found |= QUANTITIES[measure]
    if SECONDS in found and not event.max_seconds:
        raise invalid("measures", f"{event.name} has no duration")
    return tuple(sorted(found))


def _check_days(asked: Asked) -> None:
    first, last = asked.first_day, asked.last_day
    if last < first:
        raise invalid("last_day", "before the first day")
    if (last - first).days >= MAX_DAYS:
        raise invalid("last_day", f"at most {MAX_DAYS:,} days")
    if MONTH in asked.group_by and (first.day != 1 or (last + timedelta(days=1)).day != 1):
        raise invalid("first_day", "grouped by month, the days are whole months")


def _values(name: str, asked: Asked, filters: Mapping[str, tuple[str, ...]], catalogue: Catalogue) -> tuple[str, ...]:
    if name in TIMES:
        days = (asked.last_day - asked.first_day).days + 1
        texts = ((asked.first_day + timedelta(days=n)).isoformat() for n in range(days))
        return tuple(dict.fromkeys(text if name == DAY else text[:7] for text in texts))
    return filters.get(name, catalogue.attributes[name].values)


def last_closed_day(now_us: int, closing_days: int) -> date:
    """The last day that may be asked about: it ended `closing_days` days ago, UTC."""
    return day_of(now_us) - timedelta(days=closing_days + 1)


def require_closed(question: Question, now_us: int, closing_days: int) -> None:
    """All days are over, and what came late has come.

    Raises:
        SlussError: PERIOD_NOT_CLOSED with the last day that is closed, and when the question can be asked.
    """
    closed = last_closed_day(now_us, closing_days)
    if question.last_day > closed:
        opens = question.last_day + timedelta(days=closing_days + 1)
        wait = start_of(opens) // SECOND - now_us // SECOND
        raise SlussError(Reason.PERIOD_NOT_CLOSED, last_closed_day=closed.isoformat(), retry_after_s=str(max(wait, 1)))
