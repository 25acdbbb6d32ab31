"""Obligations over real brokers: the stream, the signatures, the SDK's callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from datetime import timedelta

import grpc
import pytest
from sluss.v1 import obligation_pb2 as pb
from sluss.v1 import obligation_pb2_grpc, person_pb2
from sluss_client import AsyncSubcontractor, NeedTime
from sluss_client.errors import NotFound, TransportError, Unauthenticated
from sluss_client.obligations import attestation

from broker.ledger.entry import parse
from broker.obligations.statement import is_signed
from broker.operator import pins
from broker.operator.office import opened
from broker.sealing import handle_text
from tests.support.requests import RequestDesk


def rectify(broker, person, **values):
    """Correct values that were wrong."""
    persons = broker.persons()
    now = persons.GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=10)
    request = person_pb2.UpdatePersonRequest(
        person_id=person,
        values=[person_pb2.FieldValue(field=name.replace("__", "."), value=value) for name, value in values.items()],
        source="correction",
        etag=now.etag,
        rectification=True,
    )
    persons.UpdatePerson(request, timeout=10)


def service(broker, name):
    return obligation_pb2_grpc.ObligationServiceStub(broker.channel(name))


def received(broker, client, contract, **values):
    """A registered person whose e-mail address the recipient has; gives id and handle."""
    values.setdefault("email", f"{uuid.uuid4().hex[:8]}@example.com")
    person = broker.register(**values, name__given="Åsa")
    (handle,) = broker.handles(contract, person)
    client.disclose(contract, "billing", ["email"], [handle])
    return person, handle


def of_kind(client, kind):
    return [each for each in client.obligations() if each.kind == kind]


def test_a_rectification_is_told_fetched_and_attested(shared_broker):
    contract, client = shared_broker.live_contract()
    person, _ = received(shared_broker, client, contract)
    rectify(shared_broker, person, email="right@example.com")
    (owed,) = of_kind(client, "correct")
    assert owed.instruction == "fetch_and_replace"
    assert owed.fields == ("email",)
    seen = []

    def correct(obligation):
        (found,) = client.disclose(obligation.contract, "billing", list(obligation.fields), [obligation.handle])
        seen.append(found.values["email"])

    assert client.fulfil(on_correct=correct, once=True) == 1
    assert seen == ["right@example.com"]
    after = client.obligation(owed.id)
    assert (after.state, after.message.outcome, after.handle) == ("answered", "corrected", "")
    assert client.fulfil(on_correct=correct, once=True) == 0


def test_the_stream_tells_of_what_is_new_within_a_second_and_resumes(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/stream")
    person, _ = received(shared_broker, client, contract)
    stream = client.watch_obligations(timeout_s=20)
    kinds = []
    for found, token in stream:
        if found is None:
            break
        kinds.append(found.kind)
        assert token
    assert kinds == ["delete_by"]
    threading.Timer(0.2, lambda: rectify(shared_broker, person, email="new@example.com")).start()
    began = time.monotonic()
    found, _ = next(stream)
    assert found.kind == "correct"
    assert time.monotonic() - began < 5
    stream.close()
    again = [each for each, _ in client.watch_obligations(resume=token, timeout_s=0.5) if each is not None]
    assert [each.id for each in again] == [found.id]


def test_the_stream_ends_within_a_second_when_the_certificate_is_revoked(broker):
    broker.live_contract()
    client = broker.subcontractor()
    stream = client.watch_obligations(timeout_s=20)
    assert next(stream)[0] is None
    with opened(broker.home) as office:
        pins.revoke(office.ledger, pins.selected(principal="subcontractor/acme"), "stolen")
    began = time.monotonic()
    with pytest.raises(Unauthenticated, match="CERTIFICATE_REVOKED"):
        next(stream)
    assert time.monotonic() - began < 5


def test_a_stopping_broker_lets_its_streams_go(broker):
    broker.live_contract()
    stream = broker.subcontractor().watch_obligations(timeout_s=30)
    assert next(stream)[0] is None
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 8
    assert list(stream) == []


def test_others_obligations_are_as_unknown_as_none(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/one")
    _, other = shared_broker.live_contract(subcontractor="subcontractor/two")
    person, _ = received(shared_broker, client, contract)
    rectify(shared_broker, person, email="right@example.com")
    (owed,) = of_kind(client, "correct")
    assert list(other.obligations()) == []
    told = []
    for name in (owed.id, "O-2026-9999"):
        with pytest.raises(NotFound) as refused:
            other.obligation(name)
        told.append((refused.value.reason, refused.value.detail))
    assert told[0] == told[1] == ("OBLIGATION_UNKNOWN", "no such obligation")
    with pytest.raises(NotFound):
        other.attest(owed)
    assert client.obligation(owed.id).state == "open"


def test_a_callback_that_fails_attests_nothing_and_one_that_needs_time_asks_for_it(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/late")
    person, _ = received(shared_broker, client, contract)
    rectify(shared_broker, person, email="right@example.com")
    (owed,) = of_kind(client, "correct")

    def fail(_obligation):
        raise OSError("disk full")

    def later(obligation):
        raise NeedTime(obligation.due + timedelta(days=3), "the archive is being moved")

    assert client.fulfil(on_correct=fail, once=True) == 0
    assert client.obligation(owed.id).state == "acknowledged"
    assert client.fulfil(on_correct=later, once=True) == 0
    asked = client.obligation(owed.id)
    assert asked.message.delay_asked == (owed.due + timedelta(days=3)).isoformat()
    privacy = service(shared_broker, "privacy/team")
    answer = pb.AnswerDelayRequest(obligation_id=owed.id, grant=True, until=asked.message.delay_asked)
    privacy.AnswerDelay(answer, timeout=10)
    assert client.obligation(owed.id).due == owed.due + timedelta(days=3)


def test_an_erasure_is_fulfilled_by_handle_and_attested_once(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/erasing")
    person, handle = received(shared_broker, client, contract)
    stays, _ = received(shared_broker, client, contract)
    desk = RequestDesk(shared_broker)
    request = desk.step("Erase", desk.proven("erasure", person))
    (owed,) = of_kind(client, "erase")
    assert (owed.instruction, owed.handle, owed.fields) == ("erase_person", handle_text(handle), ("email",))
    seen = []

    def fail(_obligation):
        raise OSError("disk full")

    assert client.fulfil(on_erase=fail, once=True) == 0
    assert desk.get(request.id).request.answered == 0
    assert client.fulfil(on_erase=seen.append, once=True) == 1
    assert [each.id for each in seen] == [owed.id]
    after = client.obligation(owed.id)
    assert (after.state, after.message.outcome, after.handle) == ("answered", "deleted", "")
    done = desk.get(request.id).request
    assert (done.answered, done.recipients) == (1, 1)
    assert client.fulfil(on_erase=seen.append, once=True) == 0
    # Nobody else is concerned.
    (found,) = client.disclose(contract, "billing", ["email"], shared_broker.handles(contract, stays))
    assert found.available


def test_what_is_to_be_deleted_by_a_day_is_called_when_it_has_come_and_owed_anew_for_what_came_behind(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/dated")
    received(shared_broker, client, contract)
    seen = []
    assert client.fulfil(on_delete=seen.append, once=True) == 0
    assert client.fulfil(on_delete=seen.append, once=True, days_ahead=28) == 0
    assert client.fulfil(on_delete=seen.append, once=True, days_ahead=30) == 1
    (first,) = seen
    assert (first.kind, first.instruction, first.contract, first.handle) == (
        "delete_by",
        "delete_by_date",
        contract,
        "",
    )
    assert client.obligation(first.id).state == "answered"
    assert client.fulfil(on_delete=seen.append, once=True, days_ahead=30) == 0
    received(shared_broker, client, contract)
    assert client.fulfil(on_delete=seen.append, once=True, days_ahead=30) == 1
    assert seen[1].id != first.id
    assert seen[1].first_entry > first.last_entry


def test_the_watching_loop_does_what_comes_later_and_stops(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/loop")
    person, _ = received(shared_broker, client, contract)
    done, stop = threading.Event(), threading.Event()

    def correct(obligation):
        client.disclose(obligation.contract, "billing", list(obligation.fields), [obligation.handle])
        done.set()

    counts = []
    loop = threading.Thread(target=lambda: counts.append(client.fulfil(on_correct=correct, stop=stop)))
    loop.start()
    time.sleep(0.3)
    rectify(shared_broker, person, email="right@example.com")
    assert done.wait(10)
    stop.set()
    loop.join(10)
    assert counts == [1]


def test_the_same_in_asyncio(shared_broker):
    contract, client = shared_broker.live_contract(subcontractor="subcontractor/aio")
    person, _ = received(shared_broker, client, contract)
    rectify(shared_broker, person, email="right@example.com")

    async def run():
        async with AsyncSubcontractor.from_profile(shared_broker.profile("subcontractor/aio")) as sluss:

            async def correct(obligation):
                await sluss.disclose(obligation.contract, "billing", list(obligation.fields), [obligation.handle])

            return await sluss.fulfil(on_correct=correct, once=True)

    assert asyncio.run(run()) == 1
    assert of_kind(client, "correct") == []


def test_an_answer_survives_a_kill_or_was_never_given(broker):
    contract, client = broker.live_contract()
    person, _ = received(broker, client, contract)
    rectify(broker, person, email="right@example.com")
    (owed,) = of_kind(client, "correct")
    killer = threading.Timer(0.02, broker.kill)
    killer.start()
    with contextlib.suppress(TransportError):
        stub = obligation_pb2_grpc.ObligationServiceStub(broker.channel("subcontractor/acme"))
        request = attestation(owed, "deleted", "", client.profile.identity())
        with contextlib.suppress(grpc.RpcError):
            while True:
                stub.AttestObligation(request, timeout=5)
    killer.join()
    broker.start()
    state = broker.subcontractor().obligation(owed.id)
    assert state.state in {"open", "answered"}
    again = broker.subcontractor().attest(owed, "deleted")
    assert again.state == "answered"
    with opened(broker.home) as office:
        (found,) = [
            said for row in office.ledger.entries(0, 10_000, type="obligation")
            if (said := parse(row.entry))["event"] == "attested"
        ]  # fmt: skip
    assert is_signed(found)
