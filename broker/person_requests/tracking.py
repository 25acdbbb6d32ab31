"""What is done with a person's request short of the data: opened, checked, worked on, extended, refused, withdrawn.

Every step is an entry of the ledger in its own transaction, based on the etag that the caller has seen; the same
request id with the same body is answered with the request as it stands, and nothing is done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker import requests
from broker.clock import day_of
from broker.compromise import locks
from broker.errors import Reason, SlussError, invalid
from broker.outbox import answers
from broker.outbox.answers import Answer
from broker.outbox.queue import queue
from broker.person_requests import rules, telling
from broker.person_requests.model import Facts, Identity, Kind, Words
from broker.person_requests.rows import Held, create, load, load_shown, write
from broker.persons import rows as persons
from broker.persons.rows import request_body

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from broker.desk import Change, View
    from broker.person_requests.model import Telling

Done = tuple[Held, int]
"""A request as it stands now, and the index of the entry that says so."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a request is opened with; `person` 0 for one that is not yet identified, `received` None for today.

    A retry that leaves the day out asks for the same, after midnight too.
    """

    kind: Kind
    channel: str
    received: date | None
    person: int
    asked: str
    requester: str
    language: str


@dataclass(frozen=True, slots=True)
class Call:
    """What every step names: the request, the etag that the caller has seen, the id of the call."""

    request: str
    etag: str
    request_id: bytes


def open_request(change: Change, new: Opening, request_id: bytes) -> Done:
    """A new request.

    Raises:
        SlussError: PERSON_UNKNOWN, REQUEST_ID_REUSED, CREDENTIAL_LOCKED.
    """
    words = Words(new.person, new.asked, new.requester, new.language)
    received = new.received.isoformat() if new.received else ""
    said = (new.kind, new.channel, received, new.person, new.asked, new.requester, new.language)

    def work() -> Done:
        if new.person:
            persons.active(change.connection, new.person)
            if rules.needs_unlocked(new.kind, None):
                locks.require_unlocked(change, new.person)
        done = create(change, Facts(new.kind, new.channel, new.received or day_of(change.now_us)), words, "")
        _confirm(change, done[0])
        return done

    return once(change, request_id, "open", said, work)


def _confirm(change: Change, held: Held) -> None:
    """Queue the confirmation of receipt, once it is known whose request it is."""
    _tell(change, held, "request_received", "", "")


def _tell(change: Change, held: Held, message: str, outcome: str, told: str) -> None:
    """Queue a message about the request to whoever is known to have made it, in the language that was asked for."""
    if held.words is None or not held.person:
        return
    answer = Answer(held.person, held.id, str(held.facts.kind), outcome, "", told, held.words.language)
    body = answers.sealed(change.snapshot.vault, persons.active(change.connection, held.person), answer)
    references = {"request": held.id, "due": rules.deadline(held.facts).isoformat()}
    queue(change, held.person, message, references, body)


def once(change: Change, request_id: bytes, call: str, said: tuple[object, ...], work: Callable[[], Done]) -> Done:
    """What `work` gives; for the same call again, the request as it stands.

    Raises:
        SlussError: REQUEST_ID_REUSED.
    """
    digest = request_body(change.snapshot.vault, f"person request: {call}", *said)
    known = requests.find_one(change, request_id, digest)
    if known is not None:
        return load(change, known.reply.decode("ascii")), known.first_entry
    held, index = work()
    requests.remember_one(change, request_id, requests.Known(digest, index, 1, held.id.encode("ascii")))
    return held, index


def based_on(change: Change, call: Call, step: rules.Step) -> Held:
    """The request, if the caller has seen it as it stands and it can take the step.

    Raises:
        SlussError: PERSON_REQUEST_UNKNOWN, ETAG_STALE, PERSON_REQUEST_WRONG_STATE, IDENTITY_NOT_PROVEN,
            CREDENTIAL_LOCKED.
    """
    held = load_shown(change, call.request)
    if call.etag != str(held.etag):
        raise SlussError(Reason.ETAG_STALE, etag=str(held.etag))
    require(change, held, step)
    return held


def require(view: View, held: Held, step: rules.Step) -> None:
    """Refuse a step that a request can't take as it stands, or that whoever stole a credential could be behind.

    Raises:
        SlussError: PERSON_REQUEST_WRONG_STATE, IDENTITY_NOT_PROVEN, CREDENTIAL_LOCKED.
    """
    rules.require(held.facts, step, held.id)
    if rules.needs_unlocked(held.facts.kind, step):
        locks.require_unlocked(view, held.person)


def note_identity(change: Change, call: Call, method: str, result: Identity, person: int) -> Done:
    """Note how a check of the identity ended, and whose request it is if that was not known.

    Raises:
        SlussError: as `based_on`; PERSON_UNKNOWN; INVALID_REQUEST for another person than the request is of, and for a
            check that passed while nobody knows whose request it is.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.CHECK)
        words = held.words
        if words is None or (person and words.person not in (0, person)):
            raise invalid("person_id", "the request is another person's")
        if person:
            persons.active(change.connection, person)
            if rules.needs_unlocked(held.facts.kind, rules.Step.CHECK):
                locks.require_unlocked(change, person)
            known, words = bool(words.person), replace(words, person=person)
            if not known:
                _confirm(change, replace(held, words=words))
        if result is Identity.PASSED and not words.person:
            raise invalid("person_id", "whose request is it?")
        facts = rules.checked(held.facts, result, method, day_of(change.now_us))
        return write(change, replace(held, facts=facts, words=words), rules.Step.CHECK, "")

    return once(change, call.request_id, "identity", (call.request, method, result, person), work)


def note_work(change: Change, call: Call, note: str) -> Done:
    """Note work; with the first note it is in progress.

    Raises:
        SlussError: as `based_on`.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.WORK)
        return write(change, replace(held, facts=replace(held.facts, begun=True)), rules.Step.WORK, note)

    return once(change, call.request_id, "work", (call.request, note), work)


def extend(change: Change, call: Call, months: int, reason: str) -> Done:
    """Extend the deadline; the person is told of it, with the reason (GDPR Art. 12(3)).

    Raises:
        SlussError: as `based_on` and `rules.extended`.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.EXTEND)
        moved = replace(held, facts=rules.extended(held.facts, months, day_of(change.now_us), held.id))
        _tell(change, moved, "deadline_extended", "extended", reason)
        return write(change, moved, rules.Step.EXTEND, reason)

    return once(change, call.request_id, "extend", (call.request, months, reason), work)


def refuse(change: Change, call: Call, ground: str, told: str) -> Done:
    """Refuse, with what the person is told (GDPR Art. 12(4)).

    Raises:
        SlussError: as `based_on` and `rules.refused`; INVALID_REQUEST for `erased` or `nothing_on_record`, if
            the person is on record.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.REFUSE)
        if ground in rules.NOT_ON_RECORD and held.person:
            raise invalid("ground", "the person is on record")
        words = replace(held.words, told=told) if held.words else None
        moved = replace(held, facts=rules.refused(held.facts, ground), words=words)
        return write(change, moved, rules.Step.REFUSE, told)

    return once(change, call.request_id, "refuse", (call.request, ground, told), work)


def note_told(change: Change, call: Call, case: str, outcome: Telling, reason: str) -> Done:
    """Note that the recipient of a legal release was told, or why that can't be (GDPR Art. 19).

    Raises:
        SlussError: as `based_on`; INVALID_REQUEST if that recipient is not to be told.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.TELL)
        if case not in {each.case for each in held.legal}:
            raise invalid("case_id", "nobody of this case is to be told")
        facts = rules.told(held.facts, case, outcome, reason)
        return write(change, replace(held, facts=facts), rules.Step.TELL, telling.noted(case, reason))

    return once(change, call.request_id, "told", (call.request, case, outcome, reason), work)


def withdraw(change: Change, call: Call, reason: str) -> Done:
    """The person takes it back.

    Raises:
        SlussError: as `based_on`.
    """

    def work() -> Done:
        held = based_on(change, call, rules.Step.WITHDRAW)
        return write(change, replace(held, facts=replace(held.facts, withdrawn=True)), rules.Step.WITHDRAW, reason)

    return once(change, call.request_id, "withdraw", (call.request, reason), work)
