"""The likelihood of a leak's source, against counting out every way in which a small list can come about."""

from __future__ import annotations

from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.tracing.likelihood import CANARY_CHANCE, Assumptions, Pattern, posterior

PERSONS = 4
Holdings = st.lists(st.sets(st.integers(0, PERSONS - 1), min_size=1), min_size=1, max_size=3)
Chances = st.floats(0.01, 0.9)


def ways(rows, holdings, source, noise):
    """P(rows | source), by adding up every choice of what was noise: the model's story, told and not shortened."""
    total = 0.0
    for is_noise in product((False, True), repeat=len(rows)):
        chance = 1.0
        for row, noisy in zip(rows, is_noise, strict=True):
            if noisy or source is None:
                chance *= (noise if source is not None else (1.0 if noisy else 0.0)) / PERSONS
            else:
                held = holdings[source]
                chance *= (1 - noise) * (1 / len(held) if row in held else 0.0)
        total += chance
    return total


def patterns_of(rows, holdings):
    found = {}
    for row in rows:
        mask = sum(1 << r for r, held in enumerate(holdings) if row in held)
        found[mask] = found.get(mask, 0) + 1
    return [Pattern(mask, count) for mask, count in found.items()]


@given(
    Holdings,
    st.lists(st.integers(0, 1), min_size=3, max_size=3),
    st.lists(st.integers(0, PERSONS - 1), min_size=1, max_size=5),
    Chances,
    Chances,
)
def test_it_is_what_counting_out_every_way_gives(holdings, whose, rows, noise, elsewhere):
    had = [r for r, held in enumerate(holdings) if held & set(rows)]
    recipients = [whose[r] for r in had]
    share = (1 - elsewhere) / max(len(set(recipients)), 1)
    joint = {r: share / recipients.count(whose[r]) * ways(rows, holdings, r, noise) for r in had}
    joint[None] = elsewhere * ways(rows, holdings, None, noise)
    whole = sum(joint.values())
    found, from_elsewhere = posterior(
        patterns_of(rows, holdings),
        [len(held) for held in holdings],
        whose[: len(holdings)],
        PERSONS,
        Assumptions(noise, elsewhere),
    )
    for r, likelihood in enumerate(found):
        assert isclose(likelihood, joint.get(r, 0.0) / whole, rel_tol=1e-9, abs_tol=1e-12)
    assert isclose(from_elsewhere, joint[None] / whole, rel_tol=1e-9)


@pytest.mark.parametrize("noise", [0.05, 0.5])
@pytest.mark.parametrize("source", [0, 1, None])
def test_the_chances_of_all_lists_of_a_length_add_up_to_one(source, noise):
    holdings = [{0, 1, 2}, {3}]
    chances = [ways(rows, holdings, source, noise) for rows in product(range(PERSONS), repeat=3)]
    assert isclose(sum(chances), 1.0)


@given(
    st.lists(st.builds(Pattern, st.integers(0, 7), st.integers(1, 100_000), st.booleans()), min_size=1, max_size=8),
    st.lists(st.integers(1, 10**7), min_size=3, max_size=3),
)
def test_it_always_adds_up_to_one_however_long_the_list(patterns, held):
    found, elsewhere = posterior(patterns, held, [0, 1, 1], 10**7, Assumptions())
    assert isclose(sum(found) + elsewhere, 1.0, rel_tol=1e-9)
    assert all(0 <= each <= 1 for each in [*found, elsewhere])


@given(st.integers(1, 50), st.integers(1, 50))
def test_whoever_had_received_more_of_the_list_is_likelier_if_both_hold_as_much(both, first_only):
    found, _ = posterior([Pattern(3, both), Pattern(1, first_only)], [100, 100], [0, 1], 1000, Assumptions())
    assert found[0] > found[1]


def test_more_contracts_for_the_same_persons_make_nobody_likelier():
    found, _ = posterior([Pattern(0b1111, 3)], [100] * 4, [0, 1, 1, 1], 1000, Assumptions())
    assert isclose(found[0], sum(found[1:]))


def test_one_canary_makes_its_contract_all_but_certain_though_another_had_received_all_the_rest():
    found, elsewhere = posterior(
        [Pattern(3, 5), Pattern(1, 1, canary=True)], [10_000, 100], [0, 1], 10_000, Assumptions()
    )
    assert found[0] > 0.999
    assert elsewhere < 1e-6


def test_rows_that_nobody_had_received_point_elsewhere():
    _, few = posterior([Pattern(1, 2), Pattern(0, 1)], [100], [0], 1000, Assumptions())
    _, many = posterior([Pattern(1, 2), Pattern(0, 200)], [100], [0], 1000, Assumptions())
    assert few < 0.5 < many


def test_rows_of_nobody_on_record_count_against_every_recipient_alike():
    rows, strangers = [Pattern(1, 3), Pattern(2, 1)], Pattern(0, 4, known=False)
    plain, _ = posterior(rows, [10, 10], [0, 1], 1000, Assumptions())
    strange, _ = posterior([*rows, strangers], [10, 10], [0, 1], 1000, Assumptions())
    assert isclose(plain[0] / plain[1], strange[0] / strange[1])


def test_nobody_who_had_received_nothing_is_ever_likely():
    found, elsewhere = posterior([Pattern(0, 3)], [10], [0], 1000, Assumptions())
    assert (found, elsewhere) == ([0.0], 1.0)
    assert CANARY_CHANCE > 0
