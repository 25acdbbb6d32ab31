"""What a contract allows, told to those who work with it: it promises exactly what a disclosure would give."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker import scope
from broker.clock import micros
from broker.contracts import ContractFacts, FieldGrant, State, Volume, Window, decide
from broker.errors import SlussError
from broker.identity import KINDS
from tests.support.world import World

NOON = micros("2026-06-15T12:00:00.000000Z")


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        self.now += 1
        return self.now


@pytest.fixture
def world(sqlite_engine, vault):
    return World(sqlite_engine, vault, Clock())


@pytest.fixture
def acme(world):
    return world.actor("subcontractor/acme")


@pytest.fixture
def operator(world):
    return world.actor("operator/admin")


def facts_of(contract, terms, state=State.ACTIVE):
    return ContractFacts(contract, terms.subcontractor, state, 1, terms)


def described(world, actor, contract, terms, state=State.ACTIVE):
    return world.desk.read(
        actor.caller(allowed=KINDS), lambda view: scope.describe(view, facts_of(contract, terms, state), terms)
    )


def by_code(found):
    return {purpose.purpose.code: purpose for purpose in found.purposes}


def test_a_scope_lists_the_granted_purposes_and_their_descendants_in_order(world, acme, operator):
    terms = world.terms(acme.name, world.grant("offers", ("email=full",)), world.grant("support", ("email=domain",)))
    found = described(world, acme, world.contract(acme, operator, terms), terms)
    codes = [purpose.purpose.code for purpose in found.purposes]
    assert codes == sorted(codes)
    assert set(codes) == {
        "offers", "offers.draws", "offers.email", "offers.news", "offers.phone", "offers.post",
        "support", "support.complaint", "support.enquiry",
    }  # fmt: skip
    assert by_code(found)["offers.email"].choice_rule == "unless_opted_out"
    assert by_code(found)["support"].choice_rule == "none"
    assert by_code(found)["support.enquiry"].fields == (FieldGrant("email", "domain"),)


def test_a_purpose_shows_the_most_specific_grant_that_covers_it(world, acme, operator):
    wide, narrow = world.grant("billing"), world.grant("billing.collection", ("phone=last4",))
    terms = world.terms(acme.name, wide, narrow)
    found = by_code(described(world, acme, world.contract(acme, operator, terms), terms))
    assert found["billing.collection"].grant == narrow
    assert found["billing.payment"].grant == wide


def test_a_scope_promises_exactly_what_a_disclosure_would_be_allowed(world, acme, operator):
    terms = world.terms(
        acme.name,
        world.grant("billing", ("email=full", "payment.iban=last4", "invoice.amount=rounded")),
        world.grant("billing.collection", ("phone=full", "payment.iban=presence")),
        world.grant("partners.email", ("email=hashed",)),
    )
    contract = world.contract(acme, operator, terms)
    # Terms that check() would refuse today may be in force since before a catalogue changed.
    odd = replace(terms, grants=(*terms.grants, world.grant("support", ("payment.iban=last4", "email=full"))))
    for asked in (terms, odd, replace(odd, grants=(*odd.grants, world.grant("legal"), world.grant("anonymous")))):
        shown = by_code(described(world, acme, contract, asked))
        catalogue = world.desk.read(acme.caller(), lambda view: view.snapshot.catalogue)
        promised = {(code, granted) for code, purpose in shown.items() for granted in purpose.fields}
        assert promised == set(decided(catalogue, facts_of(contract, asked)))


def decided(catalogue, facts):
    """Every purpose and field with its transform that `decide` lets through."""
    for code in catalogue.purposes:
        for name in catalogue.fields:
            try:
                decision = decide(facts, catalogue, facts.subcontractor, code, (name,), NOON)
            except SlussError:
                continue
            yield code, decision.fields[0]


def test_the_volumes_left_go_down_with_each_disclosure_and_come_back_with_the_next_window(world, acme, operator):
    volumes = (Volume(Window.HOUR, 2), Volume(Window.DAY, 5), Volume(Window.MONTH, 9))
    terms = world.terms(acme.name, world.grant("billing", ("email=full",), volumes=volumes))
    contract = world.contract(acme, operator, terms)
    person = world.person(world.actor("internal/registration"))

    def left():
        shown = by_code(described(world, acme, contract, terms))
        assert shown["billing"].volumes == shown["billing.refund"].volumes, "a grant's purposes share its volumes"
        return [(item.left, item.window_ends[:19]) for item in shown["billing"].volumes]

    ends = ["2026-06-15T13:00:00", "2026-06-16T00:00:00", "2026-07-01T00:00:00"]
    assert left() == list(zip([2, 5, 9], ends, strict=True))
    handles = [world.handle(contract, person)]
    world.disclose(acme, contract, handles, purpose="billing.refund")
    assert left() == list(zip([1, 4, 8], ends, strict=True))
    world.disclose(acme, contract, handles)
    assert left() == list(zip([0, 3, 7], ends, strict=True))
    with pytest.raises(SlussError, match="VOLUME_EXCEEDED"):
        world.disclose(acme, contract, handles)
    assert left() == list(zip([0, 3, 7], ends, strict=True))
    world.clock.now = micros("2026-06-15T13:00:00.000000Z")
    assert left() == list(zip([2, 3, 7], ["2026-06-15T14:00:00", *ends[1:]], strict=True))


def test_a_volume_that_an_amendment_lowered_below_its_use_has_nothing_left(world, acme, operator):
    terms = world.terms(acme.name, world.grant("billing", ("email=full",)))
    contract = world.contract(acme, operator, terms)
    registration = world.actor("internal/registration")
    handles = [world.handle(contract, world.person(registration)) for _ in range(3)]
    world.disclose(acme, contract, handles)
    lower = world.terms(acme.name, world.grant("billing", ("email=full",), volumes=(Volume(Window.DAY, 2),)))
    (volume,) = by_code(described(world, acme, contract, lower))["billing"].volumes
    assert volume.left == 0


STATES = [
    (State.ACTIVE, {}, ""),
    (State.PROPOSED, {}, "CONTRACT_NOT_ACCEPTED"),
    (State.SUSPENDED, {}, "CONTRACT_SUSPENDED"),
    (State.TERMINATED, {}, "CONTRACT_TERMINATED"),
    (State.ACTIVE, {"valid_until": date(2026, 6, 14)}, "CONTRACT_EXPIRED"),
    (State.ACTIVE, {"valid_until": date(2026, 6, 15)}, ""),
    (State.ACTIVE, {"valid_from": date(2026, 6, 16)}, "CONTRACT_NOT_YET_VALID"),
]


@pytest.mark.parametrize(("state", "dates", "reason"), STATES)
def test_a_contract_that_is_not_live_says_why_and_still_shows_its_terms(world, acme, state, dates, reason):
    terms = world.terms(acme.name, **dates)
    found = described(world, acme, "C-2026-0001", terms, state)
    assert found.not_live_reason == reason
    assert "billing" in by_code(found)


def test_the_key_is_the_one_in_use_or_none(world, acme, operator):
    terms = world.terms(acme.name)
    assert described(world, acme, "C-2026-0001", terms).key_id == b""
    contract = world.contract(acme, operator, terms)
    assert described(world, acme, contract, terms).key_id == world.private_key.public().id
    assert described(world, operator, contract, terms).key_id == world.private_key.public().id


def test_a_scope_holds_nothing_of_any_person(world, acme, operator):
    contract = world.contract(acme, operator)
    registration = world.actor("internal/registration")
    before = described(world, acme, contract, world.terms(acme.name))
    for _ in range(3):
        world.person(registration)
    assert described(world, acme, contract, world.terms(acme.name)) == before
