"""Choices: in the ledger before the call returns, in force from that moment, once per request."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.choices.model import ChoiceMade
from broker.clock import micros
from broker.errors import Reason, SlussError
from broker.ledger.entry import base64url
from broker.own_keys import choices
from broker.vault import commitment
from tests.support.patience import patiently
from tests.unit.persons.world import POLICY, World


@pytest.fixture
def person(world):
    return world.register().person


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def test_a_choice_is_in_the_ledger_and_in_force_when_the_call_returns(world, person):
    before = world.rights()
    done = world.choose(person, "partners.email", "in", medium="phone", evidence="form 4711")
    entry = world.entries()[done.entry]
    (row,) = world.table("person")
    assert entry == {
        "at": entry["at"],
        "by": "internal/one",
        "channels": ["email"],
        "chosen_at": entry["at"],
        "evidence": "form 4711",
        "medium": "phone",
        "person": base64url(commitment(world.vault.person_secret(row), entry["at"])),
        "policy": POLICY,
        "purpose": "partners.email",
        "source": "preferences",
        "state": "in",
        "type": "choice",
        "v": 1,
    }
    assert done.policy == POLICY
    assert choices(world.vault, row) == {"partners.email": {"email": ("in", micros(entry["at"]))}}
    assert world.rights() == before + 1
    assert [(line.person, line.entry) for line in world.table("ledger_person")] == [(person, done.entry)]
    (line,) = world.table("choice")
    assert (line.person, line.entry, line.state, line.policy) == (person, done.entry, "in", POLICY)


def test_the_latest_choice_is_in_force_and_the_history_keeps_all(world, person):
    for state in ("in", "out", "in", "out"):
        world.choose(person, "offers", state, medium="mail" if state == "out" else "web")
    assert world.get(person).choices == [ChoiceMade("offers", "out", (), "mail")]
    assert [line.state for line in world.table("choice")] == ["in", "out", "in", "out"]
    assert world.get(person).etag == "1"


def test_the_persons_commitments_differ_from_choice_to_choice(world, person):
    for state in ("in", "out", "in"):
        world.choose(person, "offers", state)
    assert len({entry["person"] for entry in world.entries("choice")}) == 3


def test_the_same_request_records_once_even_after_a_restart(world, person):
    request = uuid.uuid4().bytes
    first = world.choose(person, "offers", "in", request_id=request)
    world.choose(person, "offers", "out")
    again = World(world.engine).choose(person, "offers", "in", request_id=request)
    assert again == first
    assert world.get(person).choices[0].state == "out"
    assert len(world.entries("choice")) == 2


def test_a_request_id_with_another_choice_is_refused(world, person):
    request = uuid.uuid4().bytes
    world.choose(person, "offers", "in", request_id=request)
    error = refused(lambda: world.choose(person, "offers", "out", request_id=request))
    assert error.reason is Reason.REQUEST_ID_REUSED


def test_many_choices_at_once_all_stand_and_the_last_entry_is_in_force(world, person):
    def choose(number):
        return patiently(world.choose, person, "offers", "in" if number % 2 else "out").entry

    with ThreadPoolExecutor(6) as pool:
        entries = list(pool.map(choose, range(18)))
    assert len(set(entries)) == 18
    last = world.entries()[max(entries)]
    assert world.get(person).choices[0].state == last["state"]


def test_a_choice_is_pinned_to_the_policy_version_in_force(world, person):
    world.publish("2027-02", 1_790_000_000_000_001)
    assert world.choose(person, "offers").policy == "2027-02"
    world.publish("2099-01", 4_000_000_000_000_000)
    assert world.choose(person, "offers").policy == "2027-02"


@pytest.mark.parametrize(
    ("purpose", "state", "medium", "source", "reason"),
    [
        ("billing.collection", "in", "web", "s", Reason.INVALID_REQUEST),
        ("legal.process", "in", "web", "s", Reason.INVALID_REQUEST),
        ("nothing", "in", "web", "s", Reason.PURPOSE_UNKNOWN),
        ("offers", "", "web", "s", Reason.INVALID_REQUEST),
        ("offers", "in", "canary@example.com", "s", Reason.INVALID_REQUEST),
        ("offers", "in", "web", "Canary Person", Reason.INVALID_REQUEST),
    ],
)
def test_what_is_no_choice_leaves_no_trace_of_one(lite, purpose, state, medium, source, reason):
    person = lite.register().person
    error = refused(lambda: lite.choose(person, purpose, state, medium=medium, source=source))
    assert error.reason is reason
    assert "anary" not in f"{error} {error.metadata}"
    assert lite.entries("choice") == lite.table("choice") == []


def test_nobody_chooses_for_an_unknown_or_erased_person(lite):
    person = lite.register().person
    lite.change_rights(lite.table_of("person").update().values(state="erased"))
    for of in (person, 7):
        assert refused(lambda of=of: lite.choose(of, "offers")).reason is Reason.PERSON_UNKNOWN
