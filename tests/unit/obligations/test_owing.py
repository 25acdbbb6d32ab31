"""Who owes what, by the ledger."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from broker.obligations import rows
from broker.persons.model import Correction
from broker.persons.update import update
from broker.store.queries import WHOLE, read_persons


def test_those_who_got_one_of_the_fields_owe_and_nobody_else(world):
    person, other = world.person(world.registration), world.person(world.registration)
    world.give(world.acme, world.acme_contract, person, fields=("email", "payment.iban"))
    world.give(world.mail, world.mail_contract, person, fields=("name.given",))
    world.give(world.mail, world.mail_contract, other, fields=("email",))
    assert world.owe(person, fields=("email",)) == 1
    assert (world.progress().total, world.progress().answered) == (1, 0)
    assert world.owe(person, "erase", (), "R-2026-0002") == 2
    assert world.owe(person, "correct", ("phone",), "R-2026-0003") == 0
    assert world.progress("R-2026-0003").complete
    assert not world.progress("R-2026-0002").complete


def test_a_field_in_any_form_counts(world):
    person = world.person(world.registration)
    world.give(world.mail, world.mail_contract, person, fields=("email",))
    assert world.owe(person) == 1


def correct(world, person, values=(), remove=(), *, cause="", rectification=True):
    """Values set and fields removed, as a rectification unless it is said to be none."""

    def work(change):
        (row,) = read_persons(change.connection, [person], WHOLE)
        given = list(dict(values).items())
        update(change, Correction(person, given, remove, "web", str(row.version), rectification, cause))

    world.desk.change(world.privacy.caller(), work)


def told(world):
    """Who owes which corrections, oldest first."""
    with world.engine.connect() as connection:
        found = connection.execute(select(rows.OBLIGATION).order_by(rows.OBLIGATION.c.number)).all()
    return [(row.recipient, row.fields) for row in found if row.kind == "correct"]


EMAIL = '["email"]'


@pytest.mark.parametrize("cause", ["", "R-2026-0001"])
def test_who_got_what_was_wrong_owes_though_it_was_mended_before_the_rectification(world, cause):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    correct(world, person, {"email": "right@example.com"}, rectification=False)
    world.give(world.mail, world.mail_contract, person, fields=("email", "name.given"))
    for _ in range(2):
        correct(world, person, {"email": "right@example.com"}, cause=cause)
        assert told(world) == [(world.acme.name, EMAIL)]


def test_who_got_what_was_removed_before_the_rectification_owes_once(world):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    correct(world, person, remove=["email"], rectification=False)
    for _ in range(2):
        correct(world, person, remove=["email"], cause="R-2026-0001")
        assert told(world) == [(world.acme.name, EMAIL)]


def test_a_field_that_comes_back_is_owed_by_who_got_it_before_it_went(world):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    correct(world, person, remove=["email"], rectification=False)
    correct(world, person, {"email": "right@example.com"})
    assert told(world) == [(world.acme.name, EMAIL)]


def test_a_field_named_again_for_its_request_tells_nobody_twice_and_another_request_waits_too(world):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    for _ in range(2):
        correct(world, person, {"email": "right@example.com"}, cause="R-2026-0001")
        assert told(world) == [(world.acme.name, EMAIL)]
    correct(world, person, {"email": "right@example.com"}, cause="R-2026-0002")
    assert world.progress("R-2026-0002").waiting == 1
    correct(world, person, {"email": "more.right@example.com"}, cause="R-2026-0002")
    assert world.progress("R-2026-0002").waiting == 2


def test_a_plain_update_tells_nobody(world):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    correct(world, person, {"email": "moved@example.com"}, rectification=False)
    assert told(world) == []
