"""What an erasure leaves behind on the disk, made clean; only then is the erasure done.

    1. the register beside the rings is told                     (register.py)
    2. SQLite's log is written back and emptied; deleted content was overwritten already (secure_delete).
       PostgreSQL vacuums the tables that erasures touch, so that dead rows go from the pages; its write-ahead log keeps
       what it holds until it is recycled, sealed as it is, and without a key in any file of the database
    3. the erasure is marked as scrubbed

Broken off anywhere, it is done again by the next run: whoever erased runs it at once, the broker's maintenance later.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, text, update
from sqlmodel import SQLModel

from broker.erasure.register import Erased
from broker.store import tables
from broker.store.engine import StoreError, open_engine, reading, store_errors, truncate_log, writing
from broker.store.queries import PERSON

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.clock import Clock
    from broker.erasure.register import ErasureRegister

log = logging.getLogger(__name__)

ERASURE = tables.core(tables.Erasure)
PATIENCE_S: Final = 2.0
"""How long readers may keep SQLite's log busy before a later run takes over."""
VACUUM_S: Final = 3600.0
"""One table may take so long; nobody waits for it but the erasure."""


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
            # Other machines' erasures too: each has a register of its own.
            query = select(ERASURE.c.entry, ERASURE.c.person).where(ERASURE.c.entry > self._told)
            untold = [Erased(*row) for row in connection.execute(query.order_by(ERASURE.c.entry))]
            due = connection.execute(select(ERASURE.c.entry).where(ERASURE.c.scrubbed_at == 0)).scalars().all()
        if untold:
            self._register.add(untold)
            self._told = untold[-1].entry
        if not due:
            return True
        if not self._clean():
            log.warning("the store was too busy to scrub %d erasures; the next run does it", len(due))
            return False
        with writing(self._engine) as connection:
            connection.execute(
                update(ERASURE)
                .where(ERASURE.c.entry <= max(due), ERASURE.c.scrubbed_at == 0)
                .values(scrubbed_at=self._clock())
            )
        return True

    def _clean(self) -> bool:
        if self._engine.dialect.name == "postgresql":
            self._vacuum()
            return True
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

    def _vacuum(self) -> None:
        patient = open_engine(self._engine.url, timeout_s=VACUUM_S, pool_size=1)
        try:
            with store_errors(), patient.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for table in SQLModel.metadata.tables.values():
                    if table is PERSON or "person" in table.columns:
                        connection.execute(text(f"VACUUM {table.name}"))
        finally:
            patient.dispose()
