"""Every bad input to PolicyService over the network: refused by name, logged if it is a refusal, nothing stored."""

from __future__ import annotations

import pytest
from sluss.v1 import person_pb2
from sluss.v1 import policy_pb2 as pb

from tests.integration.bad_input import REQUEST_IDS, RLO, Row, check_refused, new_id, open_book, refused, rows

SERVICE = "/sluss.v1.PolicyService/"
PRIVACY = "privacy/team"
INTERNAL = "internal/import"


def text(**changes):
    return pb.PolicyText(**{"language": "sv", "text": "Vi lovar.", "changes": "", **changes})


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def person(shared_broker):
    return shared_broker.register(email="anna@example.com")


def bad(name, field, **request):
    return Row(name, "INVALID_REQUEST", request, field=field, who=PRIVACY, logged=False)


PUBLISH = [
    bad("no version", "version", version=""),
    bad("a version with a blank", "version", version="2026 02"),
    bad("a long version", "version", version="v" * 33),
    bad("a version with controls", "version", version="2026\x1b[2J"),
    bad("a telephone number as a version", "version", version="0701740605"),
    bad("a time without a zone", "effective", effective="2099-01-01T00:00:00"),
    bad("a day", "effective", effective="2099-01-01"),
    bad("a word", "effective", effective="soon"),
    bad("the past", "effective", effective="2020-01-01T00:00:00Z"),
    bad("the far future", "effective", effective="2099-01-01T00:00:00Z"),
    bad("no text", "texts", texts=[]),
    bad("two in one language", "texts", texts=[text(), text()]),
    bad("33 texts", "texts", texts=[text()] * 33),
    bad("no language", "texts.language", texts=[text(language="")]),
    bad("a language in other case", "texts.language", texts=[text(language="SV")]),
    bad("no such language", "texts.language", texts=[text(language="svenska språket")]),
    bad("an empty text", "texts.text", texts=[text(text=" \n")]),
    bad("a long text", "texts.text", texts=[text(text="x" * 200_001)]),
    bad("controls in the text", "texts.text", texts=[text(text="a\x1b[2Jb")]),
    bad("other line ends", "texts.text", texts=[text(text="a\r\nb")]),
    bad("turned text", "texts.text", texts=[text(text=f"a{RLO}b")]),
    bad("a long change", "texts.changes", texts=[text(changes="x" * 20_001)]),
    Row("a published text", "POLICY_EXISTS", {"version": "2026-09", "texts": [text(text="Other.")]}, who=PRIVACY,
        metadata={"version": "2026-09", "language": "sv"}, logged=False),
    Row("another time", "POLICY_EXISTS", {"version": "2026-01", "effective": "2026-01-02T00:00:00Z"}, who=PRIVACY,
        logged=False),
    Row("by a registration service", "ROLE_NOT_ALLOWED", who=INTERNAL),
]  # fmt: skip


@pytest.fixture(scope="module")
def published(shared_broker):
    request = pb.PublishPolicyVersionRequest(version="2026-09", texts=[text()])
    return shared_broker.policies().PublishPolicyVersion(request, timeout=10)


@rows(PUBLISH)
def test_a_bad_publication_is_refused_by_name(shared_broker, published, row):
    request = pb.PublishPolicyVersionRequest(**{"version": "2027-01", "texts": [text()], **row.request})
    rpc = shared_broker.policies(row.who).PublishPolicyVersion
    check_refused(shared_broker.ledger(), row, rpc, SERVICE + "PublishPolicyVersion", request)
    found = shared_broker.policies().ListPolicyVersions(pb.ListPolicyVersionsRequest(), timeout=10).versions
    assert [each.version for each in found] == ["2026-01", "2026-09"]


SHOW = [
    Row("an unknown version", "POLICY_UNKNOWN", {"version": "2031-01"}, metadata={"version": "2031-01"}, logged=False),
    Row("a version without text", "POLICY_UNKNOWN", {"version": "2026-01"}, logged=False),
    Row("no version's name", "INVALID_REQUEST", {"version": "' OR 1=1"}, field="version", logged=False),
    Row("no language", "INVALID_REQUEST", {"language": "' OR 1=1"}, field="language", logged=False),
    Row("a long language", "INVALID_REQUEST", {"language": "x" * 100_000}, field="language", logged=False),
]


@rows(SHOW)
def test_a_bad_question_for_a_text_is_refused_by_name(shared_broker, row):
    rpc = shared_broker.policies(row.who).GetPolicyText
    request = pb.GetPolicyTextRequest(**row.request)
    check_refused(shared_broker.ledger(), row, rpc, SERVICE + "GetPolicyText", request)


def accepting(name, reason, field=None, who=INTERNAL, **request):
    return Row(name, reason, request, field=field, who=who, logged=reason in {"ROLE_NOT_ALLOWED", "NOTICE_MISSING"})


ACCEPT = [
    *(accepting(f"request id {n}", "INVALID_REQUEST", "request_id", request_id=r) for n, r in enumerate(REQUEST_IDS)),
    accepting("no person", "INVALID_REQUEST", "person_id", person_id="Anna"),
    accepting("an unknown person", "PERSON_UNKNOWN", person_id="P-00000000004G3"),
    accepting("no version", "INVALID_REQUEST", "version", version=""),
    accepting("an unknown version", "POLICY_UNKNOWN", version="2031-01"),
    accepting("no source", "INVALID_REQUEST", "source", source=""),
    accepting("a telephone number as a source", "INVALID_REQUEST", "source", source="0701740605"),
    accepting("long evidence", "INVALID_REQUEST", "evidence", evidence="x" * 2_001),
    accepting("evidence with controls", "INVALID_REQUEST", "evidence", evidence="a\x1b[2Jb"),
    accepting("continued use untold", "NOTICE_MISSING", source="continued_use"),
    accepting("by an operator", "ROLE_NOT_ALLOWED", who="operator/admin"),
]


@rows(ACCEPT)
def test_a_bad_acceptance_is_refused_by_name(shared_broker, person, row):
    given = {"request_id": new_id(), "person_id": person, "version": "2026-01", "source": "web", **row.request}
    rpc = shared_broker.policies(row.who).RecordAcceptance
    request = pb.RecordAcceptanceRequest(**given)
    check_refused(shared_broker.ledger(), row, rpc, SERVICE + "RecordAcceptance", request)
    shown = shared_broker.policies().ListAcceptances(pb.ListAcceptancesRequest(person_id=person), timeout=10)
    assert not shown.acceptances


def test_pages_of_acceptances_are_bounded_and_bound_to_their_person(shared_broker):
    one, other = (shared_broker.register(email=f"{name}@example.com") for name in "ab")
    stub = shared_broker.policies()
    for _ in range(3):
        given = pb.RecordAcceptanceRequest(request_id=new_id(), person_id=one, version="2026-01", source="web")
        stub.RecordAcceptance(given, timeout=10)
    first = stub.ListAcceptances(pb.ListAcceptancesRequest(person_id=one, page_size=2), timeout=10)
    request = pb.ListAcceptancesRequest(person_id=one, page_size=2, page_token=first.next_page_token)
    rest = stub.ListAcceptances(request, timeout=10)
    assert (len(first.acceptances), len(rest.acceptances), rest.next_page_token) == (2, 1, "")
    stolen = pb.ListAcceptancesRequest(person_id=other, page_token=first.next_page_token)
    assert refused(stub.ListAcceptances, stolen).violations == ["page_token"]
    large = pb.ListAcceptancesRequest(person_id=one, page_size=201)
    assert refused(stub.ListAcceptances, large).violations == ["page_size"]


def test_a_registration_with_an_unknown_version_stores_nothing(shared_broker):
    request = person_pb2.RegisterPersonRequest(
        request_id=new_id(),
        values=[person_pb2.FieldValue(field="customer_number", value="K-NOBODY")],
        source="registration",
        accepted_policy="2031-01",
    )
    assert refused(shared_broker.persons().RegisterPerson, request).reason == "POLICY_UNKNOWN"
    look = person_pb2.LookUpPersonsRequest(customer_number="K-NOBODY")
    assert not shared_broker.persons().LookUpPersons(look, timeout=10).person_ids
