"""Recipients of legal releases owe nothing under a contract: people tell them, and a request waits for it."""

from __future__ import annotations

import json
import time
import uuid

import grpc
import pytest
from sluss.v1 import complaint_pb2, complaint_pb2_grpc, legal_pb2, outbox_pb2, person_pb2
from sluss.v1 import person_request_pb2 as pb
from sqlalchemy import select
from typer.testing import CliRunner

from broker.erasure.erasing import ERASURE
from broker.ids import parse_person
from broker.ledger.entry import parse
from broker.operator.office import opened
from broker.store.engine import reading
from tests.faults.siege import info
from tests.integration.test_server_operator import run
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import Team, in_days
from tests.support.requests import RequestDesk

WAITING, DONE = pb.PERSON_REQUEST_STATE_WAITING_FOR_RECIPIENTS, pb.PERSON_REQUEST_STATE_DONE
TOLD, IMPOSSIBLE = pb.TELLING_OUTCOME_TOLD, pb.TELLING_OUTCOME_IMPOSSIBLE


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    # The store is scrubbed by the maintenance loop.
    home = tmp_path_factory.mktemp("broker") / "home"
    with BrokerProcess(home, environment={"SLUSS_MAINTAIN_S": "1"}) as broker:
        yield broker


@pytest.fixture(scope="module")
def team(broker):
    return Team(broker)


@pytest.fixture
def desk(broker):
    return RequestDesk(broker)


def released(broker, team, fields=("email=full",), **extra):
    """A person whose fields went to an authority, and the case."""
    person = broker.register(email="wrong@example.com", phone="+46701234567")
    case = team.approved(team.scope([person], fields), **extra)
    assert list(team.opened(case, team.release(case))) == [person]
    return person, case


def rectified(broker, desk, person, *, last=True):
    """A request by which the e-mail address was corrected."""
    etag = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    values = [person_pb2.FieldValue(field="email", value="right@example.com")]
    return desk.step("Rectify", desk.proven("rectification", person), values=values, person_etag=etag, last=last)


def ended(desk, request):
    """The request once the maintenance has recorded that it is done."""
    deadline = time.monotonic() + 30
    while not (found := desk.get(request.id).request).completed and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def refused(reason, call, /, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    assert info(caught.value).reason == reason


def test_a_rectification_waits_until_the_court_is_told(broker, team, desk):
    person, case = released(broker, team)
    done = rectified(broker, desk, person)
    assert done.state == WAITING
    assert [(each.case_id, each.name, each.address, each.outcome) for each in done.to_tell] == [
        (case, "Polisen", "Box 1", pb.TELLING_OUTCOME_UNSPECIFIED)
    ]
    assert "recipient_told" in done.possible
    refused("INVALID_REQUEST", desk.step, "NoteRecipientTold", done, case_id="L-2026-9999", outcome=TOLD)
    refused("INVALID_REQUEST", desk.step, "NoteRecipientTold", done, case_id=case, outcome=IMPOSSIBLE)
    refused(
        "INVALID_REQUEST", desk.step, "NoteRecipientTold", done, case_id=case, outcome=TOLD, reason="to a@example.com"
    )
    told = desk.step("NoteRecipientTold", done, case_id=case, outcome=TOLD, reason="by letter")
    assert (told.state, told.completed != "", told.to_tell[0].reason) == (DONE, True, "by letter")
    assert "recipient_told" not in told.possible
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "NoteRecipientTold", told, case_id=case, outcome=TOLD)


def test_who_got_none_of_the_corrected_fields_is_not_told(broker, team, desk):
    person, _ = released(broker, team, ("phone=full",))
    done = rectified(broker, desk, person)
    assert (done.state, list(done.to_tell)) == (DONE, [])


def test_what_was_corrected_before_it_was_taken_back_is_told_too(broker, team, desk):
    person, case = released(broker, team)
    begun = rectified(broker, desk, person, last=False)
    assert (len(begun.to_tell), "recipient_told" in begun.possible) == (1, False)
    refused("PERSON_REQUEST_WRONG_STATE", desk.step, "NoteRecipientTold", begun, case_id=case, outcome=TOLD)
    back = desk.step("WithdrawRequest", begun, reason="by phone")
    told = desk.step("NoteRecipientTold", back, case_id=case, outcome=TOLD)
    assert (told.state, told.to_tell[0].outcome) == (pb.PERSON_REQUEST_STATE_WITHDRAWN, TOLD)


def test_an_erasure_keeps_whom_to_tell_and_is_done_once_that_is_answered(broker, team, desk):
    person, case = released(broker, team)
    team.step(case, legal_pb2.CASE_STEP_CLOSE)
    erased = desk.step("Erase", desk.proven("erasure", person))
    assert (erased.state, erased.forgotten) == (WAITING, True)
    shown = RequestDesk(broker, "legal/anna").get(erased.id).request
    assert [(each.case_id, each.name) for each in shown.to_tell] == [(case, "Polisen")]
    refused("ROLE_NOT_ALLOWED", RequestDesk(broker, "internal/import").step, "NoteRecipientTold", shown, case_id=case)
    why = "the authority was dissolved"
    noted = RequestDesk(broker, "legal/anna").step(
        "NoteRecipientTold", shown, case_id=case, outcome=IMPOSSIBLE, reason=why
    )
    assert [(each.outcome, each.reason) for each in noted.to_tell] == [(IMPOSSIBLE, why)]
    assert desk.get(erased.id).timeline[-1].event in {"recipient_told", "completed"}


def wait_for_scrubbing(broker, cause):
    """Until nothing but people is waited for."""
    query = select(ERASURE.c.scrubbed_at).where(ERASURE.c.cause == cause)
    end = time.monotonic() + 60
    with opened(broker.home) as office:
        while True:
            with reading(office.engine) as connection:
                if all(connection.execute(query).scalars().all()):
                    return
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_complaint_that_erases_names_whom_to_tell(broker, team):
    person, case = released(broker, team)
    team.step(case, legal_pb2.CASE_STEP_CLOSE)
    stub = complaint_pb2_grpc.ComplaintServiceStub(broker.channel("privacy/team"))
    new = complaint_pb2.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, channel="email", kind="retention", about="still there"
    )
    new_one = stub.OpenComplaint(new, timeout=10).complaint
    outcome = complaint_pb2.SetOutcomeRequest(
        complaint_id=new_one.complaint_id, etag=new_one.etag, outcome="upheld", told="You were right."
    )
    etag = stub.SetOutcome(outcome, timeout=10).complaint.etag
    remedy = complaint_pb2.RemedyRequest(
        complaint_id=new_one.complaint_id, etag=etag, kind="erase_data", note="as asked for"
    )
    (made,) = stub.Remedy(remedy, timeout=10).complaint.remedies
    assert [(each.case_id, each.name) for each in made.to_tell] == [(case, "Polisen")]
    shown = complaint_pb2.GetComplaintRequest(complaint_id=new_one.complaint_id)
    held = stub.GetComplaint(shown, timeout=10).complaint
    assert list(held.remedies[0].to_tell) == list(made.to_tell)
    wait_for_scrubbing(broker, new_one.complaint_id)
    scrubbed = stub.GetComplaint(shown, timeout=10).complaint
    assert not scrubbed.remedies[0].done
    closing = complaint_pb2.CloseComplaintRequest(complaint_id=new_one.complaint_id, etag=scrubbed.etag)
    with pytest.raises(grpc.RpcError) as open_still:
        stub.CloseComplaint(closing, timeout=10)
    assert info(open_still.value).reason == "FILE_WRONG_STATE"
    told = complaint_pb2.RemedyRequest(
        complaint_id=new_one.complaint_id, etag=scrubbed.etag, kind="recipients_told", note="by letter"
    )
    after = stub.Remedy(told, timeout=10).complaint
    assert [each.outcome for each in after.remedies[0].to_tell] == [TOLD]
    assert after.remedies[0].done


def test_who_has_to_be_told_of_nothing_can_not_be_noted_as_told(broker):
    stub = complaint_pb2_grpc.ComplaintServiceStub(broker.channel("privacy/team"))
    new = complaint_pb2.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), complainant="a caller", channel="email", kind="other", about="noise"
    )
    new_one = stub.OpenComplaint(new, timeout=10).complaint
    decided = complaint_pb2.SetOutcomeRequest(
        complaint_id=new_one.complaint_id, etag=new_one.etag, outcome="upheld", told="You were right."
    )
    etag = stub.SetOutcome(decided, timeout=10).complaint.etag
    told = complaint_pb2.RemedyRequest(complaint_id=new_one.complaint_id, etag=etag, kind="recipients_told", note="x")
    with pytest.raises(grpc.RpcError) as refused:
        stub.Remedy(told, timeout=10)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_command_names_whom_to_tell_and_takes_the_note(broker, team, desk):
    from sluss_cli.main import build  # noqa: PLC0415 - slow to load

    def sluss(*line):
        done = CliRunner().invoke(build(), ["--profile", str(broker.profile("privacy/team")), *line])
        assert done.exit_code == 0, done.output
        return done.stdout

    person, case = released(broker, team)
    request = rectified(broker, desk, person)
    shown = sluss("request", "show", request.id)
    assert all(text in shown for text in ("1 recipient to be told by you", "Polisen", "Box 1", case, "not yet"))
    done = sluss("request", "told", request.id, case, "--outcome", "disproportionate", "--reason", "closed long ago")
    assert "is done" in done
    (told,) = json.loads(sluss("--json", "request", "show", request.id))["request"]["to_tell"]
    assert (told["case"], told["outcome"], told["reason"]) == (case, "disproportionate", "closed long ago")


def corrected(broker, person, *, rectification=True, field="email", etag="", value="right@example.com"):
    """The company corrects a value by itself."""
    shown = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=10)
    request = person_pb2.UpdatePersonRequest(
        person_id=person, values=[person_pb2.FieldValue(field=field, value=value)], source="call-centre",
        etag=etag or shown.etag, rectification=rectification,
    )  # fmt: skip
    return broker.persons().UpdatePerson(request, timeout=10)


def of(desk, person):
    return list(desk.stub.ListRequests(pb.ListRequestsRequest(person_id=person), timeout=10).requests)


def counted(desk):
    period = pb.GetRequestStatisticsRequest(first_day=in_days(-1), last_day=in_days(1))
    counts = desk.stub.GetRequestStatistics(period, timeout=10).counts
    return [(each.kind, each.received) for each in counts]


def test_a_correction_without_a_request_opens_one_for_those_who_have_to_tell(broker, team, desk):
    person, case = released(broker, team)
    contract, client = broker.live_contract()
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    before = counted(desk)
    corrected(broker, person)
    (opened_,) = of(desk, person)
    assert (opened_.channel, opened_.state, opened_.identity) == ("correction", WAITING, "none")
    assert [(each.case_id, each.outcome) for each in opened_.to_tell] == [(case, pb.TELLING_OUTCOME_UNSPECIFIED)]
    lines = [(event.event, event.text) for event in desk.get(opened_.id).timeline]
    assert lines == [("opened", ""), ("rectified", "email")]
    told = desk.step("NoteRecipientTold", opened_, case_id=case, outcome=TOLD)
    # The subcontractor owes it for the same cause, and is silent.
    assert (told.state, told.recipients, told.answered) == (WAITING, 1, 0)
    (owed,) = [each for each in client.obligations() if each.kind == "correct"]
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    client.attest(owed, "corrected")
    assert ended(desk, told).state == DONE
    assert counted(desk) == before
    items = broker.outbox("privacy/team").ListOutbox(outbox_pb2.ListOutboxRequest(), timeout=10).items
    assert "request" not in "".join(outbox_pb2.OutboxKind.Name(each.kind) for each in items if each.person_id == person)


@pytest.mark.parametrize(
    ("fields", "how"),
    [
        (("phone=full",), {}),
        (("email=full",), {"rectification": False}),
        (("email=full",), {"field": "phone", "value": "+46701234568"}),
    ],
)
def test_a_correction_that_no_recipient_of_a_release_has_to_hear_of_opens_none(broker, team, desk, fields, how):
    person, _ = released(broker, team, fields)
    corrected(broker, person, **how)
    assert of(desk, person) == []


def test_a_correction_that_is_refused_opens_none(broker, team, desk):
    person, _ = released(broker, team)
    refused("ETAG_STALE", corrected, broker, person, etag="4711")
    refused("INVALID_VALUE", corrected, broker, person, value="no address")
    assert of(desk, person) == []


def test_a_correction_behind_a_hidden_release_opens_none(broker, team, desk):
    person, _ = released(broker, team, hidden_until=in_days(30), secrecy_reason="the investigation")
    corrected(broker, person)
    assert of(desk, person) == []


def test_a_restore_names_the_cases_of_whom_it_erases_again_but_no_hidden_one(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker:
        team, desk = Team(broker), RequestDesk(broker)
        open_, case = released(broker, team)
        hidden, secret = released(broker, team, hidden_until=in_days(30), secrecy_reason="the investigation")
        for each in (case, secret):
            team.step(each, legal_pb2.CASE_STEP_CLOSE)
        run("backup", tmp_path / "before", "--home", broker.home)
        for person in (open_, hidden):
            desk.step("Erase", desk.proven("erasure", person))
        broker.stop()
        told = run("restore", tmp_path / "before", "--replace", "--home", broker.home, "--json").json
        assert (sorted(told["erased_again"]), told["cases_to_tell"]) == (sorted([open_, hidden]), [case])


def test_a_correction_for_a_release_that_becomes_secret_shows_no_more(broker, team, desk):
    """Nobody asked, so the request alone would tell that somebody has to be told; and the person is told of nothing."""
    person, case = released(broker, team)
    asked = desk.proven("access", person)
    corrected(broker, person)
    (opened_,) = [each for each in of(desk, person) if each.channel == "correction"]
    exported = json.loads(desk.export(asked.id)[0])
    assert [each["request"] for each in exported["requests"]] == [asked.id]
    assert [each["authority"] for each in exported["recipients_told"]] == [case]
    team.secrecy(case, in_days(30))
    for each in (desk, RequestDesk(broker, "internal/import"), RequestDesk(broker, "legal/anna")):
        assert [found.id for found in of(each, person)] == [asked.id]
        refused("PERSON_REQUEST_UNKNOWN", each.get, opened_.id)
    refused("PERSON_REQUEST_UNKNOWN", desk.step, "NoteRecipientTold", opened_, case_id=case, outcome=TOLD)
    assert opened_.id.encode() not in desk.export(asked.id)[0]


def test_what_was_told_of_a_release_that_becomes_secret_shows_no_more(broker, team, desk):
    person, case = released(broker, team)
    again = team.approved(team.scope([person], ("email=full",)))
    assert list(team.opened(again, team.release(again))) == [person]
    asked, done = desk.proven("access", person), rectified(broker, desk, person)
    for each in (case, again):
        done = desk.step("NoteRecipientTold", done, case_id=each, outcome=TOLD, reason="by letter")
    team.secrecy(case, in_days(30))
    told = [each.text for each in desk.get(done.id).timeline if each.event == "recipient_told"]
    assert told == [f"{again}: by letter"]
    exported, _ = desk.export(asked.id)
    assert b"recipient_told" not in exported
    assert [each["authority"] for each in json.loads(exported)["recipients_told"]] == [again]


def test_after_an_erasure_no_telling_shows_while_one_is_of_a_release_that_became_secret(broker, team, desk):
    person, case = released(broker, team)
    team.step(case, legal_pb2.CASE_STEP_CLOSE)
    erased = desk.step("Erase", desk.proven("erasure", person))
    told = RequestDesk(broker, "legal/anna").step("NoteRecipientTold", erased, case_id=case, outcome=TOLD)
    assert "recipient_told" in {each.event for each in desk.get(told.id).timeline}
    team.secrecy(case, in_days(30))
    assert "recipient_told" not in {each.event for each in desk.get(told.id).timeline}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hidden_release_shows_nowhere(broker, team, desk, when):
    hidden = {"hidden_until": in_days(30), "secrecy_reason": "the investigation"} if when == "before" else {}
    person, case = released(broker, team, **hidden)
    done = rectified(broker, desk, person)
    if when == "after":
        team.secrecy(case, in_days(30))
        done = ended(desk, done)
    assert (list(done.to_tell), case in str(done), "recipient_told" in done.possible) == ([], False, False)
    assert done.state == DONE
    refused(
        "PERSON_REQUEST_WRONG_STATE" if when == "before" else "INVALID_REQUEST",
        desk.step, "NoteRecipientTold", done, case_id=case, outcome=TOLD,
    )  # fmt: skip


def test_a_correction_that_is_said_twice_is_one(broker, team, desk):
    """Of a value that was mended before, by which the record does not change: a lost answer, and a retry."""
    person, case = released(broker, team)
    contract, client = broker.live_contract()
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    corrected(broker, person, rectification=False)
    etags = {corrected(broker, person).etag for _ in range(3)}
    assert len(etags) == 1
    (opened_,) = of(desk, person)
    assert (opened_.recipients, [each.case_id for each in opened_.to_tell]) == (1, [case])
    assert len([each for each in client.obligations() if each.kind == "correct"]) == 1
    corrected(broker, person, field="phone", value="+46701234568")
    corrected(broker, person)
    assert len(of(desk, person)) == 2


def test_an_erasures_entry_does_not_count_what_is_hidden(broker, team, desk):
    """Whoever has seen the accounting of before could tell the difference."""
    hidden, case = released(broker, team, hidden_until=in_days(30), secrecy_reason="the investigation")
    team.step(case, legal_pb2.CASE_STEP_CLOSE)
    told = []
    for person in (hidden, broker.register(email="plain@example.com")):
        contract, client = broker.live_contract()
        client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
        desk.step("Erase", desk.proven("erasure", person))
        with opened(broker.home) as office, reading(office.engine) as connection:
            index = connection.execute(select(ERASURE.c.entry).where(ERASURE.c.person == parse_person(person)))
            told.append(parse(office.ledger.entry(index.scalar_one()).entry)["ties"])
    assert told == [2, 2]
    assert run("ledger", "verify", "--home", broker.home).code == 0
