"""The day by which each disclosure is to be deleted.

A disclosure's own entry says it (`terms.retain_until`) and so is what makes the obligation. For the recipient to be
told, the spine keeps one row per contract and day in the transaction that appends the disclosures; the obligation over
all of them is raised from it, with an entry of its own, before anybody lists obligations and by the maintenance loop.
One answer covers the disclosures up to the entry that it states; if others with the same day came behind it, they are
owed anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from broker.obligations import rows
from broker.obligations.rows import RETENTION
from broker.obligations.rules import BROKER, Kind
from broker.store.driver import change

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy import Connection

    from broker.ledger.log import Tx

_UPSERT: Final = (
    "INSERT INTO retention (contract, until, recipient, first, last, raised) VALUES (?, ?, ?, ?, ?, -1)"
    " ON CONFLICT (contract, until) DO UPDATE SET last = excluded.last"
)
NONE_RAISED: Final = -1
OPEN: Final = 1 << 62
"""`raised` while an obligation waits: it covers whatever comes."""
MAX_RAISED: Final = 200
"""Obligations raised in one transaction."""


class Retentions:
    """What one transaction of the spine discloses, by contract and day. Nothing is written before `save`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._spans: dict[tuple[str, str, str], tuple[int, int]] = {}

    def take(self, terms: Mapping[str, Any], index: int) -> None:
        """Count a disclosure in, by its terms and its entry's index; indexes ascend."""
        name = (terms["contract"], terms["retain_until"], terms["recipient"])
        first, _ = self._spans.get(name, (index, index))
        self._spans[name] = (first, index)

    def save(self) -> None:
        """Write the days."""
        change(self._connection, _UPSERT, [(*name, *span) for name, span in self._spans.items()])


def is_pending(connection: Connection, recipient: str = "") -> bool:
    """Whether something is to be deleted by a day that nobody was told of."""
    return bool(_pending(connection, recipient, 1))


def raise_pending(tx: Tx) -> int:
    """Raise what nobody was told of, up to 200; gives how many."""
    found = _pending(tx.connection, "", MAX_RAISED)
    for contract, until, owes, first, raised in found:
        begins = first if raised == NONE_RAISED else raised + 1
        rows.add(tx, rows.New(Kind.DELETE_BY, contract, owes, until, begins), BROKER)
        _set_raised(tx.connection, contract, until, OPEN)
    return len(found)


def settled(connection: Connection, contract: str, until: str, through: int) -> None:
    """Note that an obligation was settled up to an entry: what came behind it is owed anew."""
    _set_raised(connection, contract, until, through)


def last_entry(connection: Connection, contract: str, until: str) -> int:
    """The last disclosure under a contract that is to be deleted by a day; 0 if there is none."""
    query = select(RETENTION.c.last).where(RETENTION.c.contract == contract, RETENTION.c.until == until)
    return connection.execute(query).scalar_one_or_none() or 0


def _set_raised(connection: Connection, contract: str, until: str, raised: int) -> None:
    here = (RETENTION.c.contract == contract) & (RETENTION.c.until == until)
    connection.execute(update(RETENTION).where(here).values(raised=raised))


def _pending(connection: Connection, recipient: str, limit: int) -> list[tuple[str, str, str, int, int]]:
    table = RETENTION.c
    query = select(table.contract, table.until, table.recipient, table.first, table.raised)
    query = query.where(table.last > table.raised).order_by(table.until, table.contract).limit(limit)
    if recipient:
        query = query.where(table.recipient == recipient)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(query)]
