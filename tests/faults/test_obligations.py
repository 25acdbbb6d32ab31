"""A recipient that answers at two brokers over one store at the same moment: one entry, the same answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import grpc
import pytest
from sluss.v1 import obligation_pb2_grpc
from sluss_client.obligations import attestation

from broker.ledger.entry import parse
from broker.obligations.statement import is_signed
from broker.operator.office import opened
from tests.faults.siege import Twin, info
from tests.integration.test_obligations_broker import of_kind, received, rectify
from tests.support.broker import BrokerProcess

CALLS = 4
CALL_S = 20
BUSY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def pair(request, tmp_path_factory):
    """Two broker processes on one store: (broker, its twin)."""
    with ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            from tests.support import postgres  # noqa: PLC0415 - needs its wheel only here

            server = stack.enter_context(postgres.server_url())
            url = stack.enter_context(postgres.empty_database(server))
        broker = stack.enter_context(BrokerProcess(tmp_path_factory.mktemp("pair") / "home", database=url))
        yield broker, stack.enter_context(Twin(broker))


def patiently(call, request):
    """The answer, or the error; a busy broker is asked again."""
    while True:
        try:
            return call(request, timeout=CALL_S)
        except grpc.RpcError as error:
            if error.code() not in BUSY:
                return error


def raced(pair, *requests):
    """Each request at both brokers, several times, at once."""
    stubs = [obligation_pb2_grpc.ObligationServiceStub(each.channel("subcontractor/acme")) for each in pair]
    calls = [(stub.AttestObligation, request) for stub in stubs for request in requests for _ in range(CALLS)]
    start = Barrier(len(calls))

    def run(call):
        start.wait()
        return patiently(*call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def attested(broker, obligation):
    with opened(broker.home) as office:
        found = [(row.index, parse(row.entry)) for row in office.ledger.entries(0, 10_000, type="obligation")]
    return [(i, said) for i, said in found if (said["event"], said["obligation"]) == ("attested", obligation)]


@pytest.fixture
def owed(pair):
    """A correction that is owed, and the client that owes it."""
    broker, _ = pair
    contract, client = broker.live_contract()
    person, _ = received(broker, client, contract)
    rectify(broker, person, email="right@example.com")
    (found,) = [each for each in of_kind(client, "correct") if each.contract == contract]
    return found, client


def test_the_same_answer_at_two_brokers_is_one_entry_and_the_same_reply(pair, owed):
    obligation, client = owed
    replies = raced(pair, attestation(obligation, "deleted", "", client.profile.identity()))
    assert {reply.obligation.state for reply in replies} == {"answered"}
    ((index, said),) = attested(pair[0], obligation.id)
    assert {(reply.entry_index, reply.obligation.answer_entry) for reply in replies} == {(index, index)}
    assert is_signed(said)


def test_of_two_answers_that_differ_one_stands_and_the_other_is_refused(pair, owed):
    obligation, client = owed
    outcomes = ("deleted", "never_held_any_more")
    identity = client.profile.identity()
    replies = raced(pair, *(attestation(obligation, outcome, "", identity) for outcome in outcomes))
    ((index, said),) = attested(pair[0], obligation.id)
    taken = [reply for reply in replies if not isinstance(reply, grpc.RpcError)]
    assert {(reply.entry_index, reply.obligation.outcome) for reply in taken} == {(index, said["outcome"])}
    refused = [reply for reply in replies if isinstance(reply, grpc.RpcError)]
    assert len(taken) == len(refused) == 2 * CALLS
    assert {info(error).reason for error in refused} == {"OBLIGATION_WRONG_STATE"}
