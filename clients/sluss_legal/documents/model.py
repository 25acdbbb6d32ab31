"""What a document is made of: facts, tables, paragraphs and charts, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluss_legal.charts import Chart

# C0, DEL, C1 and the bidirectional controls: nobody may move, hide or turn around what stands beside their text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
SHOWN = "\ufffd"
"""What stands in the place of a control character."""


def plain(text: object) -> str:
    """A text without control characters, each replaced by U+FFFD."""
    return _CONTROL.sub(SHOWN, str(text))


@dataclass(frozen=True)
class Facts:
    """Names and values, one below the other; empty values are left out."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: their heads.
        rows: their cells, as many as there are heads.
        widths: of the columns, relative to each other.
        empty: what stands in its place when it has no rows.
        numbers: the columns that are aligned to the right, from 0.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[int]
    empty: str
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Heading:
    """A heading above what follows."""

    text: str


Block = Facts | Table | Text | Heading


@dataclass(frozen=True)
class Document:
    """A document, in one language.

    Attributes:
        language: `sv` or `en`.
        title: what it is.
        lead: one or two sentences below the title.
        blocks: its content.
        charts: drawn after the content.
        wide: whether its pages lie on their side.
        page: the word for a page.
        of: the word between a page's number and how many there are.
        note: at the foot of each page.
    """

    language: str
    title: str
    lead: str
    blocks: Sequence[Block]
    page: str
    of: str
    note: str
    charts: Sequence[Chart] = field(default_factory=tuple)
    wide: bool = False
