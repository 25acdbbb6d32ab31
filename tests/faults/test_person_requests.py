"""Persons' requests under attack: two brokers at once; and a requester's words wherever they do not belong."""

from __future__ import annotations

import threading
import uuid
from contextlib import closing
from dataclasses import replace

import grpc
import pytest
from sluss.v1 import person_request_pb2 as pb
from sluss.v1 import person_request_pb2_grpc
from sluss_client.channel import channel
from sluss_client.profile import Profile

from tests.faults.siege import info, ledger_of
from tests.faults.test_canaries import in_clear
from tests.support.broker import BrokerProcess, beside
from tests.support.patience import NOT_DONE
from tests.support.postgres import database, server_url
from tests.support.requests import RequestDesk

ROUNDS = 5
WORDS = {
    "asked": "Vad har ni om Kanariefrågan 4711?",
    "requester": "Fröken Frågekanarie, Sångargatan 7",
    "note": "Notiskanarie ringde",
    "reason": "Skälkanarie i flera system",
    "told": "Svarskanarie: ett anspråk prövas",
}


def test_of_two_steps_on_one_etag_over_two_brokers_one_is_taken(tmp_path):
    with server_url() as server, database(server) as url, BrokerProcess(tmp_path / "one", url) as one:
        profile = Profile.load(one.profile("privacy/team"))
        with beside(one) as endpoint, closing(channel(replace(profile, endpoint=endpoint))) as line:
            desk, other = RequestDesk(one), person_request_pb2_grpc.PersonRequestServiceStub(line)
            person = one.register(email="race@example.com")
            for _ in range(ROUNDS):
                request = desk.proven("erasure", person)
                named = {"id": request.id, "etag": request.etag}
                work = pb.NoteWorkRequest(request_id=str(uuid.uuid4()), note="looked", **named)
                refusal = pb.RefuseRequestRequest(
                    request_id=str(uuid.uuid4()), ground="legal_claims", told="no", **named
                )
                told = []
                start = threading.Barrier(2)
                calls = [(desk.stub.NoteWork, work), (other.RefuseRequest, refusal)]
                threads = [threading.Thread(target=_taken, args=(start, told, *each)) for each in calls]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert sorted(told) == ["ETAG_STALE", "taken"]
                seen = [
                    [each.event for each in stub.GetRequest(pb.GetRequestRequest(id=request.id), timeout=10).timeline]
                    for stub in (desk.stub, other)
                ]
                assert seen[0] == seen[1]
                assert len(seen[0]) == 3


def _taken(start, told, call, message):
    start.wait()
    told.append(_asked(call, message))


def _asked(call, message):
    """What became of a call; one of which nothing was done, since its turn did not come, is made again."""
    while True:
        try:
            call(message, timeout=60)
        except grpc.RpcError as error:
            if info(error).reason not in NOT_DONE:
                return info(error).reason
        else:
            return "taken"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A broker to which every word of a request was said, rightly and wrongly; what its errors told."""
    with BrokerProcess(tmp_path_factory.mktemp("words") / "home") as broker:
        desk = RequestDesk(broker)
        person = broker.register(email="words@example.com")
        request = desk.open("erasure", person, asked=WORDS["asked"], requester=WORDS["requester"])
        request = desk.step("NoteIdentityCheck", request, method="eid", result=pb.IDENTITY_RESULT_PASSED)
        request = desk.step("NoteWork", request, note=WORDS["note"])
        request = desk.step("ExtendDeadline", request, months=1, reason=WORDS["reason"])
        told = []
        for word in WORDS.values():
            for method, given in (
                ("RefuseRequest", {"ground": word, "told": word}),
                ("NoteIdentityCheck", {"method": word, "result": pb.IDENTITY_RESULT_PASSED}),
                ("FulfilAccess", {"sha256": word.encode(), "how": word}),
                ("NoteWork", {"note": word, "etag": word}),
                ("NoteWork", {"note": word, "request_id": word}),
                ("NoteWork", {"note": word, "id": word}),
                ("Object", {"purposes": [word], "channel": word}),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    desk.step(method, request, **given)
                error = caught.value
                told.append(f"{error.details()} {error.debug_error_string()} {error.trailing_metadata()}".encode())
        request = desk.step("RefuseRequest", request, ground="legal_claims", told=WORDS["told"])
        assert request.told == WORDS["told"]
        yield broker, told


def spellings():
    return [*WORDS.values(), "Kanariefrågan", "Frågekanarie", "Notiskanarie", "Skälkanarie", "Svarskanarie"]


def test_no_word_of_a_request_is_in_an_error(spoken):
    assert [told for told in spoken[1] if in_clear(told, spellings())] == []


def test_no_word_of_a_request_is_in_the_ledger_nor_in_any_file(spoken):
    broker, _ = spoken
    assert [data for data in ledger_of(broker.home) if in_clear(data, spellings())] == []
    files = [path for path in broker.home.rglob("*") if path.is_file()]
    assert {"sluss.db", "sluss.db-wal", "serve.log"} <= {path.name for path in files}
    assert [path.name for path in files if in_clear(path.read_bytes(), spellings())] == []
