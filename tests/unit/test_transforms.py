"""Transforms: what gets through, and what may never."""

from __future__ import annotations

import pytest

from broker import transforms, values
from broker.errors import Reason, SlussError

KEY, OTHER = b"k" * 32, b"o" * 32

GIVEN = [
    ("full", "email", "j.doe@example.com", "j.doe@example.com"),
    ("masked", "email", "j.doe@example.com", "j***@e***"),
    ("masked", "card_number", "4111111111111111", "**** 1111"),
    ("masked", "iban", "SE4550000000058398257466", "SE** **** 66"),
    ("masked", "phone", "+46701740605", "+** **** 05"),
    ("masked", "date", "1985-04-12", "****"),
    ("masked", "postal_code", "111 22", "****"),
    ("last4", "card_number", "4111111111111111", "1111"),
    ("last4", "text", "K-0001", "****"),
    ("last4", "text", "K-000123", "0123"),
    ("first", "name", "Åsa", "Å"),
    ("first", "name", "O\u0323scar", "O\u0323"),
    ("first", "name", "明", "*"),
    ("first", "text", "7 apples", "*"),
    ("year", "date", "1985-04-12", "1985"),
    ("year", "card_expiry", "2027-04", "2027"),
    ("month", "datetime", "2026-11-23T22:33:57.000000Z", "2026-11"),
    ("age_band", "date", "1985-04-12", "1980-1989"),
    ("truncated_ip", "ip", "192.0.2.77", "192.0.2.0/24"),
    ("truncated_ip", "ip", "2001:db8:1:2::3", "2001:db8:1::/48"),
    ("country_only", "iban", "SE4550000000058398257466", "SE"),
    ("country_only", "bic", "DEUTDEFF500", "DE"),
    ("domain", "email", "j.doe@example.com", "example.com"),
    ("postal_area", "postal_code", "111 22", "11"),
    ("postal_area", "postal_code", "101", "1"),
    ("postal_area", "postal_code", "SW1A 1AA", "SW"),
    ("rounded", "integer", "7", "10"),
    ("rounded", "integer", "3", "0"),
    ("rounded", "integer", "-47", "-50"),
    ("rounded", "integer", "12345", "10000"),
    ("rounded", "decimal", "949.50", "900"),
    ("rounded", "decimal", "0", "0"),
    ("rounded", "duration_s", "3600", "4000"),
    ("presence", "iban", "SE4550000000058398257466", "yes"),
]


@pytest.mark.parametrize(("transform", "kind", "value", "shown"), GIVEN)
def test_transform_gives_what_its_table_says(transform, kind, value, shown):
    assert transforms.apply(transform, value, type=kind, key=KEY) == shown


def test_two_contracts_cannot_join_on_a_hashed_value():
    one = transforms.apply("hashed", "j.doe@example.com", type="email", key=KEY)
    other = transforms.apply("hashed", "j.doe@example.com", type="email", key=OTHER)
    assert one != other
    assert one == transforms.apply("hashed", "j.doe@example.com", type="email", key=KEY)
    assert len(one) == 22


def test_hashed_values_of_two_types_differ():
    assert transforms.apply("hashed", "1985", type="text", key=KEY) != transforms.apply(
        "hashed", "1985", type="year", key=KEY
    )


@pytest.mark.parametrize("key", [b"", b"short", b"k" * 15])
def test_hashed_without_a_real_key_is_refused_and_not_a_plain_digest(key):
    with pytest.raises(SlussError) as caught:
        transforms.apply("hashed", "x", type="text", key=key)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


@pytest.mark.parametrize(
    ("transform", "kind"),
    [
        ("rot13", "text"),
        ("FULL", "text"),
        ("", "text"),
        ("last4", "name"),
        ("full", "txt"),
        ("month", "card_expiry"),
    ],
)
def test_unknown_or_unfitting_transform_is_refused(transform, kind):
    with pytest.raises(SlussError) as caught:
        transforms.apply(transform, "x", type=kind, key=KEY)
    assert caught.value.reason is Reason.INVALID_TERMS


def test_allowed_agrees_with_what_compiles():
    for kind in values.TYPES:
        for name in transforms.NAMES:
            if name in transforms.allowed(kind):
                assert callable(transforms.compile(name, kind))
            else:
                with pytest.raises(SlussError):
                    transforms.compile(name, kind)
    assert transforms.allowed("no_such_type") == frozenset()


def test_every_type_can_be_withheld_in_some_way():
    for kind in values.TYPES:
        assert {"full", "masked", "hashed", "presence"} <= transforms.allowed(kind)
