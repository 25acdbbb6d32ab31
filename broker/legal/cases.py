"""Legal cases in the store. Every change is an entry of the ledger, in the same transaction, and bumps the rights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import func, insert, select, update

from broker import requests
from broker.clock import SECOND, day_of, rfc3339, start_of
from broker.errors import Reason, SlussError, invalid
from broker.keeping import CaseKeys
from broker.ledger import entry
from broker.legal import hiding, rules
from broker.legal.model import (
    Begun,
    Body,
    Case,
    CaseState,
    Ground,
    Progress,
    Secrecy,
    canonical,
)
from broker.legal.rows import HeldCase, columns, load, log, write
from broker.persons.rows import request_body
from broker.store import tables
from broker.store.queries import LEGAL_CASE, count_persons, read_persons
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from broker.desk import Change
    from broker.legal.model import CaseStep, Delivery, Instrument, Key, Requester, Scope

PERSON: Final = tables.core(tables.Person)
CONFIRM_US: Final = 24 * 3_600 * SECOND
"""Within this time somebody must answer for an emergency release, unless the settings say otherwise."""
MAX_SECRECY: Final = timedelta(days=5 * 366)
MAX_PERSONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class NewCase:
    """What a case is opened with; `secrecy_until` None for a visible one.

    `listed` are the persons of the scope in the order in which they were named.
    """

    ground: Ground
    requester: Requester
    instrument: Instrument
    scope: Scope
    listed: tuple[int, ...]
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
            secrecy=_secrecy(new.secrecy_until, new.secrecy_reason, change.now_us, "hidden_until"),
            editors=(by,),
        )
        digest = _digest(change, "open case", new.ground, canonical(body), new.handler, new.note)
        known = requests.find_one(change, request_id, digest)
        if known is not None:
            return load(change, known.reply.decode("ascii"))
        rules.check_scope(new.scope, new.ground, change.snapshot.catalogue)
        _require_persons(change.connection, new.listed)
        number = (change.connection.execute(select(func.max(LEGAL_CASE.c.number))).scalar_one() or 0) + 1
        case_id = f"L-{day_of(change.now_us).year}-{number:04d}"
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
                **columns(case, keys, change.now_us),
            )
        )  # fmt: skip
        held = HeldCase(case, keys)
        index = log(change, held, "opened", new.note)
        requests.remember_one(change, request_id, requests.Known(digest, index, 1, case_id.encode("ascii")))
        return held

    def step(self, change: Change, case_id: str, step: CaseStep, reason: str, etag: str) -> tuple[HeldCase, int]:
        """Move a case; gives it and the entry's index.

        Raises:
            SlussError: CASE_UNKNOWN, ETAG_STALE, CASE_WRONG_STATE, SECOND_PERSON_NEEDED.
        """
        held = _based_on(load(change, case_id), etag)
        taken = rules.take(held.case, step, change.principal.name, change.now_us, self._confirm_us)
        return write(change, held, taken, rules.EVENTS[step], reason)

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
                raise invalid("deadline", "before the request was received")
            case = replace(case, body=replace(case.body, deadline=changes.deadline))
        if changes.handler:
            case = replace(case, handler=changes.handler)
        if case == held.case and not changes.note:
            raise invalid("note", "nothing is changed and nothing is noted")
        return write(change, held, case, "noted" if case == held.case else "changed", changes.note)

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
            found = _secrecy(until, reason, now_us, "until")
            if found is None or (was_hidden and found.ends_at <= case.hidden_until):
                raise invalid("until", "a later day than the one so far; or lift the secrecy")
            secrecy, event = found, "prolonged" if was_hidden else "hidden"
        return write(change, held, replace(case, body=replace(case.body, secrecy=secrecy)), event, reason)

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
        known = requests.find_one(change, request_id, digest)
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
        moved, _ = write(change, held, case, "release_recorded", made.reason)
        requests.remember_one(change, request_id, requests.Known(digest, index, 1, case_id.encode("ascii")))
        return moved, index

    def begin_release(self, change: Change, case_id: str, package_key: Key | None) -> HeldCase:
        """Begin the release of an approved case, or go on with one that has begun; pins the key that it is sealed to.

        Raises:
            SlussError: CASE_UNKNOWN, CASE_WRONG_STATE, SECOND_PERSON_NEEDED; INVALID_REQUEST for a key where none
                belongs, none where one does, or another one than the release began with.
        """
        held = load(change, case_id)
        case = held.case
        rules.require_answered_in_time(case, change.now_us)
        key = _release_key(case, package_key)
        if case.body.begun is not None:
            rules.decide_release(case, change.snapshot.catalogue)
            if key != case.body.begun.key:
                raise invalid("package_key", "another key than the one that the release began with")
            return held
        if case.state not in (CaseState.APPROVED, CaseState.RELEASED):
            raise SlussError(Reason.CASE_WRONG_STATE, "nobody has approved a release", case=case_id, state=case.state)
        body = replace(case.body, begun=Begun(change.now_us, key))
        begun = replace(case, state=CaseState.RELEASED, body=body)
        rules.decide_release(begun, change.snapshot.catalogue)
        total = _to_look_at(change.connection, case.body.scope)
        change.connection.execute(update(LEGAL_CASE).where(LEGAL_CASE.c.id == case_id).values(total=total))
        begun = replace(begun, progress=replace(begun.progress, total=total))
        moved, _ = write(change, held, begun, "release_began", "")
        return moved

    def complete_release(self, change: Change, case_id: str) -> None:
        """Note that the release has come to its end; once."""
        held = load(change, case_id)
        if held.case.progress.complete or held.case.body.begun is None:
            return
        change.connection.execute(update(LEGAL_CASE).where(LEGAL_CASE.c.id == case_id).values(complete=1))
        write(change, held, held.case, "release_completed", "")


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
        today = day_of(change.now_us)
        if changes.delivery.retain_until < today:
            raise invalid("delivery.retain_until", "in the past")
        body = body.edited(by, delivery=changes.delivery)
    state = CaseState.UNDER_REVIEW if case.state is CaseState.APPROVED else case.state
    return replace(case, state=state, body=body)


def _secrecy(until: date | None, reason: str, now_us: int, field: str) -> Secrecy | None:
    """Secrecy to the end of a day (UTC); `field` is where the day stands, for errors.

    Raises:
        SlussError: INVALID_REQUEST without a reason, for a day that has passed, or one too far ahead.
    """
    if until is None:
        return None
    today = day_of(now_us)
    if not reason:
        raise invalid("secrecy_reason", "secrecy needs a reason")
    if not today <= until <= today + MAX_SECRECY:
        raise invalid(field, "a day from today to five years ahead")
    return Secrecy(until, start_of(until + timedelta(days=1)), reason)


def _release_key(case: Case, package_key: Key | None) -> Key:
    delivery = case.body.delivery
    if delivery is None:
        raise SlussError(Reason.CASE_WRONG_STATE, "say first how it is delivered", case=case.id, state=case.state)
    if delivery.key is not None:
        if package_key is not None:
            raise invalid("package_key", "the release is sealed to the authority's own key")
        return delivery.key
    if package_key is None:
        raise invalid("package_key", "a package needs a key of its own")
    return package_key


def _to_look_at(connection: Connection, scope: Scope) -> int:
    """Persons that a release has to look at: those listed, or all on record."""
    if scope.population is None:
        return len(scope.persons)
    return count_persons(connection)


def _require_persons(connection: Connection, persons: Sequence[int]) -> None:
    """Refuse persons who are not on record, by the `position` of the first such one, from 0."""
    known = {
        row.id
        for row in read_persons(connection, list(persons), (PERSON.c.id, PERSON.c.state))
        if row.state == "active"
    }
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
