"""Registration: a new person, once per request and once per customer number (POLICY 1a, 3).

What was received is confirmed: to the caller, and to the person over the outbox, in the same transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker import own_keys, requests
from broker.choices import recording
from broker.clock import SECOND, micros, rfc3339
from broker.errors import Reason, SlussError
from broker.ids import new_person_id, parse_person, person_text
from broker.outbox import showing
from broker.outbox.kinds import Kind
from broker.outbox.queue import Message, queue_all
from broker.persons import checking, rows
from broker.persons.model import Registered
from broker.policies import acceptances, notices
from broker.vault import Value

if TYPE_CHECKING:
    from broker.choices.rule import InForce
    from broker.desk import Change
    from broker.outbox.showing import Confirmation
    from broker.persons.model import Registration


def register(change: Change, asked: Registration) -> Registered:
    """Register a person; the same request registers once.

    Raises:
        SlussError: INVALID_VALUE, FIELD_UNKNOWN, FIELD_FORBIDDEN for all faults together; PERSON_EXISTS,
            REQUEST_ID_REUSED, INVALID_REQUEST, PURPOSE_UNKNOWN, POLICY_UNKNOWN.
    """
    # 1. a retry gives the first answer
    body = _body(change, asked)
    known = requests.find_one(change, asked.request_id, body)
    if known is not None:
        return _again(change, asked, known.reply.decode())
    # 2. nothing is stored unless all of it is good
    checking.check_source(asked.source)
    values = checking.require(change.snapshot.catalogue, asked.values)
    chosen = recording.check(change, asked.choices)
    if asked.accepted:
        acceptances.check(change, asked.accepted)
    # 3. seal and insert
    person = _sealed(change, asked, values)
    if not rows.insert_persons(change.connection, [person], change.now_us):
        raise SlussError(Reason.PERSON_EXISTS, field="customer_number")
    # 4. choices and acceptance stand in the ledger from the first moment
    entries = [recording.append(change, person.kept, choice, asked.source, "", change.now_us) for choice in chosen]
    if chosen:
        stand: InForce = {}
        for choice in chosen:
            stand = recording.with_choice(stand, choice, change.now_us)
        recording.put(change, person.kept, stand, entries)
    if asked.accepted:
        entries.append(acceptances.append(change, person.kept, asked.accepted, asked.source, ""))
    # 5. what was received is confirmed
    policy = change.snapshot.policy(change.now_us)
    confirmation = _confirmation(change, asked, person.id, values, change.now_us, policy)
    queue_confirmation(change, person, confirmation)
    # 6. remember the answer
    first = entries[0] if entries else 0
    reply = f"{person_text(person.id)} {rfc3339(change.now_us)} {policy}"
    requests.remember_one(change, asked.request_id, requests.Known(body, first, len(entries), reply.encode()))
    return Registered(person.id, str(rows.FIRST_VERSION), confirmation)


def queue_confirmation(change: Change, person: rows.NewPerson, confirmation: Confirmation) -> None:
    """Queue what the person is told: what was received, and policy versions that are announced."""
    sealed = showing.sealed(change.snapshot.vault, person.kept, confirmation)
    told = Message(person.id, Kind.REGISTRATION_CONFIRMATION, {"policy": confirmation.policy}, sealed)
    queue_all(change.connection, [told, *notices.on_registration(change, person.id)], change.now_us)


def _again(change: Change, asked: Registration, reply: str) -> Registered:
    """The first answer: the values are those of the request, as its body is the same."""
    person, at, policy = reply.split(" ")
    values, _ = checking.accept(change.snapshot.catalogue, asked.values)
    confirmation = _confirmation(change, asked, parse_person(person), values, micros(at), policy)
    return Registered(parse_person(person), str(rows.FIRST_VERSION), confirmation)


def _confirmation(
    change: Change, asked: Registration, person: int, values: dict[str, str], at: int, policy: str
) -> Confirmation:
    return showing.confirm(
        change.snapshot.catalogue,
        person,
        values,
        asked.source,
        asked.choices,
        at=at,
        policy=policy,
        accepted=asked.accepted,
    )


def _body(change: Change, asked: Registration) -> bytes:
    made = [recording.request_parts(choice) for choice in asked.choices]
    return rows.request_body(change.snapshot.vault, "register", list(asked.values), asked.source, made, asked.accepted)


def _sealed(change: Change, asked: Registration, values: dict[str, str]) -> rows.NewPerson:
    vault, catalogue = change.snapshot.vault, change.snapshot.catalogue
    person, at = new_person_id(), change.now_us // SECOND
    stored = {name: Value(text, asked.source, at) for name, text in values.items()}
    sealed = vault.seal_record(person, stored, rows.financial_names(catalogue, vault))
    found = rows.indexes(vault, catalogue, values)
    new = rows.NewPerson(rows.kept(vault, person, sealed), found)
    if asked.accepted:
        new = replace(new, accepted=own_keys.accepted_text(vault, new.kept, asked.accepted))
    return new
