"""PersonService, beside test_persons.py: bad values, etags and retries, and what the ledger holds of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sluss.v1 import person_pb2

from broker.ids import person_text
from tests.integration.bad_input import (
    ACME,
    BELL,
    CONTRACT_IDS,
    NUL,
    RLM,
    RLO,
    TIMEOUT_S,
    Row,
    check_refused,
    ledger_size,
    new_id,
    open_book,
    rows,
)

SERVICE = "/sluss.v1.PersonService/"
INTERNAL, PRIVACY = "internal/import", "privacy/team"
NOBODY = person_text(7)


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """A person, a contract, and a stub per caller."""
    person = shared_broker.register(customer_number="K-4711", email="zq-canary@example.com", name__given="Åsa")
    names = (INTERNAL, PRIVACY, "legal/anna", "operator/admin")
    stubs = {name: shared_broker.persons(name) for name in names}
    contract = shared_broker.propose()
    ledger = shared_broker.ledger()
    return SimpleNamespace(broker=shared_broker, person=person, contract=contract, stubs=stubs, ledger=ledger)


def values(**given):
    return [person_pb2.FieldValue(field=name.replace("__", "."), value=value) for name, value in given.items()]


def shown(world):
    request = person_pb2.GetPersonRequest(person_id=world.person, include_values=True)
    return world.stubs[INTERNAL].GetPerson(request, timeout=TIMEOUT_S)


def refuse(world, row, method, request):
    told, entry = check_refused(world.ledger, row, getattr(world.stubs[row.who], method), f"{SERVICE}{method}", request)
    assert "canary" not in f"{told.message} {told.metadata}"
    return told, entry


def bad(name, field, **given):
    return Row(name, "INVALID_VALUE", {"values": values(**given)}, {"field": field}, field, INTERNAL, logged=False)


VALUES = [
    *(bad(f"name-{n}", "name.given", name__given=text)
      for n, text in enumerate(["", "   ", "1", "x" * 101, "x" * 1_000_000, f"Canary{NUL}", f"Can{BELL}ary",
                                "Canary\nB", f"Canary{RLM}", f"{RLO}Canary", "Canary\u2067", "Canary\x85",
                                "Canary\u2028B"])),
    bad("email-empty", "email", email=""),
    bad("email-two", "email", email="canary@example.com,canary2@example.com"),
    bad("email-long", "email", email="canary" * 50 + "@example.com"),
    bad("phone-without-country", "phone", phone="0701740605"),
    bad("iban-check-digits", "payment.iban", payment__iban="SE4550000000058398257467"),
    bad("card-check-digit", "payment.card_number", payment__card_number="4111111111111112"),
    bad("country-in-words", "address.country", address__country="Sweden"),
    bad("date-impossible", "birth_date", birth_date="2026-02-29"),
    bad("ip-impossible", "technical.last_ip", technical__last_ip="300.1.1.1"),
    bad("plan-unknown", "account.plan", account__plan="canary"),
    Row("field-unknown", "FIELD_UNKNOWN", {"values": values(shoe_size="44")}, {"field": "shoe_size"}, who=INTERNAL),
    Row("field-empty", "FIELD_UNKNOWN", {"values": values(**{"": "canary"})}, who=INTERNAL),
    Row("field-with-nul", "FIELD_UNKNOWN", {"values": values(**{f"email{NUL}": "canary"})}, who=INTERNAL),
    Row("field-is-a-value", "FIELD_UNKNOWN", {"values": values(**{"canary@example.com": "x"})}, who=INTERNAL),
    Row("security-code", "FIELD_FORBIDDEN", {"values": values(payment__card_security_code="123")}, {},
        "payment.card_security_code", INTERNAL, logged=False),
]  # fmt: skip


@rows(VALUES)
def test_a_bad_value_is_not_registered_and_not_repeated(world, row):
    given = [*values(customer_number=f"K-{new_id()[:8]}"), *row.request["values"]]
    request = person_pb2.RegisterPersonRequest(request_id=new_id(), values=given, source="registration")
    refuse(world, row, "RegisterPerson", request)


@rows(VALUES)
def test_a_bad_value_changes_nothing_of_a_person(world, row):
    before = shown(world)
    request = person_pb2.UpdatePersonRequest(
        person_id=world.person, values=row.request["values"], source="web", etag=before.etag
    )
    refuse(world, row, "UpdatePerson", request)
    assert shown(world) == before


@pytest.mark.parametrize("etag", ["", "0", "999999", " 1", "x" * 100_000, NUL])
def test_a_change_on_a_stale_etag_is_refused(world, etag):
    before = shown(world)
    request = person_pb2.UpdatePersonRequest(person_id=world.person, values=values(title="Dr"), source="web", etag=etag)
    refuse(world, Row("", "ETAG_STALE", who=PRIVACY, logged=False), "UpdatePerson", request)
    assert shown(world) == before


def test_a_customer_number_of_somebody_else_is_refused_and_not_repeated(world):
    given = values(customer_number="K-4711", email="other@example.com")
    request = person_pb2.RegisterPersonRequest(request_id=new_id(), values=given, source="registration")
    row = Row("", "PERSON_EXISTS", metadata={"field": "customer_number"}, who=INTERNAL, logged=False)
    told, _ = refuse(world, row, "RegisterPerson", request)
    assert "4711" not in f"{told.message} {told.metadata}"


def test_a_request_id_with_another_body_is_refused(world):
    stub, request_id = world.stubs[INTERNAL], new_id()
    number = values(customer_number=f"K-{request_id[:8]}")
    first = person_pb2.RegisterPersonRequest(request_id=request_id, values=number, source="registration")
    given = stub.RegisterPerson(first, timeout=TIMEOUT_S)
    row = Row("", "REQUEST_ID_REUSED", metadata={"request_id": request_id}, who=INTERNAL, logged=False)
    for other in (
        person_pb2.RegisterPersonRequest(request_id=request_id, values=number, source="survey"),
        person_pb2.RegisterPersonRequest(request_id=request_id, values=values(title="Dr"), source="registration"),
        person_pb2.RegisterPersonRequest(
            request_id=request_id,
            values=number,
            source="registration",
            choices=[person_pb2.ChoiceMade(purpose="offers", state=1, channel="web")],
        ),
    ):
        refuse(world, row, "RegisterPerson", other)
    before = ledger_size(world.ledger)
    assert stub.RegisterPerson(first, timeout=TIMEOUT_S) == given
    assert ledger_size(world.ledger) == before
    choice = person_pb2.ChoiceMade(purpose="offers", state=2, channel="web")
    recorded = person_pb2.RecordChoiceRequest(
        person_id=world.person, choice=choice, source="web", request_id=request_id
    )
    refuse(world, row, "RecordChoice", recorded)


SOURCES = ["", "Web", "two words", "x" * 65, f"web{NUL}", f"web{RLM}", "w\u00e9b", "canary@example.com"]


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
@pytest.mark.parametrize("method", ["RegisterPerson", "UpdatePerson", "RecordChoice", "ImportPersons"])
def test_a_source_has_its_form(world, method, source):
    given = {"source": source}
    if method == "RecordChoice":
        given["choice"] = person_pb2.ChoiceMade(purpose="offers", state=2, channel="web")
    elif method == "ImportPersons":
        given["rows"] = [person_pb2.ImportRow(line=1, values=values(customer_number="K-1"))]
    else:
        given["values"] = values(customer_number="K-2" if method == "RegisterPerson" else "K-4711", title="Dr")
    if method in {"RegisterPerson", "RecordChoice"}:
        given["request_id"] = new_id()
    if method in {"UpdatePerson", "RecordChoice"}:
        given["person_id"] = world.person
    if method == "UpdatePerson":
        given["etag"] = shown(world).etag
    request = getattr(person_pb2, f"{method}Request")(**given)
    row = Row("", "INVALID_REQUEST", metadata={"field": "source"}, field="source", who=INTERNAL, logged=False)
    if method != "ImportPersons":
        refuse(world, row, method, request)
        return
    stub = world.stubs[INTERNAL]
    check_refused(
        world.ledger,
        row,
        lambda one, timeout: stub.ImportPersons(iter([one]), timeout=timeout),
        SERVICE + method,
        request,
    )


@pytest.mark.parametrize("contract", CONTRACT_IDS, ids=range(len(CONTRACT_IDS)))
def test_handles_under_a_contract_that_does_not_exist_are_refused(world, contract):
    request = person_pb2.GetHandlesRequest(contract_id=contract, person_ids=[world.person])
    refuse(world, Row("", "CONTRACT_UNKNOWN", who=INTERNAL, logged=False), "GetHandles", request)


HANDLES = [
    Row("none", "INVALID_REQUEST", {"ids": []}, {"field": "person_ids"}, "person_ids"),
    Row("10001", "INVALID_REQUEST", {"ids": [NOBODY] * 10_001}, {"field": "person_ids"}, "person_ids"),
    Row("malformed", "INVALID_REQUEST", {"ids": ["P-1"]}, {"field": "person_id"}, "person_id"),
    Row("too-large", "INVALID_REQUEST", {"ids": ["P-ZZZZZZZZZZZZZ"]}, {"field": "person_id"}, "person_id"),
    Row("with-nul", "INVALID_REQUEST", {"ids": [f"P-000000000000{NUL}"]}, {"field": "person_id"}, "person_id"),
    Row("a-megabyte", "INVALID_REQUEST", {"ids": ["P-" + "0" * 1_000_000]}, {"field": "person_id"}, "person_id"),
]


@rows(HANDLES)
def test_handles_are_given_for_1_to_10000_persons(world, row):
    row = Row(**{**row.__dict__, "who": INTERNAL, "logged": False})
    request = person_pb2.GetHandlesRequest(contract_id=world.contract, person_ids=row.request["ids"])
    refuse(world, row, "GetHandles", request)


@pytest.mark.parametrize("who", ["legal/anna", "operator/admin"])
def test_who_may_see_a_person_but_no_values_is_refused_when_it_asks_for_them(world, who):
    metadata = {"kind": who.partition("/")[0]}
    request = person_pb2.GetPersonRequest(person_id=world.person, include_values=True)
    refuse(world, Row("", "ROLE_NOT_ALLOWED", metadata=metadata, who=who), "GetPerson", request)
    assert {field.value for field in world.stubs[who].GetPerson(
        person_pb2.GetPersonRequest(person_id=world.person), timeout=TIMEOUT_S
    ).fields} == {""}  # fmt: skip


CHOICES = [
    Row("purpose-unknown", "PURPOSE_UNKNOWN", {"purpose": "offers.fax"}, {"purpose": "offers.fax"}),
    Row("purpose-empty", "PURPOSE_UNKNOWN", {"purpose": ""}),
    Row("purpose-with-mark", "PURPOSE_UNKNOWN", {"purpose": f"offers{RLM}"}),
    Row("primary", "INVALID_REQUEST", {"purpose": "billing"}, {"field": "purpose"}, "purpose", logged=False),
    Row("legal", "INVALID_REQUEST", {"purpose": "legal.process"}, {"field": "purpose"}, "purpose", logged=False),
    Row("no-state", "INVALID_REQUEST", {"state": 0}, {"field": "state"}, "state", logged=False),
    Row("unknown-state", "INVALID_REQUEST", {"state": 3}, {"field": "state"}, "state", logged=False),
    Row("negative-state", "INVALID_REQUEST", {"state": -1}, {"field": "state"}, "state", logged=False),
    *(Row(f"channel-{n}", "INVALID_REQUEST", {"channel": text}, {"field": "channel"}, "channel", logged=False)
      for n, text in enumerate(["", "By Mail", "x" * 65, f"web{NUL}", f"web{RLM}", "canary@example.com"])),
]  # fmt: skip


@rows(CHOICES)
def test_a_bad_choice_is_not_recorded(world, row):
    before = shown(world)
    choice = person_pb2.ChoiceMade(**{"purpose": "offers", "state": 2, "channel": "web", **row.request})
    request = person_pb2.RecordChoiceRequest(person_id=world.person, choice=choice, source="web", request_id=new_id())
    refuse(world, Row(**{**row.__dict__, "who": INTERNAL}), "RecordChoice", request)
    assert shown(world) == before


def test_a_subcontractor_learns_nothing_of_persons_whatever_it_asks(world):
    stub = world.broker.persons(ACME)
    for request in (
        person_pb2.GetPersonRequest(person_id=world.person),
        person_pb2.GetPersonRequest(person_id=NOBODY),
        person_pb2.GetPersonRequest(),
    ):
        row = Row("", "ROLE_NOT_ALLOWED", metadata={"kind": "subcontractor", "method": f"{SERVICE}GetPerson"})
        check_refused(world.ledger, row, stub.GetPerson, f"{SERVICE}GetPerson", request)
