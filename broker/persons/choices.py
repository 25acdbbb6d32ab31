"""Choices: opt-in and opt-out per purpose, in the ledger before the call returns (POLICY 2).

The entry names the person by HMAC-SHA256(person secret, COMMITMENT_LABEL + the entry's own `at` text); nobody
without the secret can link it to the person, and erasure destroys the secret. `head.rights` moves with the entry, in
the same transaction: a disclosure that was decided before it is decided anew (DESIGN promise 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from sqlalchemy import insert, update

from broker import requests
from broker.clock import rfc3339
from broker.compromise import locks
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.persons import checking, rows
from broker.persons.model import Recorded
from broker.store import tables
from broker.store.queries import PERSON
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.desk import Change
    from broker.persons.model import ChoiceMade, Recording
    from broker.vault import PersonRow

CHOICE = tables.core(tables.Choice)


def record(change: Change, recording: Recording) -> Recorded:
    """Record a choice; the same request records once.

    Raises:
        SlussError: PERSON_UNKNOWN, PURPOSE_UNKNOWN, INVALID_REQUEST, REQUEST_ID_REUSED.
    """
    vault, made = change.snapshot.vault, recording.choice
    said = (recording.person, made.purpose, made.state, made.channel, recording.source)
    body = rows.request_body(vault, "choice", *said)
    name = change.principal.name
    known = requests.find_one(change.connection, name, recording.request_id, body)
    if known is not None:
        return Recorded(known.first_entry, known.reply.decode())
    checking.check_source(recording.source)
    check(change, [made])
    row = rows.active(change.connection, recording.person)
    if made.state == "in":
        locks.require_unlocked(change, row.id)
    index = append(change, row, made, recording.source)
    in_force = in_force_with(vault.choices(row), [made])
    change.connection.execute(update(PERSON).where(PERSON.c.id == row.id).values(choices=in_force))
    change.tx.bump_rights()
    policy = change.snapshot.policy(change.now_us)
    answered = requests.Known(body, index, 1, policy.encode())
    requests.remember(change.connection, [((name, recording.request_id), answered)], change.now_us)
    return Recorded(index, policy)


def check(change: Change, choices: Sequence[ChoiceMade]) -> None:
    """Refuse choices that can't be recorded, and two on one purpose in one call.

    Raises:
        SlussError: PURPOSE_UNKNOWN, INVALID_REQUEST.
    """
    for choice in choices:
        checking.check_choice(change.snapshot.catalogue, choice)
    if len({choice.purpose for choice in choices}) < len(choices):
        raise SlussError(Reason.INVALID_REQUEST, "choices: two on one purpose", field="choices")


def append(change: Change, row: PersonRow, choice: ChoiceMade, source: str) -> int:
    """Append a choice's entry and its line in the history; the entry's index."""
    policy = change.snapshot.policy(change.now_us)
    secret = change.snapshot.vault.person_secret(row)
    body = entry.choice(
        change.now_us,
        commitment(secret, rfc3339(change.now_us)),
        choice.purpose,
        choice.state,
        choice.channel,
        source,
        policy,
        change.principal.name,
    )
    index = change.tx.append(body, persons=[row.id])
    change.connection.execute(
        insert(CHOICE).values(
            person=row.id,
            entry=index,
            purpose=choice.purpose,
            state=choice.state,
            channel=choice.channel,
            source=source,
            policy=policy,
            at=change.now_us,
        )
    )
    return index


def in_force_with(before: Mapping[str, str], choices: Sequence[ChoiceMade]) -> str:
    """The JSON of the choices in force once these have been made."""
    after = {**before, **{choice.purpose: choice.state for choice in choices}}
    return orjson.dumps(after, option=orjson.OPT_SORT_KEYS).decode()
