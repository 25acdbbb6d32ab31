"""PersonService, beside test_persons.py: bad values, etags and retries, and what the ledger holds of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from sluss.v1 import choice_pb2, person_pb2

from broker.ids import person_text
from tests.integration.bad_input import (
    ACME,
    BELL,
    CONTRACT_IDS,
    NUL,
    REQUEST_IDS,
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

SERVICE, CHOICE_SERVICE = "/sluss.v1.PersonService/", "/sluss.v1.ChoiceService/"
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
    rooms = {name: (shared_broker.persons(name), shared_broker.choices(name)) for name in names}
    stubs = {name: SimpleNamespace(**vars(persons), **vars(made)) for name, (persons, made) in rooms.items()}
    contract = shared_broker.propose()
    ledger = shared_broker.ledger()
    return SimpleNamespace(broker=shared_broker, person=person, contract=contract, stubs=stubs, ledger=ledger)


def values(**given):
    return [person_pb2.FieldValue(field=name.replace("__", "."), value=value) for name, value in given.items()]


def shown(world):
    request = person_pb2.GetPersonRequest(person_id=world.person, include_values=True)
    return world.stubs[INTERNAL].GetPerson(request, timeout=TIMEOUT_S)


def stored(world):
    """Every row about persons."""
    with closing(sqlite3.connect(world.broker.home / "sluss.db", timeout=TIMEOUT_S)) as database:
        tables = ("person", "blind_index", "unique_number", "choice", "ledger_person", "request")
        return {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def refuse(world, row, method, request):
    before = stored(world)
    service = CHOICE_SERVICE if "Choice" in method else SERVICE
    told, entry = check_refused(world.ledger, row, getattr(world.stubs[row.who], method), f"{service}{method}", request)
    assert "canary" not in f"{told.message} {told.metadata}"
    assert stored(world) == before
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
            choices=[choice_pb2.ChoiceMade(purpose="offers", state=1, medium="web")],
        ),
    ):
        refuse(world, row, "RegisterPerson", other)
    before = ledger_size(world.ledger)
    assert stub.RegisterPerson(first, timeout=TIMEOUT_S) == given
    assert ledger_size(world.ledger) == before
    choice = choice_pb2.ChoiceMade(purpose="offers", state=2, medium="web")
    recorded = choice_pb2.RecordChoiceRequest(
        person_id=world.person, choice=choice, source="web", request_id=request_id
    )
    refuse(world, row, "RecordChoice", recorded)


SOURCES = ["", "Web", "two words", "x" * 65, f"web{NUL}", f"web{RLM}", "w\u00e9b", "canary@example.com"]


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
@pytest.mark.parametrize("method", ["RegisterPerson", "UpdatePerson", "RecordChoice", "ImportPersons"])
def test_a_source_has_its_form(world, method, source):
    given = {"source": source}
    if method == "RecordChoice":
        given["choice"] = choice_pb2.ChoiceMade(purpose="offers", state=2, medium="web")
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
    request = getattr(choice_pb2 if method == "RecordChoice" else person_pb2, f"{method}Request")(**given)
    row = Row("", "INVALID_REQUEST", metadata={"field": "source"}, field="source", who=INTERNAL, logged=False)
    if method != "ImportPersons":
        refuse(world, row, method, request)
        return
    refuse_import(world, row, request)


def refuse_import(world, row, *messages):
    before, stub = stored(world), world.stubs[INTERNAL]
    told, _ = check_refused(
        world.ledger,
        row,
        lambda all_of_them, timeout: stub.ImportPersons(iter(all_of_them), timeout=timeout),
        f"{SERVICE}ImportPersons",
        messages,
    )
    assert "canary" not in f"{told.message} {told.metadata}"
    assert stored(world) == before


@pytest.mark.parametrize("contract", CONTRACT_IDS, ids=range(len(CONTRACT_IDS)))
def test_handles_under_a_contract_that_does_not_exist_are_refused(world, contract):
    request = person_pb2.GetHandlesRequest(contract_id=contract, person_ids=[world.person])
    refuse(world, Row("", "CONTRACT_UNKNOWN", who=INTERNAL, logged=False), "GetHandles", request)


HANDLES = [
    Row("none", "INVALID_REQUEST", {"ids": []}, {"field": "person_ids"}, "person_ids"),
    Row("10001", "INVALID_REQUEST", {"ids": [NOBODY] * 10_001}, {"field": "person_ids"}, "person_ids"),
    Row("twice", "INVALID_REQUEST", {"ids": [NOBODY, person_text(8), NOBODY]}, {"field": "person_ids"}, "person_ids"),
    Row("unknown", "PERSON_UNKNOWN", {"ids": [NOBODY]}, {"position": "0"}),
    Row("empty", "INVALID_REQUEST", {"ids": [""]}, {"field": "person_id"}, "person_id"),
    Row("lower-case", "INVALID_REQUEST", {"ids": [NOBODY.lower()]}, {"field": "person_id"}, "person_id"),
    Row("with-mark", "INVALID_REQUEST", {"ids": [f"{RLM}{NOBODY}"]}, {"field": "person_id"}, "person_id"),
    Row("a-value", "INVALID_REQUEST", {"ids": ["canary@example.com"]}, {"field": "person_id"}, "person_id"),
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
    *(Row(f"medium-{n}", "INVALID_REQUEST", {"medium": text}, {"field": "medium"}, "medium", logged=False)
      for n, text in enumerate(["", "By Mail", "x" * 65, f"web{NUL}", f"web{RLM}", "canary@example.com"])),
]  # fmt: skip


@rows(CHOICES)
def test_a_bad_choice_is_not_recorded(world, row):
    before = shown(world)
    choice = choice_pb2.ChoiceMade(**{"purpose": "offers", "state": 2, "medium": "web", **row.request})
    request = choice_pb2.RecordChoiceRequest(person_id=world.person, choice=choice, source="web", request_id=new_id())
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


def malformed(name, **request):
    return Row(name, "INVALID_REQUEST", request, {"field": "person_id"}, "person_id", logged=False)


PERSONS = [
    malformed("none"),
    malformed("empty", person_id=""),
    malformed("short", person_id="P-1"),
    malformed("lower-case", person_id=NOBODY.lower()),
    malformed("with-nul", person_id=f"{NOBODY}{NUL}"),
    malformed("with-mark", person_id=f"{RLM}{NOBODY}"),
    malformed("padded", person_id=f" {NOBODY}"),
    malformed("too-large", person_id="P-ZZZZZZZZZZZZZ"),
    malformed("a-megabyte", person_id="P-" + "0" * 1_000_000),
    malformed("a-value", person_id="canary@example.com"),
    malformed("other-digits", person_id="P-" + "\u0660" * 13),
    Row("unknown", "PERSON_UNKNOWN", {"person_id": NOBODY}, logged=False),
]


@rows(PERSONS)
@pytest.mark.parametrize("who", [INTERNAL, PRIVACY, "legal/anna", "operator/admin"])
def test_a_person_is_shown_by_an_id_in_its_form_and_on_record(world, row, who):
    refuse(world, Row(**{**row.__dict__, "who": who}), "GetPerson", person_pb2.GetPersonRequest(**row.request))


@rows(PERSONS)
def test_a_choice_is_recorded_for_a_person_by_an_id_in_its_form_and_on_record(world, row):
    choice = choice_pb2.ChoiceMade(purpose="offers", state=2, medium="web")
    request = choice_pb2.RecordChoiceRequest(choice=choice, source="web", request_id=new_id(), **row.request)
    refuse(world, Row(**{**row.__dict__, "who": PRIVACY}), "RecordChoice", request)


@pytest.mark.parametrize("request_id", REQUEST_IDS, ids=range(len(REQUEST_IDS)))
def test_a_choice_needs_a_request_id_in_its_form(world, request_id):
    choice = choice_pb2.ChoiceMade(purpose="offers", state=2, medium="web")
    request = choice_pb2.RecordChoiceRequest(person_id=world.person, choice=choice, source="web", request_id=request_id)
    metadata = {"field": "request_id"}
    refuse(
        world, Row("", "INVALID_REQUEST", {}, metadata, "request_id", INTERNAL, logged=False), "RecordChoice", request
    )


def wrong_key(name, **key):
    (kind,) = key
    return Row(name, "INVALID_VALUE", key, {"field": kind}, kind, logged=False)


KEYS = [
    Row("none", "INVALID_REQUEST", {}, {"field": "key"}, "key", logged=False),
    *(wrong_key(f"{kind}-{name}", **{kind: text})
      for kind in ("email", "phone", "customer_number")
      for name, text in {"empty": "", "blank": "   ", "nul": f"canary{NUL}", "bell": f"can{BELL}ary",
                         "newline": "canary\n1", "mark": f"{RLM}canary", "override": f"{RLO}canary",
                         "isolate": "canary\u2067", "separator": "canary\u2028", "a-megabyte": "c" * 10**6}.items()),
    wrong_key("number-of-33", customer_number="7" * 33),
    wrong_key("number-of-4096", customer_number="7" * 4096),
    wrong_key("email-of-the-longest-and-more", email="canary" * 50 + "@example.com"),
    wrong_key("email-is-a-number", email="+46701740605"),
    wrong_key("email-two", email="canary@example.com,canary2@example.com"),
    wrong_key("phone-is-an-address", phone="canary@example.com"),
    wrong_key("phone-without-country", phone="0701740605"),
    wrong_key("phone-too-long", phone="+4670174060512345678"),
]  # fmt: skip


@rows(KEYS)
@pytest.mark.parametrize("who", [INTERNAL, "legal/anna"])
def test_a_key_that_is_no_such_key_finds_nobody_and_is_not_repeated(world, row, who):
    request = person_pb2.LookUpPersonsRequest(**row.request)
    refuse(world, Row(**{**row.__dict__, "who": who}), "LookUpPersons", request)


def test_a_customer_number_of_the_longest_form_is_looked_up(world):
    request = person_pb2.LookUpPersonsRequest(customer_number="7" * 32)
    assert not world.stubs[INTERNAL].LookUpPersons(request, timeout=TIMEOUT_S).person_ids


def import_row(line, *given, **more):
    return person_pb2.ImportRow(line=line, values=[*given, *values(**more)])


def good_rows(count):
    return [import_row(line, customer_number=f"{new_id()[:13]}-{line}") for line in range(1, count + 1)]


def a_batch(given, source="import:crm", **more):
    return person_pb2.ImportPersonsRequest(rows=given, source=source, **more)


def not_a_batch(name, make, field):
    return Row(name, "INVALID_REQUEST", {"make": make}, {"field": field}, field, INTERNAL, logged=False)


BATCHES = [
    not_a_batch("no-rows", list, "rows"),
    not_a_batch("1001-rows", lambda: good_rows(1001), "rows"),
    not_a_batch("257-values", lambda: [import_row(1, *values(customer_number="K-9") * 257)], "values"),
    # The broker writes a batch in parts: none of them may be left behind by a fault of form in a later one.
    not_a_batch("257-values-in-the-last-row", lambda: [*good_rows(999), import_row(1000, *values(title="x") * 257)],
                "values"),
]  # fmt: skip


@rows(BATCHES)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_batch_that_is_none_is_refused_and_none_of_it_is_stored(world, row, dry_run):
    refuse_import(world, row, a_batch(row.request["make"](), dry_run=dry_run))


FAULTS = [
    *((f"name-{n}", "name.given", "INVALID_VALUE", values(name__given=text))
      for n, text in enumerate(["", "   ", "x" * 101, f"Canary{NUL}", f"Can{BELL}ary", "Canary\nB", f"Canary{RLM}",
                                f"{RLO}Canary", "Canary\u2067", "Canary\x85", "Canary\u2028B"])),
    ("number-empty", "customer_number", "INVALID_VALUE", values(customer_number="")),
    ("number-too-long", "customer_number", "INVALID_VALUE", values(customer_number="7" * 33)),
    ("number-of-fillers", "customer_number", "INVALID_VALUE", values(customer_number="- -")),
    ("no-number", "customer_number", "INVALID_VALUE", []),
    ("value-twice", "title", "INVALID_VALUE", values(title="Dr") * 2),
    ("unknown-field", "shoe_size", "FIELD_UNKNOWN", values(shoe_size="canary")),
    ("value-for-a-field", "(not a name)", "FIELD_UNKNOWN", values(**{"canary@example.com": "x"})),
    ("security-code", "payment.card_security_code", "FIELD_FORBIDDEN", values(payment__card_security_code="123")),
    ("security-code-by-another-name", "cvc", "FIELD_FORBIDDEN", values(cvc="123")),
]  # fmt: skip


@pytest.mark.parametrize(("field", "reason", "given"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_faulty_row_is_named_not_repeated_and_not_stored(world, field, reason, given):
    before, size = stored(world), ledger_size(world.ledger)
    about_number = field == "customer_number"
    row = import_row(7, *([] if about_number else values(customer_number=new_id()[:13])), *given)
    (answer,) = world.stubs[INTERNAL].ImportPersons(iter([a_batch([row])]), timeout=TIMEOUT_S)
    (result,) = answer.results
    assert (result.line, result.outcome) == (7, person_pb2.ImportResult.OUTCOME_FAULTY)
    assert [(fault.field, fault.reason) for fault in result.faults] == [(field, reason)]
    assert "anary" not in str(result)
    assert "123" not in str(result)
    assert stored(world) == before
    assert ledger_size(world.ledger) == size


@pytest.mark.parametrize("apart", [1, 600])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_customer_number_twice_in_a_message_is_a_fault_and_in_the_next_message_an_update(world, apart, dry_run):
    given = good_rows(apart + 1)
    number = given[0].values[0].value
    given[apart] = import_row(apart + 1, customer_number=number.upper(), title="Dr")
    later = import_row(1, customer_number=number, title="Prof")
    calls = iter([a_batch(given, dry_run=dry_run), a_batch([later], dry_run=dry_run)])
    first, second = world.stubs[INTERNAL].ImportPersons(calls, timeout=TIMEOUT_S)
    outcomes = [person_pb2.ImportResult.Outcome.Name(result.outcome)[8:] for result in first.results]
    assert outcomes == ["CREATED"] * apart + ["FAULTY"]
    (fault,) = first.results[apart].faults
    assert (fault.field, fault.reason) == ("customer_number", "INVALID_VALUE")
    assert "twice" in fault.detail
    assert number not in str(fault)
    again = person_pb2.ImportResult.Outcome.Name(second.results[0].outcome)[8:]
    assert again == ("CREATED" if dry_run else "UPDATED")
