"""The last step of a request that waited: once every recipient has answered and the store is scrubbed, it is recorded.

The maintenance looks for them, and records each in a transaction that proves it anew under the head's lock; who asked
is told, where they still are on record. No call can say that a request is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import exists, select

from broker.desk import Change
from broker.identity import Principal
from broker.obligations.rows import OBLIGATION
from broker.obligations.rules import BROKER
from broker.person_requests import rules
from broker.person_requests.model import Kind, State
from broker.person_requests.rows import ERASURE, REQUEST, load, write
from broker.store.engine import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.ledger.log import Ledger, Tx
    from broker.rights import Rights

TOGETHER: Final = 100
NOBODY: Final = Principal("broker", "")
"""Stands where a caller does: no call is behind this step."""


def run(engine: Engine, ledger: Ledger, rights: Rights) -> None:
    """Record all that are done, up to 100 in a transaction.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, LEDGER_INCONSISTENT.
    """
    after = 0
    while found := _candidates(engine, after):
        after = found[-1][0]
        ledger.run(partial(_complete, rights=rights, requests=[name for _, name in found]))


def _candidates(engine: Engine, after: int) -> list[tuple[int, str]]:
    """Up to 100 waiting requests with numbers above `after` for which nobody seems to owe any more, by number."""
    owing = exists().where(OBLIGATION.c.cause == REQUEST.c.id, OBLIGATION.c.settled == 0)
    unclean = exists().where(ERASURE.c.cause == REQUEST.c.id, ERASURE.c.scrubbed_at == 0)
    query = (
        select(REQUEST.c.number, REQUEST.c.id)
        .where(REQUEST.c.state == State.WAITING, REQUEST.c.number > after, ~owing)
        .where((REQUEST.c.kind != Kind.ERASURE) | ~unclean)
        .order_by(REQUEST.c.number)
        .limit(TOGETHER)
    )
    with reading(engine) as connection:
        return [(row.number, row.id) for row in connection.execute(query)]


def _complete(tx: Tx, rights: Rights, requests: list[str]) -> None:
    change = Change(tx.connection, rights.at(tx.connection), NOBODY, tx.at, tx)
    for name in requests:
        held = load(change, name)
        if held.state is State.DONE and held.facts.completed is None:
            write(change, held, rules.Step.COMPLETE, "", by=BROKER)
