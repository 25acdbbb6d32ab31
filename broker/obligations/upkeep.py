"""What the maintenance loop does for obligations: raises what is to be deleted by a day, reminds, escalates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from broker.ledger.standing import Standing
from broker.obligations import chasing, retention
from broker.obligations.answering import is_over
from broker.rights import Rights
from broker.store.engine import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from broker.clock import Clock
    from broker.ledger.log import Ledger, Tx
    from broker.vault import Vault


class Upkeep:
    """The obligations' part of maintenance.

    Args:
        engine: the store.
        ledger: the ledger in it.
        vault: for contracts.
        clock: microseconds since 1970 UTC.
        remind_days: when recipients are reminded, relative to the day when they owe.
        escalate_days: how long after it the privacy team is told.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        vault: Vault,
        clock: Clock,
        remind_days: Sequence[int],
        escalate_days: int,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._vault = vault
        self._clock = clock
        self._remind_days = remind_days
        self._escalate_days = escalate_days

    def run(self) -> None:
        """Do all that is due.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, LEDGER_INCONSISTENT.
        """
        while self._is_pending() and self._ledger.run(retention.raise_pending):
            pass
        standing, after = Standing(), ""
        while names := self._candidates(after):
            self._ledger.run(partial(self._chase, names=names, standing=standing))
            after = names[-1]

    def _is_pending(self) -> bool:
        with reading(self._engine) as connection:
            return retention.is_pending(connection)

    def _candidates(self, after: str) -> list[str]:
        with reading(self._engine) as connection:
            return chasing.candidates(connection, self._clock(), self._remind_days, after)

    def _chase(self, tx: Tx, names: list[str], standing: Standing) -> int:
        rights = Rights(self._vault, standing)
        return chasing.chase(
            tx,
            names,
            standing,
            self._remind_days,
            self._escalate_days,
            lambda contract: is_over(rights.at(tx.connection).contract(tx.connection, contract).facts, tx.at),
        )
