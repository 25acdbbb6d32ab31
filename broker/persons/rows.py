"""Persons, customer numbers and blind indexes in the store.

Whoever changes an existing person holds the head's lock; a new one needs none. Two claims to one customer number
meet at the primary key of `unique_number`, whatever process they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, select, tuple_, update

from broker.errors import Reason, SlussError
from broker.own_keys import choices_text
from broker.persons.checking import NUMBER
from broker.persons.model import ACTIVE
from broker.store.driver import change, fetch, parts
from broker.store.queries import BLIND_INDEX, PERSON, UNIQUE_NUMBER, WHOLE, read_persons
from broker.tracing.former import keep as keep_former
from broker.values import index_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from broker.catalogue import Catalogue
    from broker.tracing.former import Former
    from broker.vault import SealedRecord, Vault, WholePersonRow

FIRST_VERSION: Final = 1
REQUEST_OWNER: Final = 0
"""No person has this id: fingerprints under it are of requests."""

Index = tuple[str, bytes]
"""Kind and digest."""

_CLAIM: Final = "INSERT INTO unique_number (digest, person) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
_INSERT_INDEX: Final = "INSERT INTO blind_index (kind, digest, person) VALUES (?, ?, ?)"
_COLUMNS: Final = (
    "id", "state", "version", "keys", "financial_keys", "record", "choices", "fingerprint", "created_at",
    "updated_at", "accepted",
)  # fmt: skip
_INSERT_PERSON: Final = f"INSERT INTO person ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constants


class Kept(NamedTuple):
    """A sealed record with its owner: the columns that the vault reads."""

    id: int
    keys: bytes
    financial_keys: bytes
    record: bytes
    fingerprint: bytes
    choices: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A person to insert, who has chosen nothing yet; `accepted` as its column holds it, `indexes` are the digests."""

    kept: Kept
    indexes: frozenset[Index]
    accepted: str | None = None

    @property
    def id(self) -> int:
        """The person's id."""
        return self.kept.id


def kept(vault: Vault, person: int, sealed: SealedRecord, state: str = "") -> Kept:
    """A sealed record as it is inserted, with the MAC of having chosen nothing; `state` is a canary's."""
    owner = Kept(person, *sealed, choices="", state=state)
    return owner._replace(choices=choices_text(vault.person_secret(owner), {}))


@dataclass(frozen=True, slots=True)
class ChangedPerson:
    """A person to update from `version` to the next; `indexes` None leaves the indexes as they are.

    `former` are the values that go with it and by which the person was looked up.
    """

    id: int
    version: int
    sealed: SealedRecord
    indexes: frozenset[Index] | None
    former: tuple[Former, ...] = ()


def active(connection: Connection, person: int) -> Row[Any]:
    """All columns of a person who is on record.

    Raises:
        SlussError: PERSON_UNKNOWN, for an erased person too.
    """
    for row in read_persons(connection, [person], WHOLE):
        if row.state == ACTIVE:
            return row
    raise SlussError(Reason.PERSON_UNKNOWN)


def indexes(vault: Vault, catalogue: Catalogue, values: Mapping[str, str]) -> frozenset[Index]:
    """The digests by which a person with these values is looked up."""
    found = set()
    for name, value in values.items():
        field = catalogue.fields.get(name)
        if field is not None and field.index:
            found.add((field.index, vault.index_digest(field.index, index_form(field.index, value))))
    return frozenset(found)


def financial_names(catalogue: Catalogue, vault: Vault, row: WholePersonRow | None = None) -> frozenset[str]:
    """The fields to seal under the financial ring: the catalogue's, and what stands under it in the record.

    A field that left the catalogue keeps its protection (POLICY 4).
    """
    names = {field.name for field in catalogue.fields.values() if field.financial}
    if row is not None:
        names.update(name for name, origin in vault.metadata(row).items() if origin.financial)
    return frozenset(names)


def request_body(vault: Vault, call: str, *parts: object) -> bytes:
    """A keyed digest of what a request asked for: a plain one could be tried against guessed values.

    Args:
        vault: holds the key.
        call: keeps the requests of different calls apart.
        parts: whatever JSON can hold.
    """
    return vault.fingerprint(REQUEST_OWNER, {"call": call, "parts": orjson.dumps(parts).decode()})


def insert_persons(connection: Connection, persons: Sequence[NewPerson], now_us: int) -> bool:
    """Insert new persons with their numbers and indexes; False if a number is another person's: roll back then.

    Numbers are claimed in order, so that two transactions never wait for each other.
    """
    if not _claim(connection, sorted((number, person.id) for person in persons for number in _numbers(person.indexes))):
        return False
    rows = [
        (
            person.id,
            ACTIVE,
            FIRST_VERSION,
            person.kept.keys,
            person.kept.financial_keys,
            person.kept.record,
            person.kept.choices,
            person.kept.fingerprint,
            now_us,
            now_us,
            person.accepted,
        )
        for person in persons
    ]
    change(connection, _INSERT_PERSON, rows)
    change(connection, _INSERT_INDEX, sorted((*index, person.id) for person in persons for index in person.indexes))
    return True


def update_persons(connection: Connection, persons: Sequence[ChangedPerson], now_us: int) -> bool:
    """Update persons, under the head's lock; False if a number is another person's: roll back then."""
    moved = [person for person in persons if person.indexes is not None]
    if moved and not _move_indexes(connection, moved):
        return False
    for person in persons:
        keep_former(connection, person.id, person.former, now_us)
    connection.execute(
        update(PERSON)
        .where(PERSON.c.id == bindparam("of"))
        .values(
            version=bindparam("next"),
            financial_keys=bindparam("fin"),
            record=bindparam("rec"),
            fingerprint=bindparam("print"),
            updated_at=now_us,
        ),
        [
            {
                "of": person.id,
                "next": person.version + 1,
                "fin": person.sealed.financial_keys,
                "rec": person.sealed.record,
                "print": person.sealed.fingerprint,
            }
            for person in persons
        ],
    )
    return True


def by_numbers(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Row[Any]]:
    """The persons registered under customer numbers, whatever their state, by the numbers' digests."""
    found = {}
    joined = UNIQUE_NUMBER.join(PERSON, PERSON.c.id == UNIQUE_NUMBER.c.person)
    query = select(UNIQUE_NUMBER.c.digest, *WHOLE).select_from(joined)
    query = query.where(UNIQUE_NUMBER.c.digest.in_(bindparam("digests", expanding=True)))
    for some in parts(digests):
        for row in connection.execute(query, {"digests": list(some)}):
            found[row.digest] = row
    return found


def _numbers(digests: frozenset[Index]) -> list[bytes]:
    return [digest for kind, digest in digests if kind == NUMBER]


def _claim(connection: Connection, claims: Sequence[tuple[bytes, int]]) -> bool:
    """Take customer numbers; waits for another transaction that is taking one. Whether all are these persons' now."""
    change(connection, _CLAIM, claims)
    wanted = dict(claims)
    query = select(UNIQUE_NUMBER).where(UNIQUE_NUMBER.c.digest.in_(bindparam("digests", expanding=True)))
    digests = list(wanted)
    for some in parts(digests):
        for row in connection.execute(query, {"digests": some}):
            if row.person != wanted.pop(row.digest):
                return False
    return not wanted


def _move_indexes(connection: Connection, persons: Sequence[ChangedPerson]) -> bool:
    wanted = {(kind, digest, person.id) for person in persons for kind, digest in person.indexes or ()}
    present = _present(connection, [person.id for person in persons])
    added, gone = sorted(wanted - present), sorted(present - wanted)
    if not _claim(connection, [(digest, person) for kind, digest, person in added if kind == NUMBER]):
        return False
    if gone:
        key = tuple_(BLIND_INDEX.c.kind, BLIND_INDEX.c.digest, BLIND_INDEX.c.person)
        for some in parts(gone):
            connection.execute(delete(BLIND_INDEX).where(key.in_(some)))
        numbers = [digest for kind, digest, _ in gone if kind == NUMBER]
        connection.execute(delete(UNIQUE_NUMBER).where(UNIQUE_NUMBER.c.digest.in_(numbers)))
    change(connection, _INSERT_INDEX, added)
    return True


def _present(connection: Connection, persons: Sequence[int]) -> set[tuple[str, bytes, int]]:
    columns = BLIND_INDEX.c.kind, BLIND_INDEX.c.digest, BLIND_INDEX.c.person
    rows: set[tuple[str, bytes, int]] = set()
    for part in parts(persons):
        found = connection.execute(select(*columns).where(BLIND_INDEX.c.person.in_(part)))
        rows.update((row.kind, bytes(row.digest), row.person) for row in found)
    return rows


def versions(connection: Connection, persons: Sequence[int]) -> dict[int, int]:
    """The versions of those of the persons who are active."""
    found = {}
    for part in parts(persons):
        query = select(PERSON.c.id, PERSON.c.version).where(PERSON.c.id.in_(part), PERSON.c.state == ACTIVE)
        found.update({row.id: row.version for row in connection.execute(query)})
    return found


def rights(connection: Connection) -> int:
    """The count of `head.rights`, as this transaction sees it."""
    return int(fetch(connection, "SELECT rights FROM head WHERE id = 1")[0][0])
