"""Bar charts as SVG, drawn here: no script, no style attribute, readable by screen readers and on paper.

In the console colours are classes of the style sheet, so that they follow the theme; `svg` draws one that stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#1f5f8b", "#c05a12", "#3d7d3a", "#7a4fa3", "#9c2f3f", "#5f6b75")
"""Of the series of a chart that stands alone; each is at least 4.5 to 1 against white."""
_FONT = 'font-family="Libertinus Serif, serif" font-size="15"'
_LABEL_CHARACTERS = 34
_LEGEND_HEIGHT = 22
_HEADING_HEIGHT = 36
_GAP = 24
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

    def said(self) -> str:
        """The chart in words, for who can't see it."""
        return f"{self.title}: " + ", ".join(f"{bar.label} {bar.total}" for bar in self.bars)


def chart(
    id: str,  # noqa: A002 - as in `Chart`
    title: str,
    series: Sequence[str],
    rows: Sequence[tuple[str, Sequence[int]]],
) -> Chart:
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


def svg(drawn: Chart, *, heading: bool = False) -> str:
    """A chart as an SVG file that stands alone, with legend and words, and its title in sight if asked for."""
    return _file([drawn], heading=heading)


def sheet(charts: Sequence[Chart]) -> str:
    """Charts below each other, each with its title and a scale of its own, as one SVG file that stands alone."""
    return _file(charts, heading=True)


def _file(charts: Sequence[Chart], *, heading: bool) -> str:
    parts, top = [], 0
    for number, drawn in enumerate(charts):
        top += _GAP if number else 0
        legend = drawn.series if len(drawn.series) > 1 else ()
        parts.append(f'<g transform="translate(0 {top})">')
        parts.append(f'<text x="0" y="20" font-weight="bold">{escape(drawn.title)}</text>' if heading else "")
        parts += [_legend(place, name) for place, name in enumerate(legend)]
        above = _LEGEND_HEIGHT * len(legend) + (_HEADING_HEIGHT if heading else 0)
        parts.append(f'<g transform="translate(0 {above})">')
        parts += [_drawn_bar(bar) for bar in drawn.bars]
        parts.append(f'<path d="M{LABEL_WIDTH} 0V{drawn.height}" stroke="#55636f"/></g></g>')
        top += above + drawn.height
    width = max(drawn.width for drawn in charts)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" {_FONT}>',
            f"<title>{escape('; '.join(drawn.said() for drawn in charts))}</title>",
            *parts,
            "</svg>",
        ]
    )


def _legend(number: int, name: str) -> str:
    y = number * _LEGEND_HEIGHT
    return (
        f'<rect x="{LABEL_WIDTH}" y="{y + 2}" width="14" height="14" fill="{_colour(number)}"/>'
        f'<text x="{LABEL_WIDTH + 22}" y="{y + 15}">{escape(name)}</text>'
    )


def _drawn_bar(bar: Bar) -> str:
    label = bar.label if len(bar.label) <= _LABEL_CHARACTERS else bar.label[: _LABEL_CHARACTERS - 1] + "\u2026"
    parts = "".join(
        f'<rect x="{part.x}" y="{bar.y + 6}" width="{part.width}" height="22" fill="{_colour(part.series)}">'
        f"<title>{escape(part.title)}</title></rect>"
        for part in bar.parts
    )
    return (
        f'<text x="{LABEL_WIDTH - 8}" y="{bar.y + 21}" text-anchor="end">{escape(label)}</text>{parts}'
        f'<text x="{bar.end + 8}" y="{bar.y + 21}" font-weight="bold">{bar.total}</text>'
    )


def _colour(series: int) -> str:
    return COLOURS[series % len(COLOURS)]
