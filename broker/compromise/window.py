"""What happened in a report's suspect window, and the facts of a breach notice that follow from it.

The window of a credential of the legal team has what was released with it. Releases that are hidden are neither listed
nor counted, whoever asks. The window of a credential of the company's own has the access exports that were made with
it, that of a person those of the person's requests. What was read with such a credential is in no ledger, and the facts
say so.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select, union

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.held import held
from broker.ledger import entry
from broker.legal import hiding
from broker.legal.rows import load
from broker.store import tables
from broker.store.queries import LEGAL_CASE, read_persons

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Row, Select

    from broker.case_files import File
    from broker.desk import View

ENTRY: Final = tables.core(tables.LedgerEntry)
OTHER: Final = ENTRY.alias("other")
REQUEST: Final = tables.core(tables.PersonRequest)
TIES: Final = tables.core(tables.LedgerPerson)
ERASED: Final = tables.core(tables.LedgerErased)
OF_PRINCIPAL: Final = ("disclosure", "contract", "key", "certificate", "refusal", "refusals", "obligation")
RELEASES: Final = ("release", "release_elsewhere", "sealed")
CUT_OFF: Final = ("certificate", "key")
OF_PERSON: Final = ("disclosure", "choice", "acceptance")
STEP: Final = 1_000
"""Entries read at a time."""
SLACK_US: Final = 3_600 * SECOND
"""Far more than a later entry's time may lie before an earlier one's: the clocks of machines differ by seconds."""
EXPORT: Final = "person_request"
"""Of these entries those are listed by which an access export left."""
EXPORTERS: Final = ("internal/", "privacy/")
"""Who may make one."""
LEFT: Final = ("disclosure", "release", "release_elsewhere", EXPORT)
"""Entries by which data left, of those that are listed."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entry of the window, or of what is cut off; `persons` whose data were in it.

    `entry` is what the ledger holds; of a sealed one that is open by now, the entry that it was.
    """

    index: int
    entry: bytes
    persons: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be computed for a breach notice.

    Attributes:
        persons: different ones who are still on record.
        records: a person's data in a disclosure or export, each.
        erased_records: those of them whose persons were erased since. Each may be of another person, so that at most
            `persons + erased_records` are concerned.
        disclosures: entries by which data left.
        exports: those of them that are access exports. They hold whatever was on record; `fields` has what is so now.
        categories: the fields that left, by their data category.
        fields: those that were in at least one slice.
        recipients: who received.
        cut_off: entries by which the report cut something off.
        reads_unrecorded: whether data can be read with it that no entry tells of: then more may have been seen.
    """

    persons: int
    records: int
    erased_records: int
    disclosures: int
    exports: int
    categories: dict[str, list[str]]
    fields: tuple[str, ...]
    recipients: tuple[str, ...]
    cut_off: list[Suspect]
    reads_unrecorded: bool


def suspects(view: View, file: File, after: int, limit: int) -> list[Suspect]:
    """Up to `limit` entries behind `after` (-1 for the first), in the order of the ledger."""
    found: list[Suspect] = []
    while len(found) < limit:
        rows = view.connection.execute(_query(view, file, after).limit(STEP)).all()
        for row in rows:
            after = row.id
            data = bytes(row.entry) if row.type != "sealed" else _opened(view, row)
            said = entry.parse(data)
            if row.type in RELEASES and (said["type"] not in RELEASES or said["by"] != file.body["principal"]):
                continue
            if row.type == EXPORT and not _exported(said, file):
                continue
            if row.type == "obligation" and said["by"] != file.body["principal"]:
                # What the company did about it; the principal's own answers are as doubtful as its credential.
                continue
            found.append(Suspect(row.id, data, _speaks_of(said)))
            if len(found) == limit:
                break
        if len(rows) < STEP:
            break
    return found


def facts(view: View, file: File) -> Facts:
    """The facts, from all entries of the window.

    Persons are counted by the ties of the entries, and by whose requests were exported, which an erasure destroys both:
    those on record now. For a report about a person, that is the person.
    """
    records = erased = disclosures = exports = 0
    fields: set[str] = set()
    recipients: set[str] = set()
    met: set[int] = set()
    secret = _secret(view, file)
    after = -1
    while found := suspects(view, file, after, STEP):
        after = found[-1].index
        went = [(each, said) for each in found if (said := entry.parse(each.entry))["type"] in LEFT]
        for each, said in went:
            disclosures += 1
            records += 1 if file.person else each.persons
            fields |= _fields(each, said, secret)
            recipients.add(_recipient(said))
        indexes = [each.index for each, _ in went]
        requests = [str(said["case"]) for _, said in went if said["type"] == EXPORT]
        whose = _whose(view, requests)
        exports += len(requests)
        erased += 0 if file.person else _erased(view, indexes) + sum(not whose[each] for each in requests)
        fields |= _on_record(view, whose.values())
        met.update(filter(None, whose.values()))
        if not file.person:
            ties = select(TIES.c.person).where(TIES.c.entry.in_(indexes)).distinct()
            met.update(view.connection.execute(ties).scalars())
    known = {field.name: field.category for field in view.snapshot.catalogue.fields.values()}
    categories: dict[str, list[str]] = {}
    for name in sorted(fields):
        if name in known:
            categories.setdefault(known[name], []).append(name)
    return Facts(
        int(bool(file.person)) if file.body["subject"] == "person" else len(met),
        records,
        erased,
        disclosures,
        exports,
        dict(sorted(categories.items())),
        tuple(sorted(fields)),
        tuple(sorted(recipients)),
        cut_off(view, file),
        not _of_subcontractor(file),
    )


def cut_off(view: View, file: File) -> list[Suspect]:
    """The entries by which the report revoked certificates and retired a key: those of its own transaction."""
    query = select(ENTRY.c.id, ENTRY.c.entry).where(
        ENTRY.c.at == file.opened_at, ENTRY.c.recipient == file.body["principal"], ENTRY.c.type.in_(CUT_OFF)
    )
    if not file.body["principal"]:
        return []
    rows = view.connection.execute(query.order_by(ENTRY.c.id)).all()
    return [Suspect(row.id, bytes(row.entry), 0) for row in rows]


def _exported(said: dict[str, Any], file: File) -> bool:
    """Whether an entry of a request is an export that is listed: of the person, or by the principal, of a report."""
    of_person = file.body["subject"] == "person"
    return said["event"] == "exported" and bool(of_person or said["by"] == file.body["principal"])


def _whose(view: View, requests: Sequence[str]) -> dict[str, int]:
    """Whose requests these are; 0 for persons who were erased since."""
    query = select(REQUEST.c.id, REQUEST.c.person).where(REQUEST.c.id.in_(requests))
    return {row.id: row.person for row in view.connection.execute(query)}


def _on_record(view: View, persons: Collection[int]) -> set[str]:
    """Names of the fields that any of these persons has on record."""
    rows = read_persons(view.connection, sorted(filter(None, persons)))
    return {name for row in rows for name in view.snapshot.vault.fields_present(row)}


def _speaks_of(said: dict[str, Any]) -> int:
    """How many persons' data were in an entry. What a refusal counts are the persons asked for: nothing left."""
    if said["type"] == "release_elsewhere":
        return len(said["persons"])
    if said["type"] == EXPORT:
        return 1
    return len(said.get("slices", ()))


def _fields(found: Suspect, said: dict[str, Any], secret: bytes) -> frozenset[str]:
    """Names of the fields that an entry says have left; with a person's secret, those of that person."""
    if said["type"] == EXPORT:
        return frozenset()
    if said["type"] == "release_elsewhere":
        return frozenset(said["fields"])
    if secret:
        return frozenset(held(found.entry, said["terms"], secret).fields)
    return frozenset(name for name, slices in entry.held_counts(said).items() if slices)


def _secret(view: View, file: File) -> bytes:
    """The secret of the person that a report is about; none for a report about anything else."""
    rows = read_persons(view.connection, [file.person]) if file.person else []
    return view.snapshot.vault.person_secret(rows[0]) if rows else b""


def _erased(view: View, entries: Sequence[int]) -> int:
    """How many ties to these entries erasures have destroyed."""
    query = select(func.coalesce(func.sum(ERASED.c.ties), 0)).where(ERASED.c.entry.in_(entries))
    return int(view.connection.execute(query).scalar_one())


def _recipient(said: dict[str, Any]) -> str:
    """Who received: a subcontractor, whoever made an export, or the legal case that says who."""
    if said["type"] == EXPORT:
        return str(said["by"])
    if said["type"] == "disclosure":
        return str(said["terms"]["recipient"])
    return str(said["case"] if said["type"] == "release_elsewhere" else said["terms"]["contract"])


def _of_legal(file: File) -> bool:
    return bool(file.body["principal"].startswith("legal/"))


def _of_subcontractor(file: File) -> bool:
    return bool(file.body["principal"].startswith("subcontractor/"))


def _opened(view: View, row: Row[Any]) -> bytes:
    """What a sealed entry was."""
    keys = load(view, row.case).keys
    return hiding.opened(view.connection, row.case, keys, hiding.stored(row))[0]


def _query(view: View, file: File, after: int) -> Select[Any]:
    """Entries that may be of the window; those of releases may be others', and none is hidden."""
    case = func.coalesce(hiding.SEALED_ENTRY.c.case, ENTRY.c.contract)
    found = _listed(file)
    if _of_legal(file):
        visible = LEGAL_CASE.c.hidden_until <= view.now_us
        found = or_(found, and_(ENTRY.c.type.in_(RELEASES), visible))
    return (
        select(ENTRY, hiding.SEALED_ENTRY.c.case.label("case"))
        .select_from(
            ENTRY.outerjoin(hiding.SEALED_ENTRY, hiding.SEALED_ENTRY.c.entry == ENTRY.c.id).outerjoin(
                LEGAL_CASE, LEGAL_CASE.c.id == case
            )
        )
        .where(in_window(view, file, after), found)
        .order_by(ENTRY.c.id)
    )


def in_window(view: View, file: File, after: int = -1) -> ColumnElement[bool]:
    """Entries of the suspect window's time, behind one.

    Where they stand is looked up, or the whole ledger would be read. Times ascend with the indexes, but for the clocks
    of machines: behind an entry of well after the window there is none of it.

    Raises:
        SlussError: LEDGER_INCONSISTENT, where an entry that is looked at is missing.
    """
    begin, end = file.body["suspect_from"], file.body["suspect_until"]
    size = (view.connection.execute(select(func.max(ENTRY.c.id))).scalar_one() or 0) + 1

    def at(index: int) -> int:
        found = view.connection.execute(select(ENTRY.c.at).where(ENTRY.c.id == index)).scalar_one_or_none()
        if found is None:
            raise SlussError(Reason.LEDGER_INCONSISTENT, f"entry {index} is missing")
        return int(found)

    first = bisect_left(range(size), begin - SLACK_US, key=at)
    last = bisect_right(range(size), end + SLACK_US, lo=first, key=at)
    return and_(ENTRY.c.id.between(max(first, after + 1), last), ENTRY.c.at.between(begin, end))


def _listed(file: File) -> ColumnElement[bool]:
    """What may be listed for a report: of its principal, or of its person; nothing once the person was erased.

    Steps of requests are among it, of which only some are exports.
    """
    if file.body["subject"] == "person":
        tied = select(TIES.c.entry).where(TIES.c.person == file.person)
        # A request of somebody who is gone, or not known, has the person 0.
        own = _steps(file, REQUEST.c.person == file.person, REQUEST.c.person != 0)
        return and_(ENTRY.c.id.in_(union(tied, own)), ENTRY.c.type.in_((*OF_PERSON, EXPORT)))
    listed = and_(ENTRY.c.recipient == file.body["principal"], ENTRY.c.type.in_(OF_PRINCIPAL))
    if not file.body["principal"].startswith(EXPORTERS):
        return listed
    # One list of indexes, so that each half is found by its own index: an `or` of both would read the whole ledger.
    own = select(OTHER.c.id).where(OTHER.c.recipient == file.body["principal"], OTHER.c.type.in_(OF_PRINCIPAL))
    return ENTRY.c.id.in_(union(own, _steps(file)))


def _steps(file: File, *where: ColumnElement[bool]) -> Select[Any]:
    """Indexes of the steps of persons' requests; of those alone in which something happened since the window began."""
    requests = select(REQUEST.c.id).where(REQUEST.c.updated_at >= file.body["suspect_from"], *where)
    return select(OTHER.c.id).where(OTHER.c.type == EXPORT, OTHER.c.contract.in_(requests))
