"""The ledger's statements, at the level of the driver: Core would double their cost for every disclosure.

One text for SQLite and PostgreSQL, but for the parameter mark and the row lock that SQLite does not have
(there the transaction begins with the write lock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete

from broker.errors import Reason, SlussError
from broker.store.driver import change, fetch, parts
from broker.store.engine import reading
from broker.store.tables import RIGHTS, LedgerPerson, core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from broker.ledger.entry import Columns
    from broker.ledger.tiles import TileKey

_TIES = core(LedgerPerson)
MAX_READ = 100
"""Tiles, or entries, asked for in one statement."""


@dataclass(frozen=True, slots=True)
class HeadRow:
    """The head: where the ledger stands and what its last checkpoint says."""

    size: int
    root: bytes
    note: str
    rights: int
    contracts: int


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A stored entry and its search columns; `at` in microseconds since 1970 UTC."""

    index: int
    entry: bytes
    type: str
    contract: str
    recipient: str
    at: int


_HEAD = "SELECT size, root, note, rights, contracts FROM head WHERE id = 1"


def read_head(connection: Connection, *, lock: bool = False) -> HeadRow | None:
    """The head, locked until the transaction's end if `lock`; None before the first entry."""
    locks = lock and connection.dialect.name != "sqlite"
    rows = fetch(connection, _HEAD + " FOR UPDATE" if locks else _HEAD)
    if not rows:
        return None
    size, root, note, rights, contracts = rows[0]
    return HeadRow(size, bytes(root), note, rights, contracts)


def insert_head(connection: Connection, head: HeadRow) -> None:
    """Make the head, unless there is one."""
    text = "INSERT INTO head (id, size, root, note, rights, contracts) VALUES (1, ?, ?, ?, ?, ?)"
    row = (head.size, head.root, head.note, head.rights, head.contracts)
    change(connection, text + " ON CONFLICT (id) DO NOTHING", [row])


def update_head(connection: Connection, head: HeadRow) -> None:
    """Move the head."""
    text = "UPDATE head SET size = ?, root = ?, note = ?, rights = ?, contracts = ? WHERE id = 1"
    change(connection, text, [(head.size, head.root, head.note, head.rights, head.contracts)])


def insert_entries(connection: Connection, first: int, entries: Iterable[tuple[bytes, Columns]]) -> None:
    """Add entries from index `first` on."""
    text = "INSERT INTO ledger_entry (id, entry, type, contract, recipient, at) VALUES (?, ?, ?, ?, ?, ?)"
    rows = [(index, data, *said) for index, (data, said) in enumerate(entries, first)]
    change(connection, text, rows)


def insert_persons(connection: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Note which entries speak of which persons: (person, entry)."""
    change(connection, "INSERT INTO ledger_person (person, entry) VALUES (?, ?)", rows)


def count_persons(connection: Connection, after: tuple[int, int], limit: int) -> list[tuple[int, int, int]]:
    """Of the up to `limit` rows of `ledger_person` behind (person, entry), by entry: entry, rows, highest person."""
    text = (
        "SELECT entry, count(*), max(person) FROM (SELECT person, entry FROM ledger_person"
        " WHERE (person, entry) > (?, ?) ORDER BY person, entry LIMIT ?) AS part GROUP BY entry"
    )
    return fetch(connection, text, [*after, limit])


def read_erased(connection: Connection, after: int, limit: int) -> list[tuple[int, int]]:
    """Up to `limit` numbers of ties that erasures destroyed, behind entry `after`: entry, ties."""
    text = "SELECT entry, ties FROM ledger_erased WHERE entry > ? ORDER BY entry LIMIT ?"
    return fetch(connection, text, (after, limit))


def erase_ties(connection: Connection, person: int) -> int:
    """Destroy what ties a person to entries, and note that it is; how many entries it was.

    Sealed entries don't count: the number stands in the ledger, and would tell that there were some.
    """
    # By the table of their openings, as the entries themselves are large.
    of = (
        " FROM ledger_person WHERE person = ?"
        " AND NOT EXISTS (SELECT 1 FROM sealed_entry WHERE sealed_entry.entry = ledger_person.entry)"
    )
    text = (
        f"INSERT INTO ledger_erased (entry, ties) SELECT entry, 1{of}"
        " ON CONFLICT (entry) DO UPDATE SET ties = ledger_erased.ties + 1"
    )
    ((count,),) = fetch(connection, f"SELECT count(*){of}", [person])
    change(connection, text, [(person,)])
    connection.execute(delete(_TIES).where(_TIES.c.person == person))
    return int(count)


def add_erased(connection: Connection, entries: Sequence[int]) -> None:
    """Note that a tie to each of these entries is destroyed."""
    text = (
        "INSERT INTO ledger_erased (entry, ties) VALUES (?, 1)"
        " ON CONFLICT (entry) DO UPDATE SET ties = ledger_erased.ties + 1"
    )
    change(connection, text, [(entry,) for entry in sorted(entries)])


def write_tiles(connection: Connection, tiles: Mapping[TileKey, bytes]) -> None:
    """Write tiles, replacing the unfinished ones."""
    text = (
        "INSERT INTO ledger_tile (level, id, hashes) VALUES (?, ?, ?)"
        " ON CONFLICT (level, id) DO UPDATE SET hashes = excluded.hashes"
    )
    change(connection, text, [(level, index, hashes) for (level, index), hashes in tiles.items()])


def read_tiles(connection: Connection, keys: Sequence[TileKey]) -> dict[TileKey, bytes]:
    """The tiles asked for; absent ones are left out."""
    found: dict[TileKey, bytes] = {}
    for part in parts(keys, MAX_READ):
        where = " OR ".join(["level = ? AND id = ?"] * len(part))
        text = f"SELECT level, id, hashes FROM ledger_tile WHERE {where}"  # noqa: S608 - holds marks only
        flat = [number for key in part for number in key]
        found.update(((level, index), bytes(data)) for level, index, data in fetch(connection, text, flat))
    return found


def read_entries(
    connection: Connection, start: int, limit: int, equal: Mapping[str, str] | None = None
) -> list[EntryRow]:
    """Up to `limit` entries from index `start` on, in order.

    Args:
        connection: of a transaction.
        start: the first index.
        limit: at most so many.
        equal: values that columns must have; the names are this module's callers' own.
    """
    equal = equal or {}
    where = "".join([f" AND {column} = ?" for column in equal])
    text = (
        "SELECT id, entry, type, contract, recipient, at FROM ledger_entry"  # noqa: S608 - columns are ours
        f" WHERE id >= ?{where} ORDER BY id LIMIT ?"
    )
    rows = fetch(connection, text, [start, *equal.values(), limit])
    return [EntryRow(index, bytes(entry), *rest) for index, entry, *rest in rows]


def read_entry(connection: Connection, index: int) -> EntryRow | None:
    """The entry at an index, if there is one."""
    found = read_entries(connection, index, 1)
    return found[0] if found and found[0].index == index else None


def stored_entries(connection: Connection, indexes: Sequence[int]) -> list[EntryRow]:
    """Those of the entries with these indexes that exist, in no particular order."""
    found: list[EntryRow] = []
    for part in parts(indexes, MAX_READ):
        marks = ", ".join("?" * len(part))
        text = f"SELECT id, entry, type, contract, recipient, at FROM ledger_entry WHERE id IN ({marks})"  # noqa: S608 - marks only
        found += [EntryRow(index, bytes(entry), *rest) for index, entry, *rest in fetch(connection, text, part)]
    return found


def read_standing(
    connection: Connection,
    type: str,  # noqa: A002 - the member's name in the entry
    contract: str,
    recipient: str,
    *,
    last: bool,
    after: int,
) -> list[EntryRow]:
    """Entries about rights with indexes above `after`, oldest first; only the last one if `last`.

    Served by the index over `RIGHTS` alone.
    """
    text = (
        "SELECT id, entry, type, contract, recipient, at FROM ledger_entry"  # noqa: S608 - constants are ours
        f" WHERE {RIGHTS} AND type = ? AND contract = ? AND recipient = ? AND id > ?"
        f" ORDER BY id{' DESC LIMIT 1' if last else ''}"
    )
    rows = fetch(connection, text, [type, contract, recipient, after])
    return [EntryRow(index, bytes(entry), *rest) for index, entry, *rest in rows]


def insert_checkpoint(connection: Connection, size: int, note: str, at: int) -> None:
    """Publish a checkpoint, unless one of its size is published."""
    text = "INSERT INTO ledger_checkpoint (size, note, at) VALUES (?, ?, ?) ON CONFLICT (size) DO NOTHING"
    change(connection, text, [(size, note, at)])


def read_checkpoints(connection: Connection, start: int, limit: int) -> list[tuple[int, str, int]]:
    """Up to `limit` published checkpoints of size `start` or more, in order: size, note, at."""
    text = "SELECT size, note, at FROM ledger_checkpoint WHERE size >= ? ORDER BY size LIMIT ?"
    return [(size, note, at) for size, note, at in fetch(connection, text, [start, limit])]


def last_checkpoint(connection: Connection) -> tuple[int, str] | None:
    """Size and note of the largest published checkpoint."""
    rows = fetch(connection, "SELECT size, note FROM ledger_checkpoint ORDER BY size DESC LIMIT 1")
    return (rows[0][0], rows[0][1]) if rows else None


class ConnectionTiles:
    """Tiles as one transaction sees them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, keys: Sequence[TileKey]) -> Mapping[TileKey, bytes]:
        """As `TileReader.read`."""
        return read_tiles(self._connection, keys)


class EngineTiles:
    """Tiles as the store has them now; full ones never change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, keys: Sequence[TileKey]) -> Mapping[TileKey, bytes]:
        """As `TileReader.read`.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with reading(self._engine) as connection:
            return read_tiles(connection, keys)


def existing(head: HeadRow | None) -> HeadRow:
    """The head, which must be there.

    Raises:
        SlussError: LEDGER_UNAVAILABLE.
    """
    if head is None:
        raise SlussError(Reason.LEDGER_UNAVAILABLE, "the ledger has no first entry yet")
    return head
