"""Identifiers: a parser accepts exactly what its formatter writes."""

from __future__ import annotations

import contextlib
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Reason, SlussError
from broker.ids import CROCKFORD, new_disclosure_id, new_person_id, parse_person, parse_request_id, person_text

PERSONS = st.integers(1, (1 << 62) - 1)


@pytest.mark.parametrize(
    ("person", "text"),
    [
        (1, "P-0000000000001"),
        (31, "P-000000000000Z"),
        (32, "P-0000000000010"),
        ((1 << 62) - 1, "P-3ZZZZZZZZZZZZ"),
    ],
)
def test_a_person_id_has_one_text(person, text):
    assert person_text(person) == text
    assert parse_person(text) == person


@given(PERSONS)
def test_a_person_id_comes_back_from_its_text(person):
    assert parse_person(person_text(person)) == person
    assert re.fullmatch(f"P-[{CROCKFORD}]{{13}}", person_text(person))


@given(PERSONS, st.integers(0, 14), st.characters())
def test_a_person_id_with_one_other_character_is_another_person_or_none(person, place, character):
    text = person_text(person)
    changed = text[:place] + character + text[place + 1 :]
    with contextlib.suppress(SlussError):
        found = parse_person(changed)
        assert (found == person) == (changed == text)
        assert person_text(found) == changed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P-",
        "P-0000000000000",
        "P-4000000000000",
        "P-ZZZZZZZZZZZZZ",
        "P-000000000001",
        "P-00000000000001",
        "p-0000000000001",
        "P-000000000000z",
        "P-000000000000O",
        "P-000000000000I",
        "P-000000000000L",
        "P-000000000000U",
        "P-000000000000\u0661",
        "P_0000000000001",
        "0000000000001",
        " P-0000000000001",
        "P-0000000000001\n",
        "P-0000000000001\x00",
        "P-" + "0" * 1_000_000,
    ],
)
def test_a_text_that_is_no_person_id_is_refused_and_not_repeated(text):
    with pytest.raises(SlussError) as caught:
        parse_person(text)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata == {"field": "person_id"}
    assert len(text) < 3 or text not in str(caught.value)


def test_new_person_ids_are_in_range_and_do_not_repeat():
    made = {new_person_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert min(made) > 0
    assert max(made) < 1 << 62
    assert max(made) > 1 << 60, "ids that fill a part of their range only can be guessed"


def test_new_disclosure_ids_are_of_their_form_and_do_not_repeat():
    made = {new_disclosure_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch(r"D-[0-9a-f]{32}", text) for text in made)


@given(st.uuids(version=4))
def test_a_uuid4_is_a_request_id_in_one_spelling_only(request_id):
    text = str(request_id)
    assert parse_request_id(text) == request_id.bytes
    for other in (text.upper(), text.replace("-", ""), f"{{{text}}}", f"urn:uuid:{text}", f" {text}", f"{text}\n"):
        if other != text:
            with pytest.raises(SlussError):
                parse_request_id(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        str(uuid.UUID(int=0)),
        str(uuid.UUID(int=(1 << 128) - 1)),
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-31d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-51d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-71d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-41d1-00b4-00c04fd430c8",
        "6ba7b810-9dad-41d1-c0b4-00c04fd430c8",
        "6ba7b810-9dad-41d1-80b4-00c04fd430c",
        "6ba7b810-9dad-41d1-80b4-00c04fd430c8\x00",
        "\u0666ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "6" * 1_000_000,
    ],
)
def test_a_text_that_is_no_uuid4_is_refused_and_not_repeated(text):
    with pytest.raises(SlussError) as caught:
        parse_request_id(text)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata == {"field": "request_id"}
    assert len(text) < 2 or text not in str(caught.value)
