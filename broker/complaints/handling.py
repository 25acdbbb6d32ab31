"""Complaints in the store. Every change is an entry of the ledger, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from broker import case_files, requests
from broker.clock import DAY, day_of, rfc3339
from broker.complaints import links, remedies, rules
from broker.complaints.rules import ROOM, State, Step
from broker.contracts import Step as ContractStep
from broker.erasure.erasing import erase
from broker.errors import Reason, SlussError, invalid
from broker.obligations.owing import disclosed
from broker.outbox import answers
from broker.outbox.answers import Answer
from broker.outbox.queue import queue
from broker.person_requests import telling
from broker.persons import rows as person_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.agreements import Agreements
    from broker.case_files import File
    from broker.desk import Change, View
    from broker.obligations.rules import Disclosed


@dataclass(frozen=True, slots=True)
class NewComplaint:
    """What a complaint is opened with; `person` 0 for somebody who is not on record, `received` None for today."""

    person: int
    complainant: str
    channel: str
    kind: str
    about: str
    links: tuple[str, ...]
    received: date | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to change; `due_at` 0 and the rest empty leave it as it is."""

    note: str
    links: tuple[str, ...]
    handler: str
    due_at: int


def open_complaint(change: Change, new: NewComplaint, request_id: bytes) -> File:
    """A new complaint; the same request opens one. An internal service hands it in, and nobody works on it yet.

    Raises:
        SlussError: PERSON_UNKNOWN, FILE_UNKNOWN for a link, REQUEST_ID_REUSED; INVALID_REQUEST for an internal
            service's links, which would tell it what there is.
    """
    inside = change.principal.kind == "internal"
    if inside and new.links:
        raise invalid("links", "made by whoever looks into the complaint")
    name = "" if inside else change.principal.name
    digest = person_rows.request_body(change.snapshot.vault, "complaint", repr(new))
    known = requests.find_one(change, request_id, digest)
    if known is not None:
        return case_files.load(change, ROOM, known.reply.decode("ascii"))
    if new.person:
        person_rows.active(change.connection, new.person)
    links.check(change, new.links, len(new.links))
    today = day_of(change.now_us)
    received = new.received or today
    file = case_files.create(
        change,
        ROOM,
        State.RECEIVED,
        handler=name,
        due_at=change.now_us + (rules.DEADLINE_DAYS - (today - received).days) * DAY,
        person=new.person,
        body={
            "channel": new.channel,
            "kind": new.kind,
            "received": received.isoformat(),
            "links": list(new.links),
            "outcome": "",
            "remedies": [],
        },
        private={"complainant": new.complainant, "about": new.about},
    )
    if file.person:
        due = rfc3339(file.due_at)[:10]
        queue(change, file.person, "complaint_received", {"complaint": file.id, "due": due})
    index = case_files.log(change, file, "opened", "")
    requests.remember_one(change, request_id, requests.Known(digest, index, 1, file.id.encode("ascii")))
    return file


def change_complaint(change: Change, complaint: str, changes: Changes, etag: str) -> tuple[File, int]:
    """Note, link, assign, extend: one entry, named after the weightiest of them.

    Raises:
        SlussError: FILE_UNKNOWN, also for a link; ETAG_STALE, FILE_WRONG_STATE, INVALID_REQUEST.
    """
    file = _based_on(change, complaint, etag)
    steps = [
        step
        for step, asked in (
            (Step.EXTEND, changes.due_at),
            (Step.LINK, changes.links),
            (Step.ASSIGN, changes.handler),
            (Step.NOTE, changes.note),
        )
        if asked
    ]
    if not steps:
        raise invalid("note", "nothing is changed and nothing is noted")
    if changes.due_at and (changes.due_at <= file.due_at or not changes.note):
        raise invalid("due_on", "a later day, with a note that says why")
    if changes.due_at > change.now_us + rules.FURTHEST_DAYS * DAY:
        raise invalid("due_on", f"at most {rules.FURTHEST_DAYS} days ahead")
    if changes.due_at and change.now_us > file.due_at:
        raise rules.wrong(file.id, State(file.state), Step.EXTEND, "its deadline has passed: it is too late to extend")
    merged = [*dict.fromkeys([*file.body["links"], *changes.links])]
    links.check(change, changes.links, len(merged))
    states = [_take(change, file, step) for step in steps]
    if changes.due_at and file.person:
        references = {"complaint": file.id, "due": rfc3339(changes.due_at)[:10]}
        queue(change, file.person, "deadline_extended", references)
    return case_files.write(
        change,
        file,
        steps[0],
        changes.note,
        state=State.INVESTIGATING if State.INVESTIGATING in states else states[0],
        handler=changes.handler or file.handler,
        due_at=changes.due_at or file.due_at,
        body={**file.body, "links": merged},
    )


def set_outcome(change: Change, complaint: str, outcome: str, told: str, etag: str) -> tuple[File, int]:
    """Decide; `told` is what the person is told, and the entry commits to it.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE, SECOND_PERSON_NEEDED.
    """
    file = _based_on(change, complaint, etag)
    state = _take(change, file, Step.DECIDE)
    if file.person:
        answer = Answer(file.person, file.id, ROOM, outcome, "", told, "")
        sealed = answers.sealed(change.snapshot.vault, person_rows.active(change.connection, file.person), answer)
        queue(change, file.person, "complaint_answered", {"complaint": file.id}, sealed)
    body = {**file.body, "outcome": outcome, "decided_at": change.now_us}
    return case_files.write(change, file, Step.DECIDE, told, state=state, body=body)


def received_on(file: File) -> date:
    """The day on which a complaint came in."""
    said = file.body.get("received")
    return date.fromisoformat(said) if said else day_of(file.opened_at)


def left(view: View, complaint: str) -> list[Disclosed]:
    """What has left of the data of whoever a complaint is about: read before the lock, for a remedy that erases it.

    Nothing for a complaint that there is not: `remedy` says so.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    try:
        person = case_files.load(view, ROOM, complaint).person
    except SlussError as error:
        if error.reason is Reason.FILE_UNKNOWN:
            return []
        raise
    return list(disclosed(view, person)) if person else []


def remedy(
    change: Change,
    agreed: Agreements,
    complaint: str,
    kind: str,
    contract: str,
    note: str,
    etag: str,
    known: Sequence[Disclosed] = (),
) -> tuple[File, int]:
    """Remedy, in this transaction: suspend a linked contract, erase the person, or note what was done elsewhere.

    A contract is linked by itself, or by an entry or obligation under it. `known` is what `left` gave.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE, INVALID_REQUEST; of a suspension or an erasure.
    """
    file = _based_on(change, complaint, etag)
    state = _take(change, file, Step.REMEDY)
    done: dict[str, Any] = {"kind": kind, "contract": contract, "by": change.principal.name, "at": change.now_us}
    if (kind == "suspend_contract") != bool(contract):
        raise invalid("contract_id", "for suspend_contract, and only then")
    if kind == rules.RECIPIENTS_TOLD and not any(made.get("tell") for made in file.body["remedies"]):
        raise invalid("kind", "no erasure of this complaint has to be told to a recipient of a legal release")
    if kind == "correct":
        done["requests"] = remedies.correcting(change, file)
        if not done["requests"]:
            raise invalid("kind", "needs a link to the person's request for rectification (R-...) that corrects")
    if kind == "suspend_contract":
        if contract not in links.contracts(change, file.body["links"]):
            raise invalid("contract_id", "the complaint links neither to it nor to an entry or obligation under it")
        # The ledger keeps the reason for good, and the recipient reads it: what was noted stays in the complaint.
        agreed.step(change, contract, ContractStep.SUSPEND, f"{ROOM} {file.id}", "")
    if kind == "erase_data":
        if not file.person:
            raise invalid("kind", "nobody on record to erase")
        done["tell"] = sorted(telling.cases(change, file.person, None))
        erase(change, file.person, file.id, known)
        # Its texts went with the person: what is written from here on stands under the keys that are kept.
        file, note = replace(file, person=0, private=None, private_keys=None), ""
    body = {**file.body, "remedies": [*file.body["remedies"], done]}
    return case_files.write(change, file, Step.REMEDY, note, state=state, body=body)


def close(change: Change, complaint: str, note: str, etag: str) -> tuple[File, int]:
    """Close a complaint.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE without an outcome, or while a remedy is waited for, or
            has to be noted.
    """
    file = _based_on(change, complaint, etag)
    state = _take(change, file, Step.CLOSE)
    return case_files.write(change, file, Step.CLOSE, note, state=state, body={**file.body, "closed_at": change.now_us})


def told(view: View, file: File) -> str:
    """What the person is told; empty until it is decided, and once the person was erased."""
    for event in case_files.timeline(view, file):
        if event.event == Step.DECIDE:
            return event.text
    return ""


def _based_on(change: Change, complaint: str, etag: str) -> File:
    return case_files.based_on(case_files.load(change, ROOM, complaint), etag)


def _take(change: Change, file: File, step: Step) -> State:
    undone = [made for made in file.body["remedies"] if not remedies.standing(change, file, made).settled]
    return rules.take(
        file.id,
        State(file.state),
        step,
        outcome=file.body["outcome"],
        remedies=len(file.body["remedies"]),
        undone=len(undone),
        authors=links.authors(change, file.body["links"]) if step is Step.DECIDE else (),
        by=change.principal.name,
    )
