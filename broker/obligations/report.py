"""What is overdue, by recipient; and lists of obligations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select

from broker.obligations import rows
from broker.obligations.owing import day_after
from broker.obligations.rows import OBLIGATION
from broker.obligations.rules import SETTLED, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select

    from broker.desk import View
    from broker.obligations.rows import Held
    from broker.obligations.rules import Account

TOGETHER: Final = 500
"""Obligations proven in one look at the store: of many, one look would take longer than a call may."""
LOOKED_AT: Final = 2_000
"""Obligations that one page of a list looks at. So it may hold few, or none, though there are more."""
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Filter:
    """Which obligations; empty for no restriction."""

    recipient: str = ""
    states: frozenset[str] = frozenset()
    contract: str = ""
    cause: str = ""
    overdue: bool = False
    escalated: bool = False

    def takes(self, account: Account) -> bool:
        """Whether it is in a wanted state, and escalated if that is wanted."""
        if self.escalated and (account.settled or not account.escalated_at):
            return False
        return not self.states or account.state in self.states


@dataclass(slots=True)
class RecipientReport:
    """What one recipient owes."""

    recipient: str
    waiting: int = 0
    overdue: int = 0
    unanswered: int = 0
    delays_asked: int = 0
    answered: int = 0
    not_confirmed: int = 0
    worst_days: int = 0
    worst: str = ""
    escalated: int = 0

    def count(self, account: Account, today: str) -> None:
        """Count an obligation in."""
        self.answered += account.state is State.ANSWERED
        self.not_confirmed += account.state is State.NOT_CONFIRMED
        if account.settled:
            return
        late = days_overdue(account, today)
        self.waiting += 1
        self.overdue += late > 0
        self.unanswered += account.state is State.UNANSWERED
        self.delays_asked += bool(account.delay)
        self.escalated += bool(account.escalated_at)
        if late > self.worst_days:
            self.worst_days, self.worst = late, account.id


def days_overdue(account: Account, today: str) -> int:
    """Whole days since it was due; 0 if it is settled or not overdue."""
    if account.settled:
        return 0
    return max(0, (date.fromisoformat(today) - date.fromisoformat(account.due)).days)


def listed(view: View, wanted: Filter, after: int, size: int) -> tuple[list[Held], int | None]:
    """Up to `size` obligations whose last change stands behind entry `after`, in that order.

    What a row says of its state is a hint: each is proven, and one whose row calls it settled though it is not raises.

    Returns:
        The obligations, and the entry to go on behind; None if there is nothing more to look at.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    query = _maybe(wanted, day_after(view.now_us, 0))
    found: list[Held] = []
    for part in (size, *[TOGETHER] * (LOOKED_AT // TOGETHER)):
        page = view.connection.execute(query.where(OBLIGATION.c.moved > after).limit(part + 1)).all()
        for held in rows.of_rows(view.connection, page[:part], view.snapshot.standing):
            if len(found) == size:
                return found, after
            after = held.account.moved
            found += [held] if wanted.takes(held.account) else []
        if len(page) <= part:
            return found, None
        if len(found) == size:
            break
    return found, after


def _maybe(wanted: Filter, today: str) -> Select[Any]:
    """The rows that may be wanted, in the order of their last change."""
    table = OBLIGATION.c
    query = select(OBLIGATION).order_by(table.moved)
    if wanted.recipient:
        query = query.where(table.recipient == wanted.recipient)
    if wanted.contract:
        query = query.where(table.contract == wanted.contract)
    if wanted.cause:
        query = query.where(table.cause == wanted.cause)
    if wanted.overdue:
        query = query.where(table.settled == 0, table.due < today)
    elif wanted.escalated or (wanted.states and not wanted.states & SETTLED):
        query = query.where(table.settled == 0)
    return query


def waiting(view: View, recipient: str, after: int, limit: int) -> list[Held]:
    """Up to `limit` obligations that wait for a recipient's answer and moved behind entry `after`, in that order."""
    table = OBLIGATION.c
    query = (
        select(OBLIGATION)
        .where(table.recipient == recipient, table.settled == 0, table.moved > after)
        .order_by(table.moved)
        .limit(limit)
    )
    return rows.of_rows(view.connection, view.connection.execute(query).all(), view.snapshot.standing)


def part(view: View, since: str, after: int) -> tuple[list[Account], int | None]:
    """Up to 500 obligations behind number `after`, each by its entries; the number to go on behind, if there are more.

    Args:
        view: to read with.
        since: settled ones that were due before this day are left out.
        after: a number; `NEVER` for the first part.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    table = OBLIGATION.c
    query = select(OBLIGATION).where(table.number > after, or_(table.settled == 0, table.due >= since))
    page = view.connection.execute(query.order_by(table.number).limit(TOGETHER)).all()
    accounts = [held.account for held in rows.of_rows(view.connection, page, view.snapshot.standing)]
    return accounts, page[-1].number if len(page) == TOGETHER else None


class Tally:
    """What each recipient owes on a day. Pure."""

    def __init__(self, today: str) -> None:
        self._today = today
        self._found: dict[str, RecipientReport] = {}

    def count(self, accounts: Iterable[Account]) -> None:
        """Count obligations in."""
        for account in accounts:
            report = self._found.setdefault(account.recipient, RecipientReport(account.recipient))
            report.count(account, self._today)

    def recipients(self) -> list[RecipientReport]:
        """The recipients, the worst first."""
        return sorted(self._found.values(), key=lambda each: (-each.worst_days, -each.overdue, each.recipient))
