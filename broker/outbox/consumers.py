"""What a consumer has not answered for, and what it answered. Reading changes nothing.

An item is settled once every consumer that takes its kind has delivered it or given it up: then what was sealed of it
is destroyed. A message that nobody delivered for 30 days is given up, since it holds personal data for nothing;
not while the person's credential is locked, and for 30 days after the last step of a report, since it may be held back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import and_, delete, func, insert, not_, or_, select, update

from broker.clock import DAY
from broker.errors import Reason, SlussError, invalid
from broker.outbox import holding
from broker.outbox.kinds import CONSUMER, Failure, Kind, is_dead, wait_us
from broker.outbox.queue import DELIVERY, ITEM
from broker.policies import notices
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Join, Row

    from broker.desk import Change, View

TABLE: Final = tables.core(tables.OutboxConsumer)
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
DEAD: Final = "dead"
WAITING: Final = "waiting"
LIFE_US: Final = 30 * DAY
"""How long a message waits for somebody to deliver it."""
KEPT_US: Final = 90 * DAY
"""How long a settled message stays in the list, without its contents."""
PART: Final = 1000


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer: the kinds that it takes, empty for all, and the first item that it gets.

    `at` is since when it is known, in microseconds since 1970 UTC.
    """

    name: str
    principal: str
    kinds: tuple[Kind, ...]
    first: int
    at: int

    def takes(self, row: Row[Any]) -> bool:
        """Whether an item is for it."""
        return row.id >= self.first and (not self.kinds or row.kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Answered:
    """How an item stands after an answer; `next_at` of a failed one, in microseconds since 1970 UTC."""

    item: int
    state: str
    next_at: int = 0


def enlist(change: Change, name: str, kinds: Sequence[Kind], *, skip_earlier: bool) -> None:
    """Know a consumer from now on, or the kinds that it takes now.

    Raises:
        SlussError: CONSUMER_TAKEN, INVALID_REQUEST.
    """
    check_name(name)
    taken = orjson.dumps([kind.value for kind in dict.fromkeys(kinds)]).decode()
    known = find(change.connection, name)
    if known is None:
        last = change.connection.execute(select(func.max(ITEM.c.id))).scalar_one() or 0
        first = last + 1 if skip_earlier else 0
        row = {"name": name, "principal": change.principal.name, "kinds": taken, "first": first, "at": change.now_us}
        change.connection.execute(insert(TABLE).values(row))
        return
    require_own(known, change.principal.name)
    change.connection.execute(update(TABLE).where(TABLE.c.name == name).values(kinds=taken))


def check_name(name: str) -> None:
    """Refuse what is no consumer's name.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not CONSUMER.fullmatch(name):
        raise invalid("consumer", "a letter, then up to 31 of a-z 0-9 -")


def require_own(consumer: Consumer, principal: str) -> None:
    """Refuse somebody else's consumer.

    Raises:
        SlussError: CONSUMER_TAKEN.
    """
    if consumer.principal != principal:
        raise SlussError(Reason.CONSUMER_TAKEN, consumer=consumer.name)


def find(connection: Connection, name: str) -> Consumer | None:
    """A consumer by name."""
    return next(iter(_consumers(connection, TABLE.c.name == name)), None)


def all_of_them(connection: Connection) -> list[Consumer]:
    """Every consumer, by name."""
    return _consumers(connection)


def due(view: View, consumer: Consumer, busy: Collection[int], limit: int, *, behind: int = 0) -> list[Row[Any]]:
    """Up to `limit` items behind one that the consumer has not answered for, oldest first, but for the busy ones."""
    query = select(ITEM, DELIVERY.c.attempts).select_from(_joined(consumer))
    is_due = and_(DELIVERY.c.state == FAILED, DELIVERY.c.next_at <= view.now_us)
    query = query.where(*_open(consumer), ITEM.c.id > behind, or_(DELIVERY.c.item.is_(None), is_due))
    found: list[Row[Any]] = []
    # The busy ones are few and among the oldest: they are left out here and not in a list of a thousand numbers.
    for row in view.connection.execute(query.order_by(ITEM.c.id).limit(limit + len(busy))):
        if row.id not in busy and len(found) < limit:
            found.append(row)
    return found


def unanswered(view: View, consumer: Consumer, sent: Mapping[int, int]) -> set[int]:
    """Those of up to 1,000 items, sent with so many failures each, that the consumer has not answered for since."""
    query = select(ITEM.c.id, DELIVERY.c.state, DELIVERY.c.attempts).select_from(_joined(consumer))
    rows = view.connection.execute(query.where(ITEM.c.id.in_(list(sent))))
    return {row.id for row in rows if row.state is None or (row.state == FAILED and row.attempts == sent[row.id])}


def waiting(connection: Connection, consumer: Consumer) -> int:
    """How many items the consumer has not answered for."""
    query = select(func.count()).select_from(_joined(consumer))
    query = query.where(*_open(consumer), or_(DELIVERY.c.item.is_(None), DELIVERY.c.state == FAILED))
    return connection.execute(query).scalar_one()


def acknowledge(
    change: Change, name: str, answers: Sequence[tuple[int, Failure | None]], first_wait_us: int
) -> list[Answered]:
    """Note what became of items; how each stands then.

    Raises:
        SlussError: CONSUMER_TAKEN; INVALID_REQUEST for a consumer that never watched.
    """
    check_name(name)
    consumer = find(change.connection, name)
    if consumer is None:
        raise invalid("consumer", "it has never watched the outbox")
    require_own(consumer, change.principal.name)
    every = all_of_them(change.connection)
    return [_answer(change, consumer, every, answer, first_wait_us) for answer in answers]


def expire(connection: Connection, now_us: int) -> None:
    """Give up what nobody delivered in time; drop what was settled long ago. Under the head's lock."""
    every = all_of_them(connection)
    since = now_us - LIFE_US
    late = select(ITEM).where(ITEM.c.settled_at == 0, ITEM.c.at < since, not_(holding.may_be_held(since)))
    for row in connection.execute(late.order_by(ITEM.c.id).limit(PART)).all():
        for consumer in every:
            said = _said(connection, row.id, consumer.name)
            if consumer.takes(row) and (said is None or said.state == FAILED):
                attempts = said.attempts if said else 0
                _say(connection, row.id, consumer.name, said, _Saying(DEAD, Failure.EXPIRED, attempts, 0, now_us))
        _settle(connection, row.id, now_us)
    old = select(ITEM.c.id).where(ITEM.c.settled_at.between(1, now_us - KEPT_US)).limit(PART)
    gone = list(connection.execute(old).scalars())
    if gone:
        connection.execute(delete(DELIVERY).where(DELIVERY.c.item.in_(gone)))
        connection.execute(delete(ITEM).where(ITEM.c.id.in_(gone)))


def said_of(connection: Connection, items: Sequence[int]) -> dict[int, dict[str, Row[Any]]]:
    """What consumers said of items: item -> consumer -> row."""
    found: dict[int, dict[str, Row[Any]]] = {}
    for row in connection.execute(select(DELIVERY).where(DELIVERY.c.item.in_(items))):
        found.setdefault(row.item, {})[row.consumer] = row
    return found


class _Saying(NamedTuple):
    """What is on record of an item for a consumer; named like the columns."""

    state: str
    reason: str
    attempts: int
    next_at: int
    at: int


def _answer(
    change: Change,
    consumer: Consumer,
    every: Sequence[Consumer],
    answer: tuple[int, Failure | None],
    first_wait_us: int,
) -> Answered:
    item, failure = answer
    connection, now_us = change.connection, change.now_us
    row = connection.execute(select(ITEM).where(ITEM.c.id == item)).one_or_none()
    if row is None or not consumer.takes(row):
        return Answered(item, "")
    said = _said(connection, item, consumer.name)
    if said is not None and said.state in {DELIVERED, DEAD}:
        return Answered(item, said.state)
    attempts = said.attempts if said else 0
    if failure is None:
        saying = _Saying(DELIVERED, "", attempts, 0, now_us)
        if row.kind == Kind.POLICY_CHANGED:
            notices.delivered(connection, row.person, orjson.loads(row.refs)["version"], now_us)
    elif said is not None and said.next_at > now_us:
        # The same failure said again: it must not count twice.
        return Answered(item, FAILED, said.next_at)
    elif is_dead(failure, attempts + 1):
        saying = _Saying(DEAD, failure, attempts + 1, 0, now_us)
    else:
        saying = _Saying(FAILED, failure, attempts + 1, now_us + wait_us(attempts + 1, first_wait_us), now_us)
    _say(connection, item, consumer.name, said, saying)
    states = {name: each.state for name, each in said_of(connection, [item]).get(item, {}).items()}
    if all(states.get(each.name) in {DELIVERED, DEAD} for each in every if each.takes(row)):
        _settle(connection, item, now_us)
    return Answered(item, saying.state, saying.next_at)


def _said(connection: Connection, item: int, consumer: str) -> Row[Any] | None:
    query = select(DELIVERY).where(DELIVERY.c.item == item, DELIVERY.c.consumer == consumer)
    return connection.execute(query).one_or_none()


def _say(connection: Connection, item: int, consumer: str, before: Row[Any] | None, saying: _Saying) -> None:
    if before is None:
        connection.execute(insert(DELIVERY).values(item=item, consumer=consumer, **saying._asdict()))
    else:
        same = (DELIVERY.c.item == item, DELIVERY.c.consumer == consumer)
        connection.execute(update(DELIVERY).where(*same).values(**saying._asdict()))


def _settle(connection: Connection, item: int, now_us: int) -> None:
    connection.execute(update(ITEM).where(ITEM.c.id == item).values(settled_at=now_us, body=b""))


def _open(consumer: Consumer) -> list[ColumnElement[bool]]:
    """Items that may be for the consumer still."""
    of_its_kinds = [ITEM.c.kind.in_([kind.value for kind in consumer.kinds])] if consumer.kinds else []
    return [ITEM.c.settled_at == 0, ITEM.c.id >= consumer.first, *of_its_kinds]


def _joined(consumer: Consumer) -> Join:
    said = and_(DELIVERY.c.item == ITEM.c.id, DELIVERY.c.consumer == consumer.name)
    return ITEM.outerjoin(DELIVERY, said)


def _consumers(connection: Connection, *where: ColumnElement[bool]) -> list[Consumer]:
    rows = connection.execute(select(TABLE).where(*where).order_by(TABLE.c.name))
    return [
        Consumer(row.name, row.principal, tuple(Kind(kind) for kind in orjson.loads(row.kinds)), row.first, row.at)
        for row in rows
    ]
