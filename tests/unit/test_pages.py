"""Page tokens: good for the request that they were made for, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Reason, SlussError
from broker.pages import Cursors, page_size

KEY = bytes(range(32))
BINDING = ("entries", "legal/anna", "C-2026-0001", ("email", "phone"), True)


def refused(call, *arguments, **more):
    with pytest.raises(SlussError) as caught:
        call(*arguments, **more)
    assert caught.value.reason is Reason.INVALID_REQUEST
    return caught.value


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_position_comes_back_from_any_broker_of_the_store(position):
    assert Cursors(KEY).open(Cursors(KEY).seal(position, *BINDING), *BINDING) == position


@pytest.mark.parametrize(
    "binding",
    [
        (),
        BINDING[:-1],
        (*BINDING, ""),
        ("contracts", *BINDING[1:]),
        ("entries", "legal/bert", *BINDING[2:]),
        (*BINDING[:3], ("phone", "email"), True),
        (*BINDING[:3], ("email",), True),
        (*BINDING[:4], False),
        (*BINDING[:4], 1),
        (*BINDING[:4], "true"),
        ("entrieslegal/anna", "", *BINDING[2:]),
    ],
)
def test_a_token_for_another_request_is_refused(binding):
    token = Cursors(KEY).seal("17", *BINDING)
    error = refused(Cursors(KEY).open, token, *binding, field="resume_after")
    assert error.metadata == {"field": "resume_after"}
    assert token not in str(error)


def test_a_token_of_another_store_is_refused():
    refused(Cursors(bytes(32)).open, Cursors(KEY).seal("17", *BINDING), *BINDING)


def test_a_token_does_not_show_its_position_and_no_two_are_equal():
    cursors = Cursors(KEY)
    tokens = {cursors.seal("1234567890", *BINDING) for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert b"1234567890" not in base64.urlsafe_b64decode(token + "==")


@given(st.data())
def test_a_token_with_one_other_character_never_opens(data):
    token = Cursors(KEY).seal("17", *BINDING)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda found: found != token[place]))
    refused(Cursors(KEY).open, token[:place] + character + token[place + 1 :], *BINDING)


@pytest.mark.parametrize(("character", "other"), ["-+", "_/"])
def test_a_token_written_in_the_other_alphabet_of_base64_never_opens(character, other):
    tokens = (Cursors(KEY).seal("17", *BINDING) for _ in range(10_000))
    token = next(token for token in tokens if character in token)
    refused(Cursors(KEY).open, token.replace(character, other), *BINDING)


@pytest.mark.parametrize("token", ["", "x", "=", "A" * 15, "A" * 16, "A" * 38, "åäö", "\x00", "A" * 100_000, "\ud800"])
def test_a_token_that_was_made_up_is_refused(token):
    refused(Cursors(KEY).open, token, *BINDING)


@pytest.mark.parametrize(("asked", "given_size"), [(0, 50), (1, 1), (199, 199), (200, 200)])
def test_a_page_is_as_large_as_asked_or_the_default(asked, given_size):
    assert page_size(asked, 50, 200) == given_size


@pytest.mark.parametrize("asked", [201, 2**32 - 1])
def test_a_page_is_never_larger_than_the_most(asked):
    assert refused(page_size, asked, 50, 200).metadata == {"field": "page_size"}
