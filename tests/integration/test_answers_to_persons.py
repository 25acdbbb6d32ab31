"""What persons are told over the outbox: answers with reasons and rights, complaints, and nothing to a thief."""

from __future__ import annotations

import time
import uuid
from datetime import date, timedelta

import grpc
import pytest
from examples.registration.letters import letter
from sluss.v1 import choice_pb2, complaint_pb2, complaint_pb2_grpc, compromise_pb2, compromise_pb2_grpc, person_pb2
from sluss.v1 import outbox_pb2 as ob

from tests.faults.siege import info
from tests.support.broker import BrokerProcess
from tests.support.requests import RequestDesk

TIMEOUT_S = 10


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as broker:
        yield broker


def messages(broker, person, kind, *, wait_s=10.0):
    """The messages of a kind to a person, as a new consumer gets them; none after the wait."""
    request = ob.WatchOutboxRequest(consumer=f"t{uuid.uuid4().hex[:20]}", kinds=[kind], window=1000)
    stream = broker.outbox("internal/import").WatchOutbox(request, timeout=wait_s)
    try:
        for reply in stream:
            if reply.HasField("item") and reply.item.person_id == person:
                return [reply.item]
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    finally:
        stream.cancel()
    return []


def complaints(broker, name="privacy/team"):
    return complaint_pb2_grpc.ComplaintServiceStub(broker.channel(name))


def complaint(person, **more):
    return complaint_pb2.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, channel="web", kind="choice", about="I said no", **more
    )


@pytest.mark.parametrize(("language", "said"), [("sv", "nej (sms, e-post)"), ("en", "no (text message, e-mail)")])
def test_a_choice_for_some_channels_is_confirmed_for_these(broker, language, said):
    out = choice_pb2.ChoiceMade(purpose="offers", state=choice_pb2.CHOICE_STATE_OPTED_OUT, medium="web")
    out.channels.extend(["sms", "email"])
    request = person_pb2.RegisterPersonRequest(
        request_id=str(uuid.uuid4()), source="web", choices=[out], accepted_policy="2026-01",
        values=[
            person_pb2.FieldValue(field="email", value=f"{language}@example.com"),
            person_pb2.FieldValue(field="language", value=language),
        ],
    )  # fmt: skip
    person = broker.persons().RegisterPerson(request, timeout=TIMEOUT_S).person_id
    (item,) = messages(broker, person, ob.OUTBOX_KIND_REGISTRATION_CONFIRMATION)
    _, text = letter(item)
    assert f": {said}" in text
    assert {"sv": "Du har godkänt version 2026-01.", "en": "You have accepted version 2026-01."}[language] in text


def test_a_refusal_has_its_ground_its_reasons_and_the_rights_in_the_language_of_the_request(broker):
    desk, person = RequestDesk(broker), broker.register(email="nej@example.com", language="sv")
    request = desk.open("objection", person, language="en")
    desk.step("RefuseRequest", request, ground="overriding_grounds", told="A claim against us is pending.")
    (item,) = messages(broker, person, ob.OUTBOX_KIND_REQUEST_ANSWERED)
    assert (item.decision.about, item.decision.outcome) == ("objection", "refused")
    assert (item.decision.ground, item.language) == ("overriding_grounds", "en")
    subject, text = letter(item)
    assert subject == f"Your request {request.id} is refused"
    for said in ("outweigh yours", "A claim against us is pending.", "www.imy.se", "go to court"):
        assert said in text


def test_what_is_done_reads_otherwise_than_a_refusal(broker):
    desk, person = RequestDesk(broker), broker.register(email="klar@example.com", language="sv")
    request = desk.open("objection", person)
    desk.step("Object", request, purposes=["offers.email"], channel="web")
    (item,) = messages(broker, person, ob.OUTBOX_KIND_REQUEST_ANSWERED)
    assert (item.decision.outcome, item.decision.ground, item.decision.told) == ("done", "", "")
    subject, text = letter(item)
    assert subject == f"Din begäran {request.id} är klar"
    assert "din invändning är registrerad" in text


def test_whoever_asked_is_told_in_the_language_asked_in_by_when_and_why_it_takes_longer(broker):
    desk, person = RequestDesk(broker), broker.register(email="wait@example.com", language="sv")
    request = desk.open("access", person, language="en")
    (item,) = messages(broker, person, ob.OUTBOX_KIND_REQUEST_RECEIVED)
    assert (item.language, dict(item.references)) == ("en", {"request": request.id, "due": request.deadline})
    assert not item.HasField("decision")
    assert f"answer by {request.deadline}" in letter(item)[1]
    later = desk.step("ExtendDeadline", request, months=2, reason="Nine systems have to be searched.")
    (item,) = messages(broker, person, ob.OUTBOX_KIND_DEADLINE_EXTENDED)
    assert (item.language, dict(item.references)) == ("en", {"request": request.id, "due": later.deadline})
    assert (item.decision.about, item.decision.outcome) == ("access", "extended")
    subject, text = letter(item)
    assert subject == f"Our answer to your request {request.id} takes longer"
    assert f"answer by {later.deadline}" in text
    assert "Nine systems have to be searched." in text


def test_whoever_complained_is_told_of_the_later_day_and_of_no_note(broker):
    person = broker.register(email="klagan2@example.com", language="sv")
    opened = complaints(broker).OpenComplaint(complaint(person), timeout=TIMEOUT_S).complaint
    day = str(date.fromisoformat(opened.due_at[:10]) + timedelta(days=60))
    later = complaint_pb2.ChangeComplaintRequest(
        complaint_id=opened.complaint_id, etag=opened.etag, due_on=day, note="INTERNAL: they hide something"
    )
    complaints(broker).ChangeComplaint(later, timeout=TIMEOUT_S)
    (item,) = messages(broker, person, ob.OUTBOX_KIND_DEADLINE_EXTENDED)
    subject, text = letter(item)
    assert subject == f"Vårt svar på ditt klagomål {opened.complaint_id} dröjer"
    assert f"senast den {item.references['due']}" in text
    assert "INTERNAL" not in str(item)


def test_a_complaint_is_confirmed_and_its_outcome_told(broker):
    person = broker.register(email="klagan@example.com", language="en")
    opened = complaints(broker).OpenComplaint(complaint(person), timeout=TIMEOUT_S).complaint
    (item,) = messages(broker, person, ob.OUTBOX_KIND_COMPLAINT_RECEIVED)
    assert item.references["complaint"] == opened.complaint_id
    assert f"answer by {opened.due_at[:10]}" in letter(item)[1]
    decide = complaint_pb2.SetOutcomeRequest(
        complaint_id=opened.complaint_id, etag=opened.etag, outcome="partly", told="The second mail was wrong."
    )
    complaints(broker).SetOutcome(decide, timeout=TIMEOUT_S)
    (item,) = messages(broker, person, ob.OUTBOX_KIND_COMPLAINT_ANSWERED)
    subject, text = letter(item)
    assert subject == f"Our answer to your complaint {opened.complaint_id}"
    for said in ("right in part", "The second mail was wrong.", "www.imy.se"):
        assert said in text


def test_a_web_form_hands_in_a_complaint_and_learns_nothing_by_it(broker):
    person, inside = broker.register(email="form@example.com"), complaints(broker, "internal/import")
    request = complaint(person)
    opened = inside.OpenComplaint(request, timeout=TIMEOUT_S).complaint
    assert (opened.person_id, opened.state, opened.handler) == (person, "received", "")
    team = complaints(broker)
    shown = team.GetComplaint(
        complaint_pb2.GetComplaintRequest(complaint_id=opened.complaint_id), timeout=TIMEOUT_S
    ).complaint
    assert (shown.about, shown.handler) == ("I said no", "")
    linked = complaint_pb2.ChangeComplaintRequest(complaint_id=shown.complaint_id, etag=shown.etag, links=["0"])
    etag = team.ChangeComplaint(linked, timeout=TIMEOUT_S).complaint.etag
    decide = complaint_pb2.SetOutcomeRequest(
        complaint_id=shown.complaint_id, etag=etag, outcome="upheld", told="You were right."
    )
    team.SetOutcome(decide, timeout=TIMEOUT_S)
    again = inside.OpenComplaint(request, timeout=TIMEOUT_S).complaint
    assert (again.complaint_id, again.told, again.outcome, list(again.links)) == (opened.complaint_id, "", "", [])
    for call in (
        lambda: inside.OpenComplaint(complaint(person, links=["0"]), timeout=TIMEOUT_S),
        lambda: inside.OpenComplaint(complaint(person, links=["999999"]), timeout=TIMEOUT_S),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert info(caught.value).reason == "INVALID_REQUEST"


def update(broker, who, person, email):
    stub = broker.persons(who)
    etag = stub.GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=TIMEOUT_S).etag
    request = person_pb2.UpdatePersonRequest(
        person_id=person, etag=etag, values=[person_pb2.FieldValue(field="email", value=email)], source="account"
    )
    stub.UpdatePerson(request, timeout=TIMEOUT_S)


def stolen(broker, person):
    request = compromise_pb2.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()), person_id=person, suspect_from="2026-01-01T00:00:00.000000Z", how="by phone"
    )
    stub = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))
    return stub, stub.ReportCompromise(request, timeout=TIMEOUT_S).report


def held(broker, person):
    stub = broker.outbox("privacy/team")
    listed = stub.ListOutbox(ob.ListOutboxRequest(page_size=200), timeout=TIMEOUT_S).items
    return {each.kind: each.held_back for each in listed if each.person_id == person}


@pytest.mark.parametrize("mend", ["corrected", "reinstated"])
def test_nothing_goes_to_an_address_that_the_thief_may_have_set(broker, mend):
    person = broker.register(email="owner@example.com")
    # Times of collection are whole seconds.
    time.sleep(1.1)
    update(broker, "internal/import", person, "thief@example.com")
    stub, report = stolen(broker, person)
    reset = ob.OUTBOX_KIND_CREDENTIAL_RESET
    assert held(broker, person)[reset]
    assert not messages(broker, person, reset, wait_s=1.5)
    if mend == "corrected":
        time.sleep(1.1)
        update(broker, "privacy/team", person, "owner@example.com")
    else:
        request = compromise_pb2.ReinstateCredentialRequest(
            report_id=report.report_id, etag=report.etag, reason="seen in person"
        )
        stub.ReinstateCredential(request, timeout=TIMEOUT_S)
    assert not held(broker, person)[reset]
    (item,) = messages(broker, person, reset)
    assert item.email == ("owner@example.com" if mend == "corrected" else "thief@example.com")


def test_an_address_that_nobody_has_changed_is_told_at_once(broker):
    person = broker.register(email="same@example.com")
    stolen(broker, person)
    assert not held(broker, person)[ob.OUTBOX_KIND_CREDENTIAL_RESET]
    assert messages(broker, person, ob.OUTBOX_KIND_CREDENTIAL_RESET)
