"""Free text for the ledger: what looks like personal data is found wherever and however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codes import IBAN_LENGTHS
from broker.errors import Reason, SlussError
from broker.free_text import personal, reason
from broker.plain_text import is_plain_text
from broker.values import luhn

WORDS = st.text("abcdefghijklmnopqrstuvwxyzåäö ,;:!?'", max_size=30).map(lambda words: f"{words} ")
JOINS = st.sampled_from(["", " ", "-", ".", "/", "\u00a0", "\u2011", " - ", ") "])
DIGITS = st.sampled_from([0x30, 0xFF10, 0x660]).map(lambda zero: "".join(chr(zero + n) for n in range(10)))
"""The ten digits of three scripts, the full-width ones among them."""
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._+-", min_size=1, max_size=12)


def written(digits, joins, script):
    """Digits with something between some of them, in a script."""
    spaced = "".join(digit + join for digit, join in zip(digits, [*joins, ""], strict=False))
    return spaced.translate({ord(str(n)): script[n] for n in range(10)})


@given(WORDS, WORDS, NAMES, NAMES, st.sampled_from("@\uff20\ufe6b"))
def test_every_e_mail_address_is_found(before, after, name, host, at):
    assert personal(f"{before}{name}{at}{host}{after}") == "an e-mail address"


@given(WORDS, WORDS, st.lists(JOINS, min_size=18, max_size=18), DIGITS, st.text("0123456789", min_size=7, max_size=19))
def test_every_number_of_seven_digits_or_more_is_found(before, after, joins, script, digits):
    assert personal(f"{before}{written(digits, joins, script)} {after}")


@given(WORDS, st.text("0123456789", min_size=12, max_size=18), st.lists(JOINS, min_size=18, max_size=18))
def test_every_card_number_is_found_by_name(before, digits, joins):
    check = next(d for d in "0123456789" if luhn(digits + d) == 0)
    assert personal(f"{before}{written(digits + check, joins, '0123456789')}") == "a card number"


@given(WORDS, st.sampled_from(sorted(IBAN_LENGTHS)), st.data(), st.booleans(), st.booleans())
def test_every_iban_is_found_by_name(before, country, data, spaced, lower):
    length = IBAN_LENGTHS[country] - 4
    body = data.draw(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=length, max_size=length))
    rest = int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    iban = f"{country}{98 - rest:02}{body}"
    if spaced:
        iban = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))
    assert personal(before + (iban.lower() if lower else iban)) == "an IBAN"


@given(st.dates(), st.integers(0, 9999), st.sampled_from(["-", "+", " ", ""]), st.booleans())
def test_every_swedish_personal_number_is_found(born, number, join, century):
    text = f"{born.year:04}{born:%m%d}"[0 if century else 2 :] + f"{join}{number:04}"
    assert personal(f"asked by {text}") == "a personal number"


@given(st.text(max_size=200))
def test_any_text_is_judged_and_what_is_refused_is_not_repeated(text):
    if is_plain_text(text, 100) and not personal(text):
        assert reason(text, most=100) == text
        return
    with pytest.raises(SlussError) as error:
        reason(text, most=100)
    assert error.value.reason is Reason.INVALID_REQUEST
    assert len(error.value.detail) < 150


@given(WORDS, st.lists(st.text("0123456789", min_size=1, max_size=6), max_size=4))
def test_short_numbers_among_words_pass(before, numbers):
    assert personal(before + " and ".join(numbers)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "incident 4711 at the recipient",
        "incident 4711 closed",
        "laptop stolen",
        "not renewed after 2026-12-31",
        "2026-11-25 14:30: audit finding 12, replaced by C-2026-0002",
        "C-2026-0001, C-2026-123456 and C-2027-0001",
        "R-2026-0001, K-2026-0002, B-2026-0003, H-2026-0004 and L-2026-0005",
        "clause 7.4.2 (b), 3 breaches in 2026",
        "key 5f0c1a9e replaced",
    ],
)
def test_what_people_write_without_personal_data_passes(text):
    assert reason(text, most=500) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("anna.andersson@example.com complained", "an e-mail address"),
        ("call +46 (0)70-123 45 67", "a telephone number"),
        ("call 1234567", "a telephone number"),
        ("850102-1234 asked", "a personal number"),
        ("19850102-1234 asked", "a personal number"),
        ("850162-1234 asked", "a personal number"),
        ("2026-01-02-1234 is a child", "a telephone number"),
        ("born 1985-01-02", "a telephone number"),
        ("card 4111 1111 1111 1111", "a card number"),
        ("to se45 5000 0000 0583 9825 7466", "an IBAN"),
        ("GB82 WEST 1234 5698 7654 32", "an IBAN"),
        ("C-2026-0001 0739934567", "a telephone number"),
        ("2026-11-25 0739934567", "a telephone number"),
    ],
)
def test_what_people_write_with_personal_data_is_refused_by_kind(text, kind):
    with pytest.raises(SlussError, match="the ledger never forgets") as error:
        reason(text, most=500)
    assert kind in error.value.detail
    assert error.value.metadata == {"field": "reason"}
