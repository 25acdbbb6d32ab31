"""Persons for a scope, and what a scope would release. All values are shown masked."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broker import transforms
from broker.contracts import PersonFacts, population_holds
from broker.errors import Reason, SlussError
from broker.legal import rules
from broker.legal.releasing import within
from broker.persons import lookup
from broker.store.queries import count_persons, persons_after, read_persons
from broker.values import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.contracts import FieldGrant
    from broker.desk import View
    from broker.legal.model import Ground, Scope

NAMES: Final = ("name.display", "name.given", "name.family")
SHOWN: Final = (*NAMES, "email", "phone", "address.city")
"""Fields by which a person is told apart, masked."""
PAGE: Final = 500
MAX_FOUND: Final = 1_000
MIN_NEEDLE: Final = 2
MAX_NEEDLE: Final = 200
PREVIEWED: Final = 10_000
SAMPLE: Final = 10


@dataclass(frozen=True, slots=True)
class Masked:
    """A person with some values, masked: (field, masked value)."""

    person: int
    values: list[tuple[str, str]]


@dataclass(slots=True)
class Preview:
    """What a scope would release: counts of persons, of unknown ones, and per field; the first persons, masked."""

    persons: int = 0
    unknown: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    sample: list[Masked] = field(default_factory=list)
    partial: bool = False


def by_index(view: View, kind: str, text: str) -> list[Masked]:
    """The persons behind an address or a number, at most 100.

    Raises:
        SlussError: INVALID_VALUE.
    """
    rows = read_persons(view.connection, lookup.look_up(view, kind, text))
    return [masked(view, row, SHOWN) for row in sorted(rows, key=lambda row: int(row.id))]


def on_record(view: View) -> int:
    """How many persons there are to look at."""
    return count_persons(view.connection)


def by_name(view: View, needle: str, after: int) -> tuple[list[Masked], int, int]:
    """Persons of one page whose name has `needle` in it: those found, how many were looked at, the last one's id."""
    rows = persons_after(view.connection, after, PAGE)
    found = [masked(view, row, SHOWN) for row in rows if any(needle in name for name in _names(view, row))]
    return found, len(rows), rows[-1].id if rows else 0


def folded(text: str) -> str:
    """A name without case and accents, for comparison (Unicode NFKD, marks taken away), with single spaces."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.casefold()).casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def checked_needle(text: str) -> str:
    """A part of a name as it is looked for.

    Raises:
        SlussError: INVALID_REQUEST for one of fewer than 2 or more than 200 printable characters.
    """
    try:
        needle = folded(validate("text", text, max_length=MAX_NEEDLE))
    except SlussError:
        needle = ""
    if not MIN_NEEDLE <= len(needle) <= MAX_NEEDLE:
        raise SlussError(Reason.INVALID_REQUEST, f"name: 2 to {MAX_NEEDLE} printable characters", field="name")
    return needle


def masked(view: View, row: Row[Any], names: Sequence[str]) -> Masked:
    """Some of a person's values, masked; financial ones too, since masked they tell next to nothing."""
    catalogue, vault = view.snapshot.catalogue, view.snapshot.vault
    known = [name for name in names if name in catalogue.fields]
    values = vault.open_fields(row, known, allow_financial=True)
    return Masked(
        row.id,
        [
            (name, transforms.apply("masked", values[name], type=catalogue.field(name).type))
            for name in known
            if name in values
        ],
    )


def preview(view: View, scope: Scope, ground: Ground) -> Preview:
    """What a scope would release now; of a population, what its first 10,000 persons would.

    Raises:
        SlussError: as `rules.check_scope`.
    """
    rules.check_scope(scope, ground, view.snapshot.catalogue)
    found = Preview(counts={granted.field: 0 for granted in scope.fields})
    if scope.population is None:
        rows = [row for row in read_persons(view.connection, list(scope.persons)) if row.state == "active"]
        found.unknown = len(scope.persons) - len(rows)
        _count(view, scope, sorted(rows, key=lambda row: int(row.id)), found)
        return found
    looked_at = last = 0
    while looked_at < PREVIEWED:
        rows = persons_after(view.connection, last, PAGE)
        _count(view, scope, [row for row in rows if _in_population(view, scope, row)], found)
        looked_at += len(rows)
        if len(rows) < PAGE:
            return found
        last = rows[-1].id
    found.partial = bool(persons_after(view.connection, last, 1))
    return found


def _count(view: View, scope: Scope, rows: Sequence[Row[Any]], found: Preview) -> None:
    found.persons += len(rows)
    for row in rows:
        present = within(view.snapshot.vault, row, scope)
        for granted in scope.fields:
            found.counts[granted.field] += granted.field in present
        if len(found.sample) < SAMPLE:
            found.sample.append(masked(view, row, _present(scope.fields, present)))


def _present(fields: Sequence[FieldGrant], present: frozenset[str]) -> list[str]:
    return [granted.field for granted in fields if granted.field in present]


def _in_population(view: View, scope: Scope, row: Row[Any]) -> bool:
    vault = view.snapshot.vault
    facts = PersonFacts(
        id=row.id,
        active=True,
        choices={},
        value=lambda name: vault.open_fields(row, (name,), allow_financial=False).get(name),
    )
    return scope.population is not None and population_holds(scope.population, facts)


def _names(view: View, row: Row[Any]) -> tuple[str, str]:
    """The name as it is displayed, and given and family name together."""
    values = view.snapshot.vault.open_fields(row, NAMES, allow_financial=False)
    both = " ".join(values[name] for name in NAMES[1:] if name in values)
    return folded(values.get("name.display", "")), folded(both)
