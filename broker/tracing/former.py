"""Digests of values that have been corrected or removed: a leaked old address tells when it was received.

Only of fields that persons are looked up by, and only keyed digests: a former value can be recognised, never read.
They go with the person's erasure (`forget`), and after six years, as long as recipients are accounted for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import delete

from broker.clock import DAY, SECOND
from broker.store import tables
from broker.store.driver import change
from broker.values import index_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from broker.catalogue import Catalogue
    from broker.vault import Value, Vault

FORMER: Final = tables.core(tables.FormerIndex)
KEPT_US: Final = 6 * 366 * DAY
"""45 CFR 164.528 has recipients accounted for over six years."""

_KEEP: Final = (
    "INSERT INTO former_index (kind, digest, person, until, field, since) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (kind, digest, person, until, field) DO NOTHING"
)


class Former(NamedTuple):
    """A value that is going: `since` in microseconds since 1970 UTC."""

    kind: str
    digest: bytes
    field: str
    since: int


def going(
    vault: Vault, catalogue: Catalogue, before: Mapping[str, Value], after: Mapping[str, str]
) -> tuple[Former, ...]:
    """The values of `before` by which a person is looked up and which `after` has no longer, by field."""
    found = []
    for name, value in before.items():
        field = catalogue.fields.get(name)
        if field is None or not field.index:
            continue
        form = index_form(field.index, value.text)
        if name not in after or index_form(field.index, after[name]) != form:
            digest = vault.index_digest(field.index, form)
            found.append(Former(field.index, digest, name, value.collected_at * SECOND))
    return tuple(found)


def keep(connection: Connection, person: int, values: Sequence[Former], until_us: int) -> None:
    """Keep the digests of a person's former values, which were theirs until then."""
    rows = [(each.kind, each.digest, person, until_us, each.field, each.since) for each in values]
    change(connection, _KEEP, rows)


def forget(connection: Connection, person: int) -> None:
    """Forget all former values of a person."""
    connection.execute(delete(FORMER).where(FORMER.c.person == person))


def forget_before(connection: Connection, before_us: int) -> None:
    """Forget what was corrected before then."""
    connection.execute(delete(FORMER).where(FORMER.c.until < before_us))
