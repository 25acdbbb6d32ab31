"""The whole way: process, mutual TLS, SDK, ledger."""

from __future__ import annotations

import pytest
from sluss.v1 import contract_pb2
from sluss_client import errors

from tests.support.broker import grant


def test_a_subcontractor_gets_what_its_contract_grants_and_opens_it(shared_broker):
    contract, client = shared_broker.live_contract()
    person = shared_broker.register(email="Asa@Example.com", name__given="Åsa")
    (handle,) = shared_broker.handles(contract, person)
    (result,) = client.disclose(contract, "billing", ["email", "name.given"], [handle])
    assert dict(result.values) == {"email": "Asa@example.com", "name.given": "Åsa"}


def test_a_purpose_outside_the_contract_is_refused_and_logged(shared_broker):
    contract, client = shared_broker.live_contract()
    with pytest.raises(errors.Refused) as caught:
        client.disclose(contract, "offers", ["email"], [bytes(16)])
    assert caught.value.reason == "PURPOSE_OUT_OF_SCOPE"
    assert caught.value.metadata["contract"] == contract


def test_bulk_discloses_everyone_once(shared_broker):
    contract, client = shared_broker.live_contract(grant("billing", ("email=full",)))
    for number in range(20):
        shared_broker.register(email=f"bulk{number}@example.com")
    emails = [
        person.values["email"]
        for chunk in client.bulk(contract, "billing", ["email"], chunk_size=7)
        for person in chunk.persons
        if "email" in person.values
    ]
    assert len(emails) == len(set(emails))
    assert {f"bulk{number}@example.com" for number in range(20)} <= set(emails)


def test_a_grant_for_a_part_of_the_population_tells_nothing_of_the_others(shared_broker):
    """Neither how many there are, nor in which pages nobody of the part was."""
    chosen = shared_broker.register(email="chosen@example.com")
    for number in range(12):
        shared_broker.register(email=f"left-out{number}@example.com")
    part = contract_pb2.Population(persons=contract_pb2.PersonList(person_ids=[chosen]))
    contract, client = shared_broker.live_contract(grant("billing", ("email=full",), population=part))
    chunks = list(client.bulk(contract, "billing", ["email"], chunk_size=3))
    assert [[person.values["email"] for person in chunk.persons] for chunk in chunks] == [["chosen@example.com"]]
    assert [(chunk.done, chunk.total, chunk.unavailable) for chunk in chunks] == [(1, 0, [])]


def test_a_person_who_lacks_a_field_is_disclosed_without_it_and_the_terms_name_all(shared_broker):
    contract, client = shared_broker.live_contract()
    whole = shared_broker.register(email="whole@example.com", name__given="Whole")
    lacking = shared_broker.register(email="lacking@example.com")
    empty = shared_broker.register(language="sv")
    handles = shared_broker.handles(contract, whole, lacking, empty)
    fields = ["name.given", "email"]
    for results in (
        client.disclose(contract, "billing", fields, handles),
        client.disclose(contract, "billing", fields, handles[1:]),
        [one for chunk in client.bulk(contract, "billing", fields, handles, chunk_size=1) for one in chunk.persons],
    ):
        had = {frozenset(result.values) for result in results}
        assert {frozenset({"email"}), frozenset()} <= had
        assert all([name for name, _ in result.terms.fields] == sorted(fields) for result in results)
