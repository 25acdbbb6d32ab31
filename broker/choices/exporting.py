"""The choices in force of all persons, as rows of a preference list: imported again, they change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from broker import own_keys
from broker.choices import history
from broker.choices.importing import BY_PERSON
from broker.choices.rule import covers
from broker.choices.showing import in_force_of
from broker.ids import person_text
from broker.persons.lookup import look_up_form
from broker.persons.model import ACTIVE
from broker.store.queries import BLIND_INDEX, read_persons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.choices.model import Line
    from broker.desk import View

PAGE: Final = 250
"""Persons in a page: each is read well within the time of a call."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A choice in force and whose it is: `kind` and `key` as in `ListRow`."""

    kind: str
    key: str = field(repr=False)
    line: Line


def page(view: View, after: int, kind: str, purpose: str) -> tuple[list[Exported], int]:
    """The choices in force of the next persons with ids above `after`, and the last one's id; 0 at the end.

    Args:
        view: of a caller who may see values, if `kind` asks for them.
        after: the id to go on behind.
        kind: `customer_number` or `email` to name persons by it where they have one that is nobody else's; empty for
            ids.
        purpose: only choices on it and below it; empty for all.

    Raises:
        SlussError: PURPOSE_UNKNOWN.
    """
    if purpose:
        view.snapshot.catalogue.purpose(purpose)
    persons = select(history.CHOICE.c.person).distinct().where(history.CHOICE.c.person > after)
    ids = list(view.connection.execute(persons.order_by(history.CHOICE.c.person).limit(PAGE)).scalars())
    lines = history.of_persons(view.connection, ids)
    rows = [row for row in read_persons(view.connection, ids) if row.state == ACTIVE]
    names = _names(view, rows, kind)
    found = []
    for row in sorted(rows, key=lambda each: each.id):
        named = (kind, names[row.id]) if row.id in names else (BY_PERSON, person_text(row.id))
        standing = in_force_of(own_keys.choices(view.snapshot.vault, row), lines[row.id])
        found += [Exported(*named, line) for line in standing if not purpose or covers(purpose, line.choice.purpose)]
    return found, ids[-1] if len(ids) == PAGE else 0


def _names(view: View, rows: Sequence[Row[Any]], kind: str) -> dict[int, str]:
    """How persons are named by a kind of index; not those who share it: imported again, it would be for all of them."""
    fields: Sequence[str] = [each.name for each in view.snapshot.catalogue.indexed(kind)] if kind else ()
    if not fields:
        return {}
    found = {}
    for row in rows:
        values = view.snapshot.vault.open_fields(row, fields, allow_financial=False)
        value = next((values[name] for name in fields if name in values), "")
        if value:
            found[row.id] = (
                value,
                view.snapshot.vault.index_digest(kind, look_up_form(view.snapshot.catalogue, kind, value)),
            )
    digests = [digest for _, digest in found.values()]
    shared = (
        select(BLIND_INDEX.c.digest)
        .where(BLIND_INDEX.c.kind == kind, BLIND_INDEX.c.digest.in_(digests))
        .group_by(BLIND_INDEX.c.digest)
        .having(func.count() > 1)
    )
    others = {bytes(digest) for digest in view.connection.execute(shared).scalars()}
    return {person: value for person, (value, digest) in found.items() if digest not in others}
