"""Forms without a script: what is wrong stands beside its field, and nothing that was typed is lost."""

import html
import re
import uuid
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sluss.v1 import legal_pb2 as pb

from tests.support.memory_legal import PERSONS, today

ASA = next(iter(PERSONS))


def filled(visitor, **changed):
    """The form of a new request, filled in."""
    return {
        "csrf": visitor.csrf("/cases/new"),
        "request_id": str(uuid.uuid4()),
        "ground": "1",
        "received": today(-1),
        "deadline": today(10),
        "handler": "",
        "requester.name": "Göteborgs tingsrätt <b>",
        "requester.country": "SE",
        "requester.address": "Box 284\n401 24 Göteborg",
        "requester.contact": "Registrator",
        "instrument.kind": "court_order",
        "instrument.reference": 'T "99"',
        "instrument.date": today(-3),
        "scope.population": "listed",
        "scope.persons": ASA,
        "field": ["email", "phone"],
        "as.phone": "last4",
        "scope.collected_from": "",
        "scope.collected_until": "",
        "hidden_until": "",
        "secrecy_reason": "",
        "note": "With the <original> & a seal",
        "action": "open",
    } | changed


def fault_of(body, field):
    """The message that a field's aria-describedby leads to."""
    tag = re.search(rf'<(?:input|select|textarea|fieldset)[^>]*id="{field}"[^>]*>', body)[0]
    assert 'aria-invalid="true"' in tag
    described = re.search(r'aria-describedby="([^"]+)"', tag)[1].split()[0]
    return html.unescape(re.search(rf'id="{described}">([^<]+)<', body)[1])


def kept(body, form):
    """Whether every text of a form is in the page."""
    texts = [value for name, value in form.items() if isinstance(value, str) and name not in {"csrf", "action"}]
    plain = html.unescape(body)
    return all(text in plain for text in texts)


def test_a_case_is_opened_without_a_script(team, anna):
    status, headers, _ = anna.post("/cases/new", filled(anna))
    assert status == 303
    case = team.world.cases[headers["location"].rsplit("/", 1)[1]]
    assert case.requester.name == "Göteborgs tingsrätt <b>"
    assert [(f.field, f.transform) for f in case.scope.fields] == [("email", "full"), ("phone", "last4")]
    body = anna.get(headers["location"])[2]
    assert "Göteborgs tingsrätt &lt;b&gt;" in body
    assert "tingsrätt <b>" not in body


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"requester.name": ""}, "requester-name", "This is needed."),
        ({"requester.country": "Sverige"}, "requester-country", "Two letters"),
        ({"requester.country": "ZZ"}, "requester-country", "No such country"),
        ({"deadline": "soon"}, "deadline", "year-month-day"),
        ({"deadline": today(-5)}, "deadline", "before the request arrived"),
        ({"received": today(2)}, "received", "not come yet"),
        ({"instrument.date": today(2)}, "instrument-date", "not come yet"),
        ({"instrument.kind": ""}, "instrument-kind", "This is needed."),
        ({"scope.persons": ""}, "scope-persons", "at least one person"),
        ({"scope.persons": "Åsa"}, "scope-persons", "no person id"),
        ({"hidden_until": today(30)}, "secrecy_reason", "Say why"),
        ({"secrecy_reason": "investigation"}, "hidden_until", "needs an end"),
        ({"scope.collected_from": "2026-02-30"}, "scope-collected_from", "year-month-day"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(team, anna, changed, field, said):
    before = len(team.world.cases)
    form = filled(anna, **changed)
    status, _, body = anna.post("/cases/new", form)
    assert status == 422
    assert said in fault_of(body, field)
    assert kept(body, form)
    assert re.search(r'value="phone" checked', body)
    assert len(team.world.cases) == before


def test_finding_and_adding_persons_keeps_the_form(anna):
    form = filled(anna, action="find", find_by="name", find_value="LIND", **{"scope.persons": ""})
    body = anna.post("/cases/new", form)[2]
    assert set(re.findall(r'name="found" value="([^"]+)"', body)) == {ASA, "P-0B1B2C3D4E5F6"}
    assert "Lindqvist" not in body
    assert kept(body, form)
    body = anna.post("/cases/new", form | {"action": "add", "found": [ASA, "P-0B1B2C3D4E5F6"]})[2]
    assert f"{ASA}\nP-0B1B2C3D4E5F6" in body


def test_the_preview_counts_and_masks(anna):
    body = anna.post("/cases/new", filled(anna, action="preview", **{"scope.persons": f"{ASA} P-0ZZZZZZZZZZZZ"}))[2]
    assert "Persons: <strong>1</strong>" in body
    assert "Not on record: 1" in body
    assert "asa@example.org" not in body


def test_a_whole_population_is_for_a_merger_or_sale_only(anna):
    body = anna.post("/cases/new", filled(anna, **{"scope.population": "everyone"}))[2]
    assert "can only be released for a merger or sale" in body


def test_a_step_without_a_reason_asks_for_it(team, anna):
    case = team.open_case()
    form = {"csrf": anna.csrf(), "etag": case.etag, "step": "review", "reason": " "}
    status, _, body = anna.post(f"/cases/{case.case_id}/step", form)
    assert status == 422
    assert "Say why" in fault_of(body, "reason-review")


def test_a_stale_page_tells_so_and_keeps_the_reason(team, anna):
    case = team.open_case()
    form = {"csrf": anna.csrf(), "etag": "0", "step": "review", "reason": "A long and careful reason"}
    status, _, body = anna.post(f"/cases/{case.case_id}/step", form)
    assert status == 422
    assert "Somebody has changed the case meanwhile" in body
    assert "A long and careful reason" in body


def test_a_case_that_is_not_there_gets_plain_words(anna):
    status, _, body = anna.get("/cases/L-2026-9999")
    assert status == 409
    assert "Traceback" not in body
    assert "That did not work" in body


@pytest.mark.parametrize(
    ("kind", "begins"), [("pdf", "%PDF"), ("html", "<!doctype html>"), ("csv", "\ufeff"), ("json", "{")]
)
def test_accounting_and_report_can_be_taken_along_in_every_form(anna, kind, begins):
    for path in (f"/persons/P-04CVZ6HGRM5PX/accounting.{kind}?language=sv", f"/report.{kind}?language=sv"):
        status, headers, content = anna.get(path)
        assert (status, content.startswith(begins)) == (200, True), path
        assert headers["content-disposition"].startswith("attachment")
    assert anna.get("/report.exe")[0] == 303


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("contract=seventeen", "contract", "Such as C-2026-0001"),
        ("recipient=Nobody+AB", "recipient", "is called so"),
        ("recipient=tingsr%C3%A4tt", "recipient", "More than one fits"),
        ("recipient=subcontractor/a&person=tingsr%C3%A4tt", "person", "is no person id"),
        ("type=gossip", "type", "no such type"),
        ("since=25/11", "since", "year-month-day"),
        ("since=2026-02-01&until=2026-01-01", "until", "ends before it begins"),
    ],
)
def test_a_wrong_filter_of_the_disclosures_is_told_beside_it_and_kept(team, anna, query, field, told):
    team.open_case()
    team.open_case()
    status, _, body = anna.get(f"/disclosures?{query}")
    assert status == 422
    assert told in fault_of(body, field)
    assert all(f'value="{html.escape(text)}"' in body for name, text in parse_qsl(query) if name != "type")


def test_disclosures_are_found_by_the_name_of_who_asked(team, anna):
    requester = pb.Requester(name="Svea hovrätt", address="Box 2290", country="SE", contact="Registry")
    case = team.open_case(requester=requester).case_id
    status, _, body = anna.get("/disclosures?recipient=svea")
    assert status == 200
    assert "entries fit" in body
    assert anna.get(f"/disclosures?recipient=svea&contract={case}")[0] == 200
    assert anna.get("/disclosures?recipient=svea&contract=L-2026-0099")[0] == 422


def test_a_person_among_the_disclosures_takes_the_period_along(anna):
    status, headers, _ = anna.get(f"/disclosures?person={ASA}&since=2026-01-01&until=2026-02-01")
    assert (status, headers["location"]) == (303, f"/persons/{ASA}?first=2026-01-01&last=2026-02-01")


def test_a_courts_key_is_taken_as_openssl_writes_it(team, anna):
    case, key = team.open_case(), X25519PrivateKey.generate().public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()
    form = {"csrf": anna.csrf(), "etag": case.etag, "what": "delivery", "kind": "key", "public_key": pem}
    form |= {"retain_until": "soon", "note": "By courier"}
    status, _, body = anna.post(f"/cases/{case.case_id}/change", form)
    assert (status, "asked to delete" in fault_of(body, "delivery")) == (422, True)
    assert kept(body, form | {"what": "", "kind": "", "etag": ""})
    wrong = form | {"retain_until": today(90), "public_key": pem.replace("A", "B")}
    status, _, body = anna.post(f"/cases/{case.case_id}/change", wrong)
    assert (status, "Paste it as PEM" in fault_of(body, "public-key")) == (422, True)
    assert anna.post(f"/cases/{case.case_id}/change", form | {"retain_until": today(90)})[0] == 303
    assert team.world.cases[case.case_id].delivery.key.public_key == key.public_bytes_raw()


def test_secrecy_that_ends_too_soon_is_told_beside_its_day_and_nothing_is_lost(team, anna):
    case = team.open_case()
    form = {"csrf": anna.csrf(), "etag": case.etag, "action": "hide", "until": today(-1), "reason": "As ordered"}
    status, _, body = anna.post(f"/cases/{case.case_id}/secrecy", form)
    assert (status, "from today to five years" in fault_of(body, "until")) == (422, True)
    assert "As ordered" in body
    assert today(-1) in body
