from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import micros, rfc3339
from broker.errors import SlussError


@given(st.integers(0, 253_402_300_799_999_999))
def test_every_time_survives_the_round_trip(us):
    assert micros(rfc3339(us)) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T22:33:57Z",
        "2026-11-23T22:33:57.123456",
        "2026-11-23T22:33:57.123456z",
        "2026-11-23 22:33:57.123456Z",
        "2026-11-23T22:33:57.12345Z",
        "2026-11-23T22:33:57,123456Z",
        "2026-11-23T22:33:57.1234560Z",
        "2026-11-23T22:33:60.123456Z",
        "2026-11-23T24:33:57.123456Z",
        "2026-02-30T22:33:57.123456Z",
        "1969-12-31T23:59:59.999999Z",
        "2026-11-23T22:33:5٣.123456Z",
        "2026-W47-1T22:33:57.123456Z",
    ],
)
def test_any_other_spelling_of_a_time_is_refused(text):
    with pytest.raises(SlussError, match="MALFORMED"):
        micros(text)


@pytest.mark.parametrize("us", [-1, 253_402_300_800_000_000])
def test_a_time_outside_four_digit_years_is_refused(us):
    with pytest.raises(SlussError, match="MALFORMED"):
        rfc3339(us)
