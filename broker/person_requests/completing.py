"""The last step of a request that waited: once every recipient has answered and the store is scrubbed, it is recorded.

The maintenance looks for them, and records each in a transaction that proves it anew under the head's lock; who asked
is told, where they still are on record. No call can say that a request is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import exists, select

from broker.desk import Change
from broker.identity import Principal
from broker.obligations.rows import OBLIGATION
from broker.obligations.rules import BROKER
from broker.person_requests import rules
from broker.person_requests.model import Kind, State
from broker.person_requests.rows import ERASURE, REQUEST, load, write

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from broker.ledger.log import Tx
    from broker.rights import Snapshot

TOGETHER: Final = 100
NOBODY: Final = Principal("broker", "")
"""Stands where a caller does: no call is behind this step."""


def candidates(connection: Connection, after: int) -> list[tuple[int, str]]:
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
    return [(row.number, row.id) for row in connection.execute(query)]


def complete(tx: Tx, snapshot: Snapshot, requests: list[str]) -> int:
    """Record those of these requests that are done; gives how many.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    change = Change(tx.connection, snapshot, NOBODY, tx.at, tx)
    done = 0
    for name in requests:
        held = load(change, name)
        if held.state is State.DONE and held.facts.completed is None:
            write(change, held, rules.Step.COMPLETE, "", by=BROKER)
            done += 1
    return done
