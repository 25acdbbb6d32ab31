"""Whom the rows of a leaked list speak of, and since when and in which form each value is theirs.

A row finds persons by its addresses and numbers, present and former, over the blind indexes; a canary by its own. With
several of them in one row, it speaks of those whom all agree on, and of everybody found if they agree on nobody. Its
other values are compared with what is on record, in every form in which a contract can grant them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from broker.clock import SECOND
from broker.contracts import PERSON_ACTIVE
from broker.errors import Reason, SlussError, invalid
from broker.ids import person_text
from broker.store.driver import parts
from broker.store.queries import BLIND_INDEX, read_persons
from broker.tracing import canaries, forms
from broker.tracing.canaries import CANARY_INDEX
from broker.tracing.former import FORMER
from broker.tracing.model import FOREVER_US, Claim, FoundRow, FoundValue, Status
from broker.values import index_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row, Table

    from broker.catalogue import Catalogue, Field
    from broker.desk import View
    from broker.tracing.model import Leaked

log = logging.getLogger(__name__)

Key = tuple[str, bytes]
"""Kind and digest of an address or a number."""
MAX_SAME: Final = 20
"""Persons of whom one row can speak: a switchboard's number is of many."""


class _Read:
    """A value of a row as it was read: its normal form, or "" if it is none; its key, if persons are found by it."""

    __slots__ = ("field", "key", "normal", "same", "text")

    def __init__(self, view: View, field: Field, text: str) -> None:
        self.field, self.text = field, text
        self.same = [each.name for each in view.snapshot.catalogue.indexed(field.index)] if field.index else []
        try:
            self.normal = field.accept(text)
        except SlussError:
            self.normal = ""
        form = index_form(field.index, self.normal) if field.index and self.normal else ""
        self.key: Key | None = (field.index, view.snapshot.vault.index_digest(field.index, form)) if form else None


class _Person:
    """Somebody found: their values with the time of collection, of those fields that matter."""

    __slots__ = ("canary", "id", "values")

    def __init__(self, person: int, values: Mapping[str, tuple[str, int]], *, canary: bool) -> None:
        self.id, self.values, self.canary = person, values, canary


def find(view: View, rows: Sequence[Leaked]) -> list[FoundRow]:
    """What the rows speak of.

    Raises:
        SlussError: FIELD_UNKNOWN, FIELD_FORBIDDEN; INVALID_REQUEST for a row that can find nobody; LEDGER_INCONSISTENT
            for a canary that is not as it was planted.
    """
    catalogue = view.snapshot.catalogue
    read = [_read(view, catalogue, row) for row in rows]
    keys = {each.key for row in read for each in row if each.key}
    present = _by_digest(view.connection, BLIND_INDEX, keys)
    former = _by_digest(view.connection, FORMER, keys)
    planted = _by_digest(view.connection, CANARY_INDEX, keys)
    chosen = [_spoken_of(row, present, former, planted) for row in read]
    names = {each.field.name for row in read for each in row}
    people = _people(view, {person for row in chosen for person in row}, names)
    return [
        _found(leaked.row, [people[person] for person in persons if person in people], values, former)
        for leaked, persons, values in zip(rows, chosen, read, strict=True)
    ]


def _read(view: View, catalogue: Catalogue, row: Leaked) -> list[_Read]:
    read = [_Read(view, catalogue.field(name), text) for name, text in row.values]
    if not any(each.field.index for each in read):
        raise invalid("rows", f"row {row.row} has no value of a field that persons are looked up by, such as email")
    return read


def _by_digest(connection: Connection, table: Table, keys: Iterable[Key]) -> dict[Key, list[Row[Any]]]:
    query = select(table).where(table.c.digest.in_(bindparam("digests", expanding=True)))
    digests = sorted({digest for _, digest in keys})
    found: dict[Key, list[Row[Any]]] = {}
    for some in parts(digests):
        for row in connection.execute(query, {"digests": some}):
            found.setdefault((row.kind, bytes(row.digest)), []).append(row)
    return found


def _spoken_of(read: Sequence[_Read], *indexes: Mapping[Key, Sequence[Row[Any]]]) -> list[int]:
    sets = [{row.person for index in indexes for row in index.get(each.key, ())} for each in read if each.key]
    sets = [persons for persons in sets if persons]
    if not sets:
        return []
    return sorted(set.intersection(*sets) or set.union(*sets))[:MAX_SAME]


def _people(view: View, ids: set[int], names: set[str]) -> dict[int, _Person]:
    """Those found who are on record, and canaries; of a person whose row is damaged no values."""
    catalogue, vault = view.snapshot.catalogue, view.snapshot.vault
    kinds = {catalogue.fields[name].index for name in names}
    wanted = sorted(names | {field.name for field in catalogue.fields.values() if field.index and field.index in kinds})
    found = {}
    for person, (_, texts) in canaries.genuine(view, sorted(ids)).items():
        found[person] = _Person(person, {name: (text, 0) for name, text in texts.items()}, canary=True)
    for row in read_persons(view.connection, sorted(ids - found.keys())):
        if row.state != PERSON_ACTIVE:
            continue
        try:
            texts, origins = vault.open_fields(row, wanted, allow_financial=True), vault.metadata(row)
        except SlussError as error:
            if error.reason is not Reason.INTERNAL:
                raise
            log.error("a person's row does not open: %s", person_text(row.id))  # noqa: TRY400 - no values in logs
            texts, origins = {}, {}
        values = {name: (text, origins[name].collected_at * SECOND) for name, text in texts.items()}
        found[row.id] = _Person(row.id, values, canary=False)
    return found


def _found(
    row: int, people: Sequence[_Person], read: Sequence[_Read], former: Mapping[Key, Sequence[Row[Any]]]
) -> FoundRow:
    # What a person on record has as well tells no canary.
    real = [person for person in people if not person.canary] or people
    values = []
    for each in read:
        now = [claim for person in real for claim in _claims(person, each)]
        ids = {person.id for person in real if not person.canary}
        then = [
            Claim(old.person, old.field, frozenset({forms.FULL}), old.since, old.until)
            for old in (former.get(each.key, ()) if each.key else ())
            if old.person in ids
        ]
        status = Status.NOT_DISCLOSED if now or then else _unclaimed(each, known=bool(real))
        values.append(FoundValue(each.field.name, status, [*now, *then], former=bool(then) and not now))
    return FoundRow(row, tuple(person.id for person in real), bool(real) and real[0].canary, values)


def _unclaimed(read: _Read, *, known: bool) -> Status:
    if not read.normal:
        return Status.UNREADABLE
    return Status.DIFFERS if known else Status.UNKNOWN


def _claims(person: _Person, read: _Read) -> list[Claim]:
    """The value as values of the person, in whatever form; an address or a number may be of any field of its kind."""
    field = read.field
    if read.key is not None:
        form = index_form(field.index, read.normal)
        same = [
            Claim(person.id, name, frozenset({forms.FULL}), person.values[name][1])
            for name in read.same
            if name in person.values and index_form(field.index, person.values[name][0]) == form
        ]
        if same:
            return same
    if field.name not in person.values:
        return []
    text, since = person.values[field.name]
    known = forms.knowing(field.type, text, read.normal or read.text) | forms.knowing(field.type, text, read.text)
    hash_of = (field.type, text) if forms.is_hash(read.text) else None
    return [Claim(person.id, field.name, known, since, FOREVER_US, hash_of, read.text)] if known or hash_of else []
