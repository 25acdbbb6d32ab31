"""Two people at two browsers take a case from intake to release: a real broker, and a package that opens."""

import re
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from axe_playwright_python.sync_playwright import Axe
from sluss.v1 import legal_pb2 as pb
from sluss.v1 import legal_pb2_grpc
from sluss_client.profile import Profile
from sluss_legal import checking

from tests.console.pages import fill_request, origin, step
from tests.support.broker import BrokerProcess, grant
from tests.support.memory_legal import today

SHOTS = Path(__file__).resolve().parents[2] / "build" / "console"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def team(broker):
    """In the place of the team of the other tests."""
    return SimpleNamespace(folder=lambda name: broker.profile(f"legal/{name}"))


@pytest.fixture(scope="module")
def asa(broker):
    """A person on record, who has been disclosed to a subcontractor before."""
    person = broker.register(name__given="Åsa", name__family="Lindqvist", email="asa.lindqvist@example.org")
    contract, client = broker.live_contract(grant("billing", ("email=full",)))
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    return person


def case_of(broker, case):
    return legal_pb2_grpc.LegalServiceStub(broker.channel("legal/anna")).GetCase(pb.GetCaseRequest(case_id=case)).case


def clean(page, name):
    """Axe finds nothing; the page is kept for the eye."""
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], name
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"broker-{name}.png", full_page=True)


def test_two_people_take_a_case_from_intake_to_a_package_that_opens(broker, asa, entered, tmp_path):
    with entered("anna") as anna, entered("bo") as bo:
        case = opened_by(anna, asa)
        anna.get_by_text("Set the delivery").first.click()
        anna.get_by_label("To be deleted by").fill(today(365))
        anna.get_by_role("button", name="Set the delivery").click()
        step(anna, "Review")
        step(anna, "Prepare for approval")
        clean(anna, "prepared")

        token = anna.locator('input[name="csrf"]').first.input_value()
        form = {"csrf": token, "etag": case_of(broker, case).etag, "step": "approve", "reason": "myself"}
        answer = anna.request.post(f"/cases/{case}/step", form=form, headers={"Origin": origin(anna)})
        assert answer.status == 422
        assert "this takes a second person" in answer.text()
        assert case_of(broker, case).approved_by == ""

        bo.goto(f"/cases/{case}")
        bo.get_by_role("link", name="Look at it and approve").click()
        bo.get_by_label("Why it may leave").fill("The order is valid, and asks for no more than it may.")
        clean(bo, "approval")
        bo.get_by_role("button", name="Approve exactly this").click()
        bo.get_by_text("Done: Approve.").wait_for()

        package, passphrase = released_by(anna, case, tmp_path)
        keys = Profile.load(broker.profile("legal/anna")).ledger_keys
        checked = checking.check(checking.decrypt(package.read_bytes(), passphrase), list(keys), None)
        assert (checked.opened, checked.facts["case"]) == (True, case)
        assert case_of(broker, case).release.complete

        seen_by_the_person(bo, asa, case)


def opened_by(page, person):
    page.get_by_role("link", name="New request").first.click()
    fill_request(page)
    page.get_by_label("What to look for").fill("lindqvist")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name="Add those chosen").click()
    assert page.get_by_label("Persons, by id").input_value() == person
    page.get_by_role("checkbox", name="E-mail").check()
    page.locator("#preview").get_by_text("The first persons, masked").wait_for()
    assert "asa.lindqvist@example.org" not in page.content()
    clean(page, "request")
    page.get_by_role("button", name="Open the case").click()
    page.get_by_text("is open.").wait_for()
    return page.url.rsplit("/", 1)[1]


def released_by(page, case, folder):
    """The package and its passphrase."""
    page.goto(f"/cases/{case}/release")
    page.get_by_role("button", name="Release now").click()
    page.get_by_text("Released. Every entry is in the ledger, and proven.").wait_for()
    clean(page, "released")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download ")).click()
    package = folder / "release.age"
    download.value.save_as(package)
    page.get_by_role("button", name="Show the passphrase, once").click()
    return package, page.locator("#passphrase").inner_text()


def seen_by_the_person(page, person, case):
    """The accounting has the subcontractor and the court."""
    page.goto(f"/persons/{person}")
    page.get_by_text("Svea hovrätt").first.wait_for()
    assert case in page.content()
    assert "asa.lindqvist@example.org" not in page.content()
    clean(page, "accounting")
    for path, name in (("/", "inbox"), ("/disclosures", "disclosures"), ("/report", "report"), ("/ledger", "ledger")):
        page.goto(path)
        clean(page, name)


def test_disclosures_are_found_by_contract_recipient_purpose_person_and_time(broker, asa, entered):
    with entered("bo") as page:
        for label, text, rows in (
            ("Contract or case", f"C-{today(0)[:4]}-0001", True),
            ("Recipient", "subcontractor/acme", True),
            ("Purpose", "billing", True),
            ("Purpose", "offers", False),
            ("From", today(0), True),
            ("From", today(1), False),
            ("Until", today(-1), False),
        ):
            page.goto("/disclosures?type=disclosure")
            page.get_by_label(label, exact=True).fill(text)
            page.get_by_role("button", name="Search").click()
            assert (page.locator("tbody th").count() > 0) is rows, (label, text)
        page.get_by_label("Person", exact=True).fill(asa)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("heading", name="Accounting of disclosures").wait_for()


def test_the_ledger_of_the_broker_is_verified_on_demand(asa, entered):
    with entered("anna") as page:
        page.goto("/ledger")
        page.get_by_role("button", name=re.compile("erify")).click()
        page.get_by_text("are proven one by one").wait_for()


def test_a_hidden_case_is_not_in_what_the_person_sees(broker, asa, entered):
    legal = legal_pb2_grpc.LegalServiceStub(broker.channel("legal/anna"))
    before = len(legal.ListRecipients(pb.ListRecipientsRequest(person_id=asa)).received)
    with entered("anna") as page:
        page.get_by_role("link", name="New request").first.click()
        fill_request(page)
        page.get_by_label("Persons, by id").fill(asa)
        page.get_by_role("checkbox", name="E-mail").check()
        page.get_by_label("Hidden until").fill(today(30))
        page.get_by_label("Why it is hidden").fill("The court forbids telling.")
        page.get_by_role("button", name="Open the case").click()
        page.get_by_text("is open.").wait_for()
        case = page.url.rsplit("/", 1)[1]
        clean(page, "hidden")
        page.goto(f"/persons/{asa}")
        assert case not in page.content()
    assert len(legal.ListRecipients(pb.ListRecipientsRequest(person_id=asa)).received) == before
    assert case_of(broker, case).secrecy.state == pb.SECRECY_STATE_HIDDEN


def test_the_broker_is_asked_as_the_very_person_who_sits_there(broker, asa):
    """Two consoles are two principals for the broker: the certificate decides, not the page."""
    privacy = legal_pb2_grpc.LegalServiceStub(broker.channel("privacy/paula"))
    with pytest.raises(grpc.RpcError) as caught:
        privacy.ListCases(pb.ListCasesRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
