"""In which forms a recipient can know a leaked text, over every type and transform; and invented values."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import transforms
from broker.catalogue import default_catalogue
from broker.errors import SlussError
from broker.tracing import forms, invention
from broker.tracing.invention import Draw, Model, Template
from broker.values import index_form

CATALOGUE = default_catalogue()
TODAY = date(2026, 11, 20)
TEMPLATE = Template(("example.com", "example.net"), (), "K-9######")
VALUES = {
    "card_number": ["4111111111111111", "378282246310005"],
    "iban": ["SE4550000000058398257466", "NO9386011117947"],
    "email": ["anna@example.org", "b@example.net"],
    "phone": ["+46701740605", "+4687654321"],
    "date": ["1985-04-03", "2001-12-31"],
    "name": ["Åsa", "Bo Ek"],
    "postal_code": ["111 22", "SW1A 1AA"],
    "ip": ["192.0.2.7", "2001:db8::1"],
    "decimal": ["1234.50", "7"],
    "card_expiry": ["2029-04"],
    "datetime": ["2026-01-02T03:04:05.000000Z"],
    "text": ["K-100042", "the quick brown fox"],
}
SHOWN = [
    (kind, value, name)
    for kind, values in VALUES.items()
    for value in values
    for name in sorted(transforms.allowed(kind) - {"full", "hashed", "presence"})
    if transforms.apply(name, value, type=kind).strip("*")
]


@pytest.mark.parametrize(("kind", "value", "name"), SHOWN)
def test_whoever_was_sent_a_form_or_the_whole_can_know_it(kind, value, name):
    found = forms.knowing(kind, value, transforms.apply(name, value, type=kind))
    assert {"full", name} <= found or (found == {"full"} and transforms.apply(name, value, type=kind) == value)
    assert "presence" not in found


@pytest.mark.parametrize(("kind", "value", "name"), SHOWN)
def test_no_form_that_is_claimed_shows_less_than_the_text(kind, value, name):
    """Of two values that a transform does not tell apart, its recipient can't know what does."""
    for other in VALUES[kind]:
        leaked = transforms.apply(name, value, type=kind)
        if other == value or transforms.apply(name, other, type=kind) == leaked:
            continue
        for claimed in forms.knowing(kind, value, leaked):
            if claimed != "full":
                assert transforms.apply(claimed, value, type=kind) != transforms.apply(claimed, other, type=kind)


@pytest.mark.parametrize("kind", sorted(VALUES))
@pytest.mark.parametrize("text", ["****", "***", "*", "yes", ""])
def test_what_shows_nothing_is_no_form_of_anything(kind, text):
    assert all(forms.knowing(kind, value, text) == frozenset() for value in VALUES[kind])


@given(st.sampled_from(sorted(VALUES)), st.text(max_size=12))
def test_any_text_at_all_is_answered(kind, text):
    for value in VALUES[kind]:
        assert forms.knowing(kind, value, text) <= transforms.allowed(kind)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 10**6), st.sets(st.sampled_from(sorted(CATALOGUE.fields))))
def test_an_invented_person_is_valid_and_follows_from_key_and_number(key, number, fields):
    model = Model(frozenset(fields), "", {"address.country": frozenset({"SE", "NO"})})

    def invented(of, at):
        return invention.invent(Draw(of, at), CATALOGUE, TEMPLATE, model, TODAY, lambda _kind, _value: True)

    values = invented(key, number)
    assert values == invented(key, number)
    assert set(values) <= fields | {"address.country"}
    assert values["address.country"] in {"SE", "NO"}
    for name, value in values.items():
        field = CATALOGUE.field(name)
        assert field.accept(value) == value
        assert not field.financial
        if field.index:
            assert index_form(field.index, value)
    if "customer_number" in fields:
        assert values["customer_number"].startswith("K-9")
    if "email" in fields:
        assert values["email"].endswith(("@example.com", "@example.net"))


def test_another_key_or_number_gives_others():
    model = Model(frozenset({"customer_number", "birth_date", "email"}), "SE", {})
    made = {
        tuple(
            sorted(
                invention.invent(
                    Draw(bytes([key]) * 32, number), CATALOGUE, TEMPLATE, model, TODAY, lambda _kind, _value: True
                ).items()
            )
        )
        for key in range(10)
        for number in range(10)
    }
    assert len(made) == 100


def test_nobodys_number_is_given_twice_and_none_is_made_up_when_there_is_none_left():
    template = Template((), ("+4687654##",), "")
    model = Model(frozenset({"phone"}), "SE", {})
    taken = set()

    def is_free(_kind, value):
        if value in taken:
            return False
        taken.add(value)
        return True

    def invent_all():
        for number in range(200):
            invention.invent(Draw(bytes(32), number), CATALOGUE, template, model, TODAY, is_free)

    with pytest.raises(SlussError) as caught:
        invent_all()
    assert caught.value.metadata["field"] == "template.phone_patterns"
    assert len(taken) > 60
