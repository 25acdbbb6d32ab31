"""Choices on record: in the ledger before the call returns (POLICY 2).

The entry names the person by HMAC-SHA256(person secret, COMMITMENT_LABEL + the entry's own `at` text); nobody
without the secret can link it to the person, and erasure destroys the secret. `head.rights` moves with the entry, in
the same transaction: a disclosure that was decided before it is decided anew (DESIGN promise 2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import delete, insert, update

from broker import own_keys, requests
from broker.choices import history
from broker.choices.checking import check_choice, check_evidence
from broker.choices.model import ChoiceMade, Recorded
from broker.choices.rule import OPTED_IN, latest, merge
from broker.clock import rfc3339
from broker.compromise import locks
from broker.errors import invalid
from broker.ledger import entry
from broker.persons import checking, rows
from broker.store import tables
from broker.store.queries import PERSON
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from broker.choices.model import Line, Recording
    from broker.choices.rule import InForce
    from broker.desk import Change
    from broker.own_keys import ChoosingRow
    from broker.vault import PersonRow

CHOICE = tables.core(tables.Choice)


def record(change: Change, recording: Recording) -> Recorded:
    """Record a choice; the same request records once.

    Raises:
        SlussError: PERSON_UNKNOWN, PURPOSE_UNKNOWN, INVALID_REQUEST, REQUEST_ID_REUSED; CREDENTIAL_LOCKED for a yes.
    """
    vault, made = change.snapshot.vault, recording.choice
    said = (*request_parts(made), recording.person, recording.source, recording.evidence)
    body = rows.request_body(vault, "choice", *said)
    known = requests.find_one(change, recording.request_id, body)
    if known is not None:
        return Recorded(known.first_entry, known.reply.decode())
    checking.check_source(recording.source)
    check_evidence(recording.evidence)
    (choice,) = check(change, [made])
    row = rows.active(change.connection, recording.person)
    if choice.state == OPTED_IN:
        locks.require_unlocked(change, row.id)
    before = own_keys.choices(vault, row)
    # What is recorded last was chosen last, even within one microsecond. Its entry says that time too: a purpose that
    # comes into the catalogue behind it is younger, whatever the clock does.
    at = max(change.now_us, latest(before.get(choice.purpose, {})) + 1)
    change = replace(change, now_us=at)
    index = append(change, row, choice, recording.source, recording.evidence, at)
    put(change, row, with_choice(before, choice, at), [index])
    change.tx.bump_rights()
    policy = change.snapshot.policy(at)
    requests.remember_one(change, recording.request_id, requests.Known(body, index, 1, policy.encode()))
    return Recorded(index, policy)


def record_again(change: Change, person: int, chosen: Sequence[entry.Chosen]) -> list[entry.Chosen]:
    """Record choices that another ledger has of a person, each made when it was made; gives those that are new here.

    A purpose that the catalogue does not have is no hindrance: it may be put in force again, and the choice holds then.

    Raises:
        SlussError: PERSON_UNKNOWN; INTERNAL if the person's choices were not recorded by this broker.
    """
    row = rows.active(change.connection, person)
    made = own_keys.choices(change.snapshot.vault, row)
    known = {_content(line) for line in history.of_persons(change.connection, [person])[person]}
    fresh = [each for each in chosen if (each.purpose, each.state, tuple(each.channels), each.at) not in known]
    indexes = []
    for each in fresh:
        choice = ChoiceMade(each.purpose, each.state, tuple(each.channels), each.medium)
        indexes.append(append(change, row, choice, each.source, each.evidence, each.at))
        made = with_choice(made, choice, each.at)
    if indexes:
        put(change, row, made, indexes)
        change.tx.bump_rights()
    return fresh


def _content(line: Line) -> tuple[str, str, tuple[str, ...], int]:
    choice = line.choice
    return choice.purpose, choice.state, tuple(choice.channels), line.chosen_at


def request_parts(choice: ChoiceMade) -> tuple[object, ...]:
    """What of a choice makes a request the same request."""
    return choice.purpose, choice.state, list(choice.channels), choice.medium


def check(change: Change, choices: Sequence[ChoiceMade]) -> list[ChoiceMade]:
    """The choices as they are recorded: with their channels in order.

    Raises:
        SlussError: PURPOSE_UNKNOWN; INVALID_REQUEST for one that can't be recorded, and for two on one purpose.
    """
    checked = [replace(made, channels=check_choice(change.snapshot.catalogue, made)) for made in choices]
    if len({choice.purpose for choice in choices}) < len(choices):
        raise invalid("choices", "two on one purpose")
    return checked


def append(change: Change, row: PersonRow, choice: ChoiceMade, source: str, evidence: str, chosen_at: int) -> int:
    """Append a checked choice's entry and its line in the history; the entry's index.

    It is pinned to the policy version that was in force when the person chose, whenever it is recorded.
    """
    policy = change.snapshot.policy_if_any(chosen_at)
    secret = change.snapshot.vault.person_secret(row)
    body = entry.choice(
        change.now_us,
        commitment(secret, rfc3339(change.now_us)),
        entry.Chosen(choice.purpose, choice.state, choice.channels, choice.medium, source, evidence, chosen_at),
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
            channels=orjson.dumps(list(choice.channels)).decode(),
            medium=choice.medium,
            source=source,
            evidence=evidence,
            policy=policy,
            chosen_at=chosen_at,
            at=change.now_us,
        )
    )
    return index


def with_choice(before: InForce, choice: ChoiceMade, at: int) -> InForce:
    """The choices in force once this one has been made."""
    return {**before, choice.purpose: merge(before.get(choice.purpose, {}), choice.channels, choice.state, at)}


def put(change: Change, row: ChoosingRow, in_force: InForce, entries: Sequence[int]) -> None:
    """Store a person's choices in force with the number of all, under a MAC of the person's own.

    Args:
        change: the transaction that appended the entries.
        row: the person as it was before them, with choices that were proven.
        in_force: what stands after them.
        entries: the indexes of the new choices, ascending.
    """
    before = own_keys.claimed_mark(row.choices) or own_keys.NEVER
    mark = own_keys.Mark(before.number + len(entries), entries[-1])
    text = own_keys.choices_text(change.snapshot.vault.person_secret(row), in_force, mark)
    change.connection.execute(update(PERSON).where(PERSON.c.id == row.id).values(choices=text))


def forget(connection: Connection, person: int) -> None:
    """Delete the history of a person who is erased, and what stood by it; entries stay, and are linked to nobody."""
    connection.execute(delete(CHOICE).where(CHOICE.c.person == person))
    connection.execute(update(PERSON).where(PERSON.c.id == person).values(choices=own_keys.NO_CHOICES))
