"""What is kept of a person under keys of the person's own: choices in force, and their MAC."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from broker.choices.rule import Stand
from broker.errors import Reason, SlussError
from broker.own_keys import (
    NEVER,
    NO_CHOICES,
    Mark,
    choices,
    choices_text,
    claimed_choices,
    claimed_mark,
    require_chosen,
)

MADE = {"marketing.own": {"*": Stand("out", 7)}}
PLAIN = '{"marketing.own":{"*":["out",7]}}'


@pytest.fixture
def row(vault):
    """A function that gives a person's row with a text as the choices."""

    def make(text, person=7):
        sealed = vault.seal_record(person, {}, ())
        return SimpleNamespace(id=person, choices=text, **sealed._asdict())

    return make


@pytest.fixture
def chosen(vault, row):
    """A row with choices that were recorded."""
    found = row(NO_CHOICES)
    found.choices = choices_text(vault.person_secret(found), MADE)
    return found


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    assert caught.value.reason is Reason.INTERNAL
    assert "marketing" not in str(caught.value)


def test_choices_that_were_recorded_are_read(vault, chosen):
    assert choices(vault, chosen) == claimed_choices(chosen) == MADE
    require_chosen(chosen, vault.person_secret(chosen))


def test_who_chose_nothing_has_a_mac_of_that(vault, row):
    found = row(NO_CHOICES)
    found.choices = choices_text(vault.person_secret(found), {})
    assert choices(vault, found) == claimed_choices(found) == {}
    assert claimed_mark(found.choices) == NEVER


def test_an_emptied_column_is_claimed_to_be_none_and_refused(vault, row):
    found = row(NO_CHOICES)
    assert claimed_choices(found) == {}
    assert claimed_mark(found.choices) is None
    refused(lambda: choices(vault, found))
    refused(lambda: require_chosen(found, vault.person_secret(found)))


def test_the_count_of_choices_is_under_the_mac(vault, chosen):
    chosen.choices = choices_text(vault.person_secret(chosen), MADE, Mark(2, 40))
    assert choices(vault, chosen) == MADE
    assert claimed_mark(chosen.choices) == Mark(2, 40)
    chosen.choices = chosen.choices.replace("2.40{", "3.41{")
    assert claimed_mark(chosen.choices) == Mark(3, 41)
    refused(lambda: choices(vault, chosen))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"out"', '"in"'),
        lambda text: text.replace("marketing.own", "partners"),
        lambda text: text.replace("7]", "8]"),
        lambda text: "0" * 64 + text[64:],
        lambda text: text.upper()[:64] + text[64:],
        lambda text: text[:64] + " " + text[64:],
        lambda text: text[64:],
        lambda text: text[:64],
        lambda text: text[:64] + NO_CHOICES,
        lambda text: text[:64] + "0.0" + NO_CHOICES,
        lambda text: text.replace("0.0{", "{"),
        lambda _: NO_CHOICES,
        lambda _: PLAIN,
        lambda _: "",
        lambda _: "{",
        lambda text: "é" * 64 + text[64:],
    ],
)
def test_a_changed_byte_is_refused(vault, chosen, spoil):
    chosen.choices = spoil(chosen.choices)
    refused(lambda: choices(vault, chosen))


def test_the_choices_of_another_person_are_refused(vault, row, chosen):
    other = row(chosen.choices, person=8)
    refused(lambda: choices(vault, other))
    refused(lambda: require_chosen(other, vault.person_secret(other)))


@pytest.mark.parametrize(
    "damaged",
    [
        "[]",
        "null",
        "{",
        '{"marketing.own":"out"}',
        '{"marketing.own":{}}',
        '{"marketing.own":{"fax":["out",7]}}',
        '{"marketing.own":{"*":["maybe",7]}}',
        '{"marketing.own":{"*":["out"]}}',
        '{"marketing.own":{"*":["out","7"]}}',
        '{"marketing.own":{"*":["out",true]}}',
        '{"marketing.own":{"*":"out"}}',
        '{"a":null}',
    ],
)
def test_choices_that_cannot_be_read_do_not_count_as_none(damaged):
    refused(lambda: claimed_choices(SimpleNamespace(choices="0" * 64 + "1.7" + damaged)))
