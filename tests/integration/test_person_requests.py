"""Requests of persons over real gRPC: states, deadlines, export, rectification, erasure, objection."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid

import grpc
import pytest
from sluss.v1 import choice_pb2, obligation_pb2, obligation_pb2_grpc, person_pb2
from sluss.v1 import person_request_pb2 as pb
from sluss_client.profile import Profile

from broker.clock import rfc3339, system_clock
from broker.ledger import entry
from broker.ledger.receipt import parse_receipt
from broker.obligations.statement import statement
from tests.faults.siege import info
from tests.support.broker import BrokerProcess
from tests.support.requests import RequestDesk

IBAN = "SE4550000000058398257466"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    # The store is scrubbed by the maintenance loop.
    environment = {"SLUSS_MAINTAIN_S": "1"}
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home", environment=environment) as broker:
        yield broker


@pytest.fixture(scope="module")
def contract(broker):
    return broker.live_contract()


@pytest.fixture
def desk(broker):
    return RequestDesk(broker)


@pytest.fixture
def person(broker):
    return broker.register(email="canary-mail@example.com", name__given="Canaryname", payment__iban=IBAN)


def refused(code, call, /, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    assert info(caught.value).reason == code
    return caught.value


def state(request):
    return pb.PersonRequestState.Name(request.state).removeprefix("PERSON_REQUEST_STATE_").lower()


def test_access_is_done_once_the_person_has_an_export_that_the_ledger_knows(broker, contract, desk, person):
    contract_id, client = contract
    handle = broker.handles(contract_id, person)[0]
    client.disclose(contract_id, "billing", ["email"], [handle])
    request = desk.open("access", person)
    assert state(request) == "received"
    refused("IDENTITY_NOT_PROVEN", desk.export, request.id)
    request = desk.step("NoteIdentityCheck", request, method="eid", result=pb.IDENTITY_RESULT_PASSED)
    assert state(request) == "identity_checked"
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "FulfilAccess", request, sha256=bytes(32), how="post")
    data, last = desk.export(request.id)
    receipt = parse_receipt(last.receipt)
    said = json.loads(data)
    assert said["person"] == person
    values = {each["field"]: each["value"] for each in said["fields"]}
    assert values["email"] == "canary-mail@example.com"
    assert values["payment.iban"] == IBAN
    assert [each["recipient"] for each in said["received"]] == ["Acme Pay AB"]
    assert said["requests"][0]["asked"].endswith("CANARY-ASKED")
    assert receipt.index == last.entry_index
    request = desk.get(request.id).request
    assert state(request) == "in_progress"
    refused("INVALID_REQUEST", desk.step, "FulfilAccess", request, sha256=bytes(32), how="post")
    request = desk.step("FulfilAccess", request, sha256=last.sha256, how="handed over at the office")
    assert state(request) == "done"
    refused("PERSON_REQUEST_WRONG_STATE", desk.export, request.id)


def test_financial_values_are_masked_for_an_internal_service(broker, desk, person):
    request = desk.proven("access", person)
    data, _ = RequestDesk(broker, "internal/import").export(request.id)
    iban = next(each for each in json.loads(data)["fields"] if each["field"] == "payment.iban")
    assert iban["masked"]
    assert IBAN.encode() not in data


def test_an_export_in_which_something_is_masked_ends_no_request(broker, desk, person):
    inside, request = RequestDesk(broker, "internal/import"), desk.proven("access", person)
    _, masked = inside.export(request.id)
    seen = desk.get(request.id)
    assert seen.timeline[-1].text == "financial values are masked"
    for each in (inside, desk):
        refused("INVALID_REQUEST", each.step, "FulfilAccess", seen.request, sha256=masked.sha256, how="sent")
    _, whole = desk.export(request.id)
    seen = desk.get(request.id)
    assert seen.timeline[-1].text == "nothing is masked"
    refused("INVALID_REQUEST", inside.step, "FulfilAccess", seen.request, sha256=masked.sha256, how="sent")
    assert state(inside.step("FulfilAccess", seen.request, sha256=whole.sha256, how="sent")) == "done"


def test_an_internal_service_hands_over_what_it_got_whole(broker):
    inside = RequestDesk(broker, "internal/import")
    request = inside.proven("access", broker.register(email="no.money@example.com"))
    _, whole = inside.export(request.id)
    done = inside.step("FulfilAccess", inside.get(request.id).request, sha256=whole.sha256, how="sent")
    assert state(done) == "done"


def test_a_subcontractor_and_the_legal_team_get_no_export(broker, desk, person):
    request = desk.proven("access", person)
    for name in ("subcontractor/acme", "legal/anna", "operator/admin"):
        refused("ROLE_NOT_ALLOWED", RequestDesk(broker, name).export, request.id)
    assert RequestDesk(broker, "legal/anna").get(request.id).request.id == request.id


def test_rectification_waits_for_whoever_received_what_was_wrong(broker, contract, desk, person):
    contract_id, client = contract
    client.disclose(contract_id, "billing", ["email"], broker.handles(contract_id, person))
    request = desk.proven("rectification", person)
    etag = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    value = person_pb2.FieldValue(field="email", value="right@example.com")
    request_id = str(uuid.uuid4())
    given = {"values": [value], "person_etag": etag, "note": "a typo", "last": True, "request_id": request_id}
    done = desk.step("Rectify", request, **given)
    assert (state(done), done.recipients, done.answered) == ("waiting_for_recipients", 1, 0)
    assert desk.step("Rectify", request, **given) == done
    assert state(desk.get(request.id).request) == "waiting_for_recipients"
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "WithdrawRequest", done, reason="no")


def test_a_rectification_of_what_was_mended_before_waits_for_whoever_received_it(broker, contract, desk, person):
    contract_id, client = contract
    client.disclose(contract_id, "billing", ["email"], broker.handles(contract_id, person))
    value = person_pb2.FieldValue(field="email", value="right@example.com")
    etag = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    mended = person_pb2.UpdatePersonRequest(person_id=person, values=[value], source="web", etag=etag)
    etag = broker.persons().UpdatePerson(mended, timeout=10).etag
    request = desk.proven("rectification", person)
    begun = desk.step("Rectify", request, values=[value], person_etag=etag, note="a typo")
    assert (state(begun), begun.recipients) == ("in_progress", 1)
    done = desk.step("Rectify", begun, values=[value], person_etag=etag, note="nothing else", last=True)
    assert (state(done), done.recipients, done.answered) == ("waiting_for_recipients", 1, 0)


def test_erasure_destroys_the_words_and_waits_for_recipients(broker, contract, desk, person):
    contract_id, client = contract
    client.disclose(contract_id, "billing", ["email"], broker.handles(contract_id, person))
    other = desk.proven("access", person)
    request = desk.proven("erasure", person)
    request_id = str(uuid.uuid4())
    erased = desk.step("Erase", request, request_id=request_id)
    assert (state(erased), erased.person_id, erased.asked, erased.requester) == ("waiting_for_recipients", "", "", "")
    assert desk.step("Erase", request, request_id=request_id).recipients == 1
    shown = desk.get(request.id)
    assert shown.request.forgotten
    assert [event.event for event in shown.timeline] == ["opened", "identity_noted", "erased"]
    assert {event.text for event in shown.timeline} == {""}
    closed = desk.get(other.id).request
    assert (state(closed), closed.ground, closed.person_id) == ("refused", "erased", "")
    refused("PERSON_UNKNOWN", desk.open, "access", person)


def completed(desk, request):
    """The request once the maintenance has recorded that it is done, with its timeline."""
    deadline = time.monotonic() + 30
    while not (shown := desk.get(request.id)).request.completed and time.monotonic() < deadline:
        time.sleep(0.2)
    return shown.request, shown.timeline


def attest_all(broker):
    """The recipient attests every erasure and correction that it owes; gives how many."""
    stub = obligation_pb2_grpc.ObligationServiceStub(broker.channel("subcontractor/acme"))
    profile = Profile.load(broker.profile("subcontractor/acme"))
    listed = stub.ListObligations(obligation_pb2.ListObligationsRequest(), timeout=10).obligations
    owed = [each for each in listed if each.kind != "delete_by" and not each.outcome]
    for each in owed:
        said = {
            "contract": each.contract_id, "event": "attested", "kind": each.kind, "obligation": each.obligation_id,
            "outcome": "deleted", "owed": entry.base64url(each.owed), "reason": "", "recipient": each.recipient,
            "through": 0, "time": rfc3339(system_clock() - 1000), "until": "",
        }  # fmt: skip
        stub.AttestObligation(
            obligation_pb2.AttestObligationRequest(
                obligation_id=each.obligation_id,
                outcome="deleted",
                time=said["time"],
                signature=profile.sign(statement(said)),
            ),
            timeout=10,
        )
    return len(owed)


def test_an_erasure_is_done_once_every_recipient_has_attested_it(broker, contract, desk, person):
    contract_id, client = contract
    client.disclose(contract_id, "billing", ["email"], broker.handles(contract_id, person))
    request = desk.step("Erase", desk.proven("erasure", person))
    assert state(desk.get(request.id).request) == "waiting_for_recipients"
    assert attest_all(broker) >= 1
    shown, timeline = completed(desk, request)
    assert (state(shown), shown.recipients, shown.answered) == ("done", 1, 1)
    assert (shown.completed, timeline[-1].event, timeline[-1].by) == (
        rfc3339(system_clock())[:10],
        "completed",
        "broker",
    )


def test_a_rectification_is_recorded_as_done_once_and_the_person_is_told(broker, contract, desk, person):
    contract_id, client = contract
    client.disclose(contract_id, "billing", ["email"], broker.handles(contract_id, person))
    etag = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    value = person_pb2.FieldValue(field="email", value="right@example.com")
    waiting = desk.step("Rectify", desk.proven("rectification", person), values=[value], person_etag=etag, last=True)
    time.sleep(2.5)
    shown = desk.get(waiting.id)
    assert (state(shown.request), shown.request.completed) == ("waiting_for_recipients", "")
    assert "completed" not in shown.request.possible
    assert attest_all(broker) >= 1
    shown, timeline = completed(desk, waiting)
    assert state(shown) == "done"
    time.sleep(1.5)
    assert [each.event for each in desk.get(waiting.id).timeline] == [each.event for each in timeline]
    data, _ = desk.export(desk.proven("access", person).id)
    kinds = [each["kind"] for each in json.loads(data)["messages"]]
    assert kinds.count("request_answered") == 1


def test_an_erasure_is_in_the_register_beside_the_rings_before_it_is_answered(broker, desk):
    """So that no backup brings the person back, even if the broker ends right after the answer."""
    person = broker.register(email="kept.out@example.com")
    desk.step("Erase", desk.proven("erasure", person))
    assert person in (broker.home / "keys" / "erased.jsonl").read_text()


@pytest.mark.parametrize("after_s", [0.0, 0.02])
def test_an_erasure_that_a_kill_cut_off_is_done_once(broker, desk, after_s):
    request = desk.proven("erasure", broker.register(email="gone@example.com"))
    message = pb.EraseRequest(id=request.id, etag=request.etag, request_id=str(uuid.uuid4()))
    call = desk.stub.Erase.future(message, timeout=20)
    time.sleep(after_s)
    broker.kill()
    assert call.exception(timeout=20) is None or call.code() is not grpc.StatusCode.OK
    broker.start()
    again = RequestDesk(broker)
    assert again.stub.Erase(message, timeout=20, wait_for_ready=True).request.fulfilled
    events = [event.event for event in again.get(request.id).timeline]
    assert events[:3] == ["opened", "identity_noted", "erased"]
    assert events[3:] in ([], ["completed"])


def test_an_objection_needs_no_proof_and_holds(broker, desk, person):
    request = desk.open("objection", person)
    done = desk.step("Object", request, purposes=["offers.email"], channel="phone", note="wants no offers")
    assert (state(done), done.completed) == ("done", rfc3339(system_clock())[:10])
    shown = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person))
    assert [(choice.purpose, choice.state) for choice in shown.choices] == [
        ("offers.email", choice_pb2.CHOICE_STATE_OPTED_OUT)
    ]
    assert desk.get(request.id).timeline[-1].text == "offers.email: wants no offers"
    asked = choice_pb2.ListChoicesRequest(person_id=person)
    (made,) = broker.choices("privacy/team").ListChoices(asked).in_force
    assert (made.record.source, made.record.evidence) == ("person-request", request.id)


def test_steps_of_another_kind_another_person_and_an_old_etag_are_refused(broker, desk, person):
    request = desk.proven("access", person)
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "Erase", request)
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "Object", request, purposes=["offers.email"], channel="web")
    other = broker.register(email="b@example.com")
    given = {"method": "eid", "result": pb.IDENTITY_RESULT_PASSED, "person_id": other}
    refused("INVALID_REQUEST", desk.step, "NoteIdentityCheck", request, **given)
    desk.step("NoteWork", request, note="looked it up")
    refused("ETAG_STALE", desk.step, "NoteWork", request, note="again")
    refused("PERSON_REQUEST_UNKNOWN", desk.get, "R-2026-9999")
    refused("PERSON_REQUEST_UNKNOWN", desk.get, "'; --")


def test_whose_request_it_is_can_be_said_later(desk, person):
    request = desk.open("access", received="2026-01-31")
    assert request.person_id == ""
    refused("INVALID_REQUEST", desk.step, "NoteIdentityCheck", request, method="eid", result=pb.IDENTITY_RESULT_PASSED)
    given = {"method": "call_back", "result": pb.IDENTITY_RESULT_PASSED, "person_id": person}
    request = desk.step("NoteIdentityCheck", request, **given)
    assert (request.person_id, request.deadline, request.overdue) == (person, "2026-02-28", True)


def test_refused_with_a_ground_extended_in_time_and_listed(desk, person):
    request = desk.proven("erasure", person)
    extended = desk.step("ExtendDeadline", request, months=2, reason="many systems")
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "ExtendDeadline", extended, months=1, reason="more")
    refused("INVALID_REQUEST", desk.step, "RefuseRequest", extended, ground="rights_of_others", told="no")
    listed = desk.stub.ListRequests(pb.ListRequestsRequest(person_id=person, only_open=True)).requests
    assert [each.id for each in listed] == [request.id]
    done = desk.step("RefuseRequest", extended, ground="legal_claims", told="A claim is pending; you may complain.")
    assert (state(done), done.told) == ("refused", "A claim is pending; you may complain.")
    assert not desk.stub.ListRequests(pb.ListRequestsRequest(person_id=person, only_open=True)).requests


@pytest.mark.parametrize("ground", ["erased", "nothing_on_record"])
def test_nobody_on_record_is_refused_as_erased_or_as_unknown(desk, person, ground):
    for kind in ("access", "objection"):
        request = desk.open(kind, person)
        refused("INVALID_REQUEST", desk.step, "RefuseRequest", request, ground=ground, told="We have nothing.")
        assert state(desk.get(request.id).request) == "received"
    unknown = desk.step("RefuseRequest", desk.open("access"), ground=ground, told="We have nothing.")
    assert (state(unknown), unknown.ground) == ("refused", ground)


def test_whose_identity_was_proven_is_not_refused_because_it_was_not(desk, person):
    unproven = {"ground": "identity_not_proven", "told": "We do not know who you are."}
    request = desk.proven("access", person)
    refused("INVALID_REQUEST", desk.step, "RefuseRequest", request, **unproven)
    request = desk.step("NoteIdentityCheck", request, method="call_back", result=pb.IDENTITY_RESULT_FAILED)
    assert state(desk.step("RefuseRequest", request, **unproven)) == "refused"


def test_whoever_was_erased_before_is_refused_as_erased(desk):
    unknown = desk.step("RefuseRequest", desk.open("access"), ground="erased", told="You were erased in May.")
    assert (state(unknown), unknown.ground) == ("refused", "erased")


def test_words_have_lines_as_letters_and_web_forms_have(desk, person):
    asked = "Dear Sirs,\r\n\r\n\tI ask for a copy. \r\nAnna\r\n"
    request = desk.open("access", person, asked=asked, requester="Anna\nStorgatan 1")
    assert (request.asked, request.requester) == ("Dear Sirs,\n\nI ask for a copy.\nAnna", "Anna\nStorgatan 1")
    request = desk.step("ExtendDeadline", request, months=1, reason="Many systems.\nAnd holidays.")
    done = desk.step("RefuseRequest", request, ground="excessive", told="The third time.\n\nWe are sorry.")
    assert done.told == "The third time.\n\nWe are sorry."
    assert [each.text for each in desk.get(request.id).timeline] == ["", "Many systems.\nAnd holidays.", done.told]
    for bad in ("\n \n", "a\x00b", "left\u202eright", "a\rb", "a" * 2_001, "a\n" * 1_001 + "b"):
        refused("INVALID_REQUEST", desk.open, "access", person, asked=bad)


def test_lists_come_in_pages_and_statistics_count(desk, person):
    made = [desk.open("objection", person, received="2025-03-03").id for _ in range(5)]
    found, token = [], ""
    while True:
        page = desk.stub.ListRequests(
            pb.ListRequestsRequest(person_id=person, only_overdue=True, page_size=2, page_token=token)
        )
        found += [each.id for each in page.requests]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]
    asked = pb.GetRequestStatisticsRequest(first_day="2025-03-01", last_day="2025-03-31")
    counts = {each.kind: each for each in desk.stub.GetRequestStatistics(asked).counts}
    assert (counts[pb.PERSON_REQUEST_KIND_OBJECTION].received, counts[pb.PERSON_REQUEST_KIND_OBJECTION].overdue) == (
        5,
        5,
    )


def test_a_late_refusal_counts_as_late_and_a_timely_one_does_not(desk, person):
    asked = pb.GetRequestStatisticsRequest(first_day="2024-05-01", last_day="2024-05-31")

    def late():
        counts = {each.kind: each for each in desk.stub.GetRequestStatistics(asked).counts}
        return counts[pb.PERSON_REQUEST_KIND_OBJECTION].late, counts[pb.PERSON_REQUEST_KIND_OBJECTION].refused

    request = desk.open("objection", person, received="2024-05-03")
    assert late() == (0, 0)
    desk.step("RefuseRequest", request, ground="excessive", told="It is the ninth.")
    desk.step("RefuseRequest", desk.open("objection", person), ground="excessive", told="It is the tenth.")
    assert late() == (1, 1)


def test_an_objection_to_a_primary_purpose_says_what_to_do_and_has_a_ground(desk, person):
    request = desk.open("objection", person)
    error = refused("INVALID_REQUEST", desk.step, "Object", request, purposes=["offers", "analysis"], channel="web")
    assert "analysis is primary: weigh the person's reasons" in error.details()
    # Neither was recorded: the offers of the same call neither.
    assert state(desk.get(request.id).request) == "received"
    ended = desk.step("RefuseRequest", request, ground="contract_or_legal_duty", told="It is needed for the service.")
    assert state(ended) == "refused"


def test_a_request_that_is_put_back_in_the_store_is_refused(broker, desk, person):
    request = desk.proven("access", person)
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as store:
        before = store.execute("SELECT * FROM person_request WHERE id = ?", (request.id,)).fetchone()
        assert before
    desk.step("RefuseRequest", request, ground="excessive", told="The third time this week.")
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as store:
        store.execute("UPDATE person_request SET state = 'done' WHERE id = ?", (request.id,))
    refused("LEDGER_INCONSISTENT", desk.get, request.id)
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as store:
        store.execute("UPDATE person_request SET state = 'refused' WHERE id = ?", (request.id,))
    assert state(desk.get(request.id).request) == "refused"
