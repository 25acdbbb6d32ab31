"""Whose messages are held back: those that would go to an address which the thief of a credential may have set.

While a person's credential is reported as stolen, an address that was changed between the begin of the suspect window
and the report gets nothing: no letter about the theft, and none with what the person is told. Of several reports that
lock the credential the earliest begin counts, and the latest report. Once the privacy team has corrected the address,
or reinstated the credential, the messages go.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, or_, select

from broker.case_files import FILE
from broker.clock import SECOND
from broker.compromise.locks import LOCK
from broker.compromise.reports import ROOM, locking
from broker.errors import Reason, SlussError
from broker.ledger.standing import differs
from broker.outbox.queue import ITEM
from broker.persons.model import ACTIVE
from broker.store.queries import WHOLE, read_persons

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Row

    from broker.desk import View

log = logging.getLogger(__name__)

_DAMAGED: Final = frozenset({Reason.INTERNAL, Reason.LEDGER_INCONSISTENT, Reason.KEYS_UNAVAILABLE})


def held_back(view: View, persons: Collection[int]) -> set[int]:
    """Those of some persons to whose address nothing goes now; of whom it can't be judged, neither, which is logged."""
    if not persons:
        return set()
    query = select(LOCK.c.person, LOCK.c.report).where(LOCK.c.person.in_(persons))
    locks = {row.person: row.report for row in view.connection.execute(query)}
    rows = read_persons(view.connection, list(locks), WHOLE) if locks else []
    return {row.id for row in rows if row.state == ACTIVE and _is_held(view, row, locks[row.id])}


def may_be_held(since_us: int) -> ColumnElement[bool]:
    """Whether an item's messages may have been held back since then: a report locks the credential, or moved later.

    It is a condition on rows, and judges nothing: whoever is locked may be held back, or have been until the other day.
    """
    moved = (FILE.c.room == ROOM, FILE.c.person == ITEM.c.person, FILE.c.updated_at >= since_us)
    return or_(exists().where(LOCK.c.person == ITEM.c.person), exists().where(*moved))


def _is_held(view: View, row: Row[Any], report: str) -> bool:
    try:
        return _changed_meanwhile(view, row, report)
    except SlussError as error:
        if error.reason not in _DAMAGED:
            raise
        log.error("a report can't be judged, messages are held back: %s", report)  # noqa: TRY400 - no values in logs
        return True


def _changed_meanwhile(view: View, row: Row[Any], report: str) -> bool:
    """Whether the address is not the one of the registration, and was set in a window or before the last report.

    Raises:
        SlussError: LEDGER_INCONSISTENT if a report is not what the ledger says, INTERNAL if one does not open.
    """
    reports = locking(view, row.id)
    if report not in {each.id for each in reports}:
        raise differs(ROOM, case=report)
    origins = view.snapshot.vault.metadata(row)
    names = [field.name for field in view.snapshot.catalogue.indexed("email")]
    first = min(each.body["suspect_from"] for each in reports) // SECOND
    last = max(each.opened_at for each in reports) // SECOND
    times = [origins[name].collected_at for name in names if name in origins][:1]
    return any(first <= at <= last and at > row.created_at // SECOND for at in times)
