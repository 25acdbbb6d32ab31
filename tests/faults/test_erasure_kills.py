"""A kill in the middle of erasures: each person is whole or erased, and no request says done before it is done."""

from __future__ import annotations

import random
import threading
import time
import uuid

import grpc
import pytest
from sluss.v1 import person_pb2
from sluss.v1 import person_request_pb2 as pb
from sqlalchemy import text

from broker.companions import ROOMS
from broker.ids import parse_person
from broker.ledger.verify import verify_store
from broker.operator.office import opened
from broker.store.engine import reading
from tests.faults.siege import CALL_S, info, request
from tests.support.broker import BrokerProcess, grant
from tests.support.erasure import named_by
from tests.support.requests import RequestDesk

ROUNDS, WHOLE = 1, 60
PEOPLE = 6
PATIENCE_S = 30
DONE = pb.PERSON_REQUEST_STATE_DONE


@pytest.fixture(params=["sqlite", "postgres"])
def broker(request, tmp_path):
    environment = {"SLUSS_MAINTAIN_S": "1"}
    if request.param == "sqlite":
        with BrokerProcess(tmp_path / "home", environment=environment) as started:
            yield started
        return
    from tests.support import postgres  # noqa: PLC0415 - needs its wheel only here

    with (
        postgres.empty_database(request.getfixturevalue("postgres_server")) as url,
        BrokerProcess(tmp_path / "home", database=url, environment=environment) as started,
    ):
        yield started


def answered(call):
    """Whether a call was answered; a broker that is killed answers no more."""
    try:
        call()
    except grpc.RpcError as error:
        if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            raise
        return False
    return True


def rows_of(home, person):
    """State of the person's row, whether it has keys and a record, and the tables that name the person."""
    with opened(home) as office, reading(office.engine) as connection:
        row = connection.execute(text("SELECT state, keys, record FROM person WHERE id = :id"), {"id": person}).one()
        return row.state, bool(row.keys), bool(row.record), named_by(connection, person)


@pytest.mark.timeout(3_600)
def test_a_person_is_whole_or_erased_after_a_kill(broker, campaign):
    contract, client = broker.live_contract(grant("billing", ("email=full",), persons=10**9))
    chance = random.Random(7)
    for _ in range(WHOLE if campaign else ROUNDS):
        people = [broker.register(email=f"{uuid.uuid4().hex}@example.com") for _ in range(PEOPLE)]
        handles = broker.handles(contract, *people)
        # Every second one has a recipient, who never answers.
        client.disclose(contract, "billing", ["email"], handles[::2])
        desk = RequestDesk(broker)
        asked = [desk.proven("erasure", person) for person in people]
        messages = [pb.EraseRequest(id=r.id, etag=r.etag, request_id=str(uuid.uuid4())) for r in asked]
        told = []
        killer = threading.Timer(chance.uniform(0, 0.15), broker.kill)
        killer.start()
        for message in messages:
            if not answered(lambda m=message, d=desk: d.stub.Erase(m, timeout=CALL_S)):
                break
            told.append(message.id)
        killer.join()
        broker.start()
        with opened(broker.home) as office:
            assert verify_store(office.engine, office.signer.verifier, rooms=ROOMS).ok
        again = RequestDesk(broker)
        grpc.channel_ready_future(broker.channel("privacy/team")).result(PATIENCE_S)
        for person, handle, message in zip(people, handles, messages, strict=True):
            state, *kept = rows_of(broker.home, parse_person(person))
            shown = again.get(message.id).request
            if state == "erased":
                assert kept == [False, False, {}]
                assert shown.fulfilled
            else:
                assert message.id not in told
                assert kept[:2] == [True, True]
                assert shown.person_id == person
                assert not shown.fulfilled
                assert broker.disclosures().Disclose(request(contract, [handle]), timeout=CALL_S).disclosures
            # The retry is the same request, whether it was done or not.
            assert again.stub.Erase(message, timeout=CALL_S).request.fulfilled
            assert rows_of(broker.home, parse_person(person)) == ("erased", False, False, {})
        check_done(broker, again, people, messages)


def check_done(broker, desk, people, messages):
    """Those without a recipient are done once the store is scrubbed, and not before; the others wait."""
    deadline = time.monotonic() + PATIENCE_S
    waiting = {message.id for message in messages}
    silent = set()
    while waiting - silent and time.monotonic() < deadline:
        for request_id in sorted(waiting - silent):
            # The store is looked at afterwards: what was done then is scrubbed now.
            shown = desk.get(request_id).request
            if shown.state == DONE:
                assert is_scrubbed(broker.home, request_id)
                assert shown.recipients == shown.answered
                waiting.discard(request_id)
            elif shown.recipients > shown.answered and is_scrubbed(broker.home, request_id):
                silent.add(request_id)
        time.sleep(0.05)
    assert waiting == silent
    assert len(silent) >= PEOPLE / 2
    for request_id in silent:
        assert desk.get(request_id).request.state == pb.PERSON_REQUEST_STATE_WAITING_FOR_RECIPIENTS
    for person in people:
        with pytest.raises(grpc.RpcError) as caught:
            broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=CALL_S)
        assert info(caught.value).reason == "PERSON_UNKNOWN"


def is_scrubbed(home, cause):
    with opened(home) as office, reading(office.engine) as connection:
        found = connection.execute(text("SELECT scrubbed_at FROM erasure WHERE cause = :cause"), {"cause": cause})
        times = found.scalars().all()
    return bool(times) and all(times)
