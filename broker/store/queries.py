"""Reading persons: the two statements of the hot path, and the look-ups."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import BigInteger, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from broker.contracts import PERSON_ACTIVE, canary_state
from broker.store import tables
from broker.store.options import BULK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Row, Select

PERSON: Final = tables.core(tables.Person)
BLIND_INDEX: Final = tables.core(tables.BlindIndex)
UNIQUE_NUMBER: Final = tables.core(tables.UniqueNumber)
CONTRACT: Final = tables.core(tables.Contract)
EPOCH: Final = tables.core(tables.Epoch)
LEGAL_CASE: Final = tables.core(tables.LegalCase)
CANARY: Final = tables.core(tables.Canary)
ERASURE: Final = tables.core(tables.Erasure)
CASE_FILE: Final = tables.core(tables.CaseFile)

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


def count_on_record(connection: Connection) -> int:
    """How many persons are on record. By the rows of erasures, one for each who was erased: no state has to be read."""
    erased: int = connection.execute(select(func.count()).select_from(ERASURE)).scalar_one()
    return count_persons(connection) - erased


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
