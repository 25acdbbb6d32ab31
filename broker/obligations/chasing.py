"""Reminders, escalation, and what nobody answers for: done by the maintenance loop, each an entry of the ledger.

Which of them is due follows from the entries alone, and is decided again under the head's lock: several brokers that
chase at once remind once.
"""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker.errors import Reason, SlussError
from broker.obligations import rows
from broker.obligations.owing import day_after
from broker.obligations.rows import OBLIGATION
from broker.obligations.rules import BROKER, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Row

    from broker.ledger.log import Tx
    from broker.ledger.standing import Standing
    from broker.obligations.rows import Held
    from broker.obligations.rules import Account

log = logging.getLogger(__name__)

TOGETHER: Final = 100
"""Obligations looked at in one transaction."""


def events_due(
    account: Account, today: str, remind_days: Sequence[int], escalate_days: int, *, over: bool
) -> list[str]:
    """What is to happen to an obligation on a day. Pure.

    Args:
        account: it.
        today: YYYY-MM-DD.
        remind_days: days relative to the day when it is due, such as -7 and 1.
        escalate_days: days after it on which the privacy team is told.
        over: whether its contract is over.
    """
    if account.settled:
        return []
    due = date.fromisoformat(account.due)
    days = [(due + timedelta(days=offset)).isoformat() for offset in remind_days]
    passed = [day for day in days if account.created_at[:10] < day <= today]
    told = max((at[:10] for at, by in account.reminders if by == BROKER), default="")
    found = ["reminded"] if passed and max(passed) > told else []
    if today >= (due + timedelta(days=escalate_days)).isoformat():
        if not account.escalated_at:
            found.append("escalated")
        if over and account.state is not State.UNANSWERED:
            found.append("unanswered")
    return found


def candidates(connection: Connection, now_us: int, remind_days: Sequence[int], after: str) -> list[str]:
    """Up to 100 obligations behind `after` that are near enough to the day when they are due, by id."""
    horizon = day_after(now_us, -min((*remind_days, 0)))
    query = (
        select(OBLIGATION.c.id)
        .where(OBLIGATION.c.settled == 0, OBLIGATION.c.due <= horizon, OBLIGATION.c.id > after)
        .order_by(OBLIGATION.c.id)
        .limit(TOGETHER)
    )
    return list(connection.execute(query).scalars())


def chase(
    tx: Tx,
    names: Sequence[str],
    standing: Standing,
    remind_days: Sequence[int],
    escalate_days: int,
    is_over: Callable[[str], bool],
) -> int:
    """Do what is due of these obligations; gives how many entries that took.

    One whose row, entries or contract are not what the ledger says is logged and left alone: it stops no other.
    """
    found = tx.connection.execute(select(OBLIGATION).where(OBLIGATION.c.id.in_(names)).order_by(OBLIGATION.c.id)).all()
    done = 0
    for held, over in _sound(tx.connection, found, standing, is_over):
        for event in events_due(held.account, day_after(tx.at, 0), remind_days, escalate_days, over=over):
            held = rows.log(tx, held, event, BROKER)  # noqa: PLW2901 - the obligation moves on
            if event == "escalated":
                log.warning(
                    "obligation %s is overdue by far: %s has not answered", held.account.id, held.account.recipient
                )
            done += 1
    return done


def _sound(
    connection: Connection, found: Sequence[Row[Any]], standing: Standing, is_over: Callable[[str], bool]
) -> list[tuple[Held, bool]]:
    """The obligations that are what the ledger says, and whether the contract of each is over."""
    try:
        return [(held, is_over(held.account.contract)) for held in rows.of_rows(connection, found, standing)]
    except SlussError as error:
        if error.reason is not Reason.LEDGER_INCONSISTENT:
            raise
        if len(found) == 1:
            log.error("obligation %s is not what the ledger says: nothing is done about it", found[0].id)  # noqa: TRY400 - the reason says it all
            return []
    return [each for row in found for each in _sound(connection, [row], standing, is_over)]
