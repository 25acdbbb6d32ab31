"""Obligations in the store and in the ledger.

A row only finds an obligation. Where it stands is replayed from its entries, each proven to be in the tree under the
head: a row written into the store fulfils nothing, and one cut out of it leaves the obligation open.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, select, update

from broker.clock import day_of
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.rows import existing, read_head, stored_entries
from broker.ledger.standing import Standing, differs
from broker.obligations.rules import Account, replay, step
from broker.obligations.statement import owed_digest
from broker.slice_terms import unbase64
from broker.store import tables
from broker.store.driver import parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from broker.ledger.log import Tx
    from broker.ledger.rows import EntryRow
    from broker.obligations.rules import Kind

OBLIGATION: Final = tables.core(tables.Obligation)
EVENT: Final = tables.core(tables.ObligationEvent)
RETENTION: Final = tables.core(tables.Retention)
SALT_BYTES: Final = 32
OBLIGATION_ID: Final = re.compile(r"O-[0-9]{4}-[0-9]{4,9}")
DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Held:
    """An obligation: where it stands, and what only its recipient is told.

    Attributes:
        account: by its entries.
        number: among all obligations.
        person: id; 0 where there is none, or none any more.
        handle: 16 bytes; empty where there is none, and once it is settled.
        salt: of the digest of what is owed; likewise.
        first: the first entry that it covers.
        cause: the request or complaint that it was made for. Never told to recipients: two of them could join by it.
    """

    account: Account
    number: int
    person: int
    handle: bytes
    salt: bytes
    first: int
    cause: str


@dataclass(frozen=True, slots=True)
class New:
    """What an obligation is made of; `until` is a day, YYYY-MM-DD."""

    kind: Kind
    contract: str
    recipient: str
    until: str
    first: int
    fields: tuple[str, ...] = ()
    person: int = 0
    handle: bytes = b""
    cause: str = ""


def add(tx: Tx, new: New, by: str) -> str:
    """Make an obligation; its id. Under the head's lock, which numbers them."""
    number = (tx.connection.execute(select(func.max(OBLIGATION.c.number))).scalar_one() or 0) + 1
    name = f"O-{day_of(tx.at).year}-{number:04d}"
    salt = secrets.token_bytes(SALT_BYTES)
    digest = owed_digest(
        name,
        new.kind,
        new.contract,
        new.recipient,
        fields=new.fields,
        handle=new.handle,
        salt=salt,
        until=new.until,
        first=new.first,
    )
    made = entry.obligation(
        tx.at,
        "created",
        name,
        new.kind,
        new.contract,
        new.recipient,
        by,
        owed=digest,
        due=new.until,
        fields=new.fields,
    )
    index = tx.append(made)
    tx.connection.execute(
        insert(OBLIGATION).values(
            id=name,
            number=number,
            kind=new.kind,
            contract=new.contract,
            recipient=new.recipient,
            person=new.person,
            handle=new.handle,
            salt=salt,
            fields=orjson.dumps(new.fields).decode(),
            first=new.first,
            cause=new.cause,
            until=new.until,
            due=new.until,
            settled=0,
            moved=index,
        )
    )
    tx.connection.execute(insert(EVENT).values(obligation=name, entry=index))
    tx.bump_rights()
    return name


def log(tx: Tx, held: Held, event: str, by: str, *, due: str = "", **said: Any) -> Held:
    """Append what happened to an obligation; the obligation after it. What settles it destroys handle and salt."""
    before = held.account
    body = entry.obligation(
        tx.at,
        event,
        before.id,
        before.kind,
        before.contract,
        before.recipient,
        by,
        owed=unbase64(before.owed, DIGEST_BYTES),
        due=due or before.due,
        fields=before.fields,
        **said,
    )
    index = tx.append(body)
    after = step(before, index, entry.parse(body))
    moved = replace(held, account=after)
    if after.settled:
        moved = replace(moved, handle=b"", salt=b"")
    row = {"due": after.due, "settled": int(after.settled), "moved": index, "handle": moved.handle, "salt": moved.salt}
    tx.connection.execute(update(OBLIGATION).where(OBLIGATION.c.id == before.id).values(row))
    tx.connection.execute(insert(EVENT).values(obligation=before.id, entry=index))
    tx.bump_rights()
    return moved


def unknown(obligation: str) -> SlussError:
    """The one answer for what does not exist and for what is somebody else's."""
    if not OBLIGATION_ID.fullmatch(obligation):
        return SlussError(Reason.OBLIGATION_UNKNOWN, "no such obligation: its id is such as O-2026-0001")
    return SlussError(Reason.OBLIGATION_UNKNOWN, obligation=obligation)


def load(connection: Connection, obligation: str, standing: Standing) -> Held:
    """An obligation.

    Raises:
        SlussError: OBLIGATION_UNKNOWN; LEDGER_INCONSISTENT if its entries are not what the ledger holds.
    """
    row = None
    if OBLIGATION_ID.fullmatch(obligation):
        row = connection.execute(select(OBLIGATION).where(OBLIGATION.c.id == obligation)).one_or_none()
    if row is None:
        raise unknown(obligation)
    return of_rows(connection, [row], standing)[0]


def of_rows(connection: Connection, rows: Sequence[Row[Any]], standing: Standing) -> list[Held]:
    """The obligations of rows, in order, by their entries.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    accounts = replayed(connection, [row.id for row in rows], standing)
    return [_held(row, accounts[row.id]) for row in rows]


def replayed(connection: Connection, names: Sequence[str], standing: Standing) -> dict[str, Account]:
    """The accounts of obligations by their proven entries. What this transaction appended itself does not count yet.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    size = existing(read_head(connection)).size
    found: dict[str, list[int]] = {name: [] for name in names}
    for part in parts(names):
        query = select(EVENT).where(EVENT.c.obligation.in_(part), EVENT.c.entry < size)
        for row in connection.execute(query.order_by(EVENT.c.entry)):
            found[row.obligation].append(row.entry)
    wanted = sorted({index for indexes in found.values() for index in indexes})
    entries = {row.index: row for row in stored_entries(connection, wanted)}
    if len(entries) != len(wanted):
        raise differs("obligation")
    standing.prove(connection, list(entries.values()))
    said = {index: entry.parse(row.entry) for index, row in entries.items()}
    return {name: replay(name, [(index, said[index]) for index in indexes]) for name, indexes in found.items()}


def _held(row: Row[Any], account: Account) -> Held:
    kept = (row.kind, row.contract, row.recipient, row.due, bool(row.settled))
    if kept != (account.kind, account.contract, account.recipient, account.due, account.settled):
        raise differs("obligation", obligation=row.id)
    return Held(account, row.number, row.person, bytes(row.handle), bytes(row.salt), row.first, row.cause)


def entries_of(connection: Connection, obligation: str) -> list[EntryRow]:
    """The entries about an obligation, oldest first."""
    indexes = connection.execute(select(EVENT.c.entry).where(EVENT.c.obligation == obligation)).scalars()
    return sorted(stored_entries(connection, list(indexes)), key=lambda row: row.index)
