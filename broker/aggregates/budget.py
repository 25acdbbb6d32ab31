"""Privacy budgets: what was spent in a period, exact over processes and machines, since spent under the head's lock.

Epsilon and delta are spent side by side, each added up: (e1, d1) and (e2, d2) are together (e1 + e2, d1 + d2) at most,
also where the second question was chosen by the answer to the first.

Spendings are kept by calendar month, and a quarter is the sum of its months: whoever changes from one to the other
begins nothing anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from broker.aggregates.question import FREE, Cost
from broker.catalogue.usage import Period
from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.store.driver import change as write
from broker.store.driver import fetch

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from broker.aggregates.rules import Limit, Permit

_READ: Final = (
    "SELECT COALESCE(SUM(micro), 0), COALESCE(SUM(delta_nano), 0) FROM aggregate_spent "
    "WHERE owner = ? AND start >= ? AND start < ?"
)
_SPEND: Final = (
    "INSERT INTO aggregate_spent (owner, start, micro, delta_nano) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (owner, start) DO UPDATE SET micro = aggregate_spent.micro + excluded.micro, "
    "delta_nano = aggregate_spent.delta_nano + excluded.delta_nano"
)
_RESTORED: Final = "SELECT restored FROM usage_state WHERE id = 1"
_CLOSE: Final = (
    "INSERT INTO usage_state (id, forgotten, restored) VALUES (1, 0, ?) "
    "ON CONFLICT (id) DO UPDATE SET restored = "
    "CASE WHEN excluded.restored > usage_state.restored THEN excluded.restored ELSE usage_state.restored END"
)
_LAST: Final = "SELECT COALESCE(MAX(at), 0) FROM ledger_entry WHERE id = (SELECT MAX(id) FROM ledger_entry)"

_NAME: Final = re.compile(r"([0-9]{4})-(?:Q([1-4])|(0[1-9]|1[0-2]))")


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget as it stands; `began` and `ends` in seconds since 1970 UTC, `name` is the period's, as `2026-11`.

    It is `closed` if a backup was put back in this period: what was spent since it was taken is not known.
    """

    limit: Limit
    name: str
    began: int
    ends: int
    spent: Cost
    closed: bool

    @property
    def left(self) -> Cost:
        """What may still be spent in this period."""
        if self.closed:
            return FREE
        most = self.limit.most
        return Cost(max(most.micro - self.spent.micro, 0), max(most.delta_nano - self.spent.delta_nano, 0))


def bounds(period: Period, now_us: int) -> tuple[str, int, int]:
    """The period's name, and its start and end in seconds since 1970 UTC."""
    now = datetime.fromtimestamp(now_us // SECOND, UTC)
    months = 3 if period is Period.QUARTER else 1
    first = (now.month - 1) // months * months
    name = f"{now.year}-Q{first // 3 + 1}" if period is Period.QUARTER else f"{now.year}-{now.month:02d}"
    after = now.year * 12 + first + months
    return name, _start(now.year * 12 + first), _start(after)


def months(name: str) -> list[int]:
    """The starts of the months of a period, by its name; none for what is no period's name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return []
    year, quarter, month = (int(part or 0) for part in found.groups())
    first = (quarter - 1) * 3 if quarter else month - 1
    return [_start(year * 12 + first + n) for n in range(3 if quarter else 1)]


def _start(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())


def standing(connection: Connection, limit: Limit, now_us: int) -> Standing:
    """A budget as it stands."""
    name, began, ends = bounds(limit.period, now_us)
    micro, delta_nano = fetch(connection, _READ, (limit.owner, began, ends))[0]
    restored = fetch(connection, _RESTORED)
    closed = bool(restored) and restored[0][0] >= began
    return Standing(limit, name, began, ends, Cost(int(micro), int(delta_nano)), closed)


def require(found: Standing, cost: Cost, permit: Permit, now_us: int) -> None:
    """A budget covers a cost.

    Raises:
        SlussError: BUDGET_EXCEEDED, to be tried again when the period is over.
    """
    if not found.left.covers(cost):
        told = {"contract": permit.contract} if permit.contract else {}
        raise SlussError(
            Reason.BUDGET_EXCEEDED,
            "a backup was restored in this period, so what has been spent is not known" if found.closed else "",
            **told,
            purpose=permit.purpose,
            budget=_name(found.limit, permit),
            # What others have spent is not the caller's to know.
            **(_told("left", found.left) if found.limit != permit.everybody else {}),
            **_told("cost", cost),
            retry_after_s=str(max(found.ends - now_us // SECOND, 1)),
        )


def _name(limit: Limit, permit: Permit) -> str:
    if limit == permit.everybody:
        return "everybody"
    if limit == permit.recipient:
        return "recipient"
    return "contract" if permit.contract else "analysis"


def _told(what: str, cost: Cost) -> dict[str, str]:
    return {f"{what}_micro": str(cost.micro), f"{what}_delta_nano": str(cost.delta_nano)}


def spend(connection: Connection, limit: Limit, cost: Cost, now_us: int) -> None:
    """Spend, under the head's lock."""
    if cost != FREE:
        month = bounds(Period.MONTH, now_us)[1]
        write(connection, _SPEND, [(limit.owner, month, cost.micro, cost.delta_nano)])


def close(connection: Connection, now_us: int) -> None:
    """A backup was put back: every budget is as if used up until its present period ends.

    Answers that recipients got since the backup was taken are forgotten with what they have cost. The same questions
    would get other noise in the same period, and cost it twice. The present period is that of the ledger, whose time
    never goes back, where the clock is behind it.
    """
    last_us = int(fetch(connection, _LAST)[0][0])
    write(connection, _CLOSE, [(max(now_us, last_us) // SECOND,)])
