"""Refusals in the ledger. The first few of a caller in a window get entries of their own, the rest is counted.

The counts are durable with each commit; once their window is over, one entry per caller tells them by reason. So no
caller can grow the ledger at will: at most `LIMIT` + 1 entries a window, however many refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from broker.clock import SECOND
from broker.errors import SlussError
from broker.ledger import entry
from broker.rights import contract_row
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from broker.catalogue import Catalogue
    from broker.errors import Reason
    from broker.ledger.log import Tx

COUNT = tables.core(tables.RefusalCount)
WINDOW_S = 60
LIMIT = 20
MAX_FIELDS = 64
UNKNOWN_PRINCIPAL = "unknown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who was refused what and why, as asked. Only names that exist are written: an entry can't be erased."""

    principal: str
    method: str
    reason: Reason
    contract: str = ""
    purpose: str = ""
    fields: tuple[str, ...] = ()
    persons: int = 0


@dataclass(slots=True)
class _Count:
    count: int = 0
    folded: int = 0
    stored: bool = False


class RefusalLog:
    """Appends refusals within a transaction.

    Args:
        window_s: seconds over which a caller's refusals are counted.
        entries: refusals per caller and window that get entries of their own.
    """

    def __init__(self, window_s: int = WINDOW_S, entries: int = LIMIT) -> None:
        self._window_s = window_s
        self._entries = entries

    def append(self, tx: Tx, refusals: Sequence[Refusal], catalogue: Catalogue) -> None:
        """Append the refusals of a batch: as entries, or as counts beyond the limit.

        Args:
            tx: the transaction.
            refusals: what was refused, as asked.
            catalogue: whose purposes and fields may be named; a name that a caller made up stays out.
        """
        self.close(tx)
        start = self._start(tx.at)
        for principal in dict.fromkeys(refusal.principal for refusal in refusals):
            counts = _read(tx.connection, principal, start)
            for refusal in refusals:
                if refusal.principal == principal:
                    self._count_in(tx, counts, refusal, catalogue)
            _write(tx.connection, principal, start, counts)

    def close(self, tx: Tx) -> None:
        """Append one entry for each caller whose window is over and who was counted beyond the limit."""
        present = self._start(tx.at)
        over = tx.connection.execute(
            select(COUNT).where(COUNT.c.start < present).order_by(COUNT.c.start, COUNT.c.principal, COUNT.c.reason)
        ).all()
        folded: dict[tuple[int, str], dict[str, int]] = {}
        for row in over:
            if row.folded:
                folded.setdefault((row.start, row.principal), {})[row.reason] = row.folded
        for (start, principal), counts in folded.items():
            until = (start + self._window_s) * SECOND
            tx.append(entry.refusals(tx.at, start * SECOND, until, principal, counts))
        if over:
            tx.connection.execute(delete(COUNT).where(COUNT.c.start < present))

    def _start(self, at_us: int) -> int:
        return at_us // SECOND // self._window_s * self._window_s

    def _count_in(self, tx: Tx, counts: dict[str, _Count], refusal: Refusal, catalogue: Catalogue) -> None:
        beyond = sum(count.count for count in counts.values()) >= self._entries
        count = counts.setdefault(str(refusal.reason), _Count())
        count.count += 1
        if beyond:
            count.folded += 1
        else:
            tx.append(_entry(tx, refusal, catalogue))


def _entry(tx: Tx, refusal: Refusal, catalogue: Catalogue) -> bytes:
    return entry.refusal(
        tx.at,
        refusal.principal,
        str(refusal.reason),
        _existing_contract(tx.connection, refusal.contract),
        refusal.purpose if refusal.purpose in catalogue.purposes else "",
        [name for name in refusal.fields[:MAX_FIELDS] if name in catalogue.fields],
        refusal.method,
        refusal.persons,
    )


def _existing_contract(connection: Connection, contract: str) -> str:
    try:
        return str(contract_row(connection, contract).id)
    except SlussError:
        return ""


def _read(connection: Connection, principal: str, start: int) -> dict[str, _Count]:
    rows = connection.execute(select(COUNT).where(COUNT.c.principal == principal, COUNT.c.start == start)).mappings()
    return {row["reason"]: _Count(row["count"], row["folded"], stored=True) for row in rows}


def _write(connection: Connection, principal: str, start: int, counts: dict[str, _Count]) -> None:
    for reason, count in counts.items():
        values = {"count": count.count, "folded": count.folded}
        if count.stored:
            where = (COUNT.c.principal == principal, COUNT.c.start == start, COUNT.c.reason == reason)
            connection.execute(update(COUNT).where(*where).values(**values))
        else:
            connection.execute(insert(COUNT).values(principal=principal, start=start, reason=reason, **values))
