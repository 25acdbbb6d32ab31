"""Counting: what one person adds is bounded, whatever the person did, and depends on nobody else."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.aggregates.counting import add, bounded, cells
from broker.aggregates.recording import day_number
from tests.unit.aggregates.world import ADS, FIRST, LAST, question

COMBINATIONS = {
    number: {"advertisement": ad, "country": country}
    for number, (ad, country) in enumerate((ad, country) for ad in ADS for country in ("SE", "NO"))
}
DAYS = day_number(FIRST), day_number(LAST)
MEASURES = ("events", "mean_seconds")
USED = st.tuples(
    st.sampled_from(sorted(COMBINATIONS)),
    st.integers(*DAYS),
    st.integers(1, 10**6),
    st.integers(0, 10**9),
)
PERSONS = st.lists(st.lists(USED, max_size=12), max_size=12)
GROUPS = st.sampled_from([(), ("advertisement",), ("advertisement", "country"), ("day",), ("month",)])


def rows(persons):
    return [(tag, *used) for tag, events in enumerate(persons) for used in events]


def totals(persons, asked):
    found = {name: [0] * asked.size for name in asked.quantities}
    add(found, rows(persons), asked, cells(asked, COMBINATIONS))
    return found


def distance(one, other, quantity):
    return sum(abs(a - b) for a, b in zip(one[quantity], other[quantity], strict=True))


@settings(max_examples=60)
@given(persons=PERSONS, more=st.lists(USED, max_size=30), by=GROUPS)
def test_one_person_moves_no_total_by_more_than_is_said(persons, more, by):
    filters = (("country", ("NO", "SE")),)
    asked = question(measures=MEASURES, group_by=by, filters=filters)
    without, with_one = totals(persons, asked), totals([*persons, more], asked)
    for quantity in asked.quantities:
        assert distance(without, with_one, quantity) <= asked.most(quantity) * asked.cells_per_person
        most = max(abs(a - b) for a, b in zip(without[quantity], with_one[quantity], strict=True))
        assert most <= asked.most(quantity)
        moved = sum(a != b for a, b in zip(without[quantity], with_one[quantity], strict=True))
        assert moved <= asked.cells_per_person


@settings(max_examples=40)
@given(persons=PERSONS)
def test_totals_are_those_of_a_simple_model_where_nobody_is_over_a_bound(persons):
    asked = question(measures=MEASURES, group_by=("advertisement",))
    few = [[(combination, day, 1, 20) for combination, day, _, _ in events[:3]] for events in persons]
    expected = {name: Counter() for name in asked.quantities}
    for events in few:
        seen = Counter(COMBINATIONS[combination]["advertisement"] for combination, *_ in events)
        for ad, times in seen.items():
            expected["persons"][ad] += 1
            expected["events"][ad] += times
            expected["seconds"][ad] += 20 * times
    found = totals(few, asked)
    for quantity in asked.quantities:
        assert found[quantity] == [expected[quantity][ad] for (ad,) in asked.cells]


def test_a_person_with_a_million_events_adds_what_the_bounds_allow():
    asked = question(measures=MEASURES, group_by=("advertisement",))
    many = [(number, day, 10**6, 10**9) for number in COMBINATIONS for day in range(DAYS[0], DAYS[1] + 1)]
    found = totals([many], asked)
    assert sum(found["persons"]) == asked.cells_per_person == 3
    assert sum(found["events"]) == 3 * asked.max_events
    assert sum(found["seconds"]) == 3 * asked.max_seconds


def test_which_cells_count_a_person_depends_on_that_person_alone_and_favours_none():
    asked = question(group_by=("advertisement",))
    cell_of = cells(asked, COMBINATIONS)
    all_ads = [(number, DAYS[0], 1, 0) for number in COMBINATIONS]
    kept = Counter(
        cell for tag in range(4000) for cell in bounded(tag, [(tag, *used) for used in all_ads], asked, cell_of)
    )
    assert set(kept) == set(range(len(ADS)))
    assert max(kept.values()) - min(kept.values()) < 400


def test_what_is_not_asked_about_is_not_counted():
    asked = question(group_by=("country",), filters=(("advertisement", ("spring_trial",)),))
    spring = next(number for number, values in COMBINATIONS.items() if values["advertisement"] == "spring_trial")
    other = next(number for number, values in COMBINATIONS.items() if values["advertisement"] != "spring_trial")
    assert (
        sum(totals([[(spring, DAYS[0], 1, 0)], [(other, DAYS[0], 1, 0)], [(999, DAYS[0], 1, 0)]], asked)["persons"])
        == 1
    )
