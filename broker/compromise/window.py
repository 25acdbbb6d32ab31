"""What happened in a report's suspect window, and the facts of a breach notice that follow from it.

Hidden legal releases are sealed entries: they are neither listed nor counted, whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, distinct, func, select

from broker.ledger import entry
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from broker.case_files import File
    from broker.desk import View

ENTRY: Final = tables.core(tables.LedgerEntry)
TIES: Final = tables.core(tables.LedgerPerson)
OF_PRINCIPAL: Final = ("disclosure", "contract", "key", "certificate", "refusal", "refusals")
OF_PERSON: Final = ("disclosure", "choice", "acceptance")
STEP: Final = 1_000
"""Entries read at a time."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entry of the window; `persons` whose data were in it."""

    index: int
    entry: bytes
    persons: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be computed for a breach notice."""

    persons: int
    records: int
    disclosures: int
    categories: tuple[str, ...]
    fields: tuple[str, ...]
    recipients: tuple[str, ...]


def suspects(view: View, file: File, after: int, limit: int) -> list[Suspect]:
    """Up to `limit` entries behind `after` (-1 for the first), in the order of the ledger."""
    query = select(ENTRY.c.id, ENTRY.c.entry).where(_within(file), ENTRY.c.id > after).order_by(ENTRY.c.id)
    return [
        Suspect(row.id, bytes(row.entry), len(entry.parse(bytes(row.entry)).get("slices", ())))
        for row in view.connection.execute(query.limit(limit)).all()
    ]


def facts(view: View, file: File) -> Facts:
    """The facts, from all entries of the window.

    Persons are counted by the ties of the entries, which an erasure destroys: those on record now. For a report about
    a person, that is the person.
    """
    records = disclosures = 0
    fields: set[str] = set()
    recipients: set[str] = set()
    after = -1
    while found := suspects(view, file, after, STEP):
        after = found[-1].index
        for each in found:
            said: dict[str, Any] = entry.parse(each.entry)
            if said["type"] == "disclosure":
                disclosures += 1
                records += 1 if file.person else each.persons
                fields |= {granted["name"] for granted in said["terms"]["fields"]}
                recipients.add(said["terms"]["recipient"])
    tied = select(func.count(distinct(TIES.c.person))).where(
        TIES.c.entry.in_(select(ENTRY.c.id).where(_within(file), ENTRY.c.type == "disclosure"))
    )
    persons = 1 if file.person else view.connection.execute(tied).scalar_one()
    known = {field.name: field.category for field in view.snapshot.catalogue.fields.values()}
    categories = {known[name] for name in fields if name in known}
    return Facts(
        persons, records, disclosures, tuple(sorted(categories)), tuple(sorted(fields)), tuple(sorted(recipients))
    )


def _within(file: File) -> ColumnElement[bool]:
    """What is listed for a report: of its principal, or of its person; nothing once the person was erased."""
    window = ENTRY.c.at.between(file.body["suspect_from"], file.body["suspect_until"])
    if file.body["subject"] == "person":
        tied = select(TIES.c.entry).where(TIES.c.person == file.person)
        return and_(window, ENTRY.c.id.in_(tied), ENTRY.c.type.in_(OF_PERSON))
    return and_(window, ENTRY.c.recipient == file.body["principal"], ENTRY.c.type.in_(OF_PRINCIPAL))
