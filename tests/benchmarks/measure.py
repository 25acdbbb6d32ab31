"""What a benchmark gives back, and the arithmetic that all of them share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    Attributes:
        name: what was measured.
        value: Sluss's figure, the median of the rounds; None if it could not be measured.
        baseline: the figure that it is held against, likewise.
        ratio: value / baseline, the median of the ratios of the pairs.
        budget: what the ratio must keep to, or the value where there is no baseline; None if it only informs.
        met: whether it does; None if it only informs or was not measured.
        unit: of value and baseline.
        note: what a reader must know to read the row; not in the JSON.
    """

    name: str
    value: float | None
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    budget: float | None = None
    met: bool | None = None
    most: bool = False
    note: str = ""


def compared(
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    *,
    least: float | None = None,
    most: float | None = None,
    judged: bool = True,
    note: str = "",
) -> Measure:
    """Pairs of (value, baseline), measured one right after the other, against a budget for their ratio.

    Not `judged`, the row shows the budget and leaves open whether it is met.
    """
    ratios = sorted(value / baseline for value, baseline in pairs)
    ratio = median(ratios)
    note = f"{note}; pairs {ratios[0]:.3g} to {ratios[-1]:.3g}"
    bound = judged and not (least is None and most is None)
    met = _keeps(ratio, least, most) if bound else None
    value, baseline = (median(column) for column in zip(*pairs, strict=True))
    budget = least if most is None else most
    return Measure(name, value, unit, baseline, ratio, budget, met, most is not None, note)


def alone(name: str, unit: str, values: Sequence[float], *, least: float | None = None, note: str = "") -> Measure:
    """A figure without a baseline, against a budget for itself."""
    value = median(values)
    return Measure(name, value, unit, budget=least, met=None if least is None else value >= least, note=note)


def unmeasured(name: str, unit: str, budget: float, why: str) -> Measure:
    """A row that says why there is no figure."""
    return Measure(name, None, unit, budget=budget, note=why)


def _keeps(figure: float, least: float | None, most: float | None) -> bool:
    return (least is None or figure >= least) and (most is None or figure <= most)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, all its threads together (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_seconds() -> tuple[float, float]:
    """CPU time that all processes have used, time stolen by other guests included, and the idle rest (proc(5))."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, waiting, *interrupts_and_stolen = map(int, first)
    return (user + nice + system + sum(interrupts_and_stolen)) / TICKS, (idle + waiting) / TICKS


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
