"""Erasing a person, in the transaction that puts the erasure into the ledger.

    0. nothing forbids it                                       holds.py
    1. whoever got the person's data owes its erasure           (obligations, while the ties still tell who)
    2. each room forgets what it holds                          `FORGETTERS`; usage events by a tag of the secret's
    3. ties to the ledger become a number per entry             nobody can tell any more whose they were
    4. the entry, by the person's commitment                    the last thing that the person's secret does
    5. keys, values, choices and look-up are destroyed          the row's id and state stay: its handles answer flat
    6. what else the person asked for is refused as `erased`    whoever erases, and whatever for

A crash before the commit leaves the person as it was; after it, all of it has happened. What deleted rows leave in
free pages and logs is scrubbed afterwards (`scrubbing.py`), before anybody says that the erasure is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, update

from broker import case_files, requests
from broker.aggregates import recording
from broker.choices import recording as choosing
from broker.clock import rfc3339
from broker.compromise import locks
from broker.erasure import holds
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.rows import add_erased, erase_ties
from broker.obligations.owing import owe
from broker.outbox import queue
from broker.person_requests import rows as person_requests
from broker.persons import rows
from broker.persons.model import ERASED_STATE
from broker.policies import acceptances
from broker.store import tables
from broker.store.queries import BLIND_INDEX, PERSON, UNIQUE_NUMBER
from broker.tracing import former
from broker.vault import ERASED, commitment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from broker.desk import Change
    from broker.obligations.rules import Disclosed

CHOICE = tables.core(tables.Choice)
ERASURE = tables.core(tables.Erasure)


def _forget_requests(connection: Connection, person: int) -> None:
    """Destroy the keyed digests of what the person was registered with and has chosen; they are of values.

    A retry that comes late must not register the person anew.
    """
    registered = select(PERSON.c.created_at).where(PERSON.c.id == person)
    chosen = select(CHOICE.c.at).where(CHOICE.c.person == person)
    entries = select(CHOICE.c.entry).where(CHOICE.c.person == person)
    name = person_text(person).encode()
    asked = requests.REQUEST.c
    about = (func.substr(asked.reply, 1, len(name)) == name) | ((asked.entries == 1) & asked.first_entry.in_(entries))
    requests.forget_digests(connection, registered.union(chosen), about)


FORGETTERS: Final[tuple[Callable[[Connection, int], None], ...]] = (
    holds.forget,
    queue.forget,
    acceptances.forget,
    former.forget,
    _forget_requests,
    person_requests.forget,
    case_files.forget,
    locks.unlock,
    choosing.forget,
)
"""What other rooms destroy of a person: each takes the connection and the person's id."""


def erase(change: Change, person: int, cause: str, known: Sequence[Disclosed] = ()) -> int:
    """Erase a person; gives the index of the `erasure` entry.

    Args:
        change: the transaction, whose rights move with it: no disclosure that was decided before stands after it.
        person: id.
        cause: the person request or complaint that it is done for.
        known: the person's disclosures as they were read before the lock, as `owe` takes them.

    Raises:
        SlussError: PERSON_UNKNOWN, for a person who is erased already too; LEGAL_HOLD; LEDGER_INCONSISTENT.
    """
    rows.active(change.connection, person)
    holds.require_none(change, person)
    return erase_regardless(change, person, cause, known)


def erase_regardless(change: Change, person: int, cause: str, known: Sequence[Disclosed] = ()) -> int:
    """As `erase`, whatever forbids it: for persons whom a restored backup brings back, holds of then and all.

    Raises:
        SlussError: PERSON_UNKNOWN; LEDGER_INCONSISTENT for a request of the person that is not as the ledger says.
    """
    row = rows.active(change.connection, person)
    secret = change.snapshot.vault.person_secret(row)
    undone = [asked for asked in person_requests.undone(change, person) if asked.id != cause]
    recording.forget(change, person)
    owe(change, person, "erase", (), cause, known=known)
    for forget in FORGETTERS:
        forget(change.connection, person)
    stored = erase_ties(change.connection, person)
    buffered = change.tx.untie(person)
    said = commitment(secret, rfc3339(change.now_us))
    index = change.tx.append(
        entry.erasure(change.now_us, said, stored + len(buffered) + 1, cause, change.principal.name)
    )
    add_erased(change.connection, [*buffered, index])
    _destroy(change.connection, person)
    change.connection.execute(
        insert(ERASURE).values(entry=index, person=person, cause=cause, at=change.now_us, scrubbed_at=0)
    )
    person_requests.close_erased(change, undone)
    change.tx.bump_rights()
    return index


def _destroy(connection: Connection, person: int) -> None:
    connection.execute(delete(BLIND_INDEX).where(BLIND_INDEX.c.person == person))
    connection.execute(delete(UNIQUE_NUMBER).where(UNIQUE_NUMBER.c.person == person))
    connection.execute(
        update(PERSON)
        .where(PERSON.c.id == person)
        .values(**ERASED._asdict(), state=ERASED_STATE, version=0, created_at=0, updated_at=0)
    )
