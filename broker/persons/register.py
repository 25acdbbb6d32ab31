"""Registration: a new person, once per request and once per customer number (POLICY 1a, 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import requests
from broker.choices import recording
from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ids import new_person_id, parse_person, person_text
from broker.persons import checking, rows
from broker.persons.model import Registered
from broker.vault import Value

if TYPE_CHECKING:
    from broker.choices.rule import InForce
    from broker.desk import Change
    from broker.persons.model import Registration


def register(change: Change, asked: Registration) -> Registered:
    """Register a person; the same request registers once.

    Raises:
        SlussError: INVALID_VALUE, FIELD_UNKNOWN, FIELD_FORBIDDEN for all faults together; PERSON_EXISTS,
            REQUEST_ID_REUSED, INVALID_REQUEST, PURPOSE_UNKNOWN.
    """
    # 1. a retry gives the first answer
    body = _body(change, asked)
    name = change.principal.name
    known = requests.find_one(change.connection, name, asked.request_id, body)
    if known is not None:
        return Registered(parse_person(known.reply.decode()), str(rows.FIRST_VERSION))
    # 2. nothing is stored unless all of it is good
    checking.check_source(asked.source)
    values = checking.require(change.snapshot.catalogue, asked.values)
    chosen = recording.check(change, asked.choices)
    # 3. seal and insert
    person = _sealed(change, asked, values)
    if not rows.insert_persons(change.connection, [person], change.now_us):
        raise SlussError(Reason.PERSON_EXISTS, field="customer_number")
    # 4. choices stand in the ledger from the first moment
    entries = [recording.append(change, person.kept, choice, asked.source, "", change.now_us) for choice in chosen]
    if chosen:
        stand: InForce = {}
        for choice in chosen:
            stand = recording.with_choice(stand, choice, change.now_us)
        recording.put(change.connection, person.id, stand)
    # 5. remember the answer
    first = entries[0] if entries else 0
    answered = requests.Known(body, first, len(entries), person_text(person.id).encode())
    requests.remember(change.connection, [((name, asked.request_id), answered)], change.now_us)
    return Registered(person.id, str(rows.FIRST_VERSION))


def _body(change: Change, asked: Registration) -> bytes:
    made = [recording.request_parts(choice) for choice in asked.choices]
    return rows.request_body(change.snapshot.vault, "register", list(asked.values), asked.source, made)


def _sealed(change: Change, asked: Registration, values: dict[str, str]) -> rows.NewPerson:
    vault, catalogue = change.snapshot.vault, change.snapshot.catalogue
    person, at = new_person_id(), change.now_us // SECOND
    stored = {name: Value(text, asked.source, at) for name, text in values.items()}
    sealed = vault.seal_record(person, stored, rows.financial_names(catalogue, vault))
    found = rows.indexes(vault, catalogue, values)
    return rows.NewPerson(person, sealed, found)
