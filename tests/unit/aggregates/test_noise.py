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
from broker.aggregates.counting import add, cells
from broker.aggregates.recording import day_number
from broker.catalogue.usage import Noise
from broker.errors import Reason, SlussError
from tests.unit.aggregates.world import ADS, EVENT, FIRST, question, with_rules

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


@pytest.mark.parametrize("kind", list(Noise))
def test_the_usual_threshold_is_that_of_a_question_with_cells_enough(kind):
    catalogue = with_rules(noise=kind)
    asked = question(catalogue=catalogue)
    assert answers.usual_threshold(catalogue.events[EVENT], catalogue.rules, 20) == answers.threshold(asked)


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


def test_no_two_processes_draw_the_same_noise():
    """A generator whose state fork copies would give two workers one noise, and subtraction would take it away."""
    program = """
import os
from broker.aggregates import noise
from broker.catalogue.usage import Noise
made = noise.mechanism(Noise.LAPLACE, noise.Bound(1, 3), 1_000, 0, 10_000)
made.release([0])
for _ in range(2):
    if os.fork() == 0:
        os.write(1, f"{made.release([0] * 4)}\\n".encode())
        os._exit(0)
    os.wait()
print(made.release([0] * 4))
"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert len(set(told.splitlines())) == 3


@pytest.mark.parametrize("kind", list(Noise))
def test_published_numbers_have_noise_of_the_stated_distribution(kind):
    """Chi-squared, over what an answer shows of totals that are known."""
    asked = question(measures=("events",), noise=kind)
    totals = {"persons": [5_000] * asked.size, "events": [50_000] * asked.size}
    runs = 600
    shown = {name: [] for name in totals}
    for _ in range(runs):
        for cell in answers.draw(asked, totals).cells:
            for name, values in shown.items():
                values.append(cell.values[name] - totals[name][0])
    for name, found in shown.items():
        made = answers.mechanism_of(asked, name)
        chance = gaussian(made.scale) if kind is Noise.GAUSSIAN else laplace
        # Bins of as equal chances as whole numbers allow.
        edges, below, k = [], 0.0, -math.ceil(40 * made.scale)
        while len(edges) < 15:
            below += chance(k, made.scale)
            if below >= (len(edges) + 1) / 16:
                edges.append((k, below))
            k += 1
        stated = [high - low for (_, high), (_, low) in zip([*edges, (0, 1.0)], [(0, 0.0), *edges], strict=True)]
        counts = Counter(sum(value > edge for edge, _ in edges) for value in found)
        statistic = sum((counts[n] - len(found) * p) ** 2 / (len(found) * p) for n, p in enumerate(stated))
        # Laurent and Massart: P(chi2 of d >= d + 2 sqrt(d x) + 2 x) <= exp(-x); here d = 15.
        x = math.log(1 / FALSE_ALARM)
        assert statistic <= 15 + 2 * math.sqrt(15 * x) + 2 * x


# --- the guarantee, worked out without the library -------------------------------------------------------


def convolved(one, other):
    found = Counter()
    for a, p in one.items():
        for b, q in other.items():
            found[a + b] += p * q
    return found


@pytest.mark.parametrize(
    ("each", "cells", "epsilon", "delta"),
    [(1, 1, 1.0, 1e-6), (1, 2, 1.0, 1e-6), (2, 1, 1.0, 1e-6), (1, 3, 0.25, 1e-9)],
    ids=["one cell", "two cells", "two events", "as shipped"],
)
def test_gaussian_noise_keeps_its_delta_exactly(each, cells, epsilon, delta):
    """The largest chance by which an answer with a person exceeds e^epsilon times that of one without (hockey stick).

    The privacy loss depends on the sum of what the cells show alone, which is worked out by convolution.
    """
    bound = noise.Bound(each, cells)
    made = noise.mechanism(Noise.GAUSSIAN, bound, round(epsilon * 1e6), round(delta * 1e9), 10_000)
    chance, reach = gaussian(made.scale), math.ceil(9 * made.scale)
    one = {k: chance(k, made.scale) for k in range(-reach, reach + 1)}
    total = one
    for _ in range(cells - 1):
        total = convolved(total, one)
    variance = 2 * made.scale**2
    worst = math.fsum(
        p * max(0.0, 1 - math.exp(epsilon - (2 * each * k + cells * each**2) / variance)) for k, p in total.items()
    )
    assert delta / 100 < worst <= delta


@pytest.mark.parametrize("kind", list(Noise))
@pytest.mark.parametrize("slip_nano", [1_000, 10_000, 1_000_000])
def test_the_margin_is_reached_at_its_chance_at_most_by_the_exact_distribution(kind, slip_nano):
    made = noise.mechanism(kind, noise.Bound(1, 3), 250_000, 1 if kind is Noise.GAUSSIAN else 0, slip_nano)
    chance = gaussian(made.scale) if kind is Noise.GAUSSIAN else laplace
    far = made.margin + math.ceil(60 * made.scale)
    reached = math.fsum(chance(k, made.scale) for k in range(made.margin, far))
    assert 0.5 * slip_nano / 1e9 < reached <= slip_nano / 1e9


# --- attackers: everybody else's totals are known, and one person may be in it or not ---------------------


def bound_of(cost):
    """How often the best attacker can be right: (e^eps + delta) / (1 + e^eps)."""
    grown = math.exp(cost.micro / 1e6)
    return (grown + cost.delta_nano / 1e9) / (1 + grown)


class Attacker:
    """Knows the distribution of all that an answer shows with and without the person, and decides by likelihood."""

    def __init__(self, asked):
        self.asked = asked
        self.made = {name: answers.mechanism_of(asked, name) for name in asked.quantities}
        self.least = answers.threshold(asked)
        self.tails = {}

    def log_chance(self, name, value, total):
        """Up to a constant, of a number that is shown; what is shown as 0 is not seen here."""
        scale = self.made[name].scale
        off = value - total
        return -off * off / (2 * scale * scale) if self.asked.noise is Noise.GAUSSIAN else -abs(off) / scale

    def log_hidden(self, total):
        """Of a cell that is not published."""
        if total not in self.tails:
            scale, reach = self.made["persons"].scale, self.least - total
            if self.asked.noise is Noise.GAUSSIAN:
                below = 0.5 * math.erfc(-(reach - 0.5) / (scale * math.sqrt(2)))
            else:
                p = math.exp(-1 / scale)
                below = 1 - p**reach / (1 + p) if reach > 0 else p ** (1 - reach) / (1 + p)
            self.tails[total] = math.log(below)
        return self.tails[total]

    def log_likelihood(self, answer, totals):
        found = 0.0
        for place, cell in enumerate(answer.cells):
            if not cell.values:
                found += self.log_hidden(totals["persons"][place])
                continue
            found += sum(self.log_chance(name, cell.values[name], totals[name][place]) for name in totals)
        return found


def membership(asked, runs):
    """How often the attacker is right, from counting to the answer's bytes.

    The person is in every cell, with thousands of events, far over every bound. The others are as many as make some
    cells published and some not.
    """
    names = {number: {"advertisement": ad, "country": "SE"} for number, ad in enumerate(ADS)}
    crowd = answers.threshold(asked) - 1
    without = {name: [crowd * asked.most(name)] * asked.size for name in asked.quantities}
    present = {name: list(values) for name, values in without.items()}
    heavy = [(7, number, day_number(FIRST) + day, 5_000, 10**7) for number in names for day in range(20)]
    add(present, heavy, asked, cells(asked, names))
    attacker, dice, right = Attacker(asked), random.Random(1), 0
    for _ in range(runs):
        inside = dice.random() < 0.5
        answer = answers.draw(asked, present if inside else without)
        weight = attacker.log_likelihood(answer, present) - attacker.log_likelihood(answer, without)
        right += (weight > 0 or (weight == 0 and dice.random() < 0.5)) == inside
    return right / runs


@pytest.mark.parametrize("kind", list(Noise))
def test_whether_a_person_with_thousands_of_events_is_in_it_is_told_no_better_than_epsilon_allows(kind):
    asked = question(measures=("mean_seconds",), noise=kind)
    runs = 1_200
    # Hoeffding's bound, at one false alarm in a million.
    slack = math.sqrt(math.log(1 / FALSE_ALARM) / (2 * runs))
    assert membership(asked, runs) <= bound_of(asked.cost) + slack
    # At an epsilon that guarantees nothing the same attacker is often right: it is one.
    loose = question(catalogue=with_rules(epsilon_micro=5_000_000), measures=("mean_seconds",), noise=kind)
    assert membership(loose, runs) > 0.5


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
    dice, runs = random.Random(questions), 2_000
    found = sum(attack(asked, questions, dice) for _ in range(runs)) / runs
    # Hoeffding's bound, at one false alarm in a million.
    assert found <= bound + math.sqrt(math.log(1 / FALSE_ALARM) / (2 * runs))
    assert found > 0.5 - 0.05, "an attacker who does worse than guessing is no attacker"
