"""What a consumer has not answered for, and what it answered. Reading changes nothing.

An item is settled once every consumer that takes its kind has delivered it or given it up: then what was sealed of it
is destroyed. A message that nobody delivered for 30 days is given up, since it holds personal data for nothing;
not while the person's credential is locked, and for 30 days after the last step of a report, since it may be held back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import and_, bindparam, delete, func, insert, not_, or_, select, update

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
    sheet = _Sheet(change, consumer, [item for item, _ in answers])
    done = [sheet.answer(item, failure, first_wait_us) for item, failure in answers]
    sheet.save()
    return done


def expire(connection: Connection, now_us: int) -> None:
    """Give up what nobody delivered in time; drop what was settled long ago. Under the head's lock."""
    every = all_of_them(connection)
    since = now_us - LIFE_US
    late = select(ITEM).where(ITEM.c.settled_at == 0, ITEM.c.at < since, not_(holding.may_be_held(since)))
    rows = connection.execute(late.order_by(ITEM.c.id).limit(PART)).all()
    said = said_of(connection, [row.id for row in rows])
    unsaid = []
    failed: dict[str, dict[int, _Saying]] = {}
    for row in rows:
        for consumer in every:
            before = said.get(row.id, {}).get(consumer.name)
            saying = _Saying(DEAD, Failure.EXPIRED, before.attempts if before else 0, 0, now_us)
            if before is None and consumer.takes(row):
                unsaid.append({"item": row.id, "consumer": consumer.name, **saying._asdict()})
            elif before is not None and before.state == FAILED and consumer.takes(row):
                failed.setdefault(consumer.name, {})[row.id] = saying
    # Written together: everybody waits for the lock meanwhile.
    for name, sayings in failed.items():
        _say_again(connection, name, sayings)
    if unsaid:
        connection.execute(insert(DELIVERY), unsaid)
    _settle(connection, [row.id for row in rows], now_us)
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


class _Sheet:
    """The answers of one call: read and written together, since everybody waits for the lock meanwhile."""

    def __init__(self, change: Change, consumer: Consumer, items: Sequence[int]) -> None:
        self._change = change
        self._consumer = consumer
        self._every = all_of_them(change.connection)
        rows = change.connection.execute(select(ITEM).where(ITEM.c.id.in_(items)))
        self._rows = {row.id: row for row in rows}
        self._stored = said_of(change.connection, items)
        self._new: dict[int, _Saying] = {}
        self._settled: list[int] = []

    def answer(self, item: int, failure: Failure | None, first_wait_us: int) -> Answered:
        """How an item stands after an answer."""
        row, now_us = self._rows.get(item), self._change.now_us
        if row is None or not self._consumer.takes(row):
            return Answered(item, "")
        said: _Saying | Row[Any] | None = self._new.get(item) or self._before(item)
        if said is not None and said.state in {DELIVERED, DEAD}:
            return Answered(item, said.state)
        attempts = said.attempts if said else 0
        if failure is None:
            saying = _Saying(DELIVERED, "", attempts, 0, now_us)
        elif said is not None and said.next_at > now_us:
            # The same failure said again: it must not count twice.
            return Answered(item, FAILED, said.next_at)
        elif is_dead(failure, attempts + 1):
            saying = _Saying(DEAD, failure, attempts + 1, 0, now_us)
        else:
            saying = _Saying(FAILED, failure, attempts + 1, now_us + wait_us(attempts + 1, first_wait_us), now_us)
        self._new[item] = saying
        states = {name: each.state for name, each in self._stored.get(item, {}).items()}
        states[self._consumer.name] = saying.state
        if all(states.get(each.name) in {DELIVERED, DEAD} for each in self._every if each.takes(row)):
            self._settled.append(item)
        return Answered(item, saying.state, saying.next_at)

    def save(self) -> None:
        """Write what was answered."""
        connection, name = self._change.connection, self._consumer.name
        unsaid = [
            {"item": item, "consumer": name, **saying._asdict()}
            for item, saying in self._new.items()
            if self._before(item) is None
        ]
        if unsaid:
            connection.execute(insert(DELIVERY), unsaid)
        _say_again(connection, name, {item: saying for item, saying in self._new.items() if self._before(item)})
        told = [
            (row.person, str(orjson.loads(row.refs)["version"]))
            for item, saying in self._new.items()
            if saying.state == DELIVERED and (row := self._rows[item]).kind == Kind.POLICY_CHANGED
        ]
        notices.delivered(connection, told, self._change.now_us)
        _settle(connection, self._settled, self._change.now_us)

    def _before(self, item: int) -> Row[Any] | None:
        return self._stored.get(item, {}).get(self._consumer.name)


def _say_again(connection: Connection, consumer: str, sayings: Mapping[int, _Saying]) -> None:
    """Write what is said anew of items that have a word of the consumer."""
    same = (DELIVERY.c.item == bindparam("of_item"), DELIVERY.c.consumer == consumer)
    changed: dict[str, Any] = {name: bindparam(name) for name in _Saying._fields}
    if sayings:
        rows = [{"of_item": item, **saying._asdict()} for item, saying in sayings.items()]
        connection.execute(update(DELIVERY).where(*same).values(changed), rows)


def _settle(connection: Connection, items: Sequence[int], now_us: int) -> None:
    if items:
        connection.execute(update(ITEM).where(ITEM.c.id.in_(items)).values(settled_at=now_us, body=b""))


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
