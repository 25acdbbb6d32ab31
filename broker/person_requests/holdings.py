"""What rooms other than the record hold of a person, as an access export shows it (see access.py, `DECIDED`).

Left out, though it stands beside what is shown: notes of an investigation and what a complaint is linked to, which may
be a release that the law keeps hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker import case_files
from broker.aggregates import recording
from broker.choices import history
from broker.clock import rfc3339
from broker.complaints import handling
from broker.complaints.rules import ROOM as COMPLAINT
from broker.compromise.reports import ROOM as COMPROMISE
from broker.tracing.former import FORMER, KEPT_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.case_files import File
    from broker.desk import View

PAGE: Final = 500


def choices(view: View, person: int) -> list[dict[str, Any]]:
    """Every choice that was ever made, oldest first; no channels are all."""
    return [
        {
            "chosen_at": rfc3339(line.chosen_at),
            "recorded_at": rfc3339(line.recorded_at),
            "purpose": line.choice.purpose,
            "state": line.choice.state,
            "channels": list(line.choice.channels),
            "medium": line.choice.medium,
            "source": line.source,
            "evidence": line.evidence,
            "policy": line.policy,
            "entry": line.entry,
        }
        for line in history.of_persons(view.connection, [person])[person]
    ]


def usage(view: View, person: int) -> list[dict[str, Any]]:
    """What the person used, by day."""
    events = view.snapshot.catalogue.events
    return [
        {
            "day": each.day.isoformat(),
            "event": each.event,
            "label_en": events[each.event].label_en if each.event in events else each.event,
            "label_sv": events[each.event].label_sv if each.event in events else each.event,
            "attributes": dict(each.attributes),
            "events": each.events,
            "seconds": each.seconds,
        }
        for each in recording.held(view, person)
    ]


def complaints(view: View, person: int) -> list[dict[str, Any]]:
    """The person's complaints, oldest first, with what the person is told of each."""
    return [
        {
            "complaint": file.id,
            "received": handling.received_on(file).isoformat(),
            "opened": rfc3339(file.opened_at),
            "state": file.state,
            "due": rfc3339(file.due_at),
            "kind": file.body["kind"],
            "channel": file.body["channel"],
            "complainant": file.private["complainant"] if file.private else "",
            "about": file.private["about"] if file.private else "",
            "outcome": file.body["outcome"],
            "told": handling.told(view, file),
            "closed": rfc3339(file.body["closed_at"]) if "closed_at" in file.body else "",
        }
        for file in _files(view, COMPLAINT, person)
    ]


def compromises(view: View, person: int) -> list[dict[str, Any]]:
    """Reports that the person's credential was stolen, oldest first; `locked` while nothing is taken because of it."""
    return [
        {"report": file.id, "opened": rfc3339(file.opened_at), "state": file.state, "locked": file.body["locked"]}
        for file in _files(view, COMPROMISE, person)
    ]


def former(view: View, person: int) -> list[dict[str, Any]]:
    """Values that were corrected or removed: kept as keyed digests only, which can be recognised and not read."""
    query = select(FORMER.c.field, FORMER.c.since, FORMER.c.until).where(FORMER.c.person == person)
    return [
        {
            "field": row.field,
            "since": rfc3339(row.since),
            "until": rfc3339(row.until),
            "kept_until": rfc3339(row.until + KEPT_US),
        }
        for row in view.connection.execute(query.order_by(FORMER.c.until, FORMER.c.field))
    ]


def _files(view: View, room: str, person: int) -> Iterator[File]:
    found: list[File] = []
    before = 0
    while True:
        page, before = case_files.page(view, room, [case_files.FILE.c.person == person], before, PAGE)
        found += page
        if not before:
            return reversed(found)
