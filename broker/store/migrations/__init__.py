"""The schema, step by step, and how a database gets there; many broker processes may start at once.

A revision is one file in `versions/`; the tests compare what they build with what `tables.py` declares.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from broker.errors import Reason, SlussError
from broker.store.engine import open_engine, reading, writing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_LOCK: Final = 0x51055
"""PostgreSQL advisory lock that starters take in turn; on SQLite the write lock does that."""

_PATIENCE_S: Final = 60.0
_one_at_a_time = threading.Lock()  # alembic keeps its context in module globals


def migrate(engine: Engine) -> None:
    """Brings the database to the newest revision; does nothing if it is there.

    One transaction: it happens whole or not at all. Starters wait for each other for up to a minute.

    Raises:
        SlussError: LEDGER_UNAVAILABLE if the store does not answer; UNSUPPORTED_VERSION for a database that a
            newer broker has migrated.
    """
    patient = open_engine(engine.url, timeout_s=_PATIENCE_S, pool_size=1)
    try:
        with _one_at_a_time, writing(patient) as connection:
            _take_turn(connection)
            _refuse_unknown(_revision(connection))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        patient.dispose()


def current_revision(engine: Engine) -> str:
    """The database's revision; empty for a database without tables.

    Raises:
        SlussError: LEDGER_UNAVAILABLE if the store does not answer.
    """
    with reading(engine) as connection:
        return _revision(connection)


def newest_revision() -> str:
    """The revision that this broker is written for."""
    return _script().get_current_head() or ""


def check_revision(engine: Engine) -> None:
    """Refuses a database of any revision but the broker's own.

    Raises:
        SlussError: UNSUPPORTED_VERSION, naming both revisions and what to do.
    """
    found, wanted = current_revision(engine), newest_revision()
    if found == wanted:
        return
    _refuse_unknown(found)
    raise SlussError(
        Reason.UNSUPPORTED_VERSION,
        f"the database is at revision {found or 'none'}, this broker needs {wanted}: run the migrations",
        revision=found,
        needed=wanted,
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "broker:store/migrations")
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _refuse_unknown(found: str) -> None:
    """A database that a newer broker has migrated is left alone."""
    if found and found not in {script.revision for script in _script().walk_revisions()}:
        raise SlussError(
            Reason.UNSUPPORTED_VERSION,
            f"the database is at revision {found}, which this broker does not know: use the newer broker",
            revision=found,
            needed=newest_revision(),
        )
