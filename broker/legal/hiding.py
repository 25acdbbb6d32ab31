"""Entries of a case in the ledger, as they are or, under secrecy, as commitments that can be opened later.

A sealed entry says nothing but its time. What opens it is kept under the case's keys; once the secrecy is over, anybody
can be shown that the ledger held this very entry all the time (FORMAT.md).
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from broker.asks import Opening
from broker.ledger import entry
from broker.ledger.rows import EntryRow
from broker.ledger.standing import differs
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from broker.keeping import CaseKeys
    from broker.ledger.log import Tx

SEALED_ENTRY: Final = tables.core(tables.SealedEntry)
SALT_BYTES: Final = 32


def append(
    tx: Tx, case: str, keys: CaseKeys, data: bytes, *, hidden: bool, persons: Sequence[int] = ()
) -> tuple[int, Opening | None]:
    """Append an entry of a case, sealed while the case is hidden.

    Returns:
        Its index, and what opens it if it is sealed.
    """
    if not hidden:
        return tx.append(data, persons=persons), None
    salt = os.urandom(SALT_BYTES)
    sealed = entry.sealed(tx.at, entry.sealed_commitment(salt, data))
    index = tx.append(sealed, persons=persons)
    kept = keys.seal(_place(index), salt + data)
    tx.connection.execute(insert(SEALED_ENTRY).values(entry=index, case=case, opening=kept))
    return index, Opening(sealed, salt, data)


def stored(row: Row[Any]) -> EntryRow:
    """A row of `ledger_entry` as the ledger's reader has it."""
    return EntryRow(row.id, bytes(row.entry), row.type, row.contract, row.recipient, row.at)


def opened(connection: Connection, case: str, keys: CaseKeys, found: EntryRow) -> tuple[bytes, Opening | None]:
    """An entry of a case as it was written, and what opens it if the ledger holds it sealed.

    Raises:
        SlussError: LEDGER_INCONSISTENT if what is kept is not what the ledger committed to; INTERNAL.
    """
    if found.type != "sealed":
        return found.entry, None
    row = connection.execute(
        select(SEALED_ENTRY.c.opening).where(SEALED_ENTRY.c.entry == found.index, SEALED_ENTRY.c.case == case)
    ).one_or_none()
    if row is None:
        raise differs("case", case=case)
    kept = keys.open(_place(found.index), row.opening)
    opening = Opening(found.entry, kept[:SALT_BYTES], kept[SALT_BYTES:])
    committed = entry.base64url(entry.sealed_commitment(opening.salt, opening.entry))
    if not hmac.compare_digest(committed, _commitment(found.entry)):
        raise differs("case", case=case)
    return opening.entry, opening


def said(connection: Connection, case: str, keys: CaseKeys, found: EntryRow) -> dict[str, Any]:
    """The members of an entry of a case as it was written.

    Raises:
        SlussError: as `opened`.
    """
    return entry.parse(opened(connection, case, keys, found)[0])


def _commitment(sealed: bytes) -> str:
    members: dict[str, Any] = entry.parse(sealed)
    return str(members["commitment"])


def _place(index: int) -> str:
    return f"entry {index}"
