"""Reading persons: the two statements of the hot path, the look-ups, and the steps of a key rotation."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import BigInteger, Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from broker.contracts import PERSON_ACTIVE, canary_state
from broker.keeping import PRIVATE
from broker.store import tables
from broker.store.engine import reading, writing
from broker.store.options import BULK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, Connection, Engine, Row, Select, Table

    from broker.vault import Vault

PERSON: Final = tables.core(tables.Person)
BLIND_INDEX: Final = tables.core(tables.BlindIndex)
UNIQUE_NUMBER: Final = tables.core(tables.UniqueNumber)
CONTRACT: Final = tables.core(tables.Contract)
EPOCH: Final = tables.core(tables.Epoch)
LEGAL_CASE: Final = tables.core(tables.LegalCase)
CANARY: Final = tables.core(tables.Canary)
CASE_FILE: Final = tables.core(tables.CaseFile)

CASE_KEYS: Final = (
    (LEGAL_CASE, "keys", ""),
    (tables.core(tables.LegalHold), "keys", ""),
    (tables.core(tables.PersonRequest), "keys", ""),
    (CASE_FILE, "keys", ""),
    (CASE_FILE, "private_keys", PRIVATE),
)
"""Where keys of cases are kept, and what follows the row's id in the name that they are bound to (keeping.py)."""

Columns = tuple["Column[Any]", ...]

FOR_DISCLOSURE: Final[Columns] = tuple(
    PERSON.c[name] for name in ("id", "state", "keys", "financial_keys", "record", "choices", "accepted")
)
"""The columns that a disclosure needs."""

WHOLE: Final[Columns] = tuple(PERSON.c)

CHUNK: Final = 1000
"""Persons in one statement: an answer stays within a few megabytes and the time limit."""


def read_persons(connection: Connection, ids: Sequence[int], columns: Columns = FOR_DISCLOSURE) -> list[Row[Any]]:
    """The rows of those of `ids` that exist, erased ones among them, in no particular order.

    Raises:
        SQLAlchemyError: inside `reading` or `writing` it leaves as LEDGER_UNAVAILABLE.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    statement = _by_ids(columns, is_sqlite=is_sqlite)
    rows: list[Row[Any]] = []
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids[start : start + CHUNK])
        rows += connection.execute(statement, {"ids": orjson.dumps(chunk).decode() if is_sqlite else chunk})
    return rows


@lru_cache
def _by_ids(columns: Columns, *, is_sqlite: bool) -> Select[Any]:
    """All ids in one parameter: one text of SQL for any number of them, and no limit on variables."""
    if is_sqlite:
        ids = func.json_each(bindparam("ids", type_=Text)).table_valued("value")
        return select(*columns).where(PERSON.c.id.in_(select(ids.c.value)))
    among = PERSON.c.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))
    return select(*columns).where(among).execution_options(**{BULK: True})


def persons_after(connection: Connection, last_id: int, limit: int, contract: str = "") -> list[Row[Any]]:
    """The next `limit` active persons by id; start with 0, go on with the last row's id.

    Args:
        connection: to read with.
        last_id: the id before the first.
        limit: at most so many.
        contract: whose canaries are among them; without one, none is.

    Raises:
        SQLAlchemyError: inside `reading` or `writing` it leaves as LEDGER_UNAVAILABLE.
    """
    wanted = {"last": last_id, "limit": limit, "canary": canary_state(contract)}
    return list(connection.execute(_page(), wanted))


def count_persons(connection: Connection, contract: str = "") -> int:
    """How many persons there are to look at for a contract, erased ones among them; canaries of others are none."""
    persons: int = connection.execute(select(func.count()).select_from(PERSON)).scalar_one()
    others = select(func.count()).select_from(CANARY).where(CANARY.c.contract != contract)
    hidden: int = connection.execute(others).scalar_one()
    return persons - hidden


@lru_cache
def _page() -> Select[Any]:
    seen = PERSON.c.state.in_([PERSON_ACTIVE, bindparam("canary", type_=Text)])
    after = select(*FOR_DISCLOSURE).where(PERSON.c.id > bindparam("last"), seen)
    return after.order_by(PERSON.c.id).limit(bindparam("limit")).execution_options(**{BULK: True})


def find_persons(connection: Connection, kind: str, digest: bytes) -> list[int]:
    """The ids of the persons with this blind-index digest (see `Vault.index_digest`), oldest id first.

    Raises:
        SQLAlchemyError: inside `reading` or `writing` it leaves as LEDGER_UNAVAILABLE.
    """
    found = select(BLIND_INDEX.c.person).where(BLIND_INDEX.c.kind == kind, BLIND_INDEX.c.digest == digest)
    return list(connection.execute(found.order_by(BLIND_INDEX.c.person)).scalars())


def rewrap_all(engine: Engine, vault: Vault) -> int:
    """After a rotation: puts every wrapped key under its ring's newest version; counts the rows changed.

    Works in short transactions beside normal traffic and can be broken off and run again. A key that changes
    meanwhile, or is destroyed by an erasure, is left as it then is. The ring's old version may be taken away
    only after a run that returns 0.

    Raises:
        SlussError: LEDGER_UNAVAILABLE; INTERNAL for a key that was altered in the store.
    """
    changed = sum(_rewrap_page(engine, vault, page) for page in _pages(engine))
    with writing(engine) as connection:
        for row in connection.execute(select(CONTRACT.c.id, CONTRACT.c.handle_key)).all():
            fresh = vault.rewrap_handle_key(row.id, row.handle_key)
            changed += _replace(connection, CONTRACT, row, {"handle_key": fresh})
        for table, column, suffix in CASE_KEYS:
            kept = select(table.c.id, table.c[column]).where(table.c[column] != b"")
            for row in connection.execute(kept).all():
                fresh = vault.rewrap_case_keys(f"{row.id}{suffix}", getattr(row, column))
                changed += _replace(connection, table, row, {column: fresh})
        for row in connection.execute(select(EPOCH.c.id, EPOCH.c.secret)).all():
            changed += _replace(connection, EPOCH, row, {"secret": vault.rewrap_epoch(row.id, row.secret)})
    return changed


def _pages(engine: Engine) -> Iterator[list[Row[Any]]]:
    columns = tuple(PERSON.c[name] for name in ("id", "state", "keys", "financial_keys"))
    last = 0
    while True:
        with reading(engine) as connection:
            page = list(
                connection.execute(select(*columns).where(PERSON.c.id > last).order_by(PERSON.c.id).limit(CHUNK))
            )
        if not page:
            return
        yield page
        last = page[-1].id


def _rewrap_page(engine: Engine, vault: Vault, page: Sequence[Row[Any]]) -> int:
    fresh = [(row, dict(zip(("keys", "financial_keys"), vault.rewrap(row), strict=True))) for row in page]
    stale = [(row, keys) for row, keys in fresh if (row.keys, row.financial_keys) != tuple(keys.values())]
    if not stale:
        return 0
    with writing(engine) as connection:
        return sum(_replace(connection, PERSON, row, keys) for row, keys in stale)


def _replace(connection: Connection, table: Table, row: Any, fresh: dict[str, bytes]) -> int:
    """Writes `fresh` over what `row` was read with; 0 if the row has changed since, or need not change."""
    if all(getattr(row, name) == value for name, value in fresh.items()):
        return 0
    unchanged = [table.c[name] == getattr(row, name) for name in fresh]
    return connection.execute(update(table).where(table.c.id == row.id, *unchanged).values(**fresh)).rowcount
