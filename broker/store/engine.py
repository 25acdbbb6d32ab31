"""Opening the store: SQLite or PostgreSQL, so that a commit is durable and trouble is answered within 2 s.

    writing(engine)   a transaction that may write; on SQLite it takes the one write lock at its start
    reading(engine)   a transaction that can't write, never waits for a writer and sees the store as of one moment
    store_errors()    around anything else: driver errors become SlussErrors without the driver's text

What a commit wrote is on the disk when it returns: SQLite runs WAL with synchronous=FULL, PostgreSQL with
synchronous_commit=on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import URL, make_url

from broker.errors import Reason, SlussError
from broker.store.failures import StoreError, store_errors
from broker.store.options import READING
from broker.store.sqlite import open_sqlite, truncate_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

__all__ = ["StoreError", "commit", "open_engine", "reading", "store_errors", "truncate_log", "writing"]

POOL_WAIT_S: Final = 0.3
"""Seconds to wait for a free connection, to keep queues short. What bounds a caller: batching.py, rpc/threads.py."""

_SQLITE: Final = frozenset({"sqlite", "sqlite+pysqlite"})


def open_engine(url: str | URL, *, timeout_s: float = 1.5, pool_size: int = 8) -> Engine:
    """Opens the store at `url`; a missing SQLite file is made, readable by its owner alone.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`.
        timeout_s: seconds after which a lock, an answer or a connection attempt is given up.
        pool_size: connections kept open; three times as many may be open at once.

    Raises:
        SlussError: INVALID_REQUEST for any other kind of URL; LEDGER_UNAVAILABLE if the file can't be made.
    """
    where = make_url(url)
    pool: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 2 * pool_size,
        "pool_timeout": POOL_WAIT_S,
        "hide_parameters": True,
    }
    if where.drivername in _SQLITE and where.database and where.database != ":memory:":
        return open_sqlite(where, timeout_s, pool)
    if where.drivername == "postgresql+psycopg":
        from broker.store.postgres import open_postgres  # noqa: PLC0415 - psycopg is an extra

        return open_postgres(where, timeout_s, pool)
    raise SlussError(Reason.INVALID_REQUEST, "a store is sqlite:///<file> or postgresql+psycopg://<server>")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write: commits on a clean exit, rolls back on an exception.

    Raises:
        SlussError: as `store_errors` says.
    """
    with store_errors(), engine.connect() as connection:
        connection.begin()
        yield connection
        commit(connection)


def commit(connection: Connection) -> None:
    """Commit; after a failure the connection is closed for good.

    A transaction whose commit failed may still be open on it, and another's commit must not complete it.
    """
    try:
        connection.commit()
    except BaseException:
        connection.invalidate()
        raise


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: it takes no write lock, and an attempt to write fails.

    All of it is of one moment, that of the first statement; what is committed meanwhile is seen by the next one.

    Raises:
        SlussError: as `store_errors` says.
    """
    with store_errors(), engine.connect() as connection:
        yield connection.execution_options(**{READING: True})
