"""How every call that is no disclosure reads or changes the store: authorise first, on the rights as they stand.

    desk.read(caller, work)     one reading transaction
    desk.change(caller, work)   one transaction under the head's lock: who changes rights does it in ledger order

`work` also converts the request, so that a caller who may not call learns nothing from its faults (DESIGN 10:
authorise before validating). A refusal is in the ledger before it is answered.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from broker.errors import Code, Reason, SlussError
from broker.identity import Caller, Principal, authorise
from broker.ledger.standing import Standing
from broker.refusals import UNKNOWN_PRINCIPAL, Refusal, RefusalLog
from broker.rights import Rights
from broker.store.engine import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection, Engine

    from broker.clock import Clock
    from broker.ledger.log import Ledger, Tx
    from broker.rights import Snapshot
    from broker.vault import Vault

T = TypeVar("T")

LOGGED = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION})
"""Codes whose errors are refusals: someone asked for what they may not have. Malformed requests, whoever sends
them, are answered and not logged."""


@dataclass(frozen=True, slots=True)
class View:
    """What a call reads with: `now_us` in microseconds since 1970 UTC."""

    connection: Connection
    snapshot: Snapshot
    principal: Principal
    now_us: int


@dataclass(frozen=True, slots=True)
class Change(View):
    """What a call changes with, under the head's lock; `now_us` is never before the last entry's time."""

    tx: Tx


class Desk:
    """Opens views and changes for callers who may. Safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        vault: Vault,
        refusals: RefusalLog,
        clock: Clock,
        trust_domain: str,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._vault = vault
        self._refusals = refusals
        self._clock = clock
        self._local = threading.local()
        self._trust_domain = trust_domain
        self._standing = Standing()

    def read(self, caller: Caller, work: Callable[[View], T]) -> T:
        """What `work` gives, in one reading transaction.

        Raises:
            SlussError: of authorisation, of `work`, or LEDGER_UNAVAILABLE.
        """
        with self._refusals_logged(caller) as known, reading(self._engine) as connection:
            return work(View(*self._authorised(caller, connection, self._clock(), known)))

    def change(self, caller: Caller, work: Callable[[Change], T]) -> T:
        """What `work` gives, once it is durable.

        Raises:
            SlussError: of authorisation, of `work`, or LEDGER_UNAVAILABLE.
        """

        def locked(tx: Tx) -> T:
            known.clear()
            try:
                return work(Change(*self._authorised(caller, tx.connection, tx.at, known), tx))
            finally:
                # What the snapshot loaded may be of this transaction's own making, and it may yet fail.
                self._local.rights = None

        with self._refusals_logged(caller) as known:
            return self._ledger.run(locked)

    def refused(self, callers: Iterable[Caller]) -> list[tuple[Caller, SlussError]]:
        """Those who may not call what they are calling, with the reason; each is in the ledger as a refusal.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        found = []
        with reading(self._engine) as connection:
            for caller in callers:
                try:
                    self._authorised(caller, connection, self._clock(), [])
                except SlussError as error:
                    if error.code not in LOGGED:
                        raise
                    found.append((caller, error))
        for caller, refusal in found:
            self._log(caller, [], refusal)
        return found

    def _authorised(
        self, caller: Caller, connection: Connection, now_us: int, known: list[Principal]
    ) -> tuple[Connection, Snapshot, Principal, int]:
        rights = getattr(self._local, "rights", None) or Rights(self._vault, self._standing)
        self._local.rights = rights
        snapshot = rights.at(connection)
        principal = authorise(lambda spki: snapshot.pin(connection, spki), self._trust_domain, caller, now_us)
        known.append(principal)
        return connection, snapshot, principal, now_us

    @contextmanager
    def _refusals_logged(self, caller: Caller) -> Iterator[list[Principal]]:
        """Log what is refused within, after its transaction has been rolled back."""
        known: list[Principal] = []
        try:
            yield known
        except SlussError as error:
            if error.code in LOGGED or error.reason is Reason.INVALID_SIGNATURE:
                self._log(caller, known, error)
            raise

    def _log(self, caller: Caller, known: list[Principal], error: SlussError) -> None:
        name = known[0].name if known else error.metadata.get("principal", UNKNOWN_PRINCIPAL)
        contract = error.metadata.get("contract", "")
        purpose = error.metadata.get("purpose", "")
        refusal = Refusal(name, caller.method, error.reason, contract, purpose)
        rights = Rights(self._vault, self._standing)
        self._ledger.run(lambda tx: self._refusals.append(tx, [refusal], rights.at(tx.connection).catalogue))
