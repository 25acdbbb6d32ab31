"""The console in a real browser; screenshots are written to build/console/ for the eye."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb

from tests.console.pages import fill_request, origin, step
from tests.support.memory_legal import PERSONS, today

SHOTS = Path(__file__).resolve().parents[2] / "build" / "console"
ASA = next(iter(PERSONS))
PAPER = {"width": 718, "height": 1047}
"""A4 at 96 dots per inch within margins of 1 cm."""


def find_asa(page):
    page.get_by_label("What to look for").fill("lindqvist")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name="Add those chosen").click()


def test_two_people_take_a_case_from_intake_to_approval(team, entered):
    with entered("anna") as anna, entered("bo") as bo:
        anna.get_by_role("link", name="New request").first.click()
        fill_request(anna)
        find_asa(anna)
        assert anna.get_by_label("Persons, by id").input_value() == ASA
        anna.get_by_role("checkbox", name="E-mail").check()
        preview = anna.locator("#preview")
        preview.get_by_text("The first persons, masked").wait_for()
        assert "asa@example.org" not in anna.content()
        anna.get_by_role("button", name="Open the case").click()
        anna.get_by_text("is open.").wait_for()
        case = anna.url.rsplit("/", 1)[1]
        anna.get_by_text("Set the delivery").first.click()
        anna.get_by_label("To be deleted by").fill(today(365))
        anna.get_by_role("button", name="Set the delivery").click()
        step(anna, "Review")
        step(anna, "Prepare for approval")

        # Anna has no button; a form that she makes herself is refused by the broker.
        token = anna.locator('input[name="csrf"]').first.input_value()
        form = {"csrf": token, "etag": team.world.cases[case].etag, "step": "approve", "reason": "myself"}
        answer = anna.request.post(f"/cases/{case}/step", form=form, headers={"Origin": origin(anna)})
        assert answer.status == 422
        assert "this takes a second person" in answer.text()
        assert team.world.cases[case].approved_by == ""

        bo.goto(f"/cases/{case}")
        bo.get_by_role("link", name="Look at it and approve").click()
        bo.get_by_label("Why it may leave").fill("The order is valid, and asks for no more than it may.")
        bo.get_by_role("button", name="Approve exactly this").click()
        bo.get_by_text("Done: Approve.").wait_for()
        assert team.world.cases[case].approved_by == "legal/bo"


def test_a_case_is_opened_and_moved_without_a_script(team, entered):
    with entered("anna", java_script_enabled=False) as page:
        page.goto("/cases/new")
        fill_request(page)
        find_asa(page)
        page.get_by_role("checkbox", name="Telephone", exact=True).check()
        page.get_by_role("button", name="Preview the scope").click()
        page.locator("#preview").get_by_text("Persons with a value").wait_for()
        page.get_by_role("button", name="Open the case").click()
        page.get_by_text("is open.").wait_for()
        step(page, "Review")


def test_a_case_is_reviewed_with_the_keyboard_alone(team, entered):
    case = team.open_case()
    with entered("anna") as page:
        page.goto(f"/cases/{case.case_id}")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        tab_to(page, "Review")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("Looked at with the keyboard alone")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("Done: Review.").wait_for()
        assert team.world.cases[case.case_id].state == pb.CASE_STATE_UNDER_REVIEW


def tab_to(page, text):
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not lead to {text}")


def test_nothing_typed_is_lost_when_something_is_wrong(entered):
    with entered("anna") as page:
        page.goto("/cases/new")
        fill_request(page)
        page.get_by_label("First note").fill("A note that took ten minutes")
        page.get_by_role("button", name="Open the case").click()
        wrong = page.get_by_label("Persons, by id")
        assert wrong.get_attribute("aria-invalid") == "true"
        assert page.locator("#" + wrong.get_attribute("aria-describedby").split()[0]).is_visible()
        assert page.get_by_label("First note").input_value() == "A note that took ten minutes"
        assert page.get_by_label("Their reference").input_value() == "Ö 1234-26"
        assert page.get_by_role("radio", name=re.compile("Law or legal process")).is_checked()


@pytest.fixture(scope="module")
def furnished(team):
    """A case in each notable state, a contract and an accounting; gives the pages to look at."""
    legal, other = team.legal("anna"), team.legal("bo")
    plain = team.open_case()
    plain = move(legal, deliver(legal, plain), pb.CASE_STEP_REVIEW)
    plain = move(legal, plain, pb.CASE_STEP_PREPARE)
    legal.AddDocument(pb.AddDocumentRequest(case_id=plain.case_id, name="order.pdf", content=b"%PDF"))
    urgent = team.open_case(ground=pb.GROUND_PROTECTION, hidden_until=today(90), secrecy_reason="Investigation")
    move(legal, deliver(legal, urgent), pb.CASE_STEP_EMERGENCY)
    team.open_case(ground=pb.GROUND_RIGHTS_AND_PROPERTY, deadline=today(-2))
    done = move(other, move(legal, move(legal, deliver(legal, team.open_case()), 1), 5), 6)
    granted = contract_pb2.FieldGrant(field="email", transform="masked")
    team.world.disclosed(ASA, [granted], today(-30))
    terms = contract_pb2.ContractTerms(
        subcontractor="subcontractor/acme-pay",
        recipient_name="Acme Pay AB",
        valid_from="2026-01-01",
        valid_until="2027-12-31",
        grants=[contract_pb2.Grant(purpose="billing", fields=[granted], retention_days=30)],
    )
    team.world.contracts.append(contract_pb2.Contract(contract_id="C-2026-0001", state=2, version=1, terms=terms))
    return {
        "inbox": "/",
        "new-request": "/cases/new",
        "case": f"/cases/{plain.case_id}",
        "emergency": f"/cases/{urgent.case_id}",
        "approval": f"/cases/{plain.case_id}/approval",
        "scope": f"/cases/{plain.case_id}/scope",
        "release": f"/cases/{done.case_id}/release",
        "secrecy": f"/cases/{urgent.case_id}/secrecy",
        "elsewhere": f"/cases/{plain.case_id}/elsewhere",
        "disclosures": "/disclosures",
        "entry": "/disclosures/1",
        "persons": "/persons",
        "accounting": f"/persons/{ASA}",
        "contracts": "/contracts",
        "contract": "/contracts/C-2026-0001",
        "report": "/report",
        "ledger": "/ledger",
        "trouble": "/cases/L-2026-9999",
        "missing": "/nowhere",
        "signed-out": "/signed-out",
    }


def deliver(legal, case):
    delivery = pb.Delivery(package=True, retain_until=today(365))
    request = pb.ChangeCaseRequest(case_id=case.case_id, etag=case.etag, delivery=delivery, note="By courier")
    return legal.ChangeCase(request).case


def move(legal, case, taken):
    request = pb.StepCaseRequest(case_id=case.case_id, etag=case.etag, step=taken, reason="As the law asks")
    return legal.StepCase(request).case


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("sv", "dark")])
def test_axe_finds_nothing_on_any_page(furnished, entered, language, theme):
    SHOTS.mkdir(parents=True, exist_ok=True)
    found = {}
    with entered("bo", locale=language, color_scheme=theme) as page:
        for name, path in furnished.items():
            page.goto(path)
            assert page.evaluate("document.documentElement.lang") == language
            page.screenshot(path=SHOTS / f"{name}-{language}-{theme}.png", full_page=True)
            violations = Axe().run(page).response["violations"]
            if violations:
                found[name] = [(v["id"], [node["html"] for node in v["nodes"]]) for v in violations]
    assert found == {}


def test_the_switches_win_over_what_the_browser_prefers(entered):
    with entered("bo", locale="en", color_scheme="light") as page:
        page.goto("/report?first=2026-01-01")
        page.get_by_role("button", name="Dark").click()
        page.locator('html[data-theme="dark"]').wait_for()
        page.wait_for_load_state()
        assert "/report?first=2026-01-01" in page.url
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 19, 24)"
        page.get_by_role("button", name="Svenska").click()
        page.get_by_role("heading", name="Insynsrapport").wait_for()
        assert page.evaluate("document.documentElement.lang") == "sv"


def test_an_emergency_and_what_is_overdue_stand_on_every_page(furnished, entered):
    with entered("bo") as page:
        for name in ("contracts", "report", "persons", "ledger", "new-request"):
            page.goto(furnished[name])
            assert page.get_by_text("Emergency release not confirmed").first.is_visible()
            assert page.get_by_text("Overdue: ").first.is_visible()


def test_nothing_is_cut_off_on_a_telephone_or_on_paper(furnished, entered):
    with entered("bo", viewport={"width": 390, "height": 800}) as page:
        for name in ("inbox", "case", "new-request", "report"):
            page.goto(furnished[name])
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
            page.screenshot(path=SHOTS / f"{name}-narrow.png", full_page=True)
        page.goto(furnished["accounting"])
        page.set_viewport_size(PAPER)
        page.emulate_media(media="print")
        assert page.get_by_role("table").is_visible()
        assert not page.get_by_role("navigation").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
        page.screenshot(path=SHOTS / "accounting-print.png", full_page=True)


def test_the_ledger_is_verified_on_demand(entered):
    with entered("anna") as page:
        page.goto("/ledger")
        page.get_by_role("button", name="Verify now").click()
        page.get_by_text("are proven one by one").wait_for()
