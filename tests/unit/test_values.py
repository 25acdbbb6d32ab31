"""Value types: what is let in, in which form, and what an error may say."""

from __future__ import annotations

import pytest

from broker import values
from broker.errors import Reason, SlussError

ACCEPTED = [
    ("text", "  Storgatan 1  ", "Storgatan 1"),
    ("text", "Cafe\u0301", "Caf\u00e9"),
    ("name", "Åsa  Öberg", "Åsa Öberg"),
    ("name", "山田\u3000太郎", "山田 太郎"),
    ("name", "محمد الأحمد", "محمد الأحمد"),
    ("name", "יעל כהן", "יעל כהן"),
    ("name", "علی\u200cرضا", "علی\u200cرضا"),  # noqa: RUF001 - a Persian name
    ("name", "क\u094d\u200dष", "क\u094d\u200dष"),
    ("email", "J.Doe+x@Example.COM", "J.Doe+x@example.com"),
    ("email", "anna@straße.example", "anna@xn--strae-oqa.example"),
    ("email", "用户@例子.example", "用户@xn--fsqu00a.example"),
    ("phone", "+46 (0)70-174 06 05", "+46701740605"),
    ("phone", "0046701740605", "+46701740605"),
    ("phone", "tel:+1-202-555-0143", "+12025550143"),
    ("iban", "se45 5000 0000 0583 9825 7466", "SE4550000000058398257466"),
    ("iban", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ("iban", "MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
    ("bic", "essesess", "ESSESESS"),
    ("bic", "DEUTDEFF500", "DEUTDEFF500"),
    ("card_number", "4111-1111 1111 1111", "4111111111111111"),
    ("card_number", "378282246310005", "378282246310005"),
    ("card_expiry", "04/27", "2027-04"),
    ("card_expiry", "12/2031", "2031-12"),
    ("card_expiry", "2031-12", "2031-12"),
    ("date", "1985-04-12", "1985-04-12"),
    ("date", "20240229", "2024-02-29"),
    ("year", "1985", "1985"),
    ("datetime", "2026-11-23T23:33:57+01:00", "2026-11-23T22:33:57.000000Z"),
    ("datetime", "2026-11-23t22:33:57.5z", "2026-11-23T22:33:57.500000Z"),
    ("country", "se", "SE"),
    ("postal_code", "sw1a  1aa", "SW1A 1AA"),
    ("language", "zh_hant_tw", "zh-Hant-TW"),
    ("currency", "sek", "SEK"),
    ("decimal", "0001234.50", "1234.50"),
    ("decimal", "-0.00", "0.00"),
    ("integer", "-007", "-7"),
    ("integer", "-0", "0"),
    ("duration_s", "3600", "3600"),
    ("ip", "2001:DB8:0:0::1", "2001:db8::1"),
    ("ip", "::ffff:192.0.2.1", "192.0.2.1"),
    ("url", "https://Example.com:8443/a?b=c", "https://example.com:8443/a?b=c"),
    ("boolean", "Ja", "true"),
    ("boolean", "0", "false"),
    ("enum", "Team", "team"),
    ("device_code", "A1B2-C3D4", "A1B2-C3D4"),
]

REFUSED = [
    ("text", "", "empty"),
    ("text", "   ", "empty"),
    ("text", "a\x00b", "control_character"),
    ("text", "line\nbreak", "control_character"),
    ("text", "trailing\n", "control_character"),
    ("text", "\x85", "control_character"),
    ("text", "a\u202eb", "bidi_control"),
    ("text", "a\u2066b", "bidi_control"),
    ("text", "a\u200fb", "bidi_control"),
    ("text", "a\u200bb", "invisible_character"),
    ("text", "a\ufeffb", "invisible_character"),
    ("text", "soft\u00adhyphen", "invisible_character"),
    ("text", "a\u200db", "invisible_character"),
    ("text", "a\u200cb", "invisible_character"),
    ("text", "\u200cعلی", "invisible_character"),
    ("text", "\u3164", "invisible_character"),
    ("text", "a\u2028b", "invisible_character"),
    ("text", "a\U000e0041b", "invisible_character"),
    ("text", "a\ud800b", "surrogate"),
    ("text", "\udcff", "surrogate"),
    ("text", "a\ue000b", "unassigned_character"),
    ("text", "a\uffffb", "unassigned_character"),
    ("text", "x" * 4097, "too_long"),
    ("name", "12345", "not_a_name"),
    ("email", "j.doe@", "not_an_email"),
    ("email", "@example.com", "not_an_email"),
    ("email", "a@b@example.com", "not_an_email"),
    ("email", "a..b@example.com", "not_an_email"),
    ("email", "a b@example.com", "not_an_email"),
    ("email", "a@example", "not_an_email"),
    ("email", "a@-example.com", "not_an_email"),
    ("email", "a@192.0.2.1", "not_an_email"),
    ("email", "a@example.com.", "not_an_email"),
    ("email", "x" * 65 + "@example.com", "not_an_email"),
    ("phone", "070-174 06 05", "national_number"),
    ("phone", "+46", "not_a_phone_number"),
    ("phone", "+4670174060512345678", "not_a_phone_number"),
    ("phone", "+46 70 174 06 05 ext 3", "not_a_phone_number"),
    ("phone", "+٤٦٧٠١٧٤٠٦٠٥", "not_a_phone_number"),
    ("iban", "SE4550000000058398257467", "iban_check_digits"),
    ("iban", "SE45500000000583982574", "iban_length"),
    ("iban", "ZZ4550000000058398257466", "iban_length"),
    ("iban", "5000 0000 0583", "not_an_iban"),
    ("bic", "ESSEXXSS", "not_a_bic"),
    ("card_number", "4111111111111112", "card_check_digit"),
    ("card_number", "0000000000000000", "card_check_digit"),
    ("card_number", "41111111111", "not_a_card_number"),
    ("card_number", "٤١١١١١١١١١١١١١١١", "not_a_card_number"),
    ("card_expiry", "13/27", "not_an_expiry"),
    ("date", "2023-02-29", "not_a_date"),
    ("date", "12.04.1985", "not_a_date"),
    ("date", "1985-0412", "not_a_date"),
    ("date", "1066-10-14", "not_a_date"),
    ("year", "85", "not_a_year"),
    ("year", "1066", "not_a_year"),
    ("datetime", "2026-11-23T22:33:57", "not_a_time"),
    ("datetime", "2026-11-23T25:33:57Z", "not_a_time"),
    ("country", "UK", "unknown_country"),
    ("country", "Sverige", "unknown_country"),
    ("postal_code", "-12", "not_a_postal_code"),
    ("language", "swedish", "not_a_language"),
    ("currency", "XXX", "unknown_currency"),
    ("decimal", "1,50", "not_a_number"),
    ("decimal", "1e9", "not_a_number"),
    ("decimal", "NaN", "not_a_number"),
    ("integer", "٣", "not_a_number"),
    ("duration_s", "-1", "not_a_duration"),
    ("ip", "256.0.0.1", "not_an_ip"),
    ("ip", "fe80::1%eth0", "not_an_ip"),
    ("url", "javascript:alert(1)", "not_a_url"),
    ("url", "https://user:pw@example.com/", "url_with_credentials"),
    ("url", "https://example.com:99999/", "not_a_url"),
    ("boolean", "maybe", "not_a_boolean"),
    ("enum", "two words", "not_a_word"),
    ("device_code", "abc", "not_a_code"),
]


@pytest.mark.parametrize(("kind", "given", "normal"), ACCEPTED)
def test_value_is_brought_into_its_normal_form(kind, given, normal):
    assert values.validate(kind, given) == normal


@pytest.mark.parametrize(("kind", "given", "why"), REFUSED, ids=lambda x: ascii(x)[:24])
def test_bad_value_is_refused_with_its_reason(kind, given, why):
    with pytest.raises(SlussError) as caught:
        values.validate(kind, given, field="some.field")
    assert caught.value.reason is Reason.INVALID_VALUE
    assert caught.value.metadata == {"field": "some.field", "why": why}


def test_every_type_is_both_accepted_and_refused_somewhere_above():
    assert {kind for kind, *_ in ACCEPTED} == set(values.TYPES)
    assert {kind for kind, *_ in REFUSED} == set(values.TYPES)


def test_right_to_left_override_is_refused_by_its_name():
    with pytest.raises(SlussError, match=r"RIGHT-TO-LEFT OVERRIDE \(U\+202E\)"):
        values.validate("name", "Anna\u202eBerg")


def test_unknown_type_is_refused_and_never_treated_as_text():
    with pytest.raises(SlussError) as caught:
        values.validate("txt", "hello")
    assert caught.value.reason is Reason.INVALID_TERMS


def test_limit_counts_the_normal_form():
    assert values.validate("text", "  abc  ", max_length=3) == "abc"
    with pytest.raises(SlussError, match="longer than 2"):
        values.validate("text", "abc", max_length=2)


@pytest.mark.parametrize("country", ["NO", "SE", "MT", "LC", "XK"])
def test_iban_with_two_digits_swapped_is_refused(country):
    ibans = {
        "NO": "NO9386011117947",
        "SE": "SE4550000000058398257466",
        "MT": "MT84MALT011000012345MTLCAST001S",
        "LC": "LC55HEMM000100010012001200023015",
        "XK": "XK051212012345678906",
    }
    iban = ibans[country]
    assert values.validate("iban", iban) == iban
    for i in range(2, len(iban) - 1):
        swapped = iban[:i] + iban[i + 1] + iban[i] + iban[i + 2 :]
        if swapped != iban:
            with pytest.raises(SlussError):
                values.validate("iban", swapped)


def test_look_up_ignores_case_and_fillers():
    assert values.index_form("email", "J.Doe@example.com") == values.index_form("email", "j.doe@example.com")
    assert values.index_form("customer_number", "k-000 1") == "K0001"
    with pytest.raises(SlussError):
        values.index_form("shoe_size", "42")


MASKED = [
    ("john@example.com", "j***@e***"),
    ("SE45 5000 0000 0583 9825 7466", "SE** **** 66"),
    ("4111111111111111", "** **** 11"),
    ("+46701740605", "** **** 05"),
    ("1985-04-12", "** **** **"),
    ("Anna Andersson", "A***"),
    ("Anna", "***"),
    ("", "***"),
    ("\u202eevil text", "****"),
    ("\x1b[31m red alert", "****"),
]


@pytest.mark.parametrize(("given", "shown"), MASKED, ids=lambda x: ascii(x)[:20])
def test_mask_shows_what_is_documented(given, shown):
    assert values.mask(given) == shown
