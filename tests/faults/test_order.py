"""Promise 2, the order is the truth: nothing is disclosed behind the entry that took the right away."""

from __future__ import annotations

import uuid

import grpc
import pytest
from sluss.v1 import choice_pb2, contract_pb2, person_pb2

from broker.ledger import entry
from broker.operator.office import opened
from broker.operator.pins import revoke, selected
from tests.faults.siege import CALL_S, Siege, check_durable, index_of, raw_bulk, raw_unary, reasons
from tests.support.broker import grant

PEOPLE = 4
TRIES = 5
BUSY = {"LEDGER_UNAVAILABLE", "OVERLOADED"}


def scene(broker, purpose="billing", **extra):
    """A live contract with a few persons: (contract, persons, handles)."""
    contract, _ = broker.live_contract(grant(purpose, ("email=full",), **extra))
    people = [broker.register(email=f"{uuid.uuid4().hex}@example.com", address__country="SE") for _ in range(PEOPLE)]
    return contract, people, broker.handles(contract, *people)


def attackers(pair, contract, handles, **asked):
    """Eight clients, unary and bulk, spread over both processes."""
    works = []
    for place in pair:
        stub = place.disclosures()
        works += [raw_unary(stub, contract, handles, **asked) for _ in range(3)]
        works.append(raw_bulk(stub, contract, **asked))
    return works


def step(broker, verb, contract):
    """Suspend or terminate; gives the entry's index."""
    message = getattr(contract_pb2, f"{verb}ContractRequest")(contract_id=contract, reason="an attack")
    for _ in range(TRIES):
        try:
            return getattr(broker.contracts(), f"{verb}Contract")(message, timeout=CALL_S).entry_index
        except grpc.RpcError as error:
            # On a machine that others use too, the siege may leave no 2 s for it: safe to try again.
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
    raise AssertionError(f"{verb} found no turn")


def after(entries, index, contract):
    """Disclosures under the contract behind an entry."""
    return [
        number
        for number, found in enumerate(entries)
        if number > index and found["type"] == "disclosure" and found["terms"]["contract"] == contract
    ]


@pytest.mark.parametrize(("verb", "reason"), [("Suspend", "CONTRACT_SUSPENDED"), ("Terminate", "CONTRACT_TERMINATED")])
def test_nothing_is_disclosed_behind_the_end_of_a_contract(pair, verb, reason, campaign):
    broker, _ = pair
    contract, _, handles = scene(broker)
    with Siege(*attackers(pair, contract, handles)) as siege:
        siege.wait_for(200 if campaign else 30)
        index = step(broker, verb, contract)
        siege.wait_for(30, "failures")
    entries = check_durable(broker.home, siege.got)
    assert after(entries, index, contract) == []
    assert max(map(index_of, siege.got)) < index
    assert reasons(siege.failures) - BUSY == {reason}


def test_suspended_and_resumed_again_and_again_the_order_still_holds(pair, campaign):
    broker, _ = pair
    contract, _, handles = scene(broker)
    gaps = []
    with Siege(*attackers(pair, contract, handles)) as siege:
        for _ in range(20 if campaign else 4):
            siege.wait_for(5)
            first = step(broker, "Suspend", contract)
            siege.wait_for(5, "failures")
            gaps.append((first, step(broker, "Resume", contract)))
    entries = check_durable(broker.home, siege.got)
    disclosed = set(after(entries, 0, contract))
    for first, last in gaps:
        assert not disclosed & set(range(first, last + 1))
    assert {index_of(disclosure) for disclosure in siege.got} <= disclosed


def test_an_opt_out_holds_from_the_moment_it_is_recorded(pair):
    broker, _ = pair
    contract, people, handles = scene(broker, "offers")
    out, other = handles[0], handles[1]
    with Siege(*attackers(pair, contract, [out, other], purpose="offers")) as siege:
        siege.wait_for(30)
        made = choice_pb2.ChoiceMade(purpose="offers", state=choice_pb2.CHOICE_STATE_OPTED_OUT, medium="web")
        message = choice_pb2.RecordChoiceRequest(
            person_id=people[0], choice=made, source="preference-centre", request_id=str(uuid.uuid4())
        )
        index = broker.choices().RecordChoice(message, timeout=CALL_S).entry_index
        siege.wait_for(30)
    check_durable(broker.home, siege.got)
    slices = [(index_of(found), handle_in(data)) for found in siege.got for data in found.slices]
    assert any(number > index and handle == other for number, handle in slices)
    assert not [number for number, handle in slices if number > index and handle == out]


def test_a_person_who_leaves_the_population_is_not_disclosed_behind_it(pair):
    broker, _ = pair
    country = contract_pb2.Predicate(field="address.country", values=["SE"])
    population = contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=[country]))
    contract, people, handles = scene(broker, population=population)
    with Siege(*attackers(pair, contract, handles)) as siege:
        siege.wait_for(30)
        moved = person_pb2.UpdatePersonRequest(
            person_id=people[0],
            values=[person_pb2.FieldValue(field="address.country", value="NO")],
            source="registration",
            etag="1",
        )
        broker.persons().UpdatePerson(moved, timeout=CALL_S)
        siege.wait_for(30)
    # A correction has no entry of its own, but its time, taken under the same lock as an entry's.
    shown = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=people[0]), timeout=CALL_S)
    check_durable(broker.home, siege.got)
    slices = [(entry.parse(found.entry)["at"], handle_in(data)) for found in siege.got for data in found.slices]
    assert any(at > shown.updated_at and handle == handles[1] for at, handle in slices)
    assert not [at for at, handle in slices if at > shown.updated_at and handle == handles[0]]


def test_a_revoked_certificate_gets_nothing_more_not_even_in_an_open_stream(pair):
    broker, twin = pair
    name = f"subcontractor/r{uuid.uuid4().hex[:8]}"
    contract, _ = broker.live_contract(grant("billing", ("email=full",)), subcontractor=name)
    people = [broker.register(email=f"{uuid.uuid4().hex}@example.com") for _ in range(PEOPLE)]
    handles = broker.handles(contract, *people)
    stubs = [broker.disclosures(name), twin.disclosures(name)]
    works = [raw_unary(stub, contract, handles) for stub in stubs for _ in range(3)]
    works += [raw_bulk(stub, contract) for stub in stubs]
    with Siege(*works) as siege:
        siege.wait_for(30)
        with opened(broker.home) as office:
            ((_, index),) = revoke(office.ledger, selected(principal=name), "stolen")
        siege.wait_for(20, "failures")
    entries = check_durable(broker.home, siege.got)
    assert after(entries, index, contract) == []
    assert max(map(index_of, siege.got)) < index
    assert reasons(siege.failures) - BUSY == {"CERTIFICATE_REVOKED"}


def handle_in(data):
    """The handle in a slice (protos/SLICE.md)."""
    return bytes(data[1:17])
