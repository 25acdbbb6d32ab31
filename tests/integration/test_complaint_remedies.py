"""Complaints whose remedy others have to follow: never done, and never closed, while one recipient is silent."""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from sluss.v1 import complaint_pb2 as pb
from sluss.v1 import (
    complaint_pb2_grpc,
    contract_pb2,
    ledger_pb2,
    legal_pb2,
    obligation_pb2,
    obligation_pb2_grpc,
    person_pb2,
)
from sluss_client.errors import from_rpc_error

from broker.ledger.receipt import parse_receipt
from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import BO, Team, in_days
from tests.support.requests import RequestDesk

PATIENCE_S = 30


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    # The store is scrubbed by the maintenance loop.
    environment = {"SLUSS_MAINTAIN_S": "1"}
    with BrokerProcess(tmp_path_factory.mktemp("remedies") / "home", environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def contract(broker):
    return broker.live_contract()


class Desk:
    """The ComplaintService as one principal calls it."""

    def __init__(self, broker, name="privacy/team"):
        self.stub = complaint_pb2_grpc.ComplaintServiceStub(broker.channel(name))

    def open(self, links=(), **given):
        said = {"channel": "email", "kind": "disclosure", "about": "a letter", "links": links}
        request = pb.OpenComplaintRequest(request_id=str(uuid.uuid4()), **said | given)
        return self.stub.OpenComplaint(request, timeout=10).complaint

    def get(self, name):
        return self.stub.GetComplaint(pb.GetComplaintRequest(complaint_id=name), timeout=10).complaint

    def step(self, method, name, **given):
        request = getattr(pb, f"{method}Request")(complaint_id=name, etag=self.get(name).etag, **given)
        return getattr(self.stub, method)(request, timeout=10).complaint

    def upheld(self, links=(), **given):
        name = self.open(links, **given).complaint_id
        self.step("SetOutcome", name, outcome="upheld", told="You were right.")
        return name


@pytest.fixture
def desk(broker):
    return Desk(broker)


def refused(reason, call, /, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    assert from_rpc_error(caught.value).reason == reason
    return caught.value


def received(broker, contract):
    """A person whose e-mail address the recipient has."""
    name, client = contract
    person = broker.register(email=f"{uuid.uuid4().hex[:8]}@example.com")
    client.disclose(name, "billing", ["email"], broker.handles(name, person))
    return person


def owed(client, kind):
    return [each for each in client.obligations() if each.kind == kind]


def eventually(ask):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := ask()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_an_erasure_is_not_done_and_nothing_closes_while_a_recipient_is_silent(broker, contract, desk):
    _, client = contract
    person = received(broker, contract)
    name = desk.upheld(person_id=person)
    (remedy,) = desk.step("Remedy", name, kind="erase_data", note="as asked for").remedies
    assert person in (broker.home / "keys" / "erased.jsonl").read_text()
    assert (remedy.done, remedy.recipients, remedy.answered) == (False, 1, 0)
    # Until long after the store has been scrubbed, the recipient says nothing.
    other = desk.upheld(person_id=broker.register(email="nobody.has@example.com"))
    desk.step("Remedy", other, kind="erase_data", note="as asked for")
    assert eventually(lambda: desk.get(other).remedies[0].done)
    assert desk.step("CloseComplaint", other).state == "closed"
    assert not desk.get(name).remedies[0].done
    refused("FILE_WRONG_STATE", desk.step, "CloseComplaint", name)
    (obligation,) = owed(client, "erase")
    client.attest(obligation, "deleted")
    assert eventually(lambda: desk.get(name).remedies[0].done)
    assert desk.step("CloseComplaint", name).state == "closed"


def test_a_correction_without_the_request_that_corrects_is_refused_and_nothing_is_called_done(broker, desk):
    name = desk.upheld(person_id=broker.register(email="wrong.one@example.com"))
    refused("INVALID_REQUEST", desk.step, "Remedy", name, kind="correct", note="somewhere else")
    assert not desk.get(name).remedies


def test_a_correction_is_done_with_the_linked_request_and_its_recipients(broker, contract, desk):
    _, client = contract
    person, requests = received(broker, contract), RequestDesk(broker)
    request = requests.proven("rectification", person)
    name = desk.upheld([request.id], person_id=person)
    (remedy,) = desk.step("Remedy", name, kind="correct", note="by the request").remedies
    assert not remedy.done
    refused("FILE_WRONG_STATE", desk.step, "CloseComplaint", name)
    etag = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    value = person_pb2.FieldValue(field="email", value="right@example.com")
    requests.step("Rectify", request, values=[value], person_etag=etag, last=True)
    (remedy,) = desk.get(name).remedies
    assert (remedy.done, remedy.recipients, remedy.answered) == (False, 1, 0)
    refused("FILE_WRONG_STATE", desk.step, "CloseComplaint", name)
    (obligation,) = owed(client, "correct")
    assert desk.step("ChangeComplaint", name, note="the recipient was called").links == [request.id]
    client.disclose(contract[0], "billing", ["email"], [obligation.handle])
    client.attest(obligation, "corrected")
    assert desk.get(name).remedies[0].done
    assert desk.step("CloseComplaint", name).state == "closed"


def corrected(broker, requests, request, email):
    """A request for rectification, done to the data."""
    etag = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=request.person_id)).etag
    value = person_pb2.FieldValue(field="email", value=email)
    return requests.step("Rectify", request, values=[value], person_etag=etag, last=True)


def test_a_correction_is_by_a_request_of_the_same_person_that_still_can_be_or_is_done(broker, desk):
    requests, inside = RequestDesk(broker), RequestDesk(broker, "internal/import")
    person, other = (broker.register(email=f"{name}@example.com") for name in ("mine", "somebodys"))
    withdrawn = requests.step("WithdrawRequest", requests.proven("rectification", person), reason="no")
    others = corrected(broker, inside, inside.proven("rectification", other), "anybodys@example.com")
    access = requests.open("access", person)
    for links in ([withdrawn.id], [others.id], [access.id], [withdrawn.id, others.id, access.id]):
        name = desk.upheld(links, person_id=person)
        refused("INVALID_REQUEST", desk.step, "Remedy", name, kind="correct", note="by the request")
        assert not desk.get(name).remedies
    nobody = desk.upheld([others.id], complainant="a caller")
    refused("INVALID_REQUEST", desk.step, "Remedy", nobody, kind="correct", note="by the request")
    done = corrected(broker, inside, inside.proven("rectification", person), "still.mine@example.com")
    name = desk.upheld([withdrawn.id, others.id, done.id], person_id=person)
    assert desk.step("Remedy", name, kind="correct", note="by the request").remedies[0].done
    assert desk.step("CloseComplaint", name).state == "closed"


@pytest.mark.parametrize("end", ["WithdrawRequest", "RefuseRequest", "Erase"])
def test_a_correction_whose_request_comes_to_nothing_is_never_called_done(broker, desk, end):
    requests, person = RequestDesk(broker), broker.register(email=f"{end.lower()}@example.com")
    request = requests.proven("rectification", person)
    name = desk.upheld([request.id], person_id=person)
    assert not desk.step("Remedy", name, kind="correct", note="by the request").remedies[0].done
    refused("FILE_WRONG_STATE", desk.step, "CloseComplaint", name)
    if end == "Erase":
        requests.step("Erase", requests.proven("erasure", person))
    else:
        said = {"reason": "no"} if end == "WithdrawRequest" else {"ground": "accurate_as_it_is", "told": "It is right."}
        requests.step(end, request, **said)
    assert not desk.get(name).remedies[0].done
    assert desk.step("CloseComplaint", name).state == "closed"
    assert not desk.get(name).remedies[0].done


def test_links_are_entries_contracts_requests_and_obligations_that_are_there(broker, contract, desk):
    person = received(broker, contract)
    request = RequestDesk(broker).open("access", person)
    obligation = next(iter(contract[1].obligations()))
    links = ["0", contract[0], request.id, obligation.id]
    assert desk.open(links, complainant="a caller").links == links
    for unknown in ("999999", "C-2026-9999", "R-2026-9999", "O-2026-9999"):
        told = refused("FILE_UNKNOWN", desk.open, ["0", unknown], complainant="a caller").details()
        assert told == "links: number 2: no such entry, contract, request or obligation"
    for formless in ("L-2026-0001", "R-2026-0001 ", "entry 31", "-1", "1" * 17, "x", ""):
        told = refused("INVALID_REQUEST", desk.open, ["0", formless], complainant="a caller").details()
        assert told.startswith("links: number 2 is not the index of an entry such as 31")
        assert told.endswith("C-2026-0001, R-2026-0001, O-2026-0001")


def test_a_hidden_release_is_unknown_and_a_link_to_it_that_the_legal_team_made_does_not_show(broker, contract, desk):
    team, person = Team(broker), received(broker, contract)
    case = team.prepared(team.scope([person]))
    team.secrecy(case, in_days(300))
    team.step(case, legal_pb2.CASE_STEP_APPROVE, BO)
    (message,) = team.release(case)
    hidden = str(parse_receipt(message.parts[0].disclosure.receipt).index)
    legal = Desk(broker, "legal/bo")
    unknown = refused("FILE_UNKNOWN", desk.open, ["999999"], complainant="a caller")
    sealed = refused("FILE_UNKNOWN", desk.open, [hidden], complainant="a caller")
    assert unknown.details() == sealed.details()
    name = legal.open([hidden, "0"], complainant="a caller").complaint_id
    assert legal.get(name).links == [hidden, "0"]
    assert desk.get(name).links == ["0"]
    listed = desk.stub.ListComplaints(pb.ListComplaintsRequest(page_size=100), timeout=10).complaints
    assert [list(each.links) for each in listed if each.complaint_id == name] == [["0"]]
    # Somebody who doesn't see the link works on, and the link stays.
    assert desk.step("ChangeComplaint", name, note="called back").links == ["0"]
    assert legal.get(name).links == [hidden, "0"]
    # Whoever approved or released can't decide.
    refused("SECOND_PERSON_NEEDED", legal.step, "SetOutcome", name, outcome="not_upheld", told="No.")


def refused_request(broker, person):
    requests = RequestDesk(broker)
    return requests.step("RefuseRequest", requests.proven("access", person), ground="excessive", told="No.").id


def exported_request(broker, person):
    requests = RequestDesk(broker)
    request = requests.proven("access", person)
    requests.export(request.id)
    return request.id


def refused_delay(broker, person):
    contract, client = broker.live_contract()
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    (obligation,) = [each for each in client.obligations() if each.contract == contract]
    until = obligation.due + timedelta(days=10)
    client.ask_delay(obligation, until, "a holiday")
    stub = obligation_pb2_grpc.ObligationServiceStub(broker.channel("privacy/team"))
    asked = obligation_pb2.AnswerDelayRequest(obligation_id=obligation.id, until=str(until), reason="too late")
    stub.AnswerDelay(asked, timeout=10)
    return obligation.id


def suspended_contract(broker, _person):
    contract, _ = broker.live_contract()
    asked = contract_pb2.SuspendContractRequest(contract_id=contract, reason="an inspection")
    broker.contracts("privacy/team").SuspendContract(asked, timeout=10)
    return contract


@pytest.mark.parametrize("made", [refused_request, exported_request, refused_delay, suspended_contract])
def test_who_decided_what_is_linked_by_its_id_cant_decide_the_complaint(broker, desk, made):
    person = broker.register(email=f"{uuid.uuid4().hex[:8]}@example.com")
    name = desk.open([made(broker, person)], person_id=person).complaint_id
    said = {"outcome": "not_upheld", "told": "We were right."}
    refused("SECOND_PERSON_NEEDED", desk.step, "SetOutcome", name, **said)
    assert Desk(broker, "legal/bo").step("SetOutcome", name, **said).state == "decided"


def test_who_only_took_in_what_is_linked_may_decide(broker, desk):
    person = broker.register(email="taken.in@example.com")
    request = RequestDesk(broker).proven("rectification", person)
    desk.upheld([request.id, broker.live_contract()[0]], person_id=person)


WORDS = "Karin Lindqvist was called at night"


def entries_of(broker, contract, kind):
    asked = ledger_pb2.ListEntriesRequest(contract_id=contract, type=kind)
    return [(each.index, json.loads(each.entry)) for each in broker.ledger().ListEntries(asked, timeout=10).entries]


def test_only_a_contract_that_the_complaint_is_about_is_suspended(broker, desk):
    contract, client = broker.live_contract()
    person = broker.register(email=f"{uuid.uuid4().hex[:8]}@example.com")
    other, _ = broker.live_contract()
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    (obligation,) = [each for each in client.obligations() if each.contract == contract]
    given = {"kind": "suspend_contract", "contract_id": contract, "note": WORDS}
    for links in ([], [other], ["0"]):
        name = desk.upheld(links, person_id=person)
        refused("INVALID_REQUEST", desk.step, "Remedy", name, **given)
    assert [said["event"] for _, said in entries_of(broker, contract, "contract")] == ["proposed", "accepted"]
    assert desk.step("Remedy", desk.upheld([obligation.id], person_id=person), **given).remedies[0].done


@pytest.mark.parametrize("by_entry", [False, True])
def test_a_suspension_says_for_which_complaint_and_not_what_was_noted(broker, desk, by_entry):
    contract, client = broker.live_contract()
    person = broker.register(email=f"{uuid.uuid4().hex[:8]}@example.com")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    ((index, _),) = entries_of(broker, contract, "disclosure")
    name = desk.upheld([str(index) if by_entry else contract], person_id=person)
    desk.step("Remedy", name, kind="suspend_contract", contract_id=contract, note=WORDS)
    _, last = entries_of(broker, contract, "contract")[-1]
    assert (last["event"], last["reason"]) == ("suspended", f"complaint {name}")
    shown = broker.contracts().GetContract(contract_pb2.GetContractRequest(contract_id=contract), timeout=10)
    assert "Karin" not in str(shown)
    timeline = desk.stub.GetComplaint(pb.GetComplaintRequest(complaint_id=name), timeout=10).timeline
    assert timeline[-1].text == WORDS


def test_statistics_are_csv_for_a_spreadsheet(broker, desk):
    year = desk.open(complainant="a caller").complaint_id[2:6]
    line = ["--profile", str(broker.profile("privacy/team")), "complaint", "statistics"]
    line += ["--from", f"{year}-01-01", "--until", f"{year}-12-31"]
    done = sluss_command.invoke(sluss_command.clients(), [*line, "--csv"])
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert set(rows[0]) == {"month", "kind", "outcome", "count", "closed", "overdue", "late", "median_days"}
    assert any((row["kind"], row["outcome"]) == ("disclosure", "") and int(row["count"]) >= 1 for row in rows)
    assert sluss_command.invoke(sluss_command.clients(), ["--json", *line, "--csv"]).exit_code == 2


def test_the_request_that_corrects_is_linked_once_it_is_decided_that_something_was_wrong(broker, desk):
    person = broker.register(email="was.wrong@example.com")
    name = desk.upheld(person_id=person)
    request = RequestDesk(broker).proven("rectification", person)
    refused("INVALID_REQUEST", desk.step, "Remedy", name, kind="correct", note="as the person said")
    assert desk.step("ChangeComplaint", name, links=[request.id]).state == "decided"
    assert not desk.step("Remedy", name, kind="correct", note="as the person said").remedies[0].done
    other = desk.open(person_id=person).complaint_id
    desk.step("SetOutcome", other, outcome="not_upheld", told="It was right.")
    refused("FILE_WRONG_STATE", desk.step, "ChangeComplaint", other, links=[request.id])


def test_the_command_says_whom_no_message_reaches(broker, desk):
    def decided(**whose):
        name = desk.open(**whose).complaint_id
        line = ["--profile", str(broker.profile("privacy/team")), "complaint", "outcome", name, "not_upheld"]
        return sluss_command.invoke(sluss_command.clients(), [*line, "--told", "We were right."]).output

    assert "Tell whoever complained yourself" in decided(complainant="a caller")
    person = broker.register(email="is.reached@example.com")
    assert "Tell whoever complained yourself" not in decided(person_id=person)


def test_the_json_of_the_command_has_numbers_as_numbers(broker, desk):
    name = desk.open(["0"], complainant="a caller").complaint_id
    line = ["--profile", str(broker.profile("privacy/team")), "--json", "complaint", "show", name]
    shown = json.loads(sluss_command.invoke(sluss_command.clients(), line).stdout)
    (opened,) = shown["timeline"]
    assert isinstance(opened["entry_index"], int)
    assert shown["complaint"]["links"] == ["0"]


def test_what_was_upheld_is_closed_with_a_remedy_only_and_what_was_not_without_one(broker, desk):
    name = desk.upheld(person_id=broker.register(email="no.remedy@example.com"))
    error = refused("FILE_WRONG_STATE", desk.step, "CloseComplaint", name)
    assert "no remedy is noted" in error.details()
    desk.step("Remedy", name, kind="apologise", note="by letter")
    assert desk.step("CloseComplaint", name).state == "closed"
    other = desk.open(complainant="a caller").complaint_id
    desk.step("SetOutcome", other, outcome="not_upheld", told="We were right.")
    assert desk.step("CloseComplaint", other).state == "closed"


def test_the_deadline_counts_from_the_day_of_receipt_and_a_late_answer_stays_late(desk):
    today = datetime.now(UTC).date()
    refused("INVALID_REQUEST", desk.open, complainant="a caller", received=str(today + timedelta(days=2)))
    fresh = desk.open(complainant="a caller", kind="retention")
    assert (fresh.received, fresh.due_at[:10]) == (str(today), str(today + timedelta(days=30)))
    day = today - timedelta(days=40)
    late = desk.open(complainant="a caller", kind="retention", received=str(day))
    assert (late.received, late.due_at[:10], late.overdue) == (str(day), str(day + timedelta(days=30)), True)
    extend = {"due_on": str(today + timedelta(days=30)), "note": "an expert is asked"}
    refused("FILE_WRONG_STATE", desk.step, "ChangeComplaint", late.complaint_id, **extend)
    far = extend | {"due_on": str(today + timedelta(days=400))}
    refused("INVALID_REQUEST", desk.step, "ChangeComplaint", fresh.complaint_id, **far)
    assert desk.step("ChangeComplaint", fresh.complaint_id, **extend | {"due_on": str(today + timedelta(days=60))})
    for each in (fresh, late):
        desk.step("SetOutcome", each.complaint_id, outcome="not_upheld", told="We were right.")
        desk.step("CloseComplaint", each.complaint_id)
    for first, expected in ((day, [(1, 1, 0, 1, 40)]), (today, [(1, 1, 0, 0, 0)]), (today - timedelta(days=9), [])):
        asked = pb.GetComplaintStatisticsRequest(first_day=str(first), last_day=str(first))
        lines = [
            each for each in desk.stub.GetComplaintStatistics(asked, timeout=10).counts if each.kind == "retention"
        ]
        assert [(each.count, each.closed, each.overdue, each.late, each.median_days) for each in lines] == expected
        assert all(each.month == f"{first:%Y-%m}" for each in lines)
