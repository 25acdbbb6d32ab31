"""Calls without a request id, made again after a lost reply: nothing happens twice, and the answer says what is so."""

from __future__ import annotations

import uuid

import pytest

from broker import agreements
from broker.clock import DAY, SECOND, system_clock
from broker.complaints import handling
from broker.complaints.handling import NewComplaint
from broker.contracts import Step
from broker.errors import Reason, SlussError
from broker.person_requests import tracking
from broker.person_requests.model import Kind
from broker.person_requests.tracking import Opening
from broker.persons import lookup, update
from broker.persons.model import Correction
from broker.sealing import SUITE_X25519, RecipientPrivateKey
from tests.support.world import World


class Clock:
    """The system's, set forward by a test."""

    def __init__(self):
        self.ahead_us = 0

    def __call__(self):
        return system_clock() + self.ahead_us


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def world(store_engine, vault, clock):
    return World(store_engine, vault, clock)


@pytest.fixture
def operator(world):
    return world.actor("operator/admin")


@pytest.fixture
def acme(world):
    return world.actor("subcontractor/acme")


def propose(world, operator, terms):
    asked = uuid.uuid4().bytes
    return world.desk.change(operator.caller(), lambda c: world.agreed.propose(c, terms, asked)).row.id


def accept(world, actor, contract, version=1):
    """As a client does: each try is signed anew."""
    view = world.desk.read(actor.caller(), lambda v: agreements.show_to(v, contract))
    signature = actor.sign(agreements.SIGNATURE_LABEL + view.versions[version - 1].terms)
    certificate = actor.evidence.certificate_der
    return world.desk.change(
        actor.caller(), lambda c: world.agreed.accept(c, contract, version, signature, certificate)
    )


def refused(call, *args):
    with pytest.raises(SlussError) as caught:
        call(*args)
    return caught.value


def test_an_acceptance_made_again_gives_the_same_entry_and_changes_nothing(world, operator, acme):
    contract = propose(world, operator, world.terms(acme.name))
    first, index = accept(world, acme, contract)
    entries = world.entries()
    again, same = accept(world, acme, contract)
    assert same == index
    assert again == first
    assert world.entries() == entries
    assert entries[index]["event"] == "accepted"


def test_an_acceptance_made_again_after_a_suspension_shows_it_and_does_not_end_it(world, operator, acme):
    contract = propose(world, operator, world.terms(acme.name))
    _, index = accept(world, acme, contract)
    for step in (Step.SUSPEND, Step.TERMINATE):
        world.step(operator, contract, step)
        shown, same = accept(world, acme, contract)
        assert (shown.row.state, same) == ({Step.SUSPEND: "suspended", Step.TERMINATE: "terminated"}[step], index)


def test_an_acceptance_made_again_does_not_accept_what_was_amended_since(world, operator, acme):
    contract = propose(world, operator, world.terms(acme.name))
    shown, index = accept(world, acme, contract)
    terms, etag, asked = world.terms(acme.name, reference="archive 4712"), str(shown.row.etag), uuid.uuid4().bytes
    world.desk.change(operator.caller(), lambda c: world.agreed.amend(c, contract, terms, etag, asked))
    again, same = accept(world, acme, contract)
    assert (again.row.version, again.row.proposed, same) == (1, 2, index)


def test_an_acceptance_made_again_needs_the_signature_again(world, operator, acme):
    contract = propose(world, operator, world.terms(acme.name))
    accept(world, acme, contract)
    other = world.actor(acme.name)
    view = world.desk.read(acme.caller(), lambda v: agreements.show_to(v, contract))
    signature = other.sign(agreements.SIGNATURE_LABEL + view.versions[0].terms)

    def forged(change):
        return world.agreed.accept(change, contract, 1, signature, acme.evidence.certificate_der)

    assert refused(world.desk.change, acme.caller(), forged).reason is Reason.INVALID_SIGNATURE


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([Step.SUSPEND], "suspended"),
        ([Step.SUSPEND, Step.RESUME], "active"),
        ([Step.TERMINATE], "terminated"),
    ],
)
def test_a_step_taken_again_is_refused_with_the_state_that_it_was_taken_for(world, operator, acme, steps, state):
    contract = world.contract(acme, operator)
    for step in steps:
        world.step(operator, contract, step)
    events = len(world.entries(type="contract"))
    error = refused(world.step, operator, contract, steps[-1])
    assert error.reason is Reason.CONTRACT_WRONG_STATE
    assert error.metadata == {"contract": contract, "state": state, "step": steps[-1]}
    assert error.detail == f"the contract is {state} already"
    assert len(world.entries(type="contract")) == events


def test_a_key_registered_again_is_the_same_entry(world, operator, acme):
    index = world.register_key(acme)
    entries = world.entries()
    assert world.register_key(acme) == index
    assert world.entries() == entries


def test_the_limit_of_keys_is_a_sliding_day_in_every_store(world, acme, clock):
    def rotate():
        world.register_key(acme, RecipientPrivateKey.generate(SUITE_X25519))

    for _ in range(agreements.MAX_KEYS):
        rotate()
        clock.ahead_us += 600 * SECOND
    error = refused(rotate)
    assert error.reason is Reason.RATE_EXCEEDED
    wait_s = int(error.metadata["retry_after_s"])
    assert 0 < wait_s <= 86_400 - agreements.MAX_KEYS * 600
    clock.ahead_us += (wait_s - 5) * SECOND
    assert refused(rotate).reason is Reason.RATE_EXCEEDED
    clock.ahead_us += 5 * SECOND
    rotate()
    assert refused(rotate).reason is Reason.RATE_EXCEEDED


def test_a_correction_made_again_is_stale_and_the_record_holds_it_once(world):
    internal = world.actor("internal/web")
    person = world.person(internal)
    asked = Correction(person, [("title", "Dr")], [], "web", "1")
    first = world.desk.change(internal.caller(), lambda c: update.update(c, asked))
    error = refused(world.desk.change, internal.caller(), lambda c: update.update(c, asked))
    assert error.reason is Reason.ETAG_STALE
    shown = world.desk.read(internal.caller(), lambda v: lookup.get(v, person, include_values=True))
    assert shown.etag == first
    assert {field.name: field.text for field in shown.fields}["title"] == "Dr"


def test_a_request_or_complaint_without_its_day_of_receipt_is_opened_once_over_midnight(world, clock):
    team, person = world.actor("privacy/team"), world.person(world.actor("internal/registration"))
    opening = Opening(Kind.ACCESS, "email", None, person, "everything", "", "sv")
    complaint = NewComplaint(person, "", "email", "other", "a letter", ())
    asked, complained = uuid.uuid4().bytes, uuid.uuid4().bytes

    def both():
        held, _ = world.desk.change(team.caller(), lambda c: tracking.open_request(c, opening, asked))
        file = world.desk.change(team.caller(), lambda c: handling.open_complaint(c, complaint, complained))
        return held.id, held.facts.received, file.id, handling.received_on(file)

    clock.ahead_us = DAY - system_clock() % DAY - 120 * SECOND
    first = both()
    clock.ahead_us += 240 * SECOND
    assert both() == first
