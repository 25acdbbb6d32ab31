"""Keys that the store keeps wrapped under a ring: how many are under which version, and a rotation's second half.

Every such column is named in `PLACES`; a test compares them with the tables.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, func, select, update

from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.keeping import PRIVATE
from broker.keys.provider import EPOCHS, FINANCIAL, RECORDS
from broker.ledger.rows import read_head
from broker.store import tables
from broker.store.engine import StoreError, reading, writing
from broker.store.queries import CASE_FILE, CONTRACT, EPOCH, LEGAL_CASE, PERSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Row, Select, Table

    from broker.vault import Vault

CHUNK: Final = 1000
"""Rows in one statement."""
PART: Final = 200
"""Rows that are changed in one transaction: it holds the head's lock, and nobody waits for more."""
ATTEMPTS: Final = 5
"""How often a transaction is tried that did not get the lock in its time: brokers are at work."""
VERSION_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Columns of a table with wrapped keys.

    Attributes:
        table: the table; its key is `id`.
        columns: column -> the ring.
        rewrap: gives the columns' keys under the newest versions, in their order.
        bound: columns besides that the keys are bound to.
    """

    table: Table
    columns: Mapping[str, str]
    rewrap: Callable[[Vault, Row[Any]], Sequence[bytes]]
    bound: tuple[str, ...] = ()


def _case(table: Table, column: str, suffix: str) -> Place:
    """Keys of a case, bound to its name and what follows it (keeping.py)."""
    return Place(
        table,
        {column: RECORDS},
        lambda vault, row: [_or_none(row, column, lambda blob: vault.rewrap_case_keys(f"{row.id}{suffix}", blob))],
    )


def _or_none(row: Row[Any], column: str, rewrap: Callable[[bytes], bytes]) -> bytes:
    """Nothing stays nothing: keys that an erasure has destroyed."""
    blob: bytes = getattr(row, column)
    return blob and rewrap(blob)


PLACES: Final = (
    Place(
        PERSON,
        {"keys": RECORDS, "financial_keys": FINANCIAL},
        lambda vault, row: vault.rewrap(row),
        bound=("state",),
    ),
    Place(CONTRACT, {"handle_key": RECORDS}, lambda vault, row: [vault.rewrap_handle_key(row.id, row.handle_key)]),
    Place(EPOCH, {"secret": EPOCHS}, lambda vault, row: [vault.rewrap_epoch(row.id, row.secret)]),
    _case(LEGAL_CASE, "keys", ""),
    _case(tables.core(tables.LegalHold), "keys", ""),
    _case(tables.core(tables.PersonRequest), "keys", ""),
    _case(CASE_FILE, "keys", ""),
    _case(CASE_FILE, "private_keys", PRIVATE),
)


@dataclass(slots=True)
class Rewrapped:
    """What a rewrapping did.

    Attributes:
        changed: rows whose keys are under the newest version now, and were not.
        broken: the persons, or `<table> <id>`, whose keys were altered; they stay as they are.
    """

    changed: int = 0
    broken: list[str] = field(default_factory=list)


def rewrap_all(engine: Engine, vault: Vault) -> Rewrapped:
    """After a rotation: put every wrapped key under its ring's newest version.

    Works in short transactions beside normal traffic and can be broken off and run again. A key that changes
    meanwhile, or is destroyed by an erasure, is left as it then is: `counted` says what is left.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
    """
    done = Rewrapped()
    for place in PLACES:
        for page in _pages(engine, place.table, [place.table.c[name] for name in (*place.columns, *place.bound)]):
            _rewrap_page(engine, vault, place, page, done)
    return done


def counted(engine: Engine) -> dict[str, Counter[int]]:
    """How many wrapped keys are under which version: ring -> version -> number.

    Raises:
        SlussError: LEDGER_UNAVAILABLE.
    """
    found: dict[str, Counter[int]] = {ring: Counter() for ring in (RECORDS, FINANCIAL, EPOCHS)}
    for place in PLACES:
        heads = [_head(place.table, name) for name in place.columns]
        for page in _pages(engine, place.table, heads):
            for name, ring in place.columns.items():
                # Of no bytes at all, SQLite says NULL.
                found[ring].update(int.from_bytes(head, "big") for row in page if (head := getattr(row, name)))
    return found


def _head(table: Table, column: str) -> Any:
    return func.substr(table.c[column], 1, VERSION_BYTES, type_=LargeBinary).label(column)


def _pages(engine: Engine, table: Table, columns: Sequence[Any]) -> Iterator[list[Row[Any]]]:
    query: Select[Any] = select(table.c.id, *columns).order_by(table.c.id).limit(CHUNK)
    page: list[Row[Any]] = []
    while True:
        with reading(engine) as connection:
            page = list(connection.execute(query.where(table.c.id > page[-1].id) if page else query))
        if not page:
            return
        yield page


def _rewrap_page(engine: Engine, vault: Vault, place: Place, page: Sequence[Row[Any]], done: Rewrapped) -> None:
    stale = [(row, fresh) for row in page if (fresh := _fresh(vault, place, row, done))]
    for start in range(0, len(stale), PART):
        done.changed += _replace_all(engine, place.table, stale[start : start + PART])


def _replace_all(engine: Engine, table: Table, stale: Sequence[tuple[Row[Any], Mapping[str, bytes]]]) -> int:
    """Writes what is fresh, under the head's lock, as whoever else writes several rows: else the two could deadlock."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with writing(engine) as connection:
                read_head(connection, lock=True)
                return sum(_replace(connection, table, row, fresh) for row, fresh in stale)
        except StoreError:
            if attempt == ATTEMPTS:
                raise
    raise StoreError


def _fresh(vault: Vault, place: Place, row: Row[Any], done: Rewrapped) -> dict[str, bytes]:
    """The row's keys under the newest versions; nothing if they are there."""
    try:
        fresh = dict(zip(place.columns, place.rewrap(vault, row), strict=True))
    except SlussError as error:
        if error.reason is not Reason.INTERNAL:
            raise
        done.broken.append(_named(place.table, row.id))
        return {}
    return fresh if any(getattr(row, name) != value for name, value in fresh.items()) else {}


def _named(table: Table, found: Any) -> str:
    if table is PERSON:
        return person_text(found)
    return f"{table.name} {found.hex() if isinstance(found, bytes) else found}"


def _replace(connection: Connection, table: Table, row: Row[Any], fresh: Mapping[str, bytes]) -> int:
    """Writes `fresh` over what `row` was read with; 0 if the row has changed since."""
    unchanged = [table.c[name] == getattr(row, name) for name in fresh]
    return connection.execute(update(table).where(table.c.id == row.id, *unchanged).values(**fresh)).rowcount
