"""Whatever comes in: one domain error or a stable normal form, and nothing of it in an error or a report."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker import values
from broker.errors import Reason, SlussError

ANYTHING = st.text(alphabet=st.characters(exclude_categories=()), max_size=80)
SHAPED = st.one_of(
    ANYTHING,
    st.from_regex(r"[A-Za-z.]{1,9}@[a-z.-]{1,9}", fullmatch=True),
    st.from_regex(r"\+?[0-9 ()-]{1,22}", fullmatch=True),
    st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9 ]{4,30}", fullmatch=True),
    st.from_regex(r"[0-9]{2,4}[-/.][0-9]{1,2}([-/.][0-9]{1,4})?", fullmatch=True),
    st.from_regex(r"https?://[a-z@:\[\]./0-9]{0,20}", fullmatch=True),
    st.from_regex(r"[0-9a-f:.]{2,30}", fullmatch=True),
)


@pytest.mark.parametrize("kind", sorted(values.TYPES))
@given(text=SHAPED)
@example(text="http://[::1")
@example(text="9999-12-31T23:59:59-23:59")
@example(text="\u0130@\u0130.ex")
def test_any_text_gives_a_stable_normal_form_or_one_domain_error(kind, text):
    try:
        normal = values.validate(kind, text, field="f")
    except SlussError as caught:
        refused = caught
    else:
        refused = None
    if refused is not None:
        assert refused.reason is Reason.INVALID_VALUE
        assert refused.metadata.keys() == {"field", "why"}
        return
    assert values.validate(kind, normal) == normal
    assert normal.encode("utf-8")
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"} for c in normal)
    assert not set(normal) & set("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


CANARY = st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=40)


@pytest.mark.parametrize("kind", sorted(values.TYPES))
@given(canary=CANARY, tail=st.sampled_from(["", "\u202e", "\x00", "\ud800", "@", "  ", "\u200b"]))
def test_an_error_never_repeats_the_value(kind, canary, tail):
    try:
        values.validate(kind, canary + tail)
    except SlussError as error:
        told = str(error) + repr(error.metadata) + repr(error.__context__ if error.__cause__ else "")
        assert canary not in told


@given(text=ANYTHING)
def test_mask_is_short_visible_and_shows_at_most_four_characters(text):
    shown = values.mask(text)
    assert len(shown) <= 16
    assert shown.isprintable()
    revealed = [c for c in shown if c not in "*@ "]
    assert len(revealed) <= 4
    if len(text.strip()) < 6:
        assert revealed == []


@given(body=st.from_regex(r"[0-9]{11,18}", fullmatch=True), place=st.integers(0, 17), change=st.integers(1, 9))
def test_luhn_finds_every_single_wrong_digit(body, place, change):
    number = body + str((10 - values.luhn(body + "0")) % 10)
    assert values.luhn(number) == 0
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert values.luhn(wrong) != 0
