"""Noise: the distribution that is stated, drawn by the very code that answers; thresholds; and an attacker who fails.

Statistical tests fail by chance once in a million runs, by the bounds that stand beside them.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter

import pytest

from broker.aggregates import answers, noise
from broker.catalogue.usage import Noise
from broker.errors import Reason, SlussError
from tests.unit.aggregates.world import question, with_rules

FALSE_ALARM = 1e-6
DRAWS = 20_000


def laplace(k, scale):
    """The chance of the value k of discrete Laplace noise."""
    p = math.exp(-1 / scale)
    return (1 - p) / (1 + p) * p ** abs(k)


def gaussian(scale):
    """The chances of discrete Gaussian noise, by value."""
    reach = math.ceil(12 * scale)
    weights = {k: math.exp(-k * k / (2 * scale * scale)) for k in range(-reach, reach + 1)}
    whole = sum(weights.values())
    return lambda k, _scale: weights.get(k, 0) / whole


def drawn(made):
    return [value for _ in range(4) for value in made.release([0] * (DRAWS // 4))]


@pytest.mark.parametrize("kind", list(Noise))
@pytest.mark.parametrize(("each", "cells"), [(1, 1), (1, 3), (5, 3)])
def test_noise_has_the_distribution_that_is_stated(kind, each, cells):
    delta = 1 if kind is Noise.GAUSSIAN else 0
    made = noise.mechanism(kind, noise.Bound(each, cells), 1_000_000, delta, 10_000)
    chance = gaussian(made.scale) if kind is Noise.GAUSSIAN else laplace
    counts = Counter(drawn(made))
    # The empirical distribution function stays within Massart's bound of the stated one.
    most = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * DRAWS))
    below_found = below_stated = 0.0
    reach = max(map(abs, counts))
    for k in range(-reach, reach + 1):
        below_found += counts[k] / DRAWS
        below_stated += chance(k, made.scale)
        tail = sum(chance(j, made.scale) for j in range(-reach - 400, -reach)) if k == -reach else 0
        below_stated += tail
        assert abs(below_found - below_stated) <= most


def test_laplace_scale_follows_from_sensitivity_and_epsilon():
    made = noise.mechanism(Noise.LAPLACE, noise.Bound(5, 3), 250_000, 0, 10_000)
    assert made.scale == pytest.approx(15 / 0.25)


def test_noise_reaches_the_margin_at_the_chance_that_is_stated():
    made = noise.mechanism(Noise.LAPLACE, noise.Bound(1, 3), 250_000, 0, 10_000)
    p = math.exp(-1 / made.scale)
    assert p**made.margin / (1 + p) <= 1e-5 < p ** (made.margin - 2) / (1 + p)


def test_a_cell_with_fewer_persons_than_the_minimum_is_published_at_that_chance_only():
    """Of 20,000 cells with one person less than the minimum, at a chance of one in a thousand."""
    asked = question(catalogue=with_rules(slip_nano=1_000_000), group_by=("advertisement",))
    below = {"persons": [asked.min_persons - 1] * asked.size}
    runs = 20_000 // asked.size
    slipped = sum(answers.draw(asked, below).released for _ in range(runs))
    expected = runs * asked.size * 1e-3
    # Chernoff: P(X >= expected + t) <= exp(-t^2 / (2 expected + 2 t / 3))
    t = 14 + math.sqrt(2 * expected * 14)
    assert slipped <= expected + t


def test_a_large_cell_is_published_and_the_mean_is_a_ratio_of_what_is_published():
    asked = question(measures=("mean_seconds",))
    totals = {"persons": [5_000] * 5, "events": [10_000] * 5, "seconds": [1_000_000] * 5}
    answer = answers.draw(asked, totals)
    assert (answer.released, answer.suppressed) == (5, 0)
    for cell in answer.cells:
        ratio = 1000 * cell.values["seconds"] / cell.values["events"]
        assert abs(cell.values["mean_milliseconds"] - ratio) <= 1


def test_a_suppressed_cell_says_nothing_but_its_key():
    answer = answers.draw(question(measures=("events",)), {"persons": [0] * 5, "events": [0] * 5})
    assert b'"suppressed":true' in answer.data
    assert all(cell.values == {} for cell in answer.cells)


@pytest.mark.parametrize("kind", list(Noise))
def test_totals_beyond_32_bits_have_noise_like_any_other(kind):
    """A total that fails for its size would tell its size."""
    asked = question(measures=("seconds",), noise=kind)
    total = 100_000 * asked.max_seconds * 10_000
    answer = answers.draw(asked, {"persons": [5_000] * 5, "seconds": [total] * 5})
    assert answer.released == 5
    reach = 60 * answers.mechanism_of(asked, "seconds").scale
    assert all(abs(cell.values["seconds"] - total) < reach for cell in answer.cells)


def test_each_answer_is_drawn_anew():
    asked, totals = question(), {"persons": [5_000] * 5}
    assert len({answers.draw(asked, totals).data for _ in range(20)}) > 1


def test_without_opendp_the_reason_is_named(monkeypatch):
    noise._library.cache_clear()
    noise.mechanism.cache_clear()
    monkeypatch.setattr(noise, "find_spec", lambda _: None)
    with pytest.raises(SlussError) as caught:
        answers.threshold(question())
    assert caught.value.reason is Reason.AGGREGATES_NOT_INSTALLED
    monkeypatch.undo()
    noise.mechanism.cache_clear()


def test_the_library_is_not_loaded_before_it_is_needed():
    program = "import sys, broker.app; assert 'opendp' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- differencing: a budget's worth of questions about the presence of one person ------------------------


def logarithm(value, scale):
    return -abs(value) / scale


def attack(asked, questions, dice):
    """The best attacker: knows everybody else, asks until the budget is spent, decides by the likelihoods.

    Each question isolates the person (others' totals are known and taken off), so this is the strongest differencing.
    """
    present = dice.random() < 0.5
    made = answers.mechanism_of(asked, "persons")
    shown = made.release([int(present)] * asked.cells_per_person * questions)
    weight = sum(logarithm(value - 1, made.scale) - logarithm(value, made.scale) for value in shown)
    return (weight > 0) == present


@pytest.mark.parametrize("questions", [1, 4, 12])
def test_a_differencing_attack_succeeds_no_more_often_than_the_spent_epsilon_allows(questions):
    asked = question(group_by=("advertisement",))
    epsilon = questions * asked.epsilon_micro / 1_000_000
    bound = math.exp(epsilon) / (1 + math.exp(epsilon))
    dice, runs = random.Random(questions), 3_000
    found = sum(attack(asked, questions, dice) for _ in range(runs)) / runs
    # Hoeffding's bound, at one false alarm in a million.
    assert found <= bound + math.sqrt(math.log(1 / FALSE_ALARM) / (2 * runs))
    assert found > 0.5 - 0.05, "an attacker who does worse than guessing is no attacker"
