"""Whose messages are held back: those that would go to an address which the thief of a credential may have set.

While a person's credential is reported as stolen, an address that was changed between the begin of the suspect window
and the report gets nothing: no letter about the theft, and none with what the person is told. Once the privacy team has
corrected the address, or reinstated the credential, the messages go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from broker import case_files
from broker.clock import SECOND
from broker.compromise.locks import LOCK
from broker.compromise.reports import ROOM
from broker.persons.model import ACTIVE
from broker.store.queries import WHOLE, read_persons

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Row

    from broker.case_files import File
    from broker.desk import View


def held_back(view: View, persons: Collection[int]) -> set[int]:
    """Those of some persons to whose address nothing goes now.

    Raises:
        SlussError: LEDGER_INCONSISTENT if a report is not what the ledger says.
    """
    if not persons:
        return set()
    query = select(LOCK.c.person, LOCK.c.report).where(LOCK.c.person.in_(persons))
    locked = view.connection.execute(query).all()
    if not locked:
        return set()
    rows = {row.id: row for row in read_persons(view.connection, [each.person for each in locked], WHOLE)}
    found = set()
    for each in locked:
        row = rows.get(each.person)
        if row is None or row.state != ACTIVE:
            continue
        report = case_files.load(view, ROOM, each.report)
        if _changed_meanwhile(view, row, report):
            found.add(each.person)
    return found


def _changed_meanwhile(view: View, row: Row[Any], report: File) -> bool:
    """Whether the address is not the one of the registration, and was set in the window or before the report."""
    origins = view.snapshot.vault.metadata(row)
    names = [field.name for field in view.snapshot.catalogue.indexed("email")]
    first, last = report.body["suspect_from"] // SECOND, report.opened_at // SECOND
    times = [origins[name].collected_at for name in names if name in origins][:1]
    return any(first <= at <= last and at > row.created_at // SECOND for at in times)
