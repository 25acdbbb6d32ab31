"""What is shown, to whom; who is found; which handles."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from broker import vault
from broker.errors import Reason, SlussError
from broker.handles import persons_of
from broker.ledger import entry
from broker.persons.model import MAX_FOUND
from broker.store import tables
from tests.unit.persons.world import CANARIES


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    assert not any(text in f"{caught.value} {caught.value.metadata}" for text in CANARIES.values())
    return caught.value


@pytest.fixture
def contract(world):
    key = world.vault.wrap_handle_key("C-2026-0001", b"h" * 32)
    row = {"subcontractor": "subcontractor/one", "state": "proposed", "version": 0, "proposed": 1, "reason": ""}
    world.change_rights(
        insert(tables.Contract.__table__).values(id="C-2026-0001", handle_key=key, etag=1, updated_at=0, **row),
        entry.contract(1, "proposed", "C-2026-0001", 1, "subcontractor/one", "operator/o", "", bytes(32)),
    )
    return "C-2026-0001"


def test_metadata_opens_no_value(lite, monkeypatch):
    person = lite.register().person
    monkeypatch.setattr(vault, "AESGCM", None)
    monkeypatch.setattr(lite.vault, "_financial", None)
    shown = lite.get(person, kind="operator")
    assert [field.name for field in shown.fields] == sorted(CANARIES)
    assert {field.text for field in shown.fields} == {""}
    monkeypatch.undo()


def test_values_are_for_internal_services_and_the_privacy_team(lite):
    person = lite.register().person
    for kind in ("internal", "privacy"):
        assert CANARIES["email"] in {field.text for field in lite.get(person, values=True, kind=kind).fields}
    for kind in ("legal", "operator", "subcontractor"):
        error = refused(lambda kind=kind: lite.get(person, values=True, kind=kind))
        assert error.reason is Reason.ROLE_NOT_ALLOWED
    assert [entry["reason"] for entry in lite.entries("refusal")] == ["ROLE_NOT_ALLOWED"] * 3


def test_who_may_not_see_values_does_not_learn_who_exists(lite):
    person = lite.register().person
    errors = [refused(lambda of=of: lite.get(of, values=True, kind="legal")) for of in (person, 7)]
    assert errors[0].detail == errors[1].detail


def test_nothing_of_a_value_is_in_the_repr_of_what_is_shown(lite):
    person = lite.register().person
    shown = repr(lite.get(person, values=True))
    assert not any(text in shown for text in CANARIES.values())


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "CANARY.ZQ7@EXAMPLE.COM"),
        ("phone", "+46 (0)70-174 06 05"),
        ("customer_number", "kx.774411 canary"),
    ],
)
def test_a_person_is_found_in_any_spelling(world, kind, text):
    person = world.register().person
    assert world.look_up(kind, text) == [person]
    assert world.look_up(kind, text, by="legal") == [person]


def test_an_address_that_nobody_has_finds_nobody(lite):
    lite.register()
    assert lite.look_up("email", "nobody@example.com") == []
    assert lite.look_up("customer_number", CANARIES["phone"]) == []


def test_a_shared_phone_finds_at_most_a_hundred_in_order_and_no_erased_person(lite):
    rows = [{"customer_number": f"S-{n}", "phone": CANARIES["phone"]} for n in range(MAX_FOUND + 5)]
    lite.load(rows)
    people = lite.table_of("person")
    everyone = sorted(row.id for row in lite.table("person"))
    lite.change_rights(people.update().where(people.c.id == everyone[0]).values(state="erased"))
    assert lite.look_up("phone", CANARIES["phone"]) == everyone[1 : MAX_FOUND + 1]


@pytest.mark.parametrize(("kind", "text"), [("email", "canary at home"), ("phone", "0701740605"), ("email", "")])
def test_what_is_no_address_is_refused_and_not_repeated(lite, kind, text):
    error = refused(lambda: lite.look_up(kind, text))
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_VALUE, kind)
    assert not text or text not in f"{error} {error.metadata}"


def test_handles_come_in_the_order_asked_and_lead_back_to_the_persons(world, contract):
    people = [world.register({"email": f"n{n}@example.com"}).person for n in range(3)]
    asked = [people[2], people[0], people[2], people[1]]
    handles = world.handles(contract, asked)
    assert persons_of(b"h" * 32, handles) == asked


def test_an_unknown_or_erased_person_has_no_handle(world, contract):
    people = [world.register({"email": f"n{n}@example.com"}).person for n in range(2)]
    error = refused(lambda: world.handles(contract, [people[0], 7]))
    assert (error.reason, error.metadata) == (Reason.PERSON_UNKNOWN, {"position": "1"})
    table = world.table_of("person")
    world.change_rights(table.update().where(table.c.id == people[1]).values(state="erased"))
    assert refused(lambda: world.handles(contract, people)).metadata == {"position": "1"}


@pytest.mark.parametrize("name", ["C-2026-0002", "", "canary.zq7@example.com"])
def test_a_contract_that_is_none_is_unknown_and_not_repeated(lite, name):
    error = refused(lambda: lite.handles(name, [1]))
    assert error.reason is Reason.CONTRACT_UNKNOWN
