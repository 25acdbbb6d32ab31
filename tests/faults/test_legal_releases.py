"""Releases under attack: killed brokers, races of two, a store that goes away. Each person is released once, or not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from sluss.v1 import contract_pb2, legal_pb2, legal_pb2_grpc

from broker.ledger import entry
from broker.ledger.receipt import parse_receipt, verify_receipt
from tests.faults.outages import full_disk, locked_file, removed_file
from tests.faults.siege import CALL_S, Twin, check_exact, info, ledger_of, reasons, verifier_of
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import ANNA, BO, Team, in_days
from tests.support.patience import patiently_called

EVERYONE = contract_pb2.Population(everyone=True)
MERGER = legal_pb2.GROUND_MERGER_OR_SALE
PEOPLE = 600
"""Three parts of a release."""


def check_release(broker, team, case, messages, people):
    """What left is in the ledger as it left, every person once; and the case says how far it has come."""
    entries, verifier = ledger_of(broker.home), verifier_of(broker.home)
    for part in (part for message in messages for part in message.parts):
        held = part.opening.sealed_entry if part.HasField("opening") else part.disclosure.entry
        verify_receipt(part.disclosure.receipt, held, verifier)
        assert entries[parse_receipt(part.disclosure.receipt).index] == held
        check_exact(part.disclosure)
    assert team.opened(case, messages).keys() == set(people)
    released = [said for data in entries if (said := entry.parse(data))["type"] == "release"]
    commitments = [made["sha256"] for said in released if said["terms"]["contract"] == case for made in said["slices"]]
    assert len(commitments) == len(set(commitments)) == len(people)
    progress = team.case(case).release
    assert (progress.done, progress.released, progress.complete) == (len(people), len(people), True)


# --- kill -9 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", [legal_pb2.GROUND_LAW_OR_PROCESS, MERGER], ids=["listed", "population"])
def test_a_release_killed_again_and_again_releases_each_person_once(broker, ground, campaign):
    people = broker.imported(PEOPLE)
    team = Team(broker)
    scope = team.scope(people) if ground != MERGER else team.scope(population=EVERYONE)
    case = team.approved(scope, ground=ground)
    messages, ended, cursor = [], [], ""
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2) if campaign else (0.0, 0.08):
        stream = team.release(case, resume_after=cursor)
        killer = threading.Timer(delay_s, broker.kill)
        try:
            for message in stream:
                messages.append(message)
                cursor = message.cursor
                if len(messages) == 1:
                    killer.start()
        except grpc.RpcError as error:
            ended.append(error.code())
        if not killer.ident:
            killer.start()
        killer.join()
        broker.start()
        team.connect()
    assert set(ended) <= {grpc.StatusCode.UNAVAILABLE}
    messages += patiently_called(lambda: list(team.release(case, who=BO, resume_after=cursor)))
    check_release(broker, team, case, messages, people)
    again = patiently_called(lambda: list(team.release(case)))
    assert team.opened(case, again) == team.opened(case, messages)
    check_release(broker, team, case, again, people)


# --- a store that goes away -----------------------------------------------------------------------------


@pytest.mark.parametrize("outage", [full_disk, removed_file, locked_file])
def test_without_a_store_no_part_of_a_release_leaves(broker, outage):
    people = broker.imported(PEOPLE)
    team = Team(broker)
    case = team.approved(team.scope(people))
    stream = team.release(case)
    messages = [next(stream)]
    stream.cancel()
    with outage(broker), pytest.raises(grpc.RpcError) as caught:
        next(team.release(case, resume_after=messages[0].cursor))
    assert (caught.value.code(), info(caught.value).reason) == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    messages += patiently_called(lambda: list(team.release(case, resume_after=messages[0].cursor)))
    check_release(broker, team, case, messages, people)


# --- races ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def pair(request, tmp_path_factory):
    """Two broker processes on one store: (broker, a team before it, stubs of Anna and Bo before its twin)."""
    with ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            from tests.support import postgres  # noqa: PLC0415 - needs its wheel only here

            server = stack.enter_context(postgres.server_url())
            url = stack.enter_context(postgres.empty_database(server))
        broker = stack.enter_context(BrokerProcess(tmp_path_factory.mktemp("pair") / "home", database=url))
        twin = stack.enter_context(Twin(broker))
        stubs = {name: legal_pb2_grpc.LegalServiceStub(twin.channel(name)) for name in (ANNA, BO)}
        yield broker, Team(broker), stubs


def raced(*calls):
    """All the calls at once: what they gave, and the reasons of those that failed."""
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            return call()
        except grpc.RpcError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        outcomes = list(pool.map(run, calls))
    failed = [outcome for outcome in outcomes if isinstance(outcome, grpc.RpcError)]
    return [outcome for outcome in outcomes if not isinstance(outcome, grpc.RpcError)], failed


def step_of(stub, case, step, etag):
    request = legal_pb2.StepCaseRequest(case_id=case, step=step, reason="a race", etag=etag)
    return lambda: stub.StepCase(request, timeout=CALL_S)


def events(broker, case):
    found = (entry.parse(data) for data in ledger_of(broker.home))
    return [said["event"] for said in found if said["type"] == "case" and said["case"] == case]


@pytest.mark.parametrize("step", [legal_pb2.CASE_STEP_APPROVE, legal_pb2.CASE_STEP_REJECT])
def test_of_two_steps_on_one_state_one_wins(pair, step):
    broker, team, twins = pair
    person = broker.register(email="race@example.com")
    for _ in range(3):
        case = team.prepared(team.scope([person]))
        etag, before = team.case(case).etag, len(events(broker, case))
        won, lost = raced(
            step_of(team.stubs[BO], case, legal_pb2.CASE_STEP_APPROVE, etag), step_of(twins[BO], case, step, etag)
        )
        assert (len(won), reasons(lost)) == (1, {"ETAG_STALE"})
        assert len(events(broker, case)) == before + 1


def test_an_approval_raced_by_a_narrower_scope_approves_what_was_seen_or_nothing(pair):
    broker, team, twins = pair
    people = [broker.register(email=f"r{n}@example.com") for n in range(2)]
    for _ in range(3):
        case = team.prepared(team.scope(people))
        etag = team.case(case).etag
        narrow = legal_pb2.ChangeCaseRequest(case_id=case, etag=etag, scope=team.scope(people[:1]))
        won, lost = raced(
            step_of(team.stubs[BO], case, legal_pb2.CASE_STEP_APPROVE, etag),
            lambda narrow=narrow: twins[ANNA].ChangeCase(narrow, timeout=CALL_S),
        )
        assert (len(won), reasons(lost)) == (1, {"ETAG_STALE"})
        shown = team.case(case)
        approved = shown.state == legal_pb2.CASE_STATE_APPROVED
        assert len(shown.scope.listed.person_ids) == (2 if approved else 1)


@pytest.mark.parametrize("step", [legal_pb2.CASE_STEP_REJECT, legal_pb2.CASE_STEP_REVIEW])
def test_a_release_raced_by_its_end_happens_whole_or_not_at_all(pair, step):
    broker, team, twins = pair
    person = broker.register(email="whole@example.com")
    for _ in range(3):
        case = team.approved(team.scope([person]))
        etag = team.case(case).etag
        won, lost = raced(lambda case=case: list(team.release(case)), step_of(twins[BO], case, step, etag))
        assert len(won) == 1
        assert reasons(lost) <= {"ETAG_STALE", "CASE_WRONG_STATE"}
        released = isinstance(won[0], list)
        assert (team.case(case).state == legal_pb2.CASE_STATE_RELEASED) == released
        assert ("release_began" in events(broker, case)) == released


def test_two_who_release_at_once_release_each_person_once(pair):
    broker, team, twins = pair
    people = broker.imported(300)
    case = team.approved(team.scope(people))
    request = legal_pb2.ReleaseRequest(request_id="3f6c1c5e-6f0e-4d1c-9c1b-0d9f2f3f9e55", case_id=case)
    streams = [
        lambda: list(team.release(case)),
        lambda: list(twins[BO].Release(request, timeout=CALL_S)),
        lambda: list(twins[ANNA].Release(request, timeout=CALL_S)),
    ]
    won, lost = raced(*streams)
    assert reasons(lost) <= {"RATE_EXCEEDED"}
    for messages in won:
        assert team.opened(case, messages).keys() == set(people)
    check_release(broker, team, case, list(team.release(case)), people)


def test_a_release_raced_by_secrecy_is_sealed_from_there_on(pair):
    broker, team, twins = pair
    people = broker.imported(300)
    case = team.approved(team.scope(people))
    etag = team.case(case).etag
    hide = legal_pb2.SetSecrecyRequest(case_id=case, until=in_days(9), reason="an investigation", etag=etag)
    won, lost = raced(lambda: list(team.release(case)), lambda: twins[BO].SetSecrecy(hide, timeout=CALL_S))
    assert reasons(lost) <= {"ETAG_STALE"}
    messages = next(each for each in won if isinstance(each, list))
    if len(won) == 1:
        team.secrecy(case, in_days(9))
    said = [entry.parse(data) for data in ledger_of(broker.home)]
    for part in (part for message in messages for part in message.parts):
        index = parse_receipt(part.disclosure.receipt).index
        assert (said[index]["type"] == "sealed") == part.HasField("opening")
    for who in (ANNA, "privacy/team"):
        assert not team.call("ListRecipients", who, person_id=people[0]).received
    team.secrecy(case, "")
    assert len(team.call("ListRecipients", person_id=people[0]).received) == 1
