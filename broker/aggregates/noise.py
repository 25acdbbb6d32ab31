"""Noise, by opendp and by nothing else: the one module that touches it.

A mechanism belongs to a bound: one person moves at most `cells` cells of an answer, each by at most `each`. The
library itself says what it guarantees for that (`map`), and a mechanism that does not keep its epsilon is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, Final

from broker.catalogue.usage import Noise
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Sequence

MICRO: Final = 1_000_000
NANO: Final = 1_000_000_000
_WHOLE: Final = "i64"
"""What a total is to the library. Its own default, 32 bits, is too few for the seconds of a large company, and a total
that is refused as too large would tell so."""
_UPWARDS: Final = 1 + 2**-40
"""A scale is rounded up by so much, since the library rounds what it guarantees down."""
_WIDEST: Final = 1e6
"""How many times what one person moves a Gaussian scale may be: far more than any epsilon of a catalogue needs."""


def installed() -> bool:
    """Whether opendp is there."""
    return find_spec("opendp") is not None


def require() -> None:
    """Refuse where opendp is not installed.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    if not installed():
        raise SlussError(Reason.AGGREGATES_NOT_INSTALLED, extra="aggregate")


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library, loaded when it is first needed: it is large, and a broker that answers no question needs it not.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    require()
    import opendp.prelude as dp  # noqa: PLC0415 - an extra

    dp.enable_features("contrib")
    return dp


@dataclass(frozen=True, slots=True)
class Bound:
    """What one person can change: at most `cells` cells, each by at most `each`."""

    each: int
    cells: int


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Noise of one scale, for whole answers.

    Attributes:
        noise: the distribution.
        scale: its scale parameter.
        margin: noise reaches so much with the chance that was asked for, at most.
    """

    noise: Noise
    scale: float
    margin: int
    _draw: Any

    def release(self, totals: Sequence[int]) -> list[int]:
        """The totals with noise, drawn anew with every call from the system's randomness."""
        return list(self._draw(list(totals)))


@lru_cache(maxsize=256)
def mechanism(noise: Noise, bound: Bound, epsilon_micro: int, delta_nano: int, slip_nano: int) -> Mechanism:
    """The mechanism that keeps an epsilon, and for Gaussian noise a delta, for one quantity of an answer.

    Args:
        noise: the distribution.
        bound: what one person can change.
        epsilon_micro: millionths of epsilon.
        delta_nano: thousand-millionths of delta; Gaussian only.
        slip_nano: the chance, in thousand-millionths, that noise reaches `margin` upwards.

    Raises:
        SlussError: AGGREGATES_NOT_INSTALLED.
    """
    epsilon, alpha = epsilon_micro / MICRO, 2 * slip_nano / NANO
    dp = _library()
    if noise is Noise.LAPLACE:
        scale, draw = _laplace(dp, bound, epsilon)
        margin = dp.discrete_laplacian_scale_to_accuracy(scale, alpha)
    else:
        scale, draw = _gaussian(dp, bound, epsilon, delta_nano / NANO)
        margin = dp.discrete_gaussian_scale_to_accuracy(scale, alpha)
    return Mechanism(noise, scale, ceil(margin), draw)


def _laplace(dp: Any, bound: Bound, epsilon: float) -> tuple[float, Any]:
    """Pure: one person moves an answer by `each * cells` in all (L1)."""
    moved = bound.each * bound.cells
    scale = moved / epsilon * _UPWARDS
    space = dp.vector_domain(dp.atom_domain(T=_WHOLE)), dp.l1_distance(T=_WHOLE)
    draw = dp.m.make_laplace(*space, scale=scale)
    if draw.map(moved) > epsilon:
        raise SlussError(Reason.INTERNAL, "the noise does not keep its epsilon")
    return scale, draw


def _gaussian(dp: Any, bound: Bound, epsilon: float, delta: float) -> tuple[float, Any]:
    """But for `delta`: one person moves an answer by `each * sqrt(cells)` (L2)."""
    moved = bound.each * sqrt(bound.cells) * _UPWARDS

    def made(scale: float) -> Any:
        space = dp.vector_domain(dp.atom_domain(T=_WHOLE)), dp.l2_distance(T=float)
        return dp.m.make_gaussian(*space, scale=scale)

    def kept(scale: float) -> Any:
        return dp.c.make_fix_delta(dp.c.make_zCDP_to_approxDP(made(scale)), delta)

    scale = dp.binary_search_param(kept, d_in=moved, d_out=(epsilon, delta), bounds=(moved / 10, moved * _WIDEST))
    if kept(scale).map(moved)[0] > epsilon:
        raise SlussError(Reason.INTERNAL, "the noise does not keep its epsilon")
    return scale, made(scale)
