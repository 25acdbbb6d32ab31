"""Request ids: what each was used for, so that a retry gives the same answer and no second entry (DESIGN promise 8).

Read and written under the head's lock, in the transaction that appends the entries: two equal requests in flight, on
one machine or on two, are one request and its retry.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, update

from broker.errors import Reason, SlussError
from broker.store import tables
from broker.store.driver import change as write
from broker.store.driver import fetch, parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, SelectBase

    from broker.desk import Change

REQUEST = tables.core(tables.Request)
_ADD = "INSERT INTO request (principal, id, body, first_entry, entries, reply, at) VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Known:
    """A request that was answered before.

    Attributes:
        body: SHA-256 of what was asked.
        first_entry: index of the first entry that answered it.
        entries: how many entries did.
        reply: what else the answer held, as its service writes it.
    """

    body: bytes
    first_entry: int
    entries: int
    reply: bytes


Name = tuple[str, bytes]
"""A principal's name and a request id."""


def find(connection: Connection, names: Iterable[Name]) -> dict[Name, Known]:
    """Those of the requests that were answered before."""
    by_principal: dict[str, list[bytes]] = {}
    for principal, request in names:
        by_principal.setdefault(principal, []).append(request)
    found = {}
    for principal, ids in by_principal.items():
        for some in parts(ids):
            marks = ", ".join("?" * len(some))
            query = f"SELECT id, body, first_entry, entries, reply FROM request WHERE principal = ? AND id IN ({marks})"  # noqa: S608 - marks only
            for row in fetch(connection, query, (principal, *some)):
                found[principal, bytes(row.id)] = Known(bytes(row.body), row.first_entry, row.entries, bytes(row.reply))
    return found


def find_one(change: Change, request_id: bytes, body: bytes) -> Known | None:
    """The earlier answer to a request of the caller's, if there is one.

    Raises:
        SlussError: REQUEST_ID_REUSED if it had another body.
    """
    name = change.principal.name, request_id
    known = find(change.connection, [name]).get(name)
    if known is not None:
        require_same(known, request_id, body)
    return known


def require_same(known: Known, request_id: bytes, body: bytes) -> None:
    """Refuse a request id that comes back with another body.

    Raises:
        SlussError: REQUEST_ID_REUSED.
    """
    if known.body != body:
        raise SlussError(Reason.REQUEST_ID_REUSED, request_id=str(uuid.UUID(bytes=request_id)))


def remember_one(change: Change, request_id: bytes, known: Known) -> None:
    """Store what a request of the caller's was answered with."""
    remember(change.connection, [((change.principal.name, request_id), known)], change.now_us)


def remember(connection: Connection, rows: Sequence[tuple[Name, Known]], at_us: int) -> None:
    """Store what requests were answered with."""
    write(
        connection,
        _ADD,
        [
            (principal, request, known.body, known.first_entry, known.entries, known.reply, at_us)
            for (principal, request), known in rows
        ],
    )


def forget_digests(connection: Connection, at: SelectBase | Collection[int], about: ColumnElement[bool]) -> None:
    """Destroy what tells what was asked, as an erasure wants it; the rows stay, and a late retry is refused.

    Args:
        connection: to write with.
        at: when the requests were answered; by time they are found.
        about: which of them.
    """
    connection.execute(update(REQUEST).where(REQUEST.c.at.in_(at), about).values(body=b""))


def forget_before(connection: Connection, before_us: int) -> int:
    """Forget requests older than the retry window; returns how many.

    The parts of a release, which stand under their case, are kept: whenever it is asked for, each person is in it once.
    """
    of_a_principal = REQUEST.c.principal.contains("/")
    return connection.execute(delete(REQUEST).where(REQUEST.c.at < before_us, of_a_principal)).rowcount
