"""How likely it is that a leaked list comes from one of those who had received it. Pure.

The list has n rows, one per person. Exactly one of these is so:

    r           the list comes from source r: what one recipient had received, N(r) persons by then
    elsewhere   it comes from none of the recipients: the company itself, the persons, somebody unknown

A recipient with one contract is one source. One with several is a source for each of them, and one more for all of them
together, since who holds two lists may have lost both. Before looking, `elsewhere` has the chance e (1 in 10); every
recipient who had received a row has the same share of the rest, however many contracts it has, and divides it equally
between its sources that had received one. If the list comes from r, each row, independently of the others, is

    with the chance 1 - z   one of the N(r) persons who are in r, each as likely as the other
    with the chance z       noise (z is 1 in 20): anybody, the chance of row i being q(i)

and if it comes from elsewhere, every row is noise. So, by Bayes' theorem,

    P(list | r) = product over i of  (1 - z) * [row i is in r] / N(r)  +  z * q(i)
    P(list | elsewhere) = product over i of  q(i)
    P(r | list) = P(r) * P(list | r) / sum over all hypotheses

q(i) is 1/M of a person on record, M being how many there are; 2^-40/M of a canary, whom nobody comes upon by chance. Of
a row that is nobody's on record q(i) cancels, but for the z: such a row counts against every recipient alike.

What it assumes, and where it is wrong: one source only; rows drawn at random, with repetition, from all that the source
had received, whereas thieves take what they find; all recipients equally careless; N(r) counted without regard to
fields, and without persons who have been erased since, so that whoever had received many of those looks likelier. A
list that one recipient alone had received points to it, unless noise explains it as well. The rows of persons whom many
had received say little; the number beside a recipient is worth what these assumptions are worth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp, inf, log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLION: Final = 1_000_000
NOISE_PPM: Final = 50_000
ELSEWHERE_PPM: Final = 100_000
CANARY_CHANCE: Final = 2.0**-40


@dataclass(frozen=True, slots=True)
class Pattern:
    """Rows that are in the same sources: bit r of `mask` is source r.

    Attributes:
        mask: in which they are wholly.
        rows: how many there are.
        canary: whether they are of canaries.
        known: whether they are of anybody on record.
    """

    mask: int
    rows: int
    canary: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class Assumptions:
    """z and e of the model, both within (0, 1)."""

    noise: float = NOISE_PPM / MILLION
    elsewhere: float = ELSEWHERE_PPM / MILLION


def posterior(
    patterns: Sequence[Pattern], held: Sequence[int], whose: Sequence[int], persons: int, assumed: Assumptions
) -> tuple[list[float], float]:
    """P(r | list) of every source, and of elsewhere; they add up to 1.

    Args:
        patterns: the rows.
        held: N(r), at least 1 for a source that has a row.
        whose: the recipient of each source.
        persons: M, at least 1.
        assumed: z and e.
    """
    had = [any(pattern.mask >> r & 1 for pattern in patterns) for r in range(len(held))]
    sources = Counter(who for r, who in enumerate(whose) if had[r])
    share = (1 - assumed.elsewhere) / max(len(sources), 1)
    weights = [
        log(share / sources[who]) + _log_of_list(patterns, r, held[r], persons, assumed.noise) if had[r] else -inf
        for r, who in enumerate(whose)
    ]
    elsewhere = log(assumed.elsewhere) + sum(pattern.rows * log(_chance(pattern, persons)) for pattern in patterns)
    most = max([*weights, elsewhere])
    scaled = [exp(weight - most) for weight in weights]
    total = sum(scaled) + exp(elsewhere - most)
    return [weight / total for weight in scaled], exp(elsewhere - most) / total


def _log_of_list(patterns: Sequence[Pattern], r: int, held: int, persons: int, noise: float) -> float:
    """The logarithm of P(list | r)."""
    found = 0.0
    for pattern in patterns:
        drawn = (1 - noise) / max(held, 1) if pattern.mask >> r & 1 else 0.0
        found += pattern.rows * log(drawn + noise * _chance(pattern, persons))
    return found


def _chance(pattern: Pattern, persons: int) -> float:
    """q; of a row that is nobody's it may be anything, as it cancels."""
    if not pattern.known:
        return 1.0
    return (CANARY_CHANCE if pattern.canary else 1.0) / max(persons, 1)
