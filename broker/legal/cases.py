"""Legal cases in the store. Every change is an entry of the ledger, in the same transaction, and bumps the rights.

The row is written for lists; what a case is stands in its sealed body, and the ledger's last entry of the case commits
to that and to the state: a row that somebody changed or put back is refused (LEDGER_INCONSISTENT).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, select, update

from broker import requests
from broker.clock import SECOND, rfc3339
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.rows import read_entries
from broker.ledger.standing import differs
from broker.legal import hiding, rules
from broker.legal.keeping import CaseKeys
from broker.legal.model import (
    CASE_ID,
    Begun,
    Body,
    Case,
    CaseState,
    Ground,
    Progress,
    Secrecy,
    canonical,
    parse,
)
from broker.persons.rows import request_body
from broker.store import tables
from broker.store.queries import LEGAL_CASE, read_persons
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from broker.desk import Change, View
    from broker.legal.model import CaseStep, Delivery, Instrument, Key, Requester, Scope
    from broker.rights import Snapshot

EVENT: Final = tables.core(tables.LegalEvent)
DOCUMENT: Final = tables.core(tables.LegalDocument)
PERSON: Final = tables.core(tables.Person)
CONFIRM_US: Final = 24 * 3_600 * SECOND
"""Within this time somebody must answer for an emergency release, unless the settings say otherwise."""
MAX_SECRECY: Final = timedelta(days=5 * 366)
MAX_DOCUMENTS: Final = 200
MAX_PERSONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class HeldCase:
    """A case with its keys."""

    case: Case
    keys: CaseKeys


@dataclass(frozen=True, slots=True)
class NewCase:
    """What a case is opened with; `secrecy_until` None for a visible one."""

    ground: Ground
    requester: Requester
    instrument: Instrument
    scope: Scope
    received: date
    deadline: date
    handler: str
    note: str
    secrecy_until: date | None
    secrecy_reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to change of a case; None and "" leave it as it is."""

    scope: Scope | None = None
    delivery: Delivery | None = None
    handler: str = ""
    deadline: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a case: `at` in microseconds, `index` that of its entry."""

    number: int
    name: str
    media_type: str
    size: int
    sha256: bytes
    by: str
    at: int
    index: int


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the timeline. `proven`: the text is the one that the entry commits to."""

    at: str
    by: str
    event: str
    text: str
    index: int
    proven: bool


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A release that was made outside the broker."""

    released_on: date
    persons: tuple[int, ...]
    fields: tuple[str, ...]
    medium: str
    reason: str


class Cases:
    """The cases. Each method works within a `View` or `Change` of the desk.

    Args:
        confirm_us: within how many microseconds a second person must answer for an emergency release.
    """

    def __init__(self, confirm_us: int = CONFIRM_US) -> None:
        self._confirm_us = confirm_us

    def open_case(self, change: Change, new: NewCase, request_id: bytes) -> HeldCase:
        """A new case; the same request opens one.

        Raises:
            SlussError: INVALID_REQUEST, PERSON_UNKNOWN, FIELD_UNKNOWN, INVALID_TERMS, REQUEST_ID_REUSED.
        """
        by = change.principal.name
        body = Body(
            new.requester,
            new.instrument,
            new.scope,
            new.received,
            new.deadline,
            secrecy=_secrecy(new.secrecy_until, new.secrecy_reason, change.now_us),
            editors=(by,),
        )
        digest = _digest(change, "open case", new.ground, canonical(body), new.handler, new.note)
        known = requests.find_one(change.connection, by, request_id, digest)
        if known is not None:
            return load(change, known.reply.decode("ascii"))
        rules.check_scope(new.scope, new.ground, change.snapshot.catalogue)
        _require_persons(change.connection, new.scope.persons)
        number = (change.connection.execute(select(func.max(LEGAL_CASE.c.number))).scalar_one() or 0) + 1
        case_id = f"L-{datetime.fromtimestamp(change.now_us // SECOND, UTC).year}-{number:04d}"
        keys, wrapped = CaseKeys.new(change.snapshot.vault, case_id)
        case = Case(
            case_id,
            CaseState.RECEIVED,
            new.ground,
            new.handler or by,
            1,
            body,
            Progress(0, 0, 0, 0, complete=False),
        )
        change.connection.execute(
            insert(LEGAL_CASE).values(
                id=case_id, number=number, keys=wrapped, place=0, done=0, total=0, released=0, complete=0,
                **_columns(case, keys, change.now_us),
            )
        )  # fmt: skip
        held = HeldCase(case, keys)
        index = _log(change, held, "opened", new.note)
        reply = requests.Known(digest, index, 1, case_id.encode("ascii"))
        requests.remember(change.connection, [((by, request_id), reply)], change.now_us)
        return held

    def step(self, change: Change, case_id: str, step: CaseStep, reason: str, etag: str) -> tuple[HeldCase, int]:
        """Move a case; gives it and the entry's index.

        Raises:
            SlussError: CASE_UNKNOWN, ETAG_STALE, CASE_WRONG_STATE, SECOND_PERSON_NEEDED.
        """
        held = _based_on(load(change, case_id), etag)
        taken = rules.take(held.case, step, change.principal.name, change.now_us, self._confirm_us)
        return _moved(change, held, taken, rules.EVENTS[step], reason)

    def change(self, change: Change, case_id: str, changes: Changes, etag: str) -> tuple[HeldCase, int]:
        """Change what a case is about without moving it.

        A new scope or delivery ends a preparation or an approval.

        Raises:
            SlussError: CASE_UNKNOWN, ETAG_STALE, CASE_WRONG_STATE, SCOPE_WIDENED, INVALID_REQUEST.
        """
        held = _based_on(load(change, case_id), etag)
        case, by = held.case, change.principal.name
        rules.require_not_ended(case, CaseState.CLOSED)
        if changes.scope is not None or changes.delivery is not None:
            rules.require_editable(case)
            case = _edited(change, case, changes, by)
        if changes.deadline is not None:
            if changes.deadline < case.body.received:
                raise _invalid("deadline", "before the request was received")
            case = replace(case, body=replace(case.body, deadline=changes.deadline))
        if changes.handler:
            case = replace(case, handler=changes.handler)
        if case == held.case and not changes.note:
            raise _invalid("note", "nothing is changed and nothing is noted")
        return _moved(change, held, case, "noted" if case == held.case else "changed", changes.note)

    def set_secrecy(
        self, change: Change, case_id: str, until: date | None, reason: str, etag: str
    ) -> tuple[HeldCase, int]:
        """Hide a case until the end of a day, prolong that, or lift it (`until` None).

        Raises:
            SlussError: CASE_UNKNOWN, ETAG_STALE, CASE_WRONG_STATE if there is nothing to lift, INVALID_REQUEST.
        """
        held = _based_on(load(change, case_id), etag)
        case, now_us = held.case, change.now_us
        was_hidden = case.hidden(now_us)
        if until is None:
            if not was_hidden or case.body.secrecy is None:
                raise SlussError(Reason.CASE_WRONG_STATE, "the case is not hidden", case=case_id, state=case.state)
            secrecy = replace(case.body.secrecy, ends_at=now_us, reason=reason)
            event = "lifted"
        else:
            found = _secrecy(until, reason, now_us)
            if found is None or (was_hidden and found.ends_at <= case.hidden_until):
                raise _invalid("until", "a later day than the one so far; or lift the secrecy")
            secrecy, event = found, "prolonged" if was_hidden else "hidden"
        return _moved(change, held, replace(case, body=replace(case.body, secrecy=secrecy)), event, reason)

    def add_document(self, change: Change, case_id: str, name: str, media_type: str, content: bytes) -> Document:
        """Store a document, sealed; its digest stands in the ledger.

        Raises:
            SlussError: CASE_UNKNOWN, CASE_WRONG_STATE, INVALID_REQUEST.
        """
        held = load(change, case_id)
        rules.require_not_ended(held.case, CaseState.CLOSED)
        query = select(func.count()).select_from(DOCUMENT).where(DOCUMENT.c.case == case_id)
        number = change.connection.execute(query).scalar_one() + 1
        if number > MAX_DOCUMENTS:
            raise _invalid("content", f"a case has at most {MAX_DOCUMENTS} documents")
        sha256 = hashlib.sha256(content).digest()
        _, index = _moved(change, held, held.case, "document_added", name, sha256)
        document = Document(
            number, name, media_type, len(content), sha256, change.principal.name, change.now_us, index
        )
        change.connection.execute(
            insert(DOCUMENT).values(
                case=case_id,
                number=number,
                entry=index,
                about=held.keys.seal(f"about {number}", _about(document)),
                content=held.keys.seal(f"content {number}", content),
            )
        )
        return document

    def record_elsewhere(
        self, change: Change, case_id: str, made: Elsewhere, request_id: bytes, etag: str
    ) -> tuple[HeldCase, int]:
        """Record a release that was made outside the broker; the same request records once.

        Raises:
            SlussError: CASE_UNKNOWN, ETAG_STALE, CASE_WRONG_STATE for a rejected case, PERSON_UNKNOWN,
                FIELD_UNKNOWN, INVALID_REQUEST, REQUEST_ID_REUSED.
        """
        by = change.principal.name
        said = orjson.dumps([made.released_on, sorted(made.persons), sorted(made.fields)])
        digest = _digest(change, "release elsewhere", case_id, said, made.medium, made.reason)
        known = requests.find_one(change.connection, by, request_id, digest)
        if known is not None:
            return load(change, case_id), known.first_entry
        held = _based_on(load(change, case_id), etag)
        rules.require_not_ended(held.case, CaseState.REJECTED)
        for name in made.fields:
            change.snapshot.catalogue.field(name)
        names = _commitments(change, made.persons)
        data = entry.release_elsewhere(
            change.now_us,
            case_id,
            held.case.ground,
            by,
            sorted(made.fields),
            names,
            made.medium,
            made.released_on.isoformat(),
        )
        hidden = held.case.hidden(change.now_us)
        index, _ = hiding.append(change.tx, case_id, held.keys, data, hidden=hidden, persons=made.persons)
        case = replace(held.case, body=replace(held.case.body, elsewhere=True))
        moved, _ = _moved(change, held, case, "release_recorded", made.reason)
        known = requests.Known(digest, index, 1, case_id.encode("ascii"))
        requests.remember(change.connection, [((by, request_id), known)], change.now_us)
        return moved, index

    def begin_release(self, change: Change, case_id: str, package_key: Key | None) -> HeldCase:
        """Begin the release of an approved case, or go on with one that has begun; pins the key that it is sealed to.

        Raises:
            SlussError: CASE_UNKNOWN, CASE_WRONG_STATE, SECOND_PERSON_NEEDED; INVALID_REQUEST for a key where none
                belongs, none where one does, or another one than the release began with.
        """
        held = load(change, case_id)
        case = held.case
        key = _release_key(case, package_key)
        if case.body.begun is not None:
            rules.decide_release(case, change.snapshot.catalogue)
            if key != case.body.begun.key:
                raise _invalid("package_key", "another key than the one that the release began with")
            return held
        if case.state not in (CaseState.APPROVED, CaseState.RELEASED):
            raise SlussError(
                Reason.CASE_WRONG_STATE, "nobody has approved a release", case=case_id, state=case.state
            )
        body = replace(case.body, begun=Begun(change.now_us, key))
        begun = replace(case, state=CaseState.RELEASED, body=body)
        rules.decide_release(begun, change.snapshot.catalogue)
        moved, _ = _moved(change, held, begun, "release_began", "")
        return moved

    def complete_release(self, change: Change, case_id: str) -> None:
        """Note that the release has come to its end; once."""
        held = load(change, case_id)
        if held.case.progress.complete or held.case.body.begun is None:
            return
        change.connection.execute(update(LEGAL_CASE).where(LEGAL_CASE.c.id == case_id).values(complete=1))
        _moved(change, held, held.case, "release_completed", "")


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
    _require_said(connection, snapshot, held)
    return held


def list_cases(
    view: View, states: Sequence[CaseState], handler: str, ground: Ground | None, before: int, limit: int
) -> list[tuple[int, HeldCase]]:
    """Cases with numbers below `before` (0 for all), newest first, with their numbers."""
    query = select(LEGAL_CASE).order_by(LEGAL_CASE.c.number.desc()).limit(limit)
    if before:
        query = query.where(LEGAL_CASE.c.number < before)
    if states:
        query = query.where(LEGAL_CASE.c.state.in_([str(state) for state in states]))
    if handler:
        query = query.where(LEGAL_CASE.c.handler == handler)
    if ground is not None:
        query = query.where(LEGAL_CASE.c.ground == ground)
    return [(row.number, _held(view.snapshot, row)) for row in view.connection.execute(query)]


def timeline(view: View, held: HeldCase) -> list[Event]:
    """What happened, oldest first, each text checked against its entry."""
    rows = view.connection.execute(select(EVENT).where(EVENT.c.case == held.case.id).order_by(EVENT.c.entry)).all()
    return [_event(view, held, row) for row in rows]


def documents(view: View, held: HeldCase) -> list[Document]:
    """The case's documents, oldest first."""
    query = select(DOCUMENT.c.number, DOCUMENT.c.about, DOCUMENT.c.entry).where(DOCUMENT.c.case == held.case.id)
    rows = view.connection.execute(query.order_by(DOCUMENT.c.number)).all()
    return [_document(held, row) for row in rows]


def document(view: View, case_id: str, number: int) -> tuple[Document, bytes]:
    """A document with its content, which is what the ledger's digest says.

    Raises:
        SlussError: CASE_UNKNOWN, also for a number that the case has not; INTERNAL for altered content.
    """
    held = load(view, case_id)
    row = view.connection.execute(
        select(DOCUMENT).where(DOCUMENT.c.case == case_id, DOCUMENT.c.number == number)
    ).one_or_none()
    if row is None:
        raise SlussError(Reason.CASE_UNKNOWN, "the case has no such document", case=case_id)
    found = _document(held, row)
    content = held.keys.open(f"content {number}", row.content)
    if hashlib.sha256(content).digest() != found.sha256:
        raise SlussError(Reason.INTERNAL, "a stored document is not the one that was added")
    return found, content


# --- rows -----------------------------------------------------------------------------------------------


def _held(snapshot: Snapshot, row: Row[Any]) -> HeldCase:
    keys = CaseKeys.load(snapshot.vault, row.id, row.keys)
    try:
        state, ground = CaseState(row.state), Ground(row.ground)
    except ValueError:
        raise differs("case", case=row.id) from None
    progress = Progress(row.place, row.done, row.total, row.released, complete=bool(row.complete))
    body = parse(keys.open("body", row.body))
    return HeldCase(Case(row.id, state, ground, row.handler, row.etag, body, progress), keys)


def _columns(case: Case, keys: CaseKeys, now_us: int) -> dict[str, object]:
    return {
        "state": case.state,
        "ground": case.ground,
        "handler": case.handler,
        "hidden_until": case.hidden_until,
        "body": keys.seal("body", canonical(case.body)),
        "etag": case.etag,
        "updated_at": now_us,
    }


def _require_said(connection: Connection, snapshot: Snapshot, held: HeldCase) -> None:
    """The ledger's last entry of the case says this state, and commits to this body."""
    case = held.case
    query = select(func.max(EVENT.c.entry)).where(EVENT.c.case == case.id)
    index = connection.execute(query).scalar_one()
    found = [] if index is None else read_entries(connection, index, 1)
    if not found or found[0].index != index:
        raise differs("case", case=case.id)
    snapshot.standing.prove(connection, found)
    said = entry.parse(hiding.opened(connection, case.id, held.keys, found[0])[0])
    body = entry.base64url(held.keys.commit_body(canonical(case.body)))
    expected = ("case", case.id, case.state, case.ground, body)
    if (said["type"], said.get("case"), said.get("state"), said.get("ground"), said.get("body")) != expected:
        raise differs("case", case=case.id)


def _moved(
    change: Change, held: HeldCase, case: Case, event: str, text: str, document: bytes = b""
) -> tuple[HeldCase, int]:
    """Write a case as it stands now, and its entry."""
    moved = HeldCase(replace(case, etag=held.case.etag + 1), held.keys)
    change.connection.execute(
        update(LEGAL_CASE).where(LEGAL_CASE.c.id == case.id).values(_columns(moved.case, held.keys, change.now_us))
    )
    return moved, _log(change, moved, event, text, document)


def _log(change: Change, held: HeldCase, event: str, text: str, document: bytes = b"") -> int:
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
    change.connection.execute(
        insert(EVENT).values(case=case.id, entry=index, text=keys.seal(f"event {index}", text.encode()))
    )
    change.tx.bump_rights()
    return index


def _event(view: View, held: HeldCase, row: Row[Any]) -> Event:
    found = read_entries(view.connection, row.entry, 1)
    if not found or found[0].index != row.entry:
        raise differs("case", case=held.case.id)
    said = entry.parse(hiding.opened(view.connection, held.case.id, held.keys, found[0])[0])
    text = held.keys.open(f"event {row.entry}", row.text).decode()
    proven = said["text"] == entry.base64url(held.keys.commit_text(said["at"], text))
    return Event(said["at"], said["by"], said["event"], text, row.entry, proven)


def _about(document: Document) -> bytes:
    return orjson.dumps(
        {
            "name": document.name,
            "media_type": document.media_type,
            "size": document.size,
            "sha256": document.sha256.hex(),
            "by": document.by,
            "at": document.at,
        }
    )


def _document(held: HeldCase, row: Row[Any]) -> Document:
    about = orjson.loads(held.keys.open(f"about {row.number}", row.about))
    return Document(
        row.number,
        about["name"],
        about["media_type"],
        about["size"],
        bytes.fromhex(about["sha256"]),
        about["by"],
        about["at"],
        row.entry,
    )


# --- checks ---------------------------------------------------------------------------------------------


def _based_on(held: HeldCase, etag: str) -> HeldCase:
    if etag != str(held.case.etag):
        raise SlussError(Reason.ETAG_STALE, etag=str(held.case.etag))
    return held


def _edited(change: Change, case: Case, changes: Changes, by: str) -> Case:
    body = case.body
    if changes.scope is not None:
        rules.check_scope(changes.scope, case.ground, change.snapshot.catalogue)
        rules.require_narrower(changes.scope, body.scope)
        body = body.edited(by, scope=changes.scope)
    if changes.delivery is not None:
        today = datetime.fromtimestamp(change.now_us // SECOND, UTC).date()
        if changes.delivery.retain_until < today:
            raise _invalid("delivery.retain_until", "in the past")
        body = body.edited(by, delivery=changes.delivery)
    state = CaseState.UNDER_REVIEW if case.state is CaseState.APPROVED else case.state
    return replace(case, state=state, body=body)


def _secrecy(until: date | None, reason: str, now_us: int) -> Secrecy | None:
    """Secrecy to the end of a day (UTC).

    Raises:
        SlussError: INVALID_REQUEST without a reason, for a day that has passed, or one too far ahead.
    """
    if until is None:
        return None
    today = datetime.fromtimestamp(now_us // SECOND, UTC).date()
    if not reason:
        raise _invalid("secrecy_reason", "secrecy needs a reason")
    if not today <= until <= today + MAX_SECRECY:
        raise _invalid("until", "a day from today to five years ahead")
    after = datetime.combine(until + timedelta(days=1), datetime.min.time(), UTC)
    return Secrecy(until, int(after.timestamp()) * SECOND, reason)


def _release_key(case: Case, package_key: Key | None) -> Key:
    delivery = case.body.delivery
    if delivery is None:
        raise SlussError(
            Reason.CASE_WRONG_STATE, "say first how it is delivered", case=case.id, state=case.state
        )
    if delivery.key is not None:
        if package_key is not None:
            raise _invalid("package_key", "the release is sealed to the authority's own key")
        return delivery.key
    if package_key is None:
        raise _invalid("package_key", "a package needs a key of its own")
    return package_key


def _require_persons(connection: Connection, persons: Sequence[int]) -> None:
    """Refuse persons who are not on record."""
    known = {row.id for row in read_persons(connection, list(persons), (PERSON.c.id, PERSON.c.state)) if row.state == "active"}
    for position, person in enumerate(persons):
        if person not in known:
            raise SlussError(Reason.PERSON_UNKNOWN, position=str(position))


def _commitments(change: Change, persons: Sequence[int]) -> list[bytes]:
    """How an entry made now names persons: as that of a choice does."""
    rows = {row.id: row for row in read_persons(change.connection, list(persons)) if row.state == "active"}
    for position, person in enumerate(persons):
        if person not in rows:
            raise SlussError(Reason.PERSON_UNKNOWN, position=str(position))
    vault, at = change.snapshot.vault, rfc3339(change.now_us)
    return [commitment(vault.person_secret(rows[person]), at) for person in persons]


def _digest(change: Change, kind: str, *said: str | bytes) -> bytes:
    texts = [each.decode() if isinstance(each, bytes) else str(each) for each in said]
    return request_body(change.snapshot.vault, kind, *texts)


def _invalid(field: str, why: str) -> SlussError:
    return SlussError(Reason.INVALID_REQUEST, f"{field}: {why}", field=field)
