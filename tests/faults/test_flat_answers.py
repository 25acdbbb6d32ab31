"""Promise 10, flat answers: why a person is not disclosed can't be read off the reply, not from a single byte."""

from __future__ import annotations

import os
import sqlite3
import uuid
from types import SimpleNamespace

import grpc
import pytest
from sluss.v1 import choice_pb2, contract_pb2, disclosure_pb2

from broker.ids import parse_person
from tests.faults.siege import CALL_S, bulk_request, ledger_of, request
from tests.support.broker import grant

WHYS = ("unknown", "forged", "of_another_contract", "opted_out", "outside", "inactive")


@pytest.fixture(scope="module")
def scene(shared_broker):
    """A handle for each reason not to be disclosed, and one that is."""
    broker = shared_broker
    country = contract_pb2.Predicate(field="address.country", values=["SE"])
    population = contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=[country]))
    contract, _ = broker.live_contract(grant("offers", ("email=full",), population=population))
    other, _ = broker.live_contract(grant("offers", ("email=full",)))
    people = [
        broker.register(email=f"{uuid.uuid4().hex}@example.com", address__country=where)
        for where in ("SE", "SE", "DE", "SE")
    ]
    available, opted_out, outside, inactive = broker.handles(contract, *people)
    made = choice_pb2.ChoiceMade(purpose="offers", state=choice_pb2.CHOICE_STATE_OPTED_OUT, medium="web")
    message = choice_pb2.RecordChoiceRequest(
        person_id=people[1], choice=made, source="web", request_id=str(uuid.uuid4())
    )
    broker.choices().RecordChoice(message, timeout=CALL_S)
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as database:
        database.execute("UPDATE person SET state = 'erased' WHERE id = ?", (parse_person(people[3]),))
        database.execute("UPDATE head SET rights = rights + 1")
    database.close()
    handles = {
        "unknown": os.urandom(16),
        "forged": bytes(16),
        "of_another_contract": broker.handles(other, people[0])[0],
        "opted_out": opted_out,
        "outside": outside,
        "inactive": inactive,
    }
    return SimpleNamespace(broker=broker, contract=contract, available=available, handles=handles)


def anonymous(data, handle):
    """Bytes with the handle blotted out."""
    return data.replace(handle, b"#" * 16)


def one_answer(answers):
    """All answers are one and the same."""
    assert len(answers) == len(WHYS)
    assert len(set(answers.values())) == 1, answers
    return next(iter(answers.values()))


def test_alone_everybody_who_is_not_disclosed_gets_the_same_bytes(scene):
    stub, answers = scene.broker.disclosures(), {}
    for why, handle in scene.handles.items():
        reply, call = stub.Disclose.with_call(request(scene.contract, [handle], "offers"), timeout=CALL_S)
        metadata = sorted((key, len(value)) for key, value in (*call.initial_metadata(), *call.trailing_metadata()))
        answers[why] = (call.code(), anonymous(reply.SerializeToString(), handle), tuple(metadata))
    code, data, _ = one_answer(answers)
    assert code is grpc.StatusCode.OK
    status = disclosure_pb2.PersonStatus(handle=b"#" * 16, reason="PERSON_UNAVAILABLE")
    assert disclosure_pb2.DiscloseResponse.FromString(data) == disclosure_pb2.DiscloseResponse(unavailable=[status])


def test_beside_an_available_person_the_answers_differ_in_nothing_but_randomness(scene):
    stub, answers = scene.broker.disclosures(), {}
    for why, handle in scene.handles.items():
        reply = stub.Disclose(request(scene.contract, [handle, scene.available], "offers"), timeout=CALL_S)
        (found,) = reply.disclosures
        sizes = len(found.entry), len(found.epoch), tuple(map(len, found.slices))
        answers[why] = (anonymous(reply.unavailable[0].SerializeToString(), handle), len(reply.unavailable), sizes)
    one_answer(answers)


def test_in_a_stream_the_messages_are_the_same_too(scene):
    stub, answers = scene.broker.disclosures(), {}
    for why, handle in scene.handles.items():
        message = bulk_request(scene.contract, "offers", everyone=None)
        message.handles.handles.append(handle)
        (found,) = stub.DiscloseBulk(message, timeout=CALL_S)
        sizes = len(found.cursor), found.HasField("disclosure"), found.done, found.total
        answers[why] = (anonymous(found.unavailable[0].SerializeToString(), handle), sizes)
    one_answer(answers)


def test_a_dry_run_tells_nothing_about_a_person(scene):
    stub, answers = scene.broker.disclosures(), {}
    for why, handle in scene.handles.items():
        reply = stub.Disclose(request(scene.contract, [handle], "offers", dry_run=True), timeout=CALL_S)
        answers[why] = reply.SerializeToString(deterministic=True)
    available = stub.Disclose(request(scene.contract, [scene.available], "offers", dry_run=True), timeout=CALL_S)
    assert one_answer(answers) == available.SerializeToString(deterministic=True)


def test_the_ledger_says_the_same_of_each_as_well(scene):
    before = len(ledger_of(scene.broker.home))
    stub = scene.broker.disclosures()
    for handle in scene.handles.values():
        stub.Disclose(request(scene.contract, [handle], "offers"), timeout=CALL_S)
    entries = ledger_of(scene.broker.home)[before:]
    said = {data.partition(b",")[2] for data in entries if b'"type":"refusal"' in data}
    assert len(said) == 1
    assert not any(handle.hex().encode() in data for data in entries for handle in scene.handles.values())


def test_someone_elses_contract_and_one_that_is_nobodys_are_the_same_refusal(scene):
    other = f"subcontractor/x{uuid.uuid4().hex[:6]}"
    stub, said = scene.broker.disclosures(other), set()
    for contract in (scene.contract, "C-2026-9999"):
        for call in (
            lambda c=contract: stub.Disclose(request(c, [scene.available], "offers"), timeout=CALL_S),
            lambda c=contract: list(stub.DiscloseBulk(bulk_request(c, "offers"), timeout=CALL_S)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            metadata = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
            blotted = metadata.replace(contract.encode(), b"#" * 11)
            said.add((caught.value.code(), caught.value.details(), blotted))
    assert len(said) == 1
