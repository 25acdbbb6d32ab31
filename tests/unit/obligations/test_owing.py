"""Who owes what, by the ledger."""

from __future__ import annotations


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
