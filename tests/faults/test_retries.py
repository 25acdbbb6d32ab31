"""Promise 8, retries are safe: one request is one entry and the same bytes, whatever breaks between."""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack
from dataclasses import replace

import grpc
import pytest
from sluss.v1 import disclosure_pb2
from sluss_client import Subcontractor
from sluss_client.profile import Profile

from tests.faults.cutting import Cutter
from tests.faults.siege import CALL_S, Twin, check_durable, info, request
from tests.support import postgres
from tests.support.broker import BrokerProcess, grant
from tests.support.patience import patiently_called


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two broker processes on one PostgreSQL database."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server_url())
        url = stack.enter_context(postgres.empty_database(server))
        home = tmp_path_factory.mktemp("retries") / "home"
        broker = stack.enter_context(BrokerProcess(home, database=url))
        yield broker, stack.enter_context(Twin(broker))


def scene(broker, count=3, **extra):
    contract, _ = broker.live_contract(grant(extra.pop("purpose", "billing"), ("email=full",), **extra))
    people = [broker.register(email=f"{uuid.uuid4().hex}@example.com") for _ in range(count)]
    return contract, people, broker.handles(contract, *people)


def disclosures_under(entries, contract):
    return [found for found in entries if found["type"] == "disclosure" and found["terms"]["contract"] == contract]


def persisted(stub, message):
    """The reply; RATE_EXCEEDED says that the very request is in progress, so it is made again."""
    while True:
        try:
            return stub.Disclose(message, timeout=CALL_S)
        except grpc.RpcError as error:
            if info(error).reason != "RATE_EXCEEDED":
                raise


def test_one_request_from_many_threads_and_two_processes_is_one_entry_and_equal_bytes(pair, campaign):
    broker, _ = pair
    contract, _, handles = scene(broker)
    rounds = 30 if campaign else 3
    for _ in range(rounds):
        replies = at_once([place.disclosures() for place in pair for _ in range(4)], request(contract, handles))
        assert len({bodies(reply) for reply in replies}) == 1
        entries = check_durable(broker.home, [one for reply in replies for one in reply.disclosures])
    assert len(disclosures_under(entries, contract)) == rounds


def at_once(stubs, message):
    """The replies to one message sent over all the stubs at the same time."""
    replies, start = [], threading.Barrier(len(stubs))

    def ask(stub):
        start.wait()
        replies.append(persisted(stub, message))

    threads = [threading.Thread(target=ask, args=(stub,)) for stub in stubs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CALL_S)
    assert len(replies) == len(stubs)
    return replies


def bodies(reply):
    """A reply without its receipts, which may stand on later checkpoints."""
    return tuple((one.entry, one.epoch, tuple(one.slices)) for one in reply.disclosures)


def test_a_retry_at_the_other_process_does_not_look_like_a_fork_of_the_ledger(pair):
    broker, twin = pair
    contract, _, handles = scene(broker)
    name = str(uuid.uuid4())
    here = broker.subcontractor()
    with twin.subcontractor() as there:
        first = here.disclose(contract, "billing", ["email"], handles, request_id=name)
        for _ in range(3):
            there.disclose(contract, "billing", ["email"], handles)
        # `there` has seen more than the process behind `here` has appended itself.
        moved = Subcontractor(replace(there.profile, endpoint=broker.endpoint))
        with moved:
            again = moved.disclose(contract, "billing", ["email"], handles, request_id=name)
    assert [one.values for one in again] == [one.values for one in first]
    assert {one.entry_index for one in again} == {one.entry_index for one in first}


def test_the_same_request_id_with_another_body_is_an_error_at_either_process(pair):
    broker, twin = pair
    contract, _, handles = scene(broker)
    message = request(contract, handles)
    broker.disclosures().Disclose(message, timeout=CALL_S)
    message.handles.pop()
    with pytest.raises(grpc.RpcError) as caught:
        twin.disclosures().Disclose(message, timeout=CALL_S)
    assert info(caught.value).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("reply_bytes", [1, 700, 4_000])
def test_a_reply_that_is_cut_is_asked_for_again_and_disclosed_once(pair, reply_bytes):
    broker, _ = pair
    contract, _, handles = scene(broker, 20)
    with Cutter(broker.port) as cutter, through(cutter, broker) as client:
        client.describe_scope(contract)
        cutter.cut_after(reply_bytes)
        results = client.disclose(contract, "billing", ["email"], handles)
    assert cutter.cuts == 1
    assert all(one.available for one in results)
    entries = check_durable(broker.home, [disclosure_pb2.Disclosure.FromString(results[0].sealed)])
    assert len(disclosures_under(entries, contract)) == 1


def test_a_bulk_stream_that_is_cut_again_and_again_gives_each_person_once(pair, campaign):
    broker, _ = pair
    contract, _, handles = scene(broker, 60)
    seen = []
    with Cutter(broker.port) as cutter, through(cutter, broker) as client:
        client.describe_scope(contract)
        cuts = [3_000 + 1_000 * count for count in range(8 if campaign else 3)]
        cutter.cut_after(*cuts)
        for chunk in client.bulk(contract, "billing", ["email"], handles, chunk_size=4):
            seen += [person.handle for person in chunk.persons]
        assert cutter.cuts == len(cuts)
    assert len(seen) == len(set(seen)) == 60
    entries = disclosures_under(check_durable(broker.home, []), contract)
    assert sum(len(found["slices"]) for found in entries) == 60


def test_a_stream_whose_first_persons_are_unavailable_goes_on(pair):
    broker, _ = pair
    contract, _, handles = scene(broker)
    with broker.subcontractor() as client:
        client.check_ledger()
        chunks = list(client.bulk(contract, "billing", ["email"], [bytes(16), *handles], chunk_size=1))
    assert [len(chunk.persons) for chunk in chunks] == [0, 1, 1, 1]


def through(cutter, broker):
    """The SDK's client behind the cutter."""
    profile = Profile.load(broker.profile("subcontractor/acme"))
    return Subcontractor(replace(profile, endpoint=cutter.endpoint))


MOST = 10_000
"""Persons whom one call may name."""


def test_the_largest_answer_is_given_again_too(tmp_path):
    """The retry of a large call took longer than a call may: it failed for ever, and with it everybody's health."""
    with BrokerProcess(tmp_path / "home") as broker:
        contract, _, _ = scene(broker, 1)
        people = broker.imported(MOST)
        asked = request(contract, broker.handles(contract, *people))
        first = patiently_called(broker.disclosures().Disclose, asked, timeout=60)
        assert sum(len(each.slices) for each in first.disclosures) == MOST
        again = patiently_called(broker.disclosures().Disclose, asked, timeout=60)
        assert bodies(again) == bodies(first)
