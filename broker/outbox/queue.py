"""Queueing a message to a person, in the transaction that it is about; and forgetting them with an erasure.

    queue(change, person, "request_received", {"request": "R-2026-0001"})

A message is there exactly if that transaction is committed. Items are numbered under the head's lock, so that the order
of their numbers is the order of their commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from sqlalchemy import delete, func, insert, select

from broker.outbox.kinds import Kind, check_references
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from broker.desk import Change

ITEM: Final = tables.core(tables.OutboxItem)
DELIVERY: Final = tables.core(tables.OutboxDelivery)


class Message(NamedTuple):
    """A message to queue; `body` is sealed under the person's own key, or empty."""

    person: int
    kind: Kind
    references: Mapping[str, str]
    body: bytes = b""


def queue(change: Change, person: int, kind: str, references: Mapping[str, str], body: bytes = b"") -> int:
    """Queue a message to a person; the item's id.

    Args:
        change: the transaction that the message is about.
        person: whose address it goes to, as it is on record when it is delivered.
        kind: a word of `kinds.Kind`.
        references: what it is about: ids and times, nothing that names a person; stored in the clear.
        body: sealed under the person's own key, or empty.

    Raises:
        SlussError: INVALID_REQUEST for references that are none.
    """
    return queue_all(change.connection, [Message(person, Kind(kind), references, body)], change.now_us)


def queue_all(connection: Connection, messages: Sequence[Message], now_us: int) -> int:
    """Queue messages, under the head's lock; the id of the last one, or 0 for none."""
    if not messages:
        return 0
    for message in messages:
        check_references(message.references)
    last = connection.execute(select(func.max(ITEM.c.id))).scalar_one() or 0
    first = max(now_us, last + 1)
    rows = [
        {
            "id": number,
            "kind": message.kind.value,
            "person": message.person,
            "refs": orjson.dumps(dict(message.references), option=orjson.OPT_SORT_KEYS).decode(),
            "body": message.body,
            "at": now_us,
            "settled_at": 0,
        }
        for number, message in enumerate(messages, first)
    ]
    connection.execute(insert(ITEM), rows)
    return first + len(rows) - 1


def take_back(change: Change, person: int, kind: str) -> None:
    """Take messages of a kind back that this transaction itself queued to a person: nobody has seen them."""
    mine = (ITEM.c.person == person, ITEM.c.kind == Kind(kind).value, ITEM.c.at == change.now_us)
    change.connection.execute(delete(ITEM).where(*mine))


def forget(connection: Connection, person: int) -> None:
    """Destroy all messages to a person, delivered or not: part of the erasure."""
    items = select(ITEM.c.id).where(ITEM.c.person == person)
    connection.execute(delete(DELIVERY).where(DELIVERY.c.item.in_(items)))
    connection.execute(delete(ITEM).where(ITEM.c.person == person))
