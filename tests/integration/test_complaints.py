"""Complaints and reports of stolen passwords, against a real broker."""

from __future__ import annotations

import json
import uuid

import grpc
import pytest
from sluss.v1 import choice_pb2, complaint_pb2_grpc, compromise_pb2, compromise_pb2_grpc, person_pb2, person_request_pb2
from sluss.v1 import complaint_pb2 as pb
from sluss_cli.main import build
from sluss_client.errors import LedgerInconsistent, from_rpc_error
from sqlalchemy import select, update
from typer.testing import CliRunner

from broker.case_files import FILE
from broker.operator.office import opened
from tests.support.broker import BrokerProcess
from tests.support.requests import RequestDesk


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("complaints")) as running:
        yield running


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = from_rpc_error(caught.value)
    return "LEDGER_INCONSISTENT" if isinstance(error, LedgerInconsistent) else error.reason


def test_a_complaint_is_decided_remedied_and_closed_in_that_order(broker):
    stub = complaint_pb2_grpc.ComplaintServiceStub(broker.channel("privacy/team"))
    contract, _ = broker.live_contract()
    person = broker.register(email="klagan@example.com")
    request = pb.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, channel="email", kind="disclosure", about="a letter",
        links=[contract, "0"],
    )  # fmt: skip
    opened = stub.OpenComplaint(request, timeout=10).complaint
    assert stub.OpenComplaint(request, timeout=10).complaint.complaint_id == opened.complaint_id
    name = opened.complaint_id
    close = pb.CloseComplaintRequest(complaint_id=name, etag=opened.etag)
    assert refused(lambda: stub.CloseComplaint(close, timeout=10)) == "FILE_WRONG_STATE"
    unknown = pb.ChangeComplaintRequest(complaint_id=name, etag=opened.etag, links=["999999"])
    assert refused(lambda: stub.ChangeComplaint(unknown, timeout=10)) == "FILE_UNKNOWN"
    told = pb.SetOutcomeRequest(complaint_id=name, etag=opened.etag, outcome="upheld", told="You were right.")
    decided = stub.SetOutcome(told, timeout=10).complaint
    assert refused(lambda: stub.SetOutcome(told, timeout=10)) == "ETAG_STALE"
    suspend = pb.RemedyRequest(
        complaint_id=name, etag=decided.etag, kind="suspend_contract", contract_id=contract, note="passed on"
    )
    remedied = stub.Remedy(suspend, timeout=10).complaint
    assert remedied.remedies[0].done
    erase = pb.RemedyRequest(complaint_id=name, etag=remedied.etag, kind="erase_data", note="as asked for")
    erased = stub.Remedy(erase, timeout=10).complaint
    shown = stub.GetComplaint(pb.GetComplaintRequest(complaint_id=name), timeout=10)
    assert (shown.complaint.person_id, shown.complaint.about, shown.complaint.told) == ("", "", "")
    assert [each.event for each in shown.timeline] == ["opened", "decided", "remedied", "remedied"]
    if not erased.remedies[1].done:
        early = pb.CloseComplaintRequest(complaint_id=name, etag=erased.etag)
        assert refused(lambda: stub.CloseComplaint(early, timeout=10)) == "FILE_WRONG_STATE"
    counts = stub.GetComplaintStatistics(
        pb.GetComplaintStatisticsRequest(first_day=f"{name[2:6]}-01-01", last_day=f"{name[2:6]}-12-31"), timeout=10
    ).counts
    assert ("disclosure", "upheld", 1) in [(each.kind, each.outcome, each.count) for each in counts]


def test_a_stolen_password_lets_only_opt_outs_through_until_it_is_reinstated(broker):
    stub = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("internal/import"))
    desk = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))
    person = broker.register(email="stulen@example.com")
    request = compromise_pb2.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()), person_id=person, suspect_from="2026-01-01T00:00:00.000000Z", how="by phone"
    )
    report = stub.ReportCompromise(request, timeout=10).report
    persons = broker.persons()
    shown = persons.GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=10)
    assert shown.credential_locked_by == report.report_id

    def choose(state):
        made = choice_pb2.ChoiceMade(purpose="partners.email", state=state, medium="web")
        request = choice_pb2.RecordChoiceRequest(
            request_id=str(uuid.uuid4()), person_id=person, source="web", choice=made
        )
        return broker.choices().RecordChoice(request, timeout=10)

    assert refused(lambda: choose(choice_pb2.CHOICE_STATE_OPTED_IN)) == "CREDENTIAL_LOCKED"
    choose(choice_pb2.CHOICE_STATE_OPTED_OUT)
    early = compromise_pb2.CloseReportRequest(report_id=report.report_id, etag=report.etag, reason="done")
    assert refused(lambda: desk.CloseReport(early, timeout=10)) == "FILE_WRONG_STATE"
    again = compromise_pb2.ReinstateCredentialRequest(report_id=report.report_id, etag=report.etag, reason="new one")
    request.request_id = str(uuid.uuid4())
    other = stub.ReportCompromise(request, timeout=10).report
    reply = desk.ReinstateCredential(again, timeout=10)
    reinstated = reply.report
    assert (reinstated.locked, reply.still_locked_by) == (False, other.report_id)
    assert refused(lambda: choose(choice_pb2.CHOICE_STATE_OPTED_IN)) == "CREDENTIAL_LOCKED"
    words = ("compromise", "reinstate", other.report_id, "--reason", "new one")
    done = CliRunner().invoke(build(), ["--profile", str(broker.profile("privacy/team")), "--json", *words])
    assert json.loads(done.stdout)["still_locked_by"] == ""
    choose(choice_pb2.CHOICE_STATE_OPTED_IN)
    closing = compromise_pb2.CloseReportRequest(report_id=report.report_id, etag=reinstated.etag, reason="done")
    assert desk.CloseReport(closing, timeout=10).report.state == "closed"


def test_an_internal_service_and_a_subcontractor_report_only_what_they_may(broker):
    other = compromise_pb2.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()),
        principal="privacy/team",
        suspect_from="2026-01-01T00:00:00.000000Z",
        how="a guess",
    )
    for name in ("internal/import", "subcontractor/acme"):
        stub = compromise_pb2_grpc.CompromiseServiceStub(broker.channel(name))
        assert refused(lambda stub=stub: stub.ReportCompromise(other, timeout=10)) == "ROLE_NOT_ALLOWED"


def test_a_row_that_somebody_changed_is_refused(broker):
    stub = complaint_pb2_grpc.ComplaintServiceStub(broker.channel("privacy/team"))
    request = pb.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), complainant="a caller", channel="phone", kind="other", about="noise"
    )
    name = stub.OpenComplaint(request, timeout=10).complaint.complaint_id
    for column, value in (("state", "closed"), ("handler", "privacy/other"), ("due_at", 1), ("opened_at", 1)):
        with opened(broker.home) as office, office.engine.begin() as connection:
            before = connection.execute(select(FILE.c[column]).where(FILE.c.id == name)).scalar_one()
            connection.execute(update(FILE).where(FILE.c.id == name).values({column: value}))
        found = refused(lambda: stub.GetComplaint(pb.GetComplaintRequest(complaint_id=name), timeout=10))
        with opened(broker.home) as office, office.engine.begin() as connection:
            connection.execute(update(FILE).where(FILE.c.id == name).values({column: before}))
        assert found == "LEDGER_INCONSISTENT", column
    assert stub.GetComplaint(pb.GetComplaintRequest(complaint_id=name), timeout=10).complaint.about == "noise"


def test_a_stolen_password_gets_no_request_export_or_changed_row_through_an_internal_service(broker):
    desk = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))
    person = broker.register(customer_number="K-LOCKED", email="locked@example.com")
    inside, team = RequestDesk(broker, "internal/import"), RequestDesk(broker)
    begun = {kind: team.open(kind, person) for kind in ("access", "objection")}
    proven = team.proven("access", person)
    loose = inside.open("erasure")
    request = compromise_pb2.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()), person_id=person, suspect_from="2026-01-01T00:00:00.000000Z", how="by phone"
    )
    report = desk.ReportCompromise(request, timeout=10).report
    passed = {"method": "eid", "result": person_request_pb2.IDENTITY_RESULT_PASSED}
    for kind in ("access", "rectification", "erasure"):
        assert refused(lambda kind=kind: inside.open(kind, person)) == "CREDENTIAL_LOCKED"
    for call in (
        lambda: inside.step("NoteIdentityCheck", begun["access"], **passed),
        lambda: inside.step("NoteIdentityCheck", loose, person_id=person, **passed),
        lambda: inside.step("WithdrawRequest", begun["objection"], reason="changed my mind"),
        lambda: inside.export(proven.id),
    ):
        assert refused(call) == "CREDENTIAL_LOCKED"

    def load(email, name="internal/import"):
        values = {"customer_number": "K-LOCKED", "email": email}
        row = person_pb2.ImportRow(
            line=1, values=[person_pb2.FieldValue(field=field, value=value) for field, value in values.items()]
        )
        batch = person_pb2.ImportPersonsRequest(source="import:crm", rows=[row])
        (result,) = next(broker.persons(name).ImportPersons(iter([batch]), timeout=10)).results
        return person_pb2.ImportResult.Outcome.Name(result.outcome)[8:], [each.reason for each in result.faults]

    assert load("thief@example.com") == ("FAULTY", ["CREDENTIAL_LOCKED"])
    assert load("locked@example.com") == ("UNCHANGED", [])
    # What only protects passes, and the privacy team may do everything.
    objection = inside.open("objection", person)
    assert inside.step("Object", objection, purposes=["offers.email"], channel="web").fulfilled
    assert team.step("NoteIdentityCheck", begun["access"], **passed).person_id == person
    assert team.open("rectification", person).person_id == person
    again = compromise_pb2.ReinstateCredentialRequest(report_id=report.report_id, etag=report.etag, reason="new one")
    desk.ReinstateCredential(again, timeout=10)
    assert inside.open("access", person).person_id == person
    assert load("moved@example.com") == ("UPDATED", [])
