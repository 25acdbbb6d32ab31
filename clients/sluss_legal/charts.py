"""Bar charts as SVG, drawn here: no script, no style attribute, readable by screen readers and on paper.

Colours are classes of the style sheet, so that they follow the theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL_WIDTH = 290
BAR_WIDTH = 420
ROW_HEIGHT = 34
VALUE_WIDTH = 60


@dataclass(frozen=True)
class Part:
    """A part of a bar.

    Attributes:
        series: 0, 1, ...: which colour.
        x: where it begins.
        width: how long it is.
        title: what a pointer or a screen reader is told.
    """

    series: int
    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Bar:
    """One row of a chart.

    Attributes:
        label: what it is about.
        y: its upper edge.
        parts: from left to right.
        end: where the last part ends.
        total: the sum of its values.
    """

    label: str
    y: int
    parts: tuple[Part, ...]
    end: float
    total: int


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be drawn.

    Attributes:
        id: of its title, unique on the page.
        title: what it shows.
        series: names of the colours, for the legend; one name needs no legend.
        bars: its rows.
        width: of the drawing.
        height: of the drawing.
    """

    id: str
    title: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    width: int
    height: int


def chart(id: str, title: str, series: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]) -> Chart:  # noqa: A002
    """Stacked bars.

    Args:
        id: unique on the page.
        title: what it shows.
        series: names of the values of each row.
        rows: label and values.
    """
    longest = max((sum(values) for _, values in rows), default=0) or 1
    scale = BAR_WIDTH / longest
    bars = tuple(_bar(label, values, series, number * ROW_HEIGHT, scale) for number, (label, values) in enumerate(rows))
    width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH
    return Chart(id, title, tuple(series), bars, width, max(1, len(rows)) * ROW_HEIGHT)


def _bar(label: str, values: Sequence[int], series: Sequence[str], y: int, scale: float) -> Bar:
    parts, x = [], float(LABEL_WIDTH)
    for number, value in enumerate(values):
        if value:
            parts.append(Part(number, round(x, 1), round(value * scale, 1), f"{label}, {series[number]}: {value}"))
            x += value * scale
    return Bar(label, y, tuple(parts), round(x, 1), sum(values))
