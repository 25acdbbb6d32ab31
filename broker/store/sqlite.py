"""SQLite as a store: one file, one writer at a time, any number of readers beside it."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event

from broker.store.failures import StoreError, store_errors
from broker.store.options import READING

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.pool import ConnectionPoolEntry

_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",  # WAL with NORMAL would lose the last commits with the power
    "PRAGMA fullfsync=ON",
    "PRAGMA checkpoint_fullfsync=ON",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # erased data is overwritten, not left in free pages
    "PRAGMA temp_store=MEMORY",
    "PRAGMA trusted_schema=OFF",
)


def open_sqlite(where: URL, timeout_s: float, pool: dict[str, Any]) -> Engine:
    """Opens the file named by `where`; makes it, with mode 0600, if it is missing.

    Raises:
        StoreError: the file is missing and can't be made.
    """
    path = Path(where.database or "").absolute()
    _create_private(path)
    options = {"timeout": timeout_s, "isolation_level": None, "cached_statements": 512}
    engine = create_engine(where, connect_args=options, **pool)

    opened = _identity(path)

    def connect(_dialect: object, _record: object, _args: list[Any], kwargs: dict[str, Any]) -> Any:
        # Another file at the path is never opened: SQLite would take the true one's log for stale and reset it.
        if _identity(path) != opened:
            raise StoreError
        # mode=rw: a database that has gone is an error, never a new and empty one.
        return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, **kwargs)

    def prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
        _use_wal(connection, timeout_s)
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    def begin(connection: Connection) -> None:
        if _identity(path) != opened:
            connection.invalidate()
            raise StoreError
        reads = connection.get_execution_options().get(READING, False)
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA query_only=ON" if reads else "PRAGMA query_only=OFF")
        raw.execute("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def truncate_log(engine: Engine) -> None:
    """Writes SQLite's log back and empties it, so that erased data is not left there; does nothing elsewhere.

    Raises:
        StoreError: readers or writers kept the log busy; call again.
    """
    if engine.dialect.name != "sqlite":
        return
    with store_errors():
        borrowed = engine.raw_connection()
        try:
            raw: Any = borrowed.driver_connection
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            borrowed.close()
    if busy:
        raise StoreError


def _create_private(path: Path) -> None:
    """Makes the file readable by its owner alone; SQLite gives its log files the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError:
        raise StoreError from None


def _identity(path: Path) -> tuple[int, int]:
    """Which file stands at `path`: a commit into a deleted or replaced file would be lost with it."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once per transaction: a third of the time of Path.stat
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _use_wal(connection: Any, timeout_s: float) -> None:
    """Switches to WAL. SQLite's own timeout does not cover several starters doing it at once; this does."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
