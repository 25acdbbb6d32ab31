"""Registration: all or nothing, once per request and once per customer number."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from broker.choices.model import ChoiceMade
from broker.errors import Reason, SlussError
from broker.ledger.entry import base64url
from broker.vault import commitment
from tests.support.patience import patiently
from tests.unit.persons.world import CANARIES, World


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    shown = f"{caught.value} {caught.value.metadata}"
    assert not any(text in shown for text in CANARIES.values())
    return caught.value


def test_a_registered_person_is_on_record_with_source_and_time_of_each_value(world):
    done = world.register(source="web")
    shown = world.get(done.person, values=True)
    assert {field.name: field.text for field in shown.fields} == CANARIES
    assert {field.source for field in shown.fields} == {"web"}
    assert {field.collected_at for field in shown.fields} == {shown.created_at // 1_000_000}
    assert shown.etag == done.etag == "1"
    assert {field.category for field in shown.fields} == {"identity", "contact", "financial"}


def test_values_are_stored_in_normal_form(lite):
    done = lite.register({"email": " J.Doe@EXAMPLE.com ", "payment.iban": "se45 5000 0000 0583 9825 7466"})
    assert lite.texts(done.person) == {"email": "J.Doe@example.com", "payment.iban": "SE4550000000058398257466"}


def test_the_same_request_registers_once_even_after_a_restart(world):
    request = uuid.uuid4().bytes
    first = world.register(request_id=request)
    again = World(world.engine).register(request_id=request)
    assert again == first
    assert len(world.table("person")) == 1


def test_the_same_request_from_many_threads_registers_once(world):
    request = uuid.uuid4().bytes
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: patiently(lambda: world.register(request_id=request)), range(12)))
    assert len(set(done)) == 1
    assert len(world.table("person")) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"values": {**CANARIES, "name.given": "Else"}},
        {"source": "survey"},
        {"made": [ChoiceMade("offers", "in", (), "web")]},
    ],
)
def test_a_request_id_with_another_body_is_refused(lite, other):
    request = uuid.uuid4().bytes
    lite.register(request_id=request)
    assert refused(lambda: lite.register(**other, request_id=request)).reason is Reason.REQUEST_ID_REUSED


def test_what_a_request_is_remembered_by_can_not_be_tried_against_guessed_values(lite):
    asked = {"email": "a@example.com"}
    lite.register(asked)
    (first,) = lite.table("request")
    plain = orjson.dumps(
        {"call": "register", "parts": orjson.dumps([list(asked.items()), "registration", [], ""]).decode()}
    )
    assert first.body == lite.vault.fingerprint(0, orjson.loads(plain))
    assert first.body != hashlib.sha256(plain).digest()


def test_a_customer_number_is_registered_once_in_whatever_spelling(world):
    world.register({"customer_number": "kx-100 1"})
    error = refused(lambda: world.register({"customer_number": "KX.1001"}))
    assert error.reason is Reason.PERSON_EXISTS
    assert len(world.table("person")) == 1


def test_of_many_threads_that_register_one_customer_number_one_wins(world):
    def attempt(number):
        try:
            return patiently(world.register, {"customer_number": "RACE-1", "name.given": f"N{number}"}).person
        except SlussError as error:
            return error.reason

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, range(12)))
    assert outcomes.count(Reason.PERSON_EXISTS) == 11
    assert len(world.table("person")) == 1


PROCESS = """
import sys
from broker.errors import SlussError
from broker.store.engine import open_engine
from tests.unit.persons.world import World
world = World(open_engine(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    try:
        if sys.argv[2] == "import":
            (result,) = world.load([{"customer_number": f"RACE-{number}", "name.given": "Imported"}])
            print(result.outcome.value, flush=True)
        else:
            world.register({"customer_number": f"RACE-{number}", "name.given": "Registered"})
            print("CREATED", flush=True)
    except SlussError as error:
        print(error.reason.value, flush=True)
"""


def test_of_processes_that_register_and_import_the_same_numbers_one_creates_each_person(world, store_url):
    command = [sys.executable, "-c", PROCESS, store_url]
    processes = [
        subprocess.Popen([*command, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for how in ("register", "import", "register", "import")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=60)[0].split() for process in processes]
    flat = [outcome for of in outcomes for outcome in of]
    assert len(flat) == 80
    assert flat.count("CREATED") == 20
    assert set(flat) <= {"CREATED", "UPDATED", "UNCHANGED", "PERSON_EXISTS"}
    assert len(world.table("person")) == 20


def test_all_faults_come_in_one_error_and_nothing_is_stored(lite):
    values = {**CANARIES, "email": "canary at example", "payment.iban": "SE00", "birth_date": "never"}
    error = refused(lambda: lite.register(values))
    assert error.reason is Reason.INVALID_VALUE
    assert error.metadata == {"field": "email", "faults": "3"}
    assert all(name in error.detail for name in ("email", "payment.iban", "birth_date"))
    assert lite.table("person") == lite.table("unique_number") == lite.table("request") == []


@pytest.mark.parametrize(
    ("values", "reason", "field"),
    [
        ({"email": "nonsense", "shoe_size": "43"}, Reason.FIELD_UNKNOWN, "shoe_size"),
        ({"shoe_size": "43", "cvc": "123"}, Reason.FIELD_FORBIDDEN, "cvc"),
        ({"payment.card_cvv": "123"}, Reason.FIELD_FORBIDDEN, "payment.card_cvv"),
        ({"4111 1111 1111 1111": "x"}, Reason.FIELD_UNKNOWN, "(not a name)"),
        ({"customer_number": " - . "}, Reason.INVALID_VALUE, "customer_number"),
        ({"name.given": ""}, Reason.INVALID_VALUE, "name.given"),
    ],
)
def test_a_field_or_value_that_may_not_be_is_refused_by_name(lite, values, reason, field):
    error = refused(lambda: lite.register(values))
    assert (error.reason, error.metadata["field"]) == (reason, field)
    assert "4111" not in f"{error} {error.metadata}"


@pytest.mark.parametrize("source", ["", "Web", "a b", "x" * 65, "name@example.com", "ä", "a\n", "46701740605"])
def test_a_source_that_is_not_a_word_is_refused_and_not_repeated(lite, source):
    error = refused(lambda: lite.register(source=source))
    assert error.reason is Reason.INVALID_REQUEST
    assert not source or source not in error.detail


def test_choices_at_registration_are_in_the_ledger_and_in_force(world):
    made = [ChoiceMade("offers", "out", (), "web"), ChoiceMade("partners.email", "in", (), "phone")]
    done = world.register(made=made, source="web")
    assert world.get(done.person).choices == [
        ChoiceMade("offers", "out", (), "web"),
        ChoiceMade("partners.email", "in", ("email",), "phone"),
    ]
    entries = world.entries("choice")
    assert [(entry["purpose"], entry["state"]) for entry in entries] == [("offers", "out"), ("partners.email", "in")]
    (row,) = world.table("person")
    named = commitment(world.vault.person_secret(row), entries[0]["at"])
    assert entries[0]["person"] == base64url(named)
    assert {line.person for line in world.table("ledger_person")} == {done.person}


def test_a_bad_choice_registers_nobody(lite):
    for made in (
        [ChoiceMade("billing", "in", (), "web")],
        [ChoiceMade("offers", "", (), "web")],
        [ChoiceMade("offers", "in", (), "")],
        [ChoiceMade("offers", "in", (), "web"), ChoiceMade("offers", "out", (), "web")],
        [ChoiceMade("nothing", "in", (), "web")],
    ):
        with pytest.raises(SlussError):
            lite.register(made=made)
    assert lite.table("person") == []
    assert lite.entries("choice") == []


def test_no_other_kind_of_principal_registers(lite):
    for kind in ("privacy", "legal", "operator", "subcontractor"):
        assert refused(lambda kind=kind: lite.register(kind=kind)).reason is Reason.ROLE_NOT_ALLOWED
    assert len(lite.entries("refusal")) == 4


def test_no_value_is_in_the_clear_anywhere_in_the_database_or_its_log(lite, sqlite_url, caplog):
    done = lite.register(made=[ChoiceMade("offers", "in", (), "web")])
    lite.update(done.person, "1", {"name.given": "Anderscanary"}, ["phone"])
    lite.load([{**CANARIES, "name.family": "Nachcanary"}])
    with pytest.raises(SlussError):
        lite.register(CANARIES)
    path = sqlite_url.removeprefix("sqlite:///")
    for suffix in ("", "-wal"):
        with open(path + suffix, "rb") as file:  # noqa: PTH123 - two names of one file
            data = file.read()
        for text in (*CANARIES.values(), "Anderscanary", "Nachcanary"):
            assert text.encode() not in data
            assert text.encode() not in caplog.text.encode()
