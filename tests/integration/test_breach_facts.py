"""The facts for a breach notice: from the ledger, in both languages, with places for what is missing."""

from __future__ import annotations

import contextlib
import html
import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from babel.messages.extract import extract_from_file
from sluss.v1 import compromise_pb2 as pb
from sluss.v1 import compromise_pb2_grpc, legal_pb2
from sluss_client.errors import LedgerInconsistent, PermissionDenied, from_rpc_error
from sluss_legal.documents import breach
from sluss_legal.tongue import tongue_of

from broker.ledger import entry
from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import BO, Team, in_days
from tests.support.requests import RequestDesk

SINCE = "2026-01-01T00:00:00.000000Z"
HOW = "a laptop <b>was</b> #stolen"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("facts") / "home") as running:
        yield running


def stub(broker):
    return compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))


def reported(broker, **subject):
    request = pb.ReportCompromiseRequest(request_id=str(uuid.uuid4()), suspect_from=SINCE, how=HOW, **subject)
    return stub(broker).ReportCompromise(request, timeout=10).report


@pytest.fixture(scope="module")
def report(broker):
    """Of a recipient that had received data of two persons, one of them twice."""
    contract, client = broker.live_contract()
    one, two = (broker.register(email=f"m{n}@example.com", payment__iban="SE4550000000058398257466") for n in (1, 2))
    client.disclose(contract, "billing", ["email"], broker.handles(contract, one, two))
    client.disclose(contract, "billing", ["payment.iban"], broker.handles(contract, one))
    return reported(broker, principal="subcontractor/acme")


def sluss(broker, *words, code=0):
    home = str(broker.profile("privacy/team"))
    done = sluss_command.invoke(sluss_command.clients(), ["--profile", home, "--json", *words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("language", ["sv", "en"])
def test_the_sheet_is_written_closed_to_others(broker, report, tmp_path, language):
    out = tmp_path / "sheet"
    said = sluss(
        broker, "compromise", "facts", report.report_id, "--out", str(out), "--language", language,
        "--contact", "dpo@example.com",
    )  # fmt: skip
    assert out.stat().st_mode & 0o777 == 0o700
    names = {f"{report.report_id}.{end}" for end in ("json", f"{language}.pdf", f"{language}.html")}
    assert {path.name for path in out.iterdir()} == names
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert said["to_be_written"] == ["nature", "consequences", "measures"]
    facts = json.loads((out / f"{report.report_id}.json").read_text())
    assert (facts["persons"], facts["records"], facts["disclosures"], facts["hours_left"]) == (2, 3, 2, 71)
    assert facts["by_category"] == [
        {"category": "contact", "fields": ["email"]},
        {"category": "financial", "fields": ["payment.iban"]},
    ]
    cut = [(each["entry"]["type"], each["entry"]["event"]) for each in facts["cut_off"]]
    assert cut == [("certificate", "revoked"), ("key", "retired")]
    assert [(each["to"], each["records"], len(each["entries"])) for each in facts["left"]] == [
        ("subcontractor/acme", 3, 2)
    ]
    # What somebody has written into a sheet is not lost by the next one.
    sluss(broker, "compromise", "facts", report.report_id, "--out", str(out), "--language", language, code=2)
    assert facts == json.loads((out / f"{report.report_id}.json").read_text())
    page = (out / f"{report.report_id}.{language}.html").read_text()
    say = tongue_of(language).say
    assert "dpo@example.com" in page
    assert "<b>was</b>" not in page
    assert say(breach.PLACES["nature"]) in page
    assert say(breach.PLACES["contact"]) not in page
    for each in facts["cut_off"]:
        assert f"{each['entry_index']}" in page


def test_the_window_may_be_told_as_a_day_or_as_a_time_with_its_offset(broker):
    person = broker.register(email="m4@example.com")
    words = ("compromise", "report", "--person", person, "--how", "by phone", "--until", "2026-01-02T01:00:00+01:00")
    said = sluss(broker, *words, "--from", "2026-01-01")["report"]
    assert (said["suspect_from"], said["suspect_until"]) == (SINCE, "2026-01-02T00:00:00.000000Z")
    sluss(broker, *words, "--from", "yesterday", code=2)


def test_what_was_refused_in_the_window_is_listed_and_counts_no_data(broker):
    contract, client = broker.live_contract(subcontractor="subcontractor/refused")
    handles = broker.handles(contract, broker.register(email="m3@example.com"))
    client.disclose(contract, "billing", ["email"], handles)
    with pytest.raises(PermissionDenied, match="PURPOSE_OUT_OF_SCOPE"):
        client.disclose(contract, "partners.email", ["email"], handles)
    found = reported(broker, principal="subcontractor/refused").report_id
    facts = sluss(broker, "compromise", "facts", found)
    assert (facts["persons"], facts["records"], facts["disclosures"]) == (1, 1, 1)
    listed = stub(broker).ListSuspectDisclosures(pb.ListSuspectDisclosuresRequest(report_id=found), timeout=10)
    persons = {entry.parse(each.entry)["type"]: each.persons for each in listed.entries}
    assert (persons["disclosure"], persons["refusal"]) == (1, 0)


def test_every_text_of_the_sheet_has_its_swedish():
    texts = tongue_of("sv").texts
    found = {str(text) for _, text, _, _ in extract_from_file("python", breach.__file__, keywords={"N_": None})}
    assert found
    assert not found - texts.keys()


def test_after_72_hours_the_reasons_for_the_delay_are_asked_for(broker, report):
    facts = stub(broker).GetFactsSheet(pb.GetFactsSheetRequest(report_id=report.report_id), timeout=10)
    late = datetime.now(UTC) + timedelta(hours=80)
    about = breach.Breach(facts, [], breach.Written(), "example.com/sluss", late)
    assert about.late
    assert about.hours_left < 0
    assert "delay" in breach.as_document(about)["to_be_written"]
    assert breach.PLACES["delay"] in breach.files(about, "en")["en.html"].decode()


def test_a_stolen_password_is_one_person_and_none_after_the_erasure_of_it(broker):
    report = reported(broker, person_id=broker.register(email="stulen@example.com"))
    facts = sluss(broker, "compromise", "facts", report.report_id)
    assert (facts["persons"], facts["disclosures"], facts["cut_off"]) == (1, 0, [])


@pytest.mark.parametrize("language", ["sv", "en"])
def test_an_access_export_in_the_window_is_on_the_sheet_with_what_it_leaves_open(broker, tmp_path, language):
    person = broker.register(email="utdrag@example.com", payment__iban="SE4550000000058398257466")
    request = RequestDesk(broker).proven("access", person).id
    for name in ("privacy/team", "internal/import", "internal/import"):
        RequestDesk(broker, name).export(request)
    report = reported(broker, person_id=person).report_id
    sluss(broker, "compromise", "facts", report, "--out", str(tmp_path), "--language", language)
    facts = json.loads((tmp_path / f"{report}.json").read_text())
    assert [facts[name] for name in ("persons", "records", "disclosures", "exports")] == [1, 3, 3, 3]
    assert facts["reads_unrecorded"]
    assert facts["recipients"] == ["internal/import", "privacy/team"]
    assert [each["category"] for each in facts["by_category"]] == ["contact", "financial", "identity"]
    assert [(each["to"], each["under"], each["purpose"], each["records"]) for each in facts["left"]] == [
        ("privacy/team", request, "access_export", 1), ("internal/import", request, "access_export", 2),
    ]  # fmt: skip
    page = html.unescape((tmp_path / f"{report}.{language}.html").read_text())
    reading = (
        "Reading is not recorded: what the company's own services and teams looked up or showed in that time is not"
        " counted here, and more may have been seen."
    )
    for text in ("Access export", "Of them access exports", reading):
        assert tongue_of(language).say(text) in page
    words = ["--profile", str(broker.profile("privacy/team")), "compromise", "facts", report]
    shown = sluss_command.invoke(sluss_command.clients(), words).stdout
    assert "of them access exports" in shown
    assert "is not recorded: more may have been seen" in shown


def test_the_window_of_a_legal_credential_has_its_releases_and_never_a_hidden_one(broker):
    team = Team(broker)
    people = [broker.register(email=f"l{n}@example.com") for n in range(3)]
    hidden = team.prepared(team.scope(people[1:]))
    team.secrecy(hidden, in_days(300))
    team.step(hidden, legal_pb2.CASE_STEP_APPROVE, BO)
    list(team.release(hidden))
    open_ = team.approved(team.scope(people[:1]))
    list(team.release(open_))
    report = reported(broker, principal="legal/anna")
    listed = stub(broker).ListSuspectDisclosures(
        pb.ListSuspectDisclosuresRequest(report_id=report.report_id), timeout=10
    )
    left = [said for each in listed.entries if (said := entry.parse(each.entry))["type"] != "certificate"]
    assert [(said["type"], said["terms"]["contract"]) for said in left] == [("release", open_)]
    facts = sluss(broker, "compromise", "facts", report.report_id)
    assert (facts["persons"], facts["records"], facts["disclosures"]) == (1, 1, 1)
    assert facts["recipients"] == [open_]


def concerned(broker, report, size=0, kind="privacy/team"):
    """Whom to tell, page by page."""
    asking, found, token = compromise_pb2_grpc.CompromiseServiceStub(broker.channel(kind)), [], ""
    while True:
        request = pb.ListConcernedPersonsRequest(report_id=report, page_size=size, page_token=token)
        page = asking.ListConcernedPersons(request, timeout=10)
        found.append(list(page.person_ids))
        token = page.next_page_token
        if not token:
            return found


def test_whom_to_tell_of_a_breach_are_those_whose_data_left_and_nobody_else(broker):
    contract, client = broker.live_contract(subcontractor="subcontractor/told")
    people = [broker.register(email=f"t{n}@example.com") for n in range(5)]
    broker.register(email="untold@example.com")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, *people))
    client.disclose(contract, "billing", ["email"], broker.handles(contract, people[0]))
    found = reported(broker, principal="subcontractor/told").report_id
    pages = concerned(broker, found, size=2)
    told = [person for page in pages for person in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(told) == sorted(people)
    assert sluss(broker, "compromise", "persons", found) == {"persons": told}
    line = ["--profile", str(broker.profile("privacy/team")), "compromise", "persons", found, "--csv"]
    shown = sluss_command.invoke(sluss_command.clients(), line)
    assert shown.stdout.splitlines() == ["person", *told]
    with pytest.raises(grpc.RpcError) as refused:
        concerned(broker, found, kind="operator/admin")
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_answers_of_a_stolen_credential_are_in_its_window_and_no_others(broker):
    contract, client = broker.live_contract(subcontractor="subcontractor/answered")
    person = broker.register(email="answered@example.com")
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    (obligation,) = client.obligations()
    client.acknowledge(obligation)
    found = reported(broker, principal="subcontractor/answered").report_id
    listed = stub(broker).ListSuspectDisclosures(pb.ListSuspectDisclosuresRequest(report_id=found), timeout=10)
    said = [entry.parse(each.entry) for each in listed.entries]
    assert [each["event"] for each in said if each["type"] == "obligation"] == ["acknowledged"]
    assert concerned(broker, found) == [[person]]


def test_of_a_stolen_password_the_person_is_told(broker):
    person = broker.register(email="losen@example.com")
    assert concerned(broker, reported(broker, person_id=person).report_id) == [[person]]


def test_a_ledger_with_an_entry_missing_gives_no_facts_and_says_so(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker:
        made = reported(broker, person_id=broker.register(email="asa@example.com"))
        with contextlib.closing(sqlite3.connect(broker.home / "sluss.db")) as store, store:
            (size,) = store.execute("SELECT max(id) + 1 FROM ledger_entry").fetchone()
            store.execute("DELETE FROM ledger_entry WHERE id = ?", (size // 2,))
        with pytest.raises(grpc.RpcError) as caught:
            stub(broker).GetFactsSheet(pb.GetFactsSheetRequest(report_id=made.report_id), timeout=10)
        assert isinstance(from_rpc_error(caught.value), LedgerInconsistent)
        assert f"entry {size // 2} is missing" in caught.value.details()
