"""No transform but `full` gives the value away."""

from __future__ import annotations

from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker import transforms, values
from broker.errors import SlussError

KEY = b"pairwise key of one contract...."
_DATES = st.dates(date(1850, 1, 1), date(2199, 12, 31)).map(date.isoformat)
_NAMES = st.text(alphabet=st.characters(categories=("L", "Mn", "Zs")), min_size=1, max_size=30)
RAW = {
    "text": _NAMES,
    "name": _NAMES,
    "email": st.from_regex(r"[a-z]{1,12}(\.[a-z]{1,9})?@[a-z]{1,9}\.(com|example)", fullmatch=True),
    "phone": st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    "card_number": st.from_regex(r"[1-9][0-9]{10,17}", fullmatch=True).map(
        lambda body: body + str((10 - values.luhn(body + "0")) % 10)
    ),
    "iban": st.from_regex(r"[0-9]{20}", fullmatch=True).map(
        lambda body: f"SE{98 - values.iban_remainder('SE00' + body):02d}{body}"
    ),
    "bic": st.just("DEUTDEFF500"),
    "card_expiry": st.just("2027-04"),
    "date": _DATES,
    "datetime": st.datetimes(datetime(1851, 1, 1), datetime(2198, 1, 1)).map(  # noqa: DTZ001 - made aware next
        lambda moment: moment.replace(tzinfo=UTC).isoformat()
    ),
    "postal_code": st.from_regex(r"[A-Z0-9][A-Z0-9 -]{1,9}", fullmatch=True),
    "ip": st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    "decimal": st.decimals(-(10**12), 10**12, places=2).map(str),
    "integer": st.integers(-(10**12), 10**12).map(str),
    "duration_s": st.integers(0, 10**9).map(str),
    "country": st.just("SE"),
    "year": st.integers(1850, 2199).map(str),
    "language": st.just("sv-SE"),
    "currency": st.just("SEK"),
    "url": st.just("https://example.com/x"),
    "boolean": st.sampled_from(["true", "false"]),
    "enum": st.just("team"),
    "device_code": st.from_regex(r"[A-Za-z0-9]{4,40}", fullmatch=True),
}
# `rounded` of a number that is round already is that number.
CASES = [
    (name, kind)
    for kind in sorted(values.TYPES)
    for name in sorted(transforms.allowed(kind) - {"full", "presence", "rounded"})
]


def normal(kind, raw):
    try:
        return values.validate(kind, raw)
    except SlussError:
        assume(False)


def test_there_are_values_of_every_type():
    assert RAW.keys() == values.TYPES.keys()


@pytest.mark.parametrize(("name", "kind"), CASES)
@given(data=st.data())
def test_only_full_gives_the_whole_value(name, kind, data):
    value = normal(kind, data.draw(RAW[kind]))
    shown = transforms.apply(name, value, type=kind, key=KEY)
    assert shown != value
    # A digest may hold any one letter, and a network is written with its first address.
    assert name in ("hashed", "truncated_ip") or value not in shown
    assert shown
    assert len(shown) <= (254 if name == "domain" else transforms.MAX_OUTPUT)
    assert shown == transforms.apply(name, value, type=kind, key=KEY)


@pytest.mark.parametrize("kind", sorted(values.TYPES))
@given(data=st.data())
def test_masked_shows_at_most_four_characters_of_the_value(kind, data):
    value = normal(kind, data.draw(RAW[kind]))
    shown = transforms.apply("masked", value, type=kind, key=KEY)
    assert sum(c not in "*+@ " for c in shown) <= 4


@pytest.mark.parametrize("kind", ["decimal", "integer", "duration_s"])
@given(data=st.data())
def test_rounded_stays_near_and_rounding_again_changes_nothing(kind, data):
    value = normal(kind, data.draw(RAW[kind]))
    shown = transforms.apply("rounded", value, type=kind)
    assert values.validate(kind, shown) == shown
    assert transforms.apply("rounded", shown, type=kind) == shown
    assert abs(float(value) - float(shown)) <= max(5.0, abs(float(value)) / 2)
    assert len(shown.lstrip("-").rstrip("0")) <= 1


@given(data=st.data())
def test_truncated_ip_is_a_network_that_holds_the_address(data):
    value = normal("ip", data.draw(RAW["ip"]))
    network = ip_network(transforms.apply("truncated_ip", value, type="ip"))
    assert ip_address(value) in network
    assert network.prefixlen in (24, 48)


@given(one=_DATES, other=_DATES)
def test_age_band_is_the_same_for_every_birthday_in_ten_years(one, other):
    same = transforms.apply("age_band", one, type="date") == transforms.apply("age_band", other, type="date")
    assert same == (one[:3] == other[:3])


@given(
    one=st.binary(min_size=16, max_size=32),
    other=st.binary(min_size=16, max_size=32),
    value=st.text(max_size=20),
)
def test_hashed_values_join_only_under_one_key(one, other, value):
    assume(one != other and value.isprintable())
    first = transforms.apply("hashed", value, type="text", key=one)
    assert first == transforms.apply("hashed", value, type="text", key=one)
    # HMAC pads short keys with zeros, so keys that differ in trailing zeros only are one key.
    if one.ljust(64, b"\0") != other.ljust(64, b"\0"):
        assert first != transforms.apply("hashed", value, type="text", key=other)
