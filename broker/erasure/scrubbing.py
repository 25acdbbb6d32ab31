"""What an erasure leaves behind on the disk, made clean; only then is the erasure done.

    1. the register beside the rings is told                     (register.py)
    2. SQLite's log is written back and emptied; deleted content was overwritten already (secure_delete).
       PostgreSQL writes the tables that erasures touch anew, once nobody reads what was before: a plain vacuum leaves
       the bytes of dead rows in the free space of their pages. That takes a lock, and so is done for tables of up to
       64 MiB; larger ones are vacuumed. There, and in the write-ahead log until it is recycled, wrapped keys and
       sealed values may stay: a rotation of the rings (and the end of their old versions) is what makes them worthless
    3. PostgreSQL's planner keeps samples of columns, which anybody reads who may read the tables. No keys and no sealed
       values are ever among them (migration 0013); what persons are looked up by is sampled anew, and the catalogue of
       samples written anew, which takes a role that owns the database
    4. the erasure is marked as scrubbed

Whoever erases tells the register before answering (`tell`), so that no backup brings back whom an answer called erased;
the broker's maintenance does the rest. Broken off anywhere, it is done again by the next run.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, text, update
from sqlmodel import SQLModel

from broker.erasure.register import Erased
from broker.store import tables
from broker.store.engine import StoreError, open_engine, reading, store_errors, truncate_log, writing
from broker.store.queries import PERSON

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from broker.clock import Clock
    from broker.erasure.register import ErasureRegister

log = logging.getLogger(__name__)

ERASURE = tables.core(tables.Erasure)
REQUEST = tables.core(tables.Request)
REQUEST_EVENT = tables.core(tables.PersonRequestEvent)
FILE_EVENT = tables.core(tables.CaseFileEvent)
TOUCHED: Final = frozenset({PERSON, REQUEST, REQUEST_EVENT, FILE_EVENT})
"""Tables without a column `person` in which an erasure destroys something."""
PATIENCE_S: Final = 2.0
"""How long readers may keep SQLite's log, or PostgreSQL's dead rows, before a later run takes over."""
LOOKS: Final = 2
LOCK_S: Final = 0.5
"""A table that is written anew waits so long for its lock; whoever comes behind waits with it."""
REWRITTEN_BYTES: Final = 64 << 20
"""A larger table is not written anew: that would stop disclosures for longer than they wait."""
VACUUM_S: Final = 3600.0
"""One table may take so long; nobody waits for it but the erasure."""

_SAMPLES: Final = "pg_catalog.pg_statistic"
_SIZE: Final = text("SELECT pg_total_relation_size(to_regclass(:name))")
_OLDER: Final = text(
    "SELECT count(*) FROM ("
    "SELECT greatest(age(backend_xid), CASE WHEN coalesce(datname, current_database()) = current_database()"
    " THEN age(backend_xmin) END) AS age FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " UNION ALL SELECT age(transaction) FROM pg_prepared_xacts"
    " UNION ALL SELECT greatest(age(xmin), age(catalog_xmin)) FROM pg_replication_slots"
    ") AS held WHERE age > age(CAST(CAST(:now AS xid8) AS xid))"
)
"""Whatever a vacuum spares rows for. Snapshots count in this database alone, writers in all: a snapshot taken here goes
back to the oldest writer's. Prepared transactions, what replicas still read and replication slots count, too."""


class Scrubber:
    """Makes erasures complete on one machine.

    Args:
        engine: the store.
        register: this machine's register.
        clock: microseconds since 1970 UTC.
    """

    def __init__(self, engine: Engine, register: ErasureRegister, clock: Clock) -> None:
        self._engine = engine
        self._register = register
        self._clock = clock
        self._told = -1

    def run(self) -> bool:
        """Scrub what is due; whether nothing is left to do.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
        """
        with reading(self._engine) as connection:
            due = connection.execute(select(ERASURE.c.entry).where(ERASURE.c.scrubbed_at == 0)).scalars().all()
        self.tell()
        if not due:
            return True
        if not self._clean():
            log.warning("%d erasures could not be scrubbed yet; the next run does it", len(due))
            return False
        with writing(self._engine) as connection:
            connection.execute(
                update(ERASURE)
                .where(ERASURE.c.entry <= max(due), ERASURE.c.scrubbed_at == 0)
                .values(scrubbed_at=self._clock())
            )
        return True

    def tell(self) -> None:
        """Note in the register what the store knows of and it does not; on the disk on return.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
        """
        with reading(self._engine) as connection:
            # Other machines' erasures too: each has a register of its own.
            query = select(ERASURE.c.entry, ERASURE.c.person).where(ERASURE.c.entry > self._told)
            untold = [Erased(*row) for row in connection.execute(query.order_by(ERASURE.c.entry))]
        if untold:
            self._register.add(untold)
            self._told = untold[-1].entry

    def _clean(self) -> bool:
        if self._engine.dialect.name == "postgresql":
            return self._vacuum()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                truncate_log(self._engine)
            except StoreError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
            else:
                return True

    def _vacuum(self) -> bool:
        patient = open_engine(self._engine.url, timeout_s=VACUUM_S, pool_size=1)
        try:
            with store_errors(), patient.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                warned = _heard(connection)
                if not _is_seen_by_all(connection):
                    return False
                connection.execute(text(f"SET lock_timeout = {round(LOCK_S * 1000)}"))
                for table in SQLModel.metadata.tables.values():
                    if table in TOUCHED or "person" in table.columns:
                        _drop_samples_of_nothing(connection, table)
                        size = connection.execute(_SIZE, {"name": table.name}).scalar_one()
                        full = "FULL, " if size <= REWRITTEN_BYTES else ""
                        connection.execute(text(f"VACUUM ({full}ANALYZE) {table.name}"))
                # The samples of before are dead rows of the catalogue now: they go like those of the tables.
                if not _is_seen_by_all(connection):
                    return False
                connection.execute(text(f"VACUUM (FULL) {_SAMPLES}"))
        except StoreError:
            return False
        finally:
            patient.dispose()
        if warned:
            log.error("PostgreSQL left something out of the scrubbing: the role of the broker has to own the database")
        return not warned


def _heard(connection: Connection) -> list[str]:
    """The warnings that PostgreSQL will give: what a role may not vacuum is left out with one, and is no error."""
    warnings: list[str] = []
    raw: Any = connection.connection.driver_connection
    raw.add_notice_handler(lambda told: warnings.append(told.message_primary))
    connection.execute(text("SET client_min_messages = warning"))
    return warnings


def _drop_samples_of_nothing(connection: Connection, table: Table) -> None:
    """Of a table without rows: analysing it would leave the samples as they are, naming the types takes them away."""
    if connection.execute(text(f"SELECT EXISTS (SELECT FROM {table.name})")).scalar_one():  # noqa: S608 - a name of ours
        return
    quoted = connection.dialect.identifier_preparer.quote
    types = [f"ALTER {quoted(column.name)} TYPE {column.type.compile(connection.dialect)}" for column in table.columns]
    connection.execute(text(f"ALTER TABLE {table.name} {', '.join(types)}"))


def _is_seen_by_all(connection: Connection) -> bool:
    """Whether, within a while, nobody reads or writes from before now: a vacuum spares what somebody may still see."""
    now = connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")).scalar_one()
    deadline = time.monotonic() + PATIENCE_S
    # Twice in a row: a snapshot may have been taken, beside a writer that is over, while the first look was taken.
    looks = 0
    while looks < LOOKS:
        if not connection.execute(_OLDER, {"now": now}).scalar_one():
            looks += 1
        elif time.monotonic() > deadline:
            return False
        else:
            looks = 0
            time.sleep(0.05)
    return True
