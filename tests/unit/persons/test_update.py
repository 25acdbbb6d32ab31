"""Rectification: etags, indexes that follow, and what must not move."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.errors import Reason, SlussError
from broker.store.engine import reading
from broker.store.queries import WHOLE, read_persons
from tests.unit.persons.world import CANARIES, catalogue_without


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    assert not any(text in f"{caught.value} {caught.value.metadata}" for text in CANARIES.values())
    return caught.value


@pytest.fixture
def person(world):
    return world.register().person


def test_values_are_set_added_and_removed_and_the_rest_keeps_source_and_time(world, person):
    before = {field.name: field for field in world.get(person, values=True).fields}
    etag = world.update(person, "1", {"name.given": "Nova", "title": "Dr"}, ["phone"], source="survey")
    after = {field.name: field for field in world.get(person, values=True).fields}
    assert etag == "2" == world.get(person).etag
    assert after.keys() == before.keys() - {"phone"} | {"title"}
    assert (after["name.given"].text, after["name.given"].source) == ("Nova", "survey")
    assert after["name.given"].collected_at > before["name.given"].collected_at
    assert all(after[name] == before[name] for name in ("email", "payment.iban", "name.family"))


def test_a_change_moves_the_rights_and_one_that_changes_nothing_moves_nothing(world, person):
    before = world.rights()
    world.update(person, "1", {"title": "Dr"})
    assert world.rights() == before + 1
    rows = world.table("person")
    assert world.update(person, "2", {"title": " Dr "}, ["mobile"], source="other") == "2"
    assert world.rights() == before + 1
    assert world.table("person") == rows


def test_a_stale_etag_changes_nothing(world, person):
    world.update(person, "1", {"title": "Dr"})
    for etag in ("1", "", "3", "02", " 2"):
        error = refused(lambda etag=etag: world.update(person, etag, {"title": "Prof"}))
        assert (error.reason, error.metadata) == (Reason.ETAG_STALE, {"etag": "2"})
    assert world.texts(person)["title"] == "Dr"


def test_of_many_threads_with_one_etag_one_changes_the_record(world, person):
    def attempt(number):
        try:
            world.update(person, "1", {"title": f"T{number}"})
        except SlussError as error:
            return error.reason
        return number

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, range(12)))
    (winner,) = [outcome for outcome in outcomes if outcome is not Reason.ETAG_STALE]
    assert world.texts(person)["title"] == f"T{winner}"
    assert world.get(person).etag == "2"


def test_look_up_follows_a_changed_address(world, person):
    world.update(person, "1", {"email": "Nova@example.com", "mobile": CANARIES["phone"]}, ["phone"])
    assert world.look_up("email", CANARIES["email"]) == []
    assert world.look_up("email", "NOVA@EXAMPLE.COM") == [person]
    assert world.look_up("phone", CANARIES["phone"]) == [person]


def test_a_customer_number_moves_to_a_free_one_only_and_the_old_one_is_free_again(world, person):
    other = world.register({"customer_number": "OTHER-1"}).person
    assert refused(lambda: world.update(person, "1", {"customer_number": "other 1"})).reason is Reason.PERSON_EXISTS
    assert world.get(person).etag == "1"
    world.update(person, "1", {"customer_number": "NEW-1"})
    assert world.register({"customer_number": CANARIES["customer_number"]}).person not in (person, other)
    assert world.look_up("customer_number", "new1") == [person]


def test_a_number_in_another_spelling_is_the_same_number(world, person):
    assert world.update(person, "1", {"customer_number": "kx774411canary"}) == "2"
    assert world.texts(person)["customer_number"] == "kx774411canary"


@pytest.mark.parametrize(
    ("values", "remove", "reason", "field"),
    [
        ({}, ["customer_number"], Reason.INVALID_REQUEST, "customer_number"),
        ({}, [], Reason.INVALID_REQUEST, "values"),
        ({"title": "Dr"}, ["title"], Reason.INVALID_REQUEST, "title"),
        ({}, ["shoe_size"], Reason.FIELD_UNKNOWN, "shoe_size"),
        ({}, ["payment.cvc"], Reason.FIELD_FORBIDDEN, "payment.cvc"),
        ({"email": "canary@"}, [], Reason.INVALID_VALUE, "email"),
    ],
)
def test_a_correction_that_may_not_be_changes_nothing(lite, values, remove, reason, field):
    person = lite.register().person
    rows = lite.table("person")
    error = refused(lambda: lite.update(person, "1", values, remove))
    assert (error.reason, error.metadata["field"]) == (reason, field)
    assert lite.table("person") == rows


def test_nobody_and_an_erased_person_are_equally_unknown(lite):
    person = lite.register().person
    lite.change_rights(lite.table_of("person").update().values(state="erased"))
    errors = [refused(lambda of=of: lite.update(of, "1", {"title": "Dr"})) for of in (person, 7)]
    assert {(error.reason, error.detail) for error in errors} == {(Reason.PERSON_UNKNOWN, "no such person")}


def test_a_financial_value_keeps_its_ring_when_its_field_leaves_the_catalogue(world, person):
    world.replace_catalogue(catalogue_without("payment.iban"))
    world.update(person, "1", {"title": "Dr"})
    with reading(world.engine) as connection:
        (row,) = read_persons(connection, [person], WHOLE)
    assert world.vault.metadata(row)["payment.iban"].financial
    with pytest.raises(SlussError):
        world.vault.open_fields(row, ["payment.iban"], allow_financial=False)
    shown = {field.name: field.category for field in world.get(person).fields}
    assert shown["payment.iban"] == ""
    world.update(person, "2", remove=["payment.iban"])
    assert "payment.iban" not in world.texts(person)


def test_the_privacy_team_corrects_too_and_others_do_not(world, person):
    assert world.update(person, "1", {"title": "Dr"}, kind="privacy") == "2"
    for kind in ("legal", "operator", "subcontractor"):
        error = refused(lambda kind=kind: world.update(person, "2", {"title": "X"}, kind=kind))
        assert error.reason is Reason.ROLE_NOT_ALLOWED
