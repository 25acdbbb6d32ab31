"""Corrections: values set, added and removed, on the record that the caller has seen (POLICY 3).

A person who has moved was not wrong before: such an update tells nobody. A rectification does (GDPR Art. 19): whoever
received one of the fields that it names owes the correction, from the same transaction on. A value that was mended
before counts like one that it changes, for those who got the field until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.clock import SECOND
from broker.compromise import locks
from broker.errors import Reason, SlussError
from broker.obligations.owing import owe
from broker.obligations.rules import Kept
from broker.persons import checking, rows
from broker.tracing.former import going
from broker.vault import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from broker.desk import Change
    from broker.obligations.rules import Disclosed
    from broker.persons.model import Correction


def update(change: Change, asked: Correction, known: Sequence[Disclosed] = ()) -> str:
    """Correct a record; the new etag. What is on record already keeps its source and time, and the etag.

    Rights are bumped: a person's data decides which populations the person is in.

    Args:
        change: the transaction.
        asked: what to correct.
        known: of a rectification, the person's disclosures as they were read before the lock, as `owe` takes them.

    Raises:
        SlussError: PERSON_UNKNOWN, ETAG_STALE, PERSON_EXISTS; INVALID_VALUE, FIELD_UNKNOWN, FIELD_FORBIDDEN
            for all faults together; INVALID_REQUEST.
    """
    vault = change.snapshot.vault
    # 1. on which record
    row = rows.active(change.connection, asked.person)
    locks.require_unlocked(change, row.id)
    if asked.etag != str(row.version):
        raise SlussError(Reason.ETAG_STALE, etag=str(row.version))
    # 2. what changes
    stored = vault.open_record(row)
    changes = _changes(change, asked, stored)
    # 3. seal and write, indexes with it
    if changes:
        _write(change, row, stored, changes)
    # 4. who got what was wrong has to correct it
    if asked.rectification:
        named = frozenset([*dict(asked.values), *asked.remove])
        owe(change, row.id, "correct", named, asked.cause, Kept(named - changes.keys(), row.updated_at), known=known)
    return str(row.version + bool(changes))


def changes_nothing(change: Change, asked: Correction) -> bool:
    """Whether all of it is on record already.

    Raises:
        SlussError: as `update`.
    """
    row = rows.active(change.connection, asked.person)
    return not _changes(change, asked, change.snapshot.vault.open_record(row))


def _write(change: Change, row: Row[Any], stored: Mapping[str, Value], changes: Mapping[str, Value | None]) -> None:
    """Write the record; whatever was decided on the old one is decided anew."""
    vault, catalogue = change.snapshot.vault, change.snapshot.catalogue
    sealed = vault.update(row, changes, rows.financial_names(catalogue, vault, row))
    texts = _texts(stored, changes)
    former = going(vault, catalogue, stored, texts)
    changed = rows.ChangedPerson(row.id, row.version, sealed, rows.indexes(vault, catalogue, texts), former)
    if not rows.update_persons(change.connection, [changed], change.now_us):
        raise SlussError(Reason.PERSON_EXISTS, field="customer_number")
    change.tx.bump_rights()


def _changes(change: Change, asked: Correction, stored: Mapping[str, Value]) -> dict[str, Value | None]:
    """What differs from the record.

    Raises:
        SlussError: as `update`.
    """
    catalogue = change.snapshot.catalogue
    checking.check_source(asked.source)
    values = checking.require(catalogue, asked.values)
    for name in asked.remove:
        if name not in stored:
            catalogue.field(name)
    _check_removal(asked, values, checking.number_field(catalogue))
    at = change.now_us // SECOND
    changes: dict[str, Value | None] = {
        name: Value(text, asked.source, at)
        for name, text in values.items()
        if name not in stored or stored[name].text != text
    }
    return changes | dict.fromkeys(name for name in asked.remove if name in stored)


def _check_removal(asked: Correction, values: Mapping[str, str], number: str) -> None:
    if number in asked.remove:
        raise SlussError(Reason.INVALID_REQUEST, f"{number} names the person and can't be removed", field=number)
    both = sorted(values.keys() & set(asked.remove))
    if both:
        raise SlussError(Reason.INVALID_REQUEST, f"{both[0]}: both set and removed", field=both[0])
    if not values and not asked.remove:
        raise SlussError(Reason.INVALID_REQUEST, "values: nothing to set and nothing to remove", field="values")


def _texts(stored: Mapping[str, Value], changes: Mapping[str, Value | None]) -> dict[str, str]:
    return {name: value.text for name, value in {**stored, **changes}.items() if value is not None}
