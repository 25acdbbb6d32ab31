"""The access export: complete by the tables' metadata, the same with a hidden release, readable in both languages."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sluss.v1 import (
    aggregate_pb2,
    aggregate_pb2_grpc,
    choice_pb2,
    complaint_pb2,
    complaint_pb2_grpc,
    compromise_pb2,
    compromise_pb2_grpc,
    erasure_pb2,
    erasure_pb2_grpc,
    person_pb2,
    policy_pb2,
)
from sluss.v1 import person_request_pb2 as pb
from sluss_legal.documents import access
from sqlalchemy import func, select
from sqlmodel import SQLModel

from broker.ids import parse_person
from broker.ledger.rows import read_entries
from broker.operator.office import opened
from broker.person_requests.access import DECIDED
from broker.store import tables
from broker.store.engine import reading
from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import Team, in_days
from tests.support.requests import RequestDesk

ENTRY = tables.core(tables.LedgerEntry)
HOLDS_NO_PERSON = {
    "catalogue", "certificate", "contract", "contract_version", "epoch", "head", "ledger_checkpoint", "ledger_entry",
    "ledger_tile", "policy_version", "recipient_key", "refusal_count", "request", "sealed_entry", "volume",
    "legal_document", "legal_event", "retention", "ledger_erased", "obligation_event", "outbox_consumer", "policy_text",
    "aggregate_answer", "aggregate_release", "aggregate_spent", "usage_combination", "usage_state",
}  # fmt: skip
"""Tables that hold nothing of a person who asks: settings, the ledger, others' cases, digests, anonymous numbers."""


def test_every_table_is_in_the_export_or_in_the_list_of_exceptions():
    assert tables.core
    undecided = set(SQLModel.metadata.tables) - set(DECIDED) - HOLDS_NO_PERSON
    assert not undecided, f"decide in access.DECIDED what an access export shows of {sorted(undecided)}"


def test_every_table_that_names_a_person_is_decided():
    named = {name for name, table in SQLModel.metadata.tables.items() if "person" in table.c}
    assert named <= set(DECIDED)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as broker:
        yield broker


@pytest.fixture
def request_(broker):
    """An access request whose person had a disclosure and has objected."""
    contract, client = broker.live_contract()
    values = {"email": "asa@example.com", "name__given": "Åsa <b>", "payment__iban": "SE4550000000058398257466"}
    person = broker.register(**values)
    client.disclose(contract, "billing", ["email", "payment.iban"], broker.handles(contract, person))
    desk = RequestDesk(broker)
    objection = desk.open("objection", person)
    desk.step("Object", objection, purposes=["offers.email"], channel="web")
    return desk.proven("access", person)


def test_the_export_holds_what_is_held(broker, request_):
    data, _ = RequestDesk(broker).export(request_.id)
    said = json.loads(data)
    on_record = broker.persons("privacy/team").GetPerson(
        person_pb2.GetPersonRequest(person_id=request_.person_id, include_values=True)
    )
    assert {each["field"]: each["value"] for each in said["fields"]} == {f.field: f.value for f in on_record.fields}
    assert [(each["purpose"], each["state"]) for each in said["choices"]] == [("offers.email", "out")]
    assert [each["kind"] for each in said["requests"]] == ["objection", "access"]
    assert [one["field"] for one in said["received"][0]["fields"]] == ["email", "payment.iban"]
    assert data == json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def new():
    return str(uuid.uuid4())


@pytest.fixture(scope="module")
def full(broker):
    """The export of a person of whom every room holds something, its digest, and the desk's request."""
    contract, client = broker.live_contract()
    person = broker.register(email="old@example.com", name__given="Åsa", payment__iban="SE4550000000058398257466")
    desk, privacy = RequestDesk(broker), broker.channel("privacy/team")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    choice = choice_pb2.ChoiceMade(
        purpose="offers", state=choice_pb2.CHOICE_STATE_OPTED_OUT, channels=["post", "phone"], medium="phone"
    )
    broker.choices().RecordChoice(
        choice_pb2.RecordChoiceRequest(
            person_id=person, choice=choice, source="call-centre", request_id=new(), evidence="call 17"
        ),
        timeout=10,
    )
    request = policy_pb2.RecordAcceptanceRequest(
        request_id=new(), person_id=person, version="2026-01", source="registration"
    )
    broker.policies("internal/import").RecordAcceptance(request, timeout=10)
    day = datetime.now(UTC) - timedelta(days=2)
    events = [
        aggregate_pb2.UsageEvent(
            person_id=person, event="advertisement.visited", at=day.strftime("%Y-%m-%dT12:00:00.000000Z"), seconds=32,
            attributes={"advertisement": "spring_trial", "country": "SE"}, id=name,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    usage = aggregate_pb2_grpc.AggregateServiceStub(broker.channel("internal/import"))
    assert usage.RecordUsage(aggregate_pb2.RecordUsageRequest(request_id=new(), events=events), timeout=10).recorded
    about = complaint_pb2.OpenComplaintRequest(
        request_id=new(), person_id=person, channel="email", kind="disclosure", about="a letter", links=[contract]
    )
    complaints = complaint_pb2_grpc.ComplaintServiceStub(privacy)
    opened = complaints.OpenComplaint(about, timeout=10).complaint
    note = complaint_pb2.ChangeComplaintRequest(
        complaint_id=opened.complaint_id, etag=opened.etag, note="CANARY-INTERNAL-NOTE"
    )
    etag = complaints.ChangeComplaint(note, timeout=10).complaint.etag
    decided = complaint_pb2.SetOutcomeRequest(
        complaint_id=opened.complaint_id, etag=etag, outcome="upheld", told="You were right."
    )
    complaints.SetOutcome(decided, timeout=10)
    hold = erasure_pb2.PlaceHoldRequest(request_id=new(), person_id=person, reason="CANARY-HOLD")
    erasure_pb2_grpc.ErasureServiceStub(broker.channel("legal/anna")).PlaceHold(hold, timeout=10)
    shown = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person))
    values = [person_pb2.FieldValue(field="email", value="new@example.com")]
    fixed = desk.proven("rectification", person)
    desk.step("Rectify", fixed, values=values, person_etag=shown.etag, note="moved", last=True)
    refusal = desk.proven("erasure", person)
    desk.step("RefuseRequest", refusal, ground="legal_claims", told="A claim is pending.")
    report = compromise_pb2.ReportCompromiseRequest(
        request_id=new(), person_id=person, suspect_from="2026-01-01T00:00:00.000000Z", how="by phone"
    )
    compromise_pb2_grpc.CompromiseServiceStub(privacy).ReportCompromise(report, timeout=10)
    data, last = desk.export(desk.proven("access", person).id)
    return data, last.sha256.hex()


def test_the_export_holds_what_every_room_holds(full):
    said = json.loads(full[0])
    choice = said["choices"][0]
    assert (choice["purpose"], choice["channels"], choice["medium"]) == ("offers", ["phone", "post"], "phone")
    assert (choice["source"], choice["evidence"], choice["policy"]) == ("call-centre", "call 17", said["policy"])
    assert [each["version"] for each in said["acceptances"]] == [said["policy"]]
    used = said["usage"][0]
    assert (used["event"], used["events"], used["seconds"]) == ("advertisement.visited", 2, 64)
    complaint = said["complaints"][0]
    assert (complaint["about"], complaint["outcome"], complaint["told"]) == ("a letter", "upheld", "You were right.")
    assert [each["locked"] for each in said["compromises"]] == [True]
    assert [each["field"] for each in said["former_values"]] == ["email"]
    assert {each["kind"] for each in said["requests"]} == {"access", "rectification", "erasure"}
    assert {"request_received", "credential_reset"} <= {each["kind"] for each in said["messages"]}


def test_neither_a_hold_nor_a_note_nor_a_former_value_is_in_the_export(broker, full, request_):
    for word in (b"CANARY-HOLD", b"CANARY-INTERNAL-NOTE", b"old@example.com", b"H-2026"):
        assert word not in full[0]
    other, _ = RequestDesk(broker).export(request_.id)
    assert json.loads(other)["keeping"] == json.loads(full[0])["keeping"]


@pytest.mark.parametrize("language", ["sv", "en"])
def test_the_documents_read_in_both_languages(broker, request_, language):
    data, last = RequestDesk(broker).export(request_.id)
    about = access.access(data, last.sha256.hex())
    page = access.html_of(about, language).decode()
    assert {"sv": "Dina personuppgifter", "en": "Your personal data"}[language] in page
    assert "Åsa &lt;b&gt;" in page
    assert "Acme Pay AB" in page
    assert access.pdf_of(about, language).startswith(b"%PDF-")


def memory(broker):
    """The most that the broker's process has had resident, in MiB."""
    with Path(f"/proc/{broker.process.pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def test_an_export_of_20_000_recipients_rows_arrives_whole_in_bounded_memory(broker):
    contract, client = broker.live_contract()
    person = broker.register(email="often@example.com")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    desk = RequestDesk(broker)
    request, before = desk.proven("access", person), memory(broker)
    with opened(broker.home) as office:
        with reading(office.engine) as connection:
            (last,) = connection.execute(select(func.max(ENTRY.c.id)).where(ENTRY.c.type == "disclosure")).one()
            disclosure = read_entries(connection, last, 1)[0].entry
        with office.ledger.transaction() as tx:
            for _ in range(20_000):
                tx.append(disclosure, persons=[parse_person(person)])
    parts = list(desk.stub.ExportAccess(pb.ExportAccessRequest(id=request.id), timeout=240))
    assert {len(part.part) for part in parts[:-1]} == {256 * 1024}
    said = json.loads(b"".join(part.part for part in parts))
    assert len({each["entry"] for each in said["received"]}) == 20_001
    assert memory(broker) - before < 160


def test_another_document_is_no_export():
    for data in (b"[]", b'{"type":"access","v":2}', b"{}"):
        with pytest.raises(ValueError, match="no access export"):
            access.access(data, "")


def test_the_command_writes_closed_files_and_the_hand_over_ends_it(broker, request_, tmp_path):
    def run(*line, code=0):
        done = sluss_command.invoke(
            sluss_command.clients(), ["--profile", str(broker.profile("privacy/team")), "--json", *line]
        )
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    out = tmp_path / "out"
    made = run("request", "export", request_.id, "--out", str(out), "--language", "sv")
    assert sorted(path.suffix for path in out.iterdir()) == [".html", ".json", ".pdf", ".receipt"]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert out.stat().st_mode & 0o777 == 0o700
    # Another export is another document: neither is written over, and the ledger knows of none that nobody has.
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    timeline = run("request", "show", request_.id)["timeline"]
    refused = run("request", "export", request_.id, "--out", str(out), "--language", "en", code=2)["error"]
    assert refused["metadata"] == {"file": str(out / f"{request_.id}.json")}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run("request", "show", request_.id)["timeline"] == timeline
    run("request", "export", request_.id, "--out", str(tmp_path / "second"), "--language", "en")
    done = run("request", "hand-over", request_.id, "--sha256", made["sha256"], "--how", "by post")
    assert done["request"]["state"] == "done"
    assert run("request", "show", request_.id)["timeline"][-1]["event"] == "handed_over"
    assert request_.id in {each["id"] for each in run("request", "list")["requests"]}
    assert run("request", "statistics", "--from", "2020-01-01", "--until", "2099-12-31")["counts"][0]["done"] == 1


def test_the_document_is_in_the_language_in_which_it_was_asked_for(broker, tmp_path):
    desk, person = RequestDesk(broker), broker.register(email="english@example.com")
    request = desk.step(
        "NoteIdentityCheck",
        desk.open("access", person, language="en"),
        method="eid",
        result=pb.IDENTITY_RESULT_PASSED,
    )
    line = ["--profile", str(broker.profile("privacy/team")), "request", "export", request.id]
    done = sluss_command.invoke(sluss_command.clients(), [*line, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / f"{request.id}.en.pdf").exists()
    # What stands in lines is read in lines.
    assert "td,dd,p{white-space:pre-line}" in (tmp_path / "out" / f"{request.id}.en.html").read_text()


def test_the_command_tells_whom_a_masked_export_needs(broker, request_, tmp_path):
    request = RequestDesk(broker).proven("access", request_.person_id)
    line = ["--profile", str(broker.profile("internal/import")), "request", "export", request.id]
    done = sluss_command.invoke(sluss_command.clients(), [*line, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Financial values are masked" in done.output
    assert "hand-over" not in done.output


def without_times(data):
    """An export without its own time, the salt that follows from it, and the exports that left before."""
    said = json.loads(data)
    del said["made"], said["salt"]
    for request in said["requests"]:
        request["events"] = [event for event in request["events"] if event["event"] != "exported"]
    return json.dumps(said)


def test_an_export_reads_the_same_with_a_hidden_release(broker, request_):
    desk, team = RequestDesk(broker), Team(broker)
    request = desk.proven("access", request_.person_id)
    desk.export(request.id)
    before = without_times(desk.export(request.id)[0])
    hidden = {"hidden_until": in_days(30), "secrecy_reason": "the investigation"}
    case = team.approved(team.scope([request_.person_id]), **hidden)
    assert list(team.opened(case, team.release(case))) == [request_.person_id]
    assert without_times(desk.export(request.id)[0]) == before
    team.secrecy(case, "")
    after = json.loads(desk.export(request.id)[0])["received"]
    assert [(each["kind"], each["recipient"]) for each in after][1:] == [("release", "Polisen")]


def test_the_export_tells_who_deleted_and_who_was_told_of_a_correction(broker):
    contract, client = broker.live_contract()
    desk, team = RequestDesk(broker), Team(broker)
    person = broker.register(email="fel@example.com")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    case = team.approved(team.scope([person]))
    assert list(team.opened(case, team.release(case))) == [person]
    request = desk.proven("access", person)

    def exported():
        return json.loads(desk.export(request.id)[0])

    def owed(kind):
        return next(each for each in client.obligations() if (each.kind, each.contract) == (kind, contract))

    assert owed("delete_by")
    before = exported()
    assert [each["deletion"]["state"] for each in before["received"]] == ["open", ""]
    assert before["recipients_told"] == []
    etag = broker.persons("privacy/team").GetPerson(person_pb2.GetPersonRequest(person_id=person)).etag
    values = [person_pb2.FieldValue(field="email", value="ratt@example.com")]
    wrong = desk.step("Rectify", desk.proven("rectification", person), values=values, person_etag=etag, last=True)
    covered = owed("delete_by")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    client.attest(owed("correct"), "corrected")
    client.attest(covered, "deleted")
    wrong = desk.get(wrong.id).request
    told = {"case_id": case, "outcome": pb.TELLING_OUTCOME_TOLD, "reason": "by letter"}
    desk.step("NoteRecipientTold", wrong, **told)
    after, last = desk.export(request.id)
    said = json.loads(after)
    # What came behind the entries that it attests is not deleted.
    assert [each["deletion"]["answer"] for each in said["received"]] == ["deleted", "", ""]
    assert said["received"][0]["deletion"]["answered_at"]
    assert [(each["recipient"], each["authority"], each["answer"]) for each in said["recipients_told"]] == [
        (said["received"][0]["recipient"], contract, "corrected"), ("Polisen", case, "told"),
    ]  # fmt: skip
    page = access.html_of(access.access(after, last.sha256.hex()), "en").decode()
    assert all(text in page for text in ("Who was told of corrections", "deleted", "Polisen"))


def test_each_purpose_says_on_what_it_rests(broker, request_):
    desk = RequestDesk(broker)
    said = json.loads(desk.export(desk.proven("access", request_.person_id).id)[0])
    bases = {each["class"]: each["basis"] for each in said["purposes"]}
    assert bases["anonymous"].startswith("none: numbers about many persons")
    assert bases["legal"] == "GDPR Art. 6(1)(c), 6(1)(f)"
    assert all(each["basis"].startswith("none") == (each["class"] == "anonymous") for each in said["purposes"])


@pytest.mark.parametrize("language", ["sv", "en"])
def test_the_documents_show_what_the_export_says(full, language):
    about = access.access(*full)
    page, said = access.html_of(about, language).decode(), about.said
    assert access.pdf_of(about, language).startswith(b"%PDF-")
    shown = [
        *[said["complaints"][0][name] for name in ("complaint", "about", "told")],
        *[each[name] for each in said["requests"] for name in ("request", "deadline", "asked", "told")],
        *[each["evidence"] for each in (*said["choices"], *said["acceptances"])],
        *[each[f"label_{language}"] for each in said["usage"]],
        *[each["retain_until"] for each in said["received"]],
        *[each["kept_until"][:10] for each in said["former_values"]],
        said["compromises"][0]["report"],
    ]
    assert [each for each in shown if each not in page] == []
    assert "request_received" not in page
    assert f"{said['usage'][0]['day'][:7]}<" in page
