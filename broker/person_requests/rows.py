"""Requests of persons as rows: proven by the ledger whenever one is loaded, and forgotten with the person.

The person is told once a request has ended, by a message in the transaction that ends it.

The ledger's last entry of a request says the state and the deadline, holds the digest of the facts, and commits to the
words; a row that somebody changed or put back is refused (LEDGER_INCONSISTENT). A request that waits for recipients
is done once they have answered: that is looked up among the obligations whenever it is loaded, until the maintenance
finds it and `completing.py` records it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select, update

from broker import requests, timelines
from broker.clock import day_of, rfc3339
from broker.errors import Reason, SlussError
from broker.keeping import CaseKeys
from broker.ledger import entry
from broker.ledger.standing import differs
from broker.obligations.owing import Progress, progress
from broker.outbox import answers
from broker.outbox.answers import Answer
from broker.outbox.queue import queue
from broker.person_requests import rules, telling
from broker.person_requests.model import (
    CORRECTION,
    REQUEST_ID,
    Facts,
    Kind,
    State,
    Words,
    facts_json,
    parse_facts,
    parse_words,
    words_json,
)
from broker.persons import rows as persons
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from broker.desk import Change, View
    from broker.person_requests.telling import Addressee

REQUEST: Final = tables.core(tables.PersonRequest)
EVENT: Final = tables.core(tables.PersonRequestEvent)
ENTRY: Final = tables.core(tables.LedgerEntry)
TYPE: Final = "person_request"
"""Of a request's entries."""
ERASURE: Final = tables.core(tables.Erasure)
NOBODY: Final = Progress(0, 0)


@dataclass(frozen=True, slots=True)
class Held:
    """A request as it stands.

    Attributes:
        id: such as `R-2026-0001`.
        number: counts all requests.
        facts: what happened.
        words: None once they are destroyed.
        keys: likewise.
        etag: moves with every step.
        owed: how far the recipients who owe for it have come.
        scrubbed: of an erasure, whether nothing of the person is left in free pages and logs.
        legal: recipients of legal releases whom people have to tell, but for those that are hidden.
        moved: the day of its last step, by the ledger.
    """

    id: str
    number: int
    facts: Facts
    words: Words | None
    keys: CaseKeys | None
    etag: int
    owed: Progress = NOBODY
    scrubbed: bool = True
    legal: tuple[Addressee, ...] = ()
    moved: date | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        told = all(each.outcome for each in self.legal)
        return rules.state(self.facts, answered=self.owed.complete and self.scrubbed and told)

    @property
    def person(self) -> int:
        """Whose it is; 0 if nobody knows, or nobody may know any more."""
        return self.words.person if self.words else 0


def load(view: View, request_id: str) -> Held:
    """A request, proven by the ledger.

    Raises:
        SlussError: PERSON_REQUEST_UNKNOWN; LEDGER_INCONSISTENT if the ledger says otherwise than the store.
    """
    if not REQUEST_ID.fullmatch(request_id):
        raise SlussError(Reason.PERSON_REQUEST_UNKNOWN, "no such request of a person: its id is such as R-2026-0001")
    row = view.connection.execute(select(REQUEST).where(REQUEST.c.id == request_id)).one_or_none()
    if row is None:
        raise SlussError(Reason.PERSON_REQUEST_UNKNOWN, request=request_id)
    return _held(view, row)


def load_shown(view: View, request_id: str) -> Held:
    """As `load`, for whoever asks for one by its id.

    Raises:
        SlussError: as `load`; PERSON_REQUEST_UNKNOWN for one that would tell of what is hidden.
    """
    held = load(view, request_id)
    if not telling.shows(held):
        raise SlussError(Reason.PERSON_REQUEST_UNKNOWN, request=request_id)
    return held


def of_person(view: View, person: int) -> list[Held]:
    """All requests of a person, oldest first."""
    query = select(REQUEST).where(REQUEST.c.person == person).order_by(REQUEST.c.number)
    return [_held(view, row) for row in view.connection.execute(query).all()]


def list_requests(
    view: View, kinds: list[Kind], person: int, before: int, size: int, *, only_open: bool, only_overdue: bool
) -> tuple[list[Held], int]:
    """A page of requests with numbers below `before` (0 for all), newest first; and the number to go on below."""
    now = day_of(view.now_us)
    query = select(REQUEST).order_by(REQUEST.c.number.desc())
    if kinds:
        query = query.where(REQUEST.c.kind.in_([str(kind) for kind in kinds]))
    if person:
        query = query.where(REQUEST.c.person == person)
    if only_open or only_overdue:
        query = query.where(REQUEST.c.state.not_in([str(state) for state in rules.FINAL]))
    if only_overdue:
        query = query.where(REQUEST.c.deadline < now.isoformat())
    found: list[Held] = []
    while len(found) < size:
        page = query.where(REQUEST.c.number < before) if before else query
        some = view.connection.execute(page.limit(size + 1)).all()
        for row in some[:size]:
            before, held = row.number, _held(view, row)
            ended = (only_open or only_overdue) and held.state in rules.FINAL
            if not telling.shows(held) or ended or (only_overdue and not rules.overdue(held.facts, held.state, now)):
                continue
            found.append(held)
            if len(found) == size:
                break
        if len(some) <= size and (not some or before == some[-1].number):
            return found, 0
    return found, before


def timeline(view: View, held: Held) -> list[timelines.Event]:
    """What happened, oldest first, each text checked against its entry.

    Raises:
        SlussError: LEDGER_INCONSISTENT if the ledger knows of a step that is missing.
    """
    kept = select(EVENT.c.entry, EVENT.c.text).where(EVENT.c.request == held.id).order_by(EVENT.c.entry)
    return timelines.timeline(view, held.id, TYPE, held.keys, kept, differs("timeline", request=held.id))


def write(change: Change, held: Held, event: str, text: str, document: bytes = b"", by: str = "") -> tuple[Held, int]:
    """Write a request as it stands now, with a new etag, and its entry; gives it and the entry's index.

    Args:
        change: the transaction.
        held: the request after the step.
        event: the step.
        text: what was written.
        document: the digest of an export that leaves.
        by: who takes the step, if not the caller.
    """
    today = day_of(change.now_us)
    legal = telling.shown(change, held.facts)
    moved = _dated(replace(held, etag=held.etag + 1, legal=legal, moved=today), today)
    values = {
        "number": held.number,
        "person": moved.person,
        "kind": moved.facts.kind,
        "state": moved.state,
        "deadline": rules.deadline(moved.facts).isoformat(),
        "facts": facts_json(moved.facts),
        "body": _sealed_words(moved),
        "etag": moved.etag,
        "updated_at": change.now_us,
    }
    change.connection.execute(update(REQUEST).where(REQUEST.c.id == held.id).values(values))
    ended = event == rules.Step.REFUSE or moved.facts.completed != held.facts.completed
    if moved.person and ended and moved.facts.channel != CORRECTION:
        _tell(change, moved)
    return moved, _log(change, moved, event, text, document, by or change.principal.name)


def _tell(change: Change, held: Held) -> None:
    """Queue the answer to the person."""
    facts, words = held.facts, held.words
    told, language = (words.told, words.language) if words else ("", "")
    answer = Answer(held.person, held.id, str(facts.kind), str(held.state), facts.ground, told, language)
    body = answers.sealed(change.snapshot.vault, persons.active(change.connection, held.person), answer)
    queue(change, held.person, "request_answered", {"request": held.id}, body)


def _dated(held: Held, day: date) -> Held:
    """With the day on which it was done, if this is the step with which it is."""
    done = held.state is State.DONE and held.facts.completed is None
    return replace(held, facts=replace(held.facts, completed=day)) if done else held


def create(change: Change, facts: Facts, words: Words, text: str) -> tuple[Held, int]:
    """A new request and its first entry."""
    number = (change.connection.execute(select(func.max(REQUEST.c.number))).scalar_one() or 0) + 1
    request_id = f"R-{day_of(change.now_us).year}-{number:04d}"
    keys, wrapped = CaseKeys.new(change.snapshot.vault, request_id)
    held = Held(request_id, number, facts, words, keys, 0)
    change.connection.execute(
        insert(REQUEST).values(
            id=request_id, number=number, person=0, kind=facts.kind, state=held.state, deadline="", facts=b"",
            keys=wrapped, body=b"", etag=0, updated_at=change.now_us,
        )
    )  # fmt: skip
    return write(change, held, "opened", text)


def forget(connection: Connection, person: int) -> None:
    """Destroy the words of a person's requests, their digests, and whose they were; what accounts for them stays."""
    of = select(REQUEST.c.id).where(REQUEST.c.person == person)
    for name in connection.execute(of).scalars().all():
        steps = select(ENTRY.c.at).join(EVENT, EVENT.c.entry == ENTRY.c.id).where(EVENT.c.request == name)
        requests.forget_digests(connection, steps, requests.REQUEST.c.reply == name.encode("ascii"))
    connection.execute(update(EVENT).where(EVENT.c.request.in_(of)).values(text=b""))
    connection.execute(update(REQUEST).where(REQUEST.c.person == person).values(person=0, keys=b"", body=b""))


def undone(view: View, person: int) -> list[Held]:
    """Those requests of a person of which nothing has been done yet that was asked for."""
    return [each for each in of_person(view, person) if each.state not in rules.FINAL and each.facts.fulfilled is None]


def close_erased(change: Change, undone: list[Held]) -> None:
    """After `forget`: what the person asked for can't be done any more, and is refused as `erased`."""
    for held in undone:
        closed = replace(forgotten(held), facts=rules.refused(held.facts, rules.ERASED))
        write(change, closed, rules.Step.REFUSE, "")


def forgotten(held: Held) -> Held:
    """The request after `forget`."""
    return replace(held, words=None, keys=None)


def _sealed_words(held: Held) -> bytes:
    return held.keys.seal("body", words_json(held.words)) if held.keys and held.words else b""


def _log(change: Change, held: Held, event: str, text: str, document: bytes, by: str) -> int:
    keys, words = held.keys, held.words
    data = entry.person_request(
        change.now_us,
        event,
        held.id,
        held.facts.kind,
        held.state,
        rules.deadline(held.facts).isoformat(),
        held.facts.ground,
        by,
        facts=sha256(facts_json(held.facts)).digest(),
        body=keys.commit_body(words_json(words)) if keys and words else b"",
        text=keys.commit_text(rfc3339(change.now_us), text) if keys else b"",
        document=document,
    )
    index = change.tx.append(data)
    sealed = timelines.seal(keys, index, text) if keys else b""
    change.connection.execute(insert(EVENT).values(request=held.id, entry=index, text=sealed))
    return index


def _held(view: View, row: Row[Any]) -> Held:
    facts = parse_facts(bytes(row.facts))
    keys = CaseKeys.load(view.snapshot.vault, row.id, row.keys) if row.keys else None
    words = parse_words(keys.open("body", row.body)) if keys else None
    held = Held(row.id, row.number, facts, words, keys, row.etag, legal=telling.shown(view, facts))
    if (held.person, str(facts.kind)) != (row.person, row.kind):
        raise differs("person's request", request=row.id)
    held = replace(held, moved=_require_said(view, held, row.state, row.deadline))
    if row.state == State.WAITING:
        held = replace(held, owed=progress(view.connection, row.id), scrubbed=_scrubbed(view.connection, row.id, facts))
    elif facts.fulfilled is not None and facts.kind in rules.OWED_FOR:
        held = replace(held, owed=progress(view.connection, row.id))
    return held


def _scrubbed(connection: Connection, request_id: str, facts: Facts) -> bool:
    if facts.kind is not Kind.ERASURE:
        return True
    times = connection.execute(select(ERASURE.c.scrubbed_at).where(ERASURE.c.cause == request_id)).scalars().all()
    return bool(times) and all(times)


def _require_said(view: View, held: Held, state: str, deadline: str) -> date:
    """The ledger's last entry of the request says this state and deadline, and commits to facts and words; its day."""
    said = timelines.last_said(view, held.id, TYPE, differs("person's request", request=held.id))
    facts = entry.base64url(sha256(facts_json(held.facts)).digest())
    if (said["state"], said["deadline"], said["facts"]) != (state, deadline, facts):
        raise differs("person's request", request=held.id)
    if held.keys and held.words:
        body = entry.base64url(held.keys.commit_body(words_json(held.words)))
        if said["body"] != body:
            raise differs("person's request", request=held.id)
    return date.fromisoformat(said["at"][:10])
