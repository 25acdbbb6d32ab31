"""PostgreSQL as a store: psycopg with a deadline on every wait.

`statement_timeout` is kept by the server, which is no help when it is the server that hangs: so the client
looks at its own clock too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import create_engine, event

from broker.store.options import BULK, READING

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

READS: Final = psycopg.IsolationLevel.REPEATABLE_READ
"""What one transaction reads is of one moment, as on SQLite: a row and the entry that proves it belong together."""
WRITES: Final = psycopg.IsolationLevel.READ_COMMITTED
"""Who has waited for the head's lock sees what its holder before committed."""
GRACE_S: Final = 0.2
"""The server's timeout fires first: after it a connection is still good, after the client's it is not."""


def open_postgres(where: URL, timeout_s: float, pool: dict[str, Any]) -> Engine:
    """An engine on the server that `where` names; nothing is connected yet."""
    engine = create_engine(where, isolation_level="READ COMMITTED", **pool)
    driver = _driver(timeout_s)

    def connect(_dialect: object, _record: object, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return driver.connect(*args, **_session(kwargs, timeout_s))

    def begin(connection: Connection) -> None:
        reads = bool(connection.get_execution_options().get(READING, False))
        raw: Any = connection.connection.driver_connection
        isolation = READS if reads else WRITES
        if (raw.read_only, raw.isolation_level) != (reads, isolation):
            raw.read_only, raw.isolation_level = reads, isolation

    def choose_format(
        _connection: object, cursor: Any, _statement: str, _parameters: object, context: Any, _many: object
    ) -> None:
        if context.execution_options.get(BULK, False):
            cursor.format = psycopg.pq.Format.BINARY

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "before_cursor_execute", choose_format)
    event.listen(engine, "begin", begin)
    return engine


def _session(parameters: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The session's settings added: durable commits, bounded statements and locks."""
    milliseconds = int(timeout_s * 1000)
    settings = {
        "synchronous_commit": "on",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 20 * milliseconds,
        "client_min_messages": "error",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "application_name": "sluss",
        **parameters,
        "options": f"{parameters.get('options', '')} {options}".strip(),
    }


def _driver(timeout_s: float) -> type[psycopg.Connection[Any]]:
    """A connection class that gives up a connection attempt, or the wait for an answer, after `timeout_s`."""

    class Bounded(psycopg.Connection[Any]):
        @classmethod
        def _connect_gen(cls, *args: Any, **kwargs: Any) -> Any:
            return _bounded(super()._connect_gen(*args, **kwargs), timeout_s)

        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().wait(_bounded(gen, timeout_s + GRACE_S), *args, **kwargs)
            except HungError:
                # The late answer would be taken for that of the next statement: never use this one again.
                self.pgconn.finish()
                raise

    return Bounded


class HungError(psycopg.OperationalError):
    """The server did not answer in time."""


def _bounded(waits: Generator[Any, Any, Any], timeout_s: float) -> Generator[Any, Any, Any]:
    """Passes psycopg's waits through until the deadline; psycopg looks in at least every 0.1 s."""
    deadline = time.monotonic() + timeout_s
    try:
        wanted = next(waits)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                waits.close()
                raise HungError
            wanted = waits.send(ready)
    except StopIteration as done:
        return done.value
