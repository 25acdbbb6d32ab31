"""Whom to tell of a breach (GDPR Art. 34): persons on record whose data left in a report's suspect window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from broker.compromise.window import ENTRY, LEFT, REQUEST, STEP, TIES, in_window, suspects
from broker.contracts import PERSON_ACTIVE
from broker.ledger import entry
from broker.store.queries import PERSON

if TYPE_CHECKING:
    from broker.case_files import File
    from broker.desk import View


def concerned(view: View, file: File, after: int, limit: int) -> list[int]:
    """Up to `limit` persons with ids above `after`, in order of id; for a report about a person, that person.

    Who was erased since can't be found any more. Of a credential of the company they are those of its releases, hidden
    ones left out, and of its access exports; whom else it has looked at is not recorded.
    """
    if file.body["subject"] == "person":
        return [file.person] if file.person > after else []
    if not file.body["principal"].startswith("subcontractor/"):
        return sorted(person for person in _met(view, file) if person > after)[:limit]
    left = select(ENTRY.c.id).where(
        ENTRY.c.type == "disclosure",
        ENTRY.c.recipient == file.body["principal"],
        in_window(view, file),
    )
    tied = select(TIES.c.person).where(TIES.c.entry.in_(left))
    query = select(PERSON.c.id).where(PERSON.c.id.in_(tied), PERSON.c.id > after, PERSON.c.state == PERSON_ACTIVE)
    return list(view.connection.execute(query.order_by(PERSON.c.id).limit(limit)).scalars())


def _met(view: View, file: File) -> set[int]:
    """The persons of the releases and exports of a window."""
    found: set[int] = set()
    after = -1
    while page := suspects(view, file, after, STEP):
        after = page[-1].index
        left = [(each.index, said) for each in page if (said := entry.parse(each.entry))["type"] in LEFT]
        tied = select(TIES.c.person).where(TIES.c.entry.in_([index for index, _ in left]))
        asked = select(REQUEST.c.person).where(REQUEST.c.id.in_([said.get("case", "") for _, said in left]))
        for query in (tied, asked):
            found.update(view.connection.execute(query).scalars())
    return found - {0}
