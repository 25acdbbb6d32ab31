"""Compromise reports of a replaced database, made again in the restored one: each open one, and each once.

A report that is made again has another time of opening, and most often another id. So which of them stand is counted:
each that was made in the restored database alone stands for one of the replaced database with the same content.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select

from broker import case_files
from broker.case_files import FILE
from broker.compromise import reports
from broker.erasure.again import CAUSE
from broker.ledger.entry import parse
from broker.operator.behind import SHA256
from broker.outbox.queue import take_back
from broker.slice_terms import unbase64
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from broker.case_files import File
    from broker.desk import Change, View

ENTRY: Final = tables.core(tables.LedgerEntry)
ALL: Final = select(FILE.c.id).where(FILE.c.room == reports.ROOM).order_by(FILE.c.number)
OPEN: Final = ALL.where(FILE.c.state == "open")


class Opened(NamedTuple):
    """Which report it is: ids are given anew by a database that parts from another."""

    id: str
    at: int


class Report(NamedTuple):
    """A report, and the certificate that it is about; empty if it is about none, or the ledger does not tell which."""

    file: File
    spki: bytes

    @property
    def opened(self) -> Opened:
        """Which one it is."""
        return Opened(self.file.id, self.file.opened_at)

    @property
    def of_nobody(self) -> bool:
        """Whether it is about a person who was erased: nothing is left to lock."""
        return self.file.body["subject"] == "person" and not self.file.person

    @property
    def reinstated(self) -> bool:
        """Whether it locks a person's credential no more."""
        return bool(self.file.person) and not self.file.body["locked"]

    def content(self) -> tuple[Any, ...]:
        """What two reports of the same have in common."""
        body = self.file.body
        return body["subject"], body["principal"], self.file.person, body["suspect_from"], body["noticed_at"]


class Standing:
    """The reports of the restored database.

    Args:
        here: all that it has.
        there: which ones the replaced database has.
    """

    def __init__(self, here: Iterable[Report], there: Collection[Opened]) -> None:
        here = list(here)
        self._shared = {each.opened for each in here}
        self._alone = [each for each in here if each.opened not in there]

    def has(self, report: Report) -> bool:
        """Whether it stands; what was made again of it stands for no other from now on."""
        if report.opened in self._shared:
            return True
        same = [each for each in self._alone if each.content() == report.content()]
        # Of the same certificate before one of which it can't be told.
        for spki in dict.fromkeys((report.spki, b"")):
            for each in same:
                if each.spki == spki:
                    self._alone.remove(each)
                    return True
        return False


def load(view: View, name: str) -> Report:
    """A report, proven by the ledger of its database.

    Raises:
        SlussError: as `case_files.load`.
    """
    file = case_files.load(view, reports.ROOM, name)
    return Report(file, _certificate(view, file) if file.body["subject"] == "certificate" else b"")


def every(view: View) -> list[Report]:
    """All of a database, the oldest first.

    Raises:
        SlussError: as `case_files.load`.
    """
    return [load(view, name) for name in view.connection.execute(ALL).scalars().all()]


def opened(view: View) -> list[Opened]:
    """Which ones a database has, whether they can be loaded or not."""
    query = select(FILE.c.id, FILE.c.opened_at).where(FILE.c.room == reports.ROOM)
    return [Opened(*row) for row in view.connection.execute(query)]


def make(report: Report, change: Change) -> str:
    """Make a report again; its id. Of one whose lock was ended there the person hears nothing, and `end_lock` is next.

    Raises:
        SlussError: FILE_UNKNOWN, PERSON_UNKNOWN: what it is about is not on record.
    """
    file = report.file
    new = reports.NewReport(
        file.body["subject"],
        report.spki,
        file.body["principal"],
        file.person,
        file.body["suspect_from"],
        file.body["suspect_until"],
        file.body["noticed_at"],
        (file.private or {}).get("how", ""),
    )
    made, _ = reports.report(change, new, uuid.uuid4().bytes)
    if report.reinstated:
        take_back(change, made.person, "credential_reset")
    return made.id


def end_lock(name: str, change: Change) -> None:
    """End the lock of a report that was made again; in another transaction, as what it begins with is proven."""
    etag = case_files.load(change, reports.ROOM, name).etag
    reports.reinstate(change, name, str(etag), CAUSE)


def _certificate(view: View, file: File) -> bytes:
    """The certificate that was revoked with a report; if it was revoked already, the only one that had been by then."""
    revoked = select(ENTRY.c.entry).where(
        ENTRY.c.recipient == file.body["principal"],
        ENTRY.c.type == "certificate",
        ENTRY.c.at == file.opened_at if file.body["revoked"] else ENTRY.c.at <= file.opened_at,
    )
    said = [parse(bytes(data)) for data in view.connection.execute(revoked).scalars()]
    found = {each["spki"] for each in said if each["event"] == "revoked"}
    return unbase64(found.pop(), SHA256) if len(found) == 1 else b""
