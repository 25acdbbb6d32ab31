"""What is done to the data because of a person's request; request, data and ledger move in one transaction.

A kill before the commit leaves all of them as they were; after it, a retry of the same call finds the work done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.catalogue import Kind as PurposeKind
from broker.choices import recording
from broker.choices.model import ChoiceMade, Recording
from broker.choices.rule import OPTED_OUT
from broker.clock import day_of, rfc3339
from broker.erasure import erasing
from broker.errors import Reason, SlussError, invalid
from broker.ledger import entry
from broker.ledger.rows import stored_entries
from broker.obligations.owing import disclosed, progress
from broker.person_requests import rules, telling
from broker.person_requests.model import CORRECTION, Facts, Kind, Words
from broker.person_requests.rows import create, forgotten, load, of_person, timeline, write
from broker.person_requests.tracking import Call, based_on, once, require
from broker.persons import rows as persons
from broker.persons.model import Correction
from broker.persons.update import changes_nothing, update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.desk import Change, View
    from broker.obligations.rules import Disclosed
    from broker.person_requests.rows import Held
    from broker.person_requests.tracking import Done
    from broker.persons.model import Given

CHOSEN: Final = frozenset({PurposeKind.SECONDARY_OWN, PurposeKind.SECONDARY_THIRD_PARTY})
SOURCE: Final = "person-request"
"""The source of what is recorded because of a request."""
BETWEEN: Final = ", "
"""Between the names of fields or purposes in a timeline's text."""
WHOLE: Final = "nothing is masked"
MASKED: Final = "financial values are masked"
"""What the timeline says of an export, and the ledger commits to."""


def export_left(change: Change, seen: Held, record: int, digest: bytes, *, masked: bool) -> Done:
    """Put an export into the ledger, before a byte of it leaves (DESIGN promise 1).

    Args:
        change: the transaction.
        seen: the request that it was made for, as it stood then.
        record: the version of the person's record that it shows.
        digest: its SHA-256.
        masked: whether it shows less than what is held.

    Raises:
        SlussError: as `based_on`; RECORD_CHANGED if the person's record has changed since; PERSON_UNKNOWN.
    """
    held = based_on(change, Call(seen.id, str(seen.etag), b""), rules.Step.EXPORT)
    if persons.active(change.connection, held.person).version != record:
        raise SlussError(Reason.RECORD_CHANGED, "data has changed while the export was made: ask again")
    facts = replace(held.facts, begun=True, exports=held.facts.exports + 1)
    return write(change, replace(held, facts=facts), rules.Step.EXPORT, MASKED if masked else WHOLE, digest)


def hand_over(change: Change, call: Call, digest: bytes, how: str) -> Done:
    """The person has the export: only whoever holds a whole one that the ledger knows can say so.

    Raises:
        SlussError: as `based_on`; INVALID_REQUEST for a digest that no export of the request has, or one in which
            something is masked.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.HAND_OVER)
        left = {event.index: event for event in timeline(change, held) if event.event == rules.Step.EXPORT}
        entries = stored_entries(change.connection, list(left))
        known = {entry.parse(row.entry)["document"]: left[row.index] for row in entries}
        export = known.get(entry.base64url(digest))
        if export is None:
            raise invalid("sha256", "no export of this request")
        if not export.proven or export.text != WHOLE:
            raise invalid("sha256", "financial values are masked in this export: one for the privacy team has them")
        return write(change, _fulfilled(change, held), rules.Step.HAND_OVER, how)

    return once(change, call.request_id, "hand over", (call.request, digest.hex(), how), work)


def left(view: View, request_id: str) -> list[Disclosed]:
    """What has left of the data of the person whose request it is: read before the lock, for `rectify` and `erase`.

    Nothing for a request that there is not: they say so.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    try:
        held = load(view, request_id)
    except SlussError as error:
        if error.reason is Reason.PERSON_REQUEST_UNKNOWN:
            return []
        raise
    return list(disclosed(view, held.person)) if held.person else []


def rectify(
    change: Change,
    call: Call,
    values: Sequence[Given],
    remove: Sequence[str],
    record: str,
    note: str,
    *,
    last: bool,
    known: Sequence[Disclosed] = (),
) -> Done:
    """Correct values; `last` says that this was all that was asked for.

    Args:
        change: the transaction.
        call: the request.
        values: to set.
        remove: fields to remove.
        record: the etag of the person's record that the caller has seen.
        note: for the timeline.
        last: whether nothing more is to be corrected.
        known: what `left` gave.

    Raises:
        SlussError: as `based_on` and `persons.update.update`.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.RECTIFY)
        asked = Correction(held.person, values, remove, SOURCE, record, rectification=True, cause=held.id)
        update(change, asked, known)
        named = {name for name, _ in values} | set(remove)
        facts = rules.owing(held.facts, telling.cases(change, held.person, named))
        facts = replace(facts, begun=True, fulfilled=day_of(change.now_us) if last else None)
        moved = replace(held, facts=facts, owed=progress(change.connection, held.id))
        return write(change, moved, rules.Step.RECTIFY, _noted(sorted(named), note))

    said = (call.request, [list(each) for each in values], list(remove), record, note, last)
    return once(change, call.request_id, "rectify", said, work)


def correct(change: Change, asked: Correction, known: Sequence[Disclosed] = ()) -> str:
    """Correct a record without a request of the person; the new etag.

    If it is a rectification and a legal release had one of the values, people have to tell its recipient (GDPR
    Art. 19), and the broker opens a request for them: its channel says that nobody asked, its timeline which fields it
    is about, and it is done once all have answered. Said again of a record that has not changed since, it is that one.

    Raises:
        SlussError: as `persons.update.update`.
    """
    named = {name for name, _ in asked.values} | set(asked.remove)
    cases = telling.cases(change, asked.person, named) if asked.rectification else set()
    if not cases:
        return update(change, asked, known)
    if changes_nothing(change, asked) and _is_told(change, asked.person, named):
        return update(change, replace(asked, rectification=False))
    today = day_of(change.now_us)
    facts = rules.owing(Facts(Kind.RECTIFICATION, CORRECTION, today, begun=True), cases)
    held, _ = create(change, facts, Words(asked.person, "", "", ""), "")
    etag = update(change, replace(asked, cause=held.id), known)
    moved = replace(held, facts=replace(facts, fulfilled=today), owed=progress(change.connection, held.id))
    write(change, moved, rules.Step.RECTIFY, BETWEEN.join(sorted(named)))
    return etag


def _is_told(view: View, person: int, named: set[str]) -> bool:
    """Whether a request is there for recipients of these fields, and the record is as it was when it was opened."""
    changed = rfc3339(persons.active(view.connection, person).updated_at)
    return any(
        event.event == rules.Step.RECTIFY and event.at >= changed and named <= set(event.text.split(BETWEEN))
        for held in of_person(view, person)
        if held.facts.channel == CORRECTION
        for event in timeline(view, held)
    )


def erase(change: Change, call: Call, known: Sequence[Disclosed] = ()) -> Done:
    """Erase the person; `known` is what `left` gave.

    Raises:
        SlussError: as `based_on` and `erasing.erase`.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.ERASE)
        facts = rules.owing(held.facts, telling.cases(change, held.person, None))
        erasing.erase(change, held.person, held.id, known)
        owed = progress(change.connection, held.id)
        moved = replace(_fulfilled(change, replace(forgotten(held), facts=facts)), owed=owed, scrubbed=False)
        return write(change, moved, rules.Step.ERASE, "")

    return once(change, call.request_id, "erase", (call.request,), work)


def record_objection(change: Change, call: Call, purposes: Sequence[str], channel: str, note: str) -> Done:
    """Record a no to purposes; it holds from the moment this returns (DESIGN promise 2).

    Raises:
        SlussError: as `based_on` and `recording.record`; INVALID_REQUEST while nobody knows whose request it is.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.OBJECT)
        if not held.person:
            raise invalid("person_id", "whose request is it?")
        _require_choices(change, purposes)
        for purpose in purposes:
            made = ChoiceMade(purpose, OPTED_OUT, (), channel)
            own_id = persons.request_body(change.snapshot.vault, "objection", call.request, purpose)[:16]
            recording.record(change, Recording(own_id, held.person, made, SOURCE, call.request))
        return write(change, _fulfilled(change, held), rules.Step.OBJECT, _noted(purposes, note))

    return once(change, call.request_id, "object", (call.request, list(purposes), channel, note), work)


def _noted(about: Sequence[str], note: str) -> str:
    """The timeline's text: what it was done for, then the note."""
    return ": ".join(filter(None, (BETWEEN.join(about), note)))


def _require_choices(change: Change, purposes: Sequence[str]) -> None:
    """Refuse purposes that no choice of a person stops: an objection to one of them is weighed by people.

    Raises:
        SlussError: PURPOSE_UNKNOWN, INVALID_REQUEST.
    """
    for code in purposes:
        kind = change.snapshot.catalogue.purpose(code).kind
        if kind not in CHOSEN:
            raise invalid(
                "purposes",
                f"{code} is {kind}: weigh the person's reasons (GDPR Art. 21(1)), then refuse on the ground"
                " overriding_grounds or contract_or_legal_duty, or erase",
            )


def exportable(view: View, held: Held) -> None:
    """Refuse early to make an export that could not leave.

    Raises:
        SlussError: PERSON_REQUEST_WRONG_STATE, IDENTITY_NOT_PROVEN, CREDENTIAL_LOCKED.
    """
    require(view, held, rules.Step.EXPORT)


def _fulfilled(change: Change, held: Held) -> Held:
    return replace(held, facts=replace(held.facts, begun=True, fulfilled=day_of(change.now_us)))
