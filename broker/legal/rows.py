"""Cases as rows: sealed, and proven by the ledger whenever one is loaded.

The row is written for lists; what a case is stands in its sealed body, and the ledger's last entry of the case commits
to that and to the state: a row that somebody changed or put back is refused (LEDGER_INCONSISTENT).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, func, insert, literal_column, select, update

from broker import timelines
from broker.clock import rfc3339
from broker.errors import Reason, SlussError
from broker.keeping import CaseKeys
from broker.ledger import entry
from broker.ledger.rows import read_entry
from broker.ledger.standing import differs
from broker.legal import hiding
from broker.legal.model import CASE_ID, Case, CaseState, Ground, Progress, canonical, parse
from broker.store import tables
from broker.store.queries import LEGAL_CASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from broker.desk import Change, View
    from broker.rights import Snapshot

ENTRY: Final = tables.core(tables.LedgerEntry)
EVENT: Final = tables.core(tables.LegalEvent)
MAX_NAMED: Final = 50_000
"""Persons that a page of cases names, after which it ends: a page is made within a second."""
STEPS: Final[ColumnElement[bool]] = literal_column(tables.CASES)


@dataclass(frozen=True, slots=True)
class HeldCase:
    """A case with its keys."""

    case: Case
    keys: CaseKeys


def load(view: View, case_id: str) -> HeldCase:
    """A case as it stands, proven by the ledger.

    Raises:
        SlussError: CASE_UNKNOWN; LEDGER_INCONSISTENT if the ledger says otherwise than the store.
    """
    return load_with(view.connection, view.snapshot, case_id)


def load_with(connection: Connection, snapshot: Snapshot, case_id: str) -> HeldCase:
    """As `load`, for the spine, which has no view."""
    row = None
    if CASE_ID.fullmatch(case_id):
        row = connection.execute(select(LEGAL_CASE).where(LEGAL_CASE.c.id == case_id)).one_or_none()
    if row is None:
        raise SlussError(Reason.CASE_UNKNOWN)
    held = _held(snapshot, row)
    if row.hidden_until != held.case.hidden_until:
        raise differs("case", case=case_id)
    require_said(connection, snapshot, held)
    return held


def list_cases(
    view: View, states: Sequence[CaseState], handler: str, ground: Ground | None, before: int, size: int
) -> tuple[list[HeldCase], int]:
    """A page of cases with numbers below `before` (0 for all), newest first.

    Returns:
        Up to `size` cases, fewer if they name very many persons; and the number to go on below, 0 after the last.
    """
    query = select(LEGAL_CASE).order_by(LEGAL_CASE.c.number.desc()).limit(size + 1)
    if before:
        query = query.where(LEGAL_CASE.c.number < before)
    if states:
        query = query.where(LEGAL_CASE.c.state.in_([str(state) for state in states]))
    if handler:
        query = query.where(LEGAL_CASE.c.handler == handler)
    if ground is not None:
        query = query.where(LEGAL_CASE.c.ground == ground)
    found: list[HeldCase] = []
    named = last = 0
    for row in view.connection.execute(query).all():
        if len(found) == size or named > MAX_NAMED:
            return found, last
        held = _held(view.snapshot, row)
        found.append(held)
        named, last = named + len(held.case.body.scope.persons), row.number
    return found, 0


def timeline(view: View, held: HeldCase) -> list[timelines.Event]:
    """What happened, oldest first, each text checked against its entry.

    Raises:
        SlussError: LEDGER_INCONSISTENT if the ledger knows of a step that is missing.
    """
    rows = view.connection.execute(select(EVENT).where(EVENT.c.case == held.case.id).order_by(EVENT.c.entry)).all()
    said = view.connection.execute(select(ENTRY.c.id).where(STEPS, ENTRY.c.contract == held.case.id)).scalars()
    if not set(said) <= {row.entry for row in rows}:
        raise differs("timeline", case=held.case.id)
    return [_event(view, held, row) for row in rows]


def _held(snapshot: Snapshot, row: Row[Any]) -> HeldCase:
    keys = CaseKeys.load(snapshot.vault, row.id, row.keys)
    try:
        state, ground = CaseState(row.state), Ground(row.ground)
    except ValueError:
        raise differs("case", case=row.id) from None
    progress = Progress(row.place, row.done, row.total, row.released, complete=bool(row.complete))
    body = parse(keys.open("body", row.body))
    return HeldCase(Case(row.id, state, ground, row.handler, row.etag, body, progress), keys)


def columns(case: Case, keys: CaseKeys, now_us: int) -> dict[str, object]:
    """The columns that follow from a case."""
    return {
        "state": case.state,
        "ground": case.ground,
        "handler": case.handler,
        "hidden_until": case.hidden_until,
        "body": keys.seal("body", canonical(case.body)),
        "etag": case.etag,
        "updated_at": now_us,
    }


def require_said(connection: Connection, snapshot: Snapshot, held: HeldCase) -> None:
    """The ledger's last entry of the case says this state, and commits to this body."""
    case = held.case
    query = select(func.max(EVENT.c.entry)).where(EVENT.c.case == case.id)
    found = snapshot.standing.entry(connection, connection.execute(query).scalar_one(), differs("case", case=case.id))
    if _goes_on(connection, held, found.index):
        raise differs("case", case=case.id)
    said = hiding.said(connection, case.id, held.keys, found)
    body = entry.base64url(held.keys.commit_body(canonical(case.body)))
    expected = ("case", case.id, case.state, case.ground, body)
    if (said["type"], said.get("case"), said.get("state"), said.get("ground"), said.get("body")) != expected:
        raise differs("case", case=case.id)


def _goes_on(connection: Connection, held: HeldCase, index: int) -> bool:
    """Whether the case has a later step than the last one of its timeline: steps were taken from that.

    A hidden step looks like any other hidden entry. Before the release begins a case has no others; then each is
    opened, except on ground (d): there they are as many as the persons, and nobody can dispute what has begun.
    """
    case, sealed = held.case, hiding.SEALED_ENTRY.c
    plain = exists().where(ENTRY.c.contract == case.id, ENTRY.c.id > index, STEPS)
    if connection.execute(select(plain)).scalar_one():
        return True
    if case.body.begun is not None and case.ground is Ground.MERGER:
        return False
    hidden = select(sealed.entry).where(sealed.case == case.id, sealed.entry > index)
    later = connection.execute(hidden.order_by(sealed.entry)).scalars().all()
    return bool(later) and (case.body.begun is None or any(_is_step(connection, held, each) for each in later))


def _is_step(connection: Connection, held: HeldCase, index: int) -> bool:
    """Whether a hidden entry of the case is a step; one that is missing counts as one."""
    found = read_entry(connection, index)
    return found is None or hiding.said(connection, held.case.id, held.keys, found)["type"] == "case"


def write(
    change: Change, held: HeldCase, case: Case, event: str, text: str, document: bytes = b""
) -> tuple[HeldCase, int]:
    """Write a case as it stands now, with a new etag, and its entry; gives it and the entry's index."""
    moved = HeldCase(replace(case, etag=held.case.etag + 1), held.keys)
    change.connection.execute(
        update(LEGAL_CASE).where(LEGAL_CASE.c.id == case.id).values(columns(moved.case, held.keys, change.now_us))
    )
    return moved, log(change, moved, event, text, document)


def log(change: Change, held: HeldCase, event: str, text: str, document: bytes = b"") -> int:
    """Append the entry of what happened to a case as it stands now; `text` stays out of it. Gives its index."""
    case, keys = held.case, held.keys
    data = entry.case(
        change.now_us,
        event,
        case.id,
        case.ground,
        case.body.requester.country,
        case.state,
        change.principal.name,
        body=keys.commit_body(canonical(case.body)),
        text=keys.commit_text(rfc3339(change.now_us), text),
        document=document,
    )
    index, _ = hiding.append(change.tx, case.id, keys, data, hidden=case.hidden(change.now_us))
    change.connection.execute(insert(EVENT).values(case=case.id, entry=index, text=timelines.seal(keys, index, text)))
    change.tx.bump_rights()
    return index


def _event(view: View, held: HeldCase, row: Row[Any]) -> timelines.Event:
    found = view.snapshot.standing.entry(view.connection, row.entry, differs("case", case=held.case.id))
    said = hiding.said(view.connection, held.case.id, held.keys, found)
    return timelines.event(said, row.entry, held.keys, row.text)
