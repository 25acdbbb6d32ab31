"""What is overdue, by recipient; and lists of obligations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from sqlalchemy import or_, select

from broker.obligations import rows
from broker.obligations.owing import day_after
from broker.obligations.rows import OBLIGATION
from broker.obligations.rules import SETTLED, State

if TYPE_CHECKING:
    from broker.desk import View
    from broker.obligations.rows import Held
    from broker.obligations.rules import Account

TOGETHER: Final = 500
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


def listed(view: View, wanted: Filter, after: int, limit: int) -> list[Held]:
    """Up to `limit` obligations whose last change stands behind entry `after`, in that order.

    What a row says of its state is a hint: each is proven, and one whose row calls it settled though it is not raises.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    table = OBLIGATION.c
    query = select(OBLIGATION).where(table.moved > after).order_by(table.moved)
    if wanted.recipient:
        query = query.where(table.recipient == wanted.recipient)
    if wanted.contract:
        query = query.where(table.contract == wanted.contract)
    if wanted.cause:
        query = query.where(table.cause == wanted.cause)
    today = day_after(view.now_us, 0)
    if wanted.overdue:
        query = query.where(table.settled == 0, table.due < today)
    elif wanted.escalated or (wanted.states and not wanted.states & SETTLED):
        query = query.where(table.settled == 0)
    found: list[Held] = []
    while len(found) < limit:
        page = view.connection.execute(query.where(table.moved > after).limit(limit)).all()
        proven = rows.of_rows(view.connection, page, view.snapshot.standing)
        found += [held for held in proven if wanted.takes(held.account)]
        if len(page) < limit:
            break
        after = page[-1].moved
    return found[:limit]


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


def by_recipient(view: View, since: str) -> list[RecipientReport]:
    """What each recipient owes, the worst first. Every obligation counts by its entries.

    Args:
        view: to read with.
        since: settled ones that were due before this day are left out.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    table, today = OBLIGATION.c, day_after(view.now_us, 0)
    found: dict[str, RecipientReport] = {}
    after = NEVER
    while True:
        query = select(OBLIGATION).where(table.number > after, or_(table.settled == 0, table.due >= since))
        page = view.connection.execute(query.order_by(table.number).limit(TOGETHER)).all()
        for held in rows.of_rows(view.connection, page, view.snapshot.standing):
            account = held.account
            found.setdefault(account.recipient, RecipientReport(account.recipient)).count(account, today)
        if len(page) < TOGETHER:
            break
        after = page[-1].number
    return sorted(found.values(), key=lambda each: (-each.worst_days, -each.overdue, each.recipient))
