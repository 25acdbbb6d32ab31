"""Persons whose credential is reported as stolen.

The broker has no passwords. A lock says that what an internal service hands in for the person may come from whoever
has the credential: opt-outs, objections and complaints are taken, which take nothing from the person; the privacy team
may do everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select

from broker.errors import Reason, SlussError
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from broker.desk import View

LOCK: Final = tables.core(tables.CredentialLock)


def lock(connection: Connection, person: int, report: str, now_us: int) -> None:
    """Lock a person's credential; one that is locked already stays so for the report that did it first.

    A person has one row however many reports stand: ending one hands the lock on to the next (`reports.reinstate`).
    """
    if not locked_by(connection, person):
        connection.execute(insert(LOCK).values(person=person, report=report, at=now_us))


def unlock(connection: Connection, person: int) -> None:
    """End the lock."""
    connection.execute(delete(LOCK).where(LOCK.c.person == person))


def locked_by(connection: Connection, person: int) -> str:
    """The report for which a person's credential is locked; empty if it is not."""
    return connection.execute(select(LOCK.c.report).where(LOCK.c.person == person)).scalar_one_or_none() or ""


def require_unlocked(view: View, person: int) -> None:
    """Refuse what an internal service hands in for a person whose credential is locked.

    Raises:
        SlussError: CREDENTIAL_LOCKED.
    """
    if locked := locked_among(view, [person]):
        raise SlussError(Reason.CREDENTIAL_LOCKED, report=locked[person])


def locked_among(view: View, persons: Collection[int]) -> dict[int, str]:
    """Those of some persons for whom the caller may hand nothing in, each with the report that locked it."""
    if view.principal.kind != "internal" or not persons:
        return {}
    query = select(LOCK.c.person, LOCK.c.report).where(LOCK.c.person.in_(persons))
    return {row.person: row.report for row in view.connection.execute(query)}
