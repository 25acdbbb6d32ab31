"""Telling everybody of a new version, over the outbox; and whether a person was told.

Everybody is many: messages are queued some at a time, in transactions of their own, by the process that maintains the
store. How far it has come is on record, so that a crash repeats nothing and leaves nobody out. Whoever registers after
the publication and before the version takes effect is told with the registration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, update

from broker.clock import rfc3339
from broker.outbox.kinds import Kind
from broker.outbox.queue import Message, queue_all
from broker.persons.model import ACTIVE
from broker.store import tables
from broker.store.queries import PERSON

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from broker.desk import Change
    from broker.ledger.log import Tx
    from broker.rights import Snapshot

NOTICE: Final = tables.core(tables.PolicyNotice)
FAN_OUT: Final = tables.core(tables.PolicyFanOut)
PART: Final = 1000
"""Persons told in one transaction."""


def begin(change: Change, version: str) -> None:
    """Have everybody on record told of a version, once; `go_on` tells them."""
    known = select(FAN_OUT.c.version).where(FAN_OUT.c.version == version)
    if change.connection.execute(known).one_or_none() is None:
        row = {"version": version, "published_at": change.now_us, "person": 0, "done": 0}
        change.connection.execute(insert(FAN_OUT).values(row))


def go_on(tx: Tx, snapshot: Snapshot) -> bool:
    """Tell the next persons; whether there may be more."""
    pending = select(FAN_OUT).where(FAN_OUT.c.done == 0).order_by(FAN_OUT.c.published_at).limit(1)
    row = tx.connection.execute(pending).one_or_none()
    if row is None or row.version not in snapshot.versions:
        return False
    query = (
        select(PERSON.c.id, PERSON.c.created_at)
        .where(PERSON.c.id > row.person, PERSON.c.state == ACTIVE)
        .order_by(PERSON.c.id)
        .limit(PART)
    )
    page = tx.connection.execute(query).all()
    told = [each.id for each in page if each.created_at <= row.published_at]
    queue_all(tx.connection, [_message(snapshot, person, row.version) for person in told], tx.at)
    moved = {"person": page[-1].id if page else row.person, "done": int(len(page) < PART)}
    tx.connection.execute(update(FAN_OUT).where(FAN_OUT.c.version == row.version).values(moved))
    return True


def on_registration(change: Change, person: int) -> list[Message]:
    """The messages about versions that were announced and are still to take effect."""
    snapshot = change.snapshot
    coming = [version for effective_at, version in snapshot.policies if effective_at > change.now_us]
    if not coming:
        return []
    announced = change.connection.execute(select(FAN_OUT.c.version).where(FAN_OUT.c.version.in_(coming))).scalars()
    return [_message(snapshot, person, version) for version in sorted(announced)]


def delivered(connection: Connection, told: Collection[tuple[int, str]], now_us: int) -> None:
    """Note that persons were told of versions, (person, version) each; the first time counts."""
    if not told:
        return
    persons = {person for person, _ in told}
    known = connection.execute(select(NOTICE.c.person, NOTICE.c.version).where(NOTICE.c.person.in_(persons)))
    fresh = set(told) - {(row.person, row.version) for row in known}
    rows = [{"person": person, "version": version, "at": now_us} for person, version in sorted(fresh)]
    if rows:
        connection.execute(insert(NOTICE), rows)


def was_told(connection: Connection, person: int, version: str) -> bool:
    """Whether a message about a version was delivered to a person."""
    told = select(NOTICE.c.at).where(NOTICE.c.person == person, NOTICE.c.version == version)
    return connection.execute(told).one_or_none() is not None


def told(connection: Connection, person: int) -> list[tuple[str, int]]:
    """The versions of which a person was told, and when (microseconds since 1970 UTC), newest first."""
    rows = connection.execute(select(NOTICE).where(NOTICE.c.person == person).order_by(NOTICE.c.at.desc()))
    return [(row.version, row.at) for row in rows]


def _message(snapshot: Snapshot, person: int, version: str) -> Message:
    effective = rfc3339(snapshot.versions[version].effective_at)
    return Message(person, Kind.POLICY_CHANGED, {"version": version, "effective": effective})
