"""Documents as PDF, by typst: accessible, archivable, with typst's own fonts and, for other scripts, the system's.

A character that no font at hand can show stands as its code point, such as `[U+6F22]`: it never becomes an empty box.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import typst

from sluss_legal.charts import svg
from sluss_legal.documents.model import Facts, Heading, Table, Text, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluss_legal.charts import Chart
    from sluss_legal.documents.model import Block, Document

FONTS = ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono")
"""The fonts that typst brings along, in the order in which they are asked for a character."""
STANDARDS: Final[tuple[Literal["ua-1", "a-2a"], ...]] = ("ua-1", "a-2a")
"""For screen readers (PDF/UA-1) and for archives (PDF/A-2a): what does not conform is not made."""
_HERE = Path(__file__).parent / "templates"
_PROBE = b"""
#set page(width: 60pt, height: 40pt)
#set text(font: json(bytes(sys.inputs.fonts)), size: 12pt)
#for character in json(bytes(sys.inputs.characters)) { page(character) }
"""
_NOBODYS = "\U0010fffd"
"""A private character that no font shows: it is drawn as the box for a missing one."""
_USUAL = re.compile(r"[\s\x21-\x7e\u00a1-\u017f\u2010-\u2026\ufffd]")
_LONG_WORD = re.compile(r"\S{25,}")
_BREAK_EVERY = 12


def pdf(document: Document, made: datetime) -> bytes:
    """The PDF of a document; the same document and time give the same bytes.

    Args:
        document: what it says.
        made: the time that stands in its metadata.
    """
    compiler = typst.Compiler(_HERE / "document.typ", root=_HERE)
    inputs = {"data": json.dumps(_shown(_data(document)))}
    stamp = int(made.astimezone(UTC).timestamp())
    compiled = compiler.compile(format="pdf", sys_inputs=inputs, timestamp=stamp, pdf_standards=list(STANDARDS))
    if not isinstance(compiled, bytes):
        raise TypeError("typst gave no PDF")
    return compiled


def uncovered(characters: Iterable[str]) -> set[str]:
    """Those of these characters that no font at hand can show."""
    return {one for one in characters if not _covered(one)}


def _data(document: Document) -> dict[str, Any]:
    return {
        "language": document.language,
        "fonts": FONTS,
        "title": document.title,
        "lead": document.lead,
        "blocks": [_block(block) for block in document.blocks],
        "charts": [_chart(chart) for chart in document.charts],
        "page": document.page,
        "of": document.of,
        "note": document.note,
        "wide": document.wide,
    }


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Facts(facts):
            return {"kind": "facts", "facts": [(name, _soft(value)) for name, value in facts.items() if value]}
        case Heading(text):
            return {"kind": "heading", "text": text}
        case Text(text):
            return {"kind": "text", "text": _soft(text)}
        case Table():
            return {
                "kind": "table",
                "columns": list(block.columns),
                "rows": [[_soft(cell) for cell in row] for row in block.rows],
                "widths": list(block.widths),
                "numbers": list(block.numbers),
                "empty": block.empty,
            }


def _chart(chart: Chart) -> dict[str, str]:
    return {"title": chart.title, "svg": svg(chart), "alt": chart.said()}


def _soft(text: str) -> str:
    """A text whose long words, such as digests, may be broken (U+200B) where the line ends."""
    return _LONG_WORD.sub(lambda word: "\u200b".join(re.findall(f".{{1,{_BREAK_EVERY}}}", word[0])), text)


def _shown(data: Any) -> Any:
    """All texts with every character that can't be shown replaced."""
    missing = uncovered(set(_USUAL.sub("", json.dumps(data, ensure_ascii=False))))
    table = {ord(one): f"[U+{ord(one):04X}]" for one in missing}
    return _translated(data, table)


def _translated(data: Any, table: dict[int, str]) -> Any:
    if isinstance(data, str):
        return plain(data).translate(table)
    if isinstance(data, dict):
        return {name: _translated(value, table) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_translated(value, table) for value in data]
    return data


def _covered(character: str) -> bool:
    return bool(_USUAL.fullmatch(character)) or _drawn(character) != _drawn(_NOBODYS)


@cache
def _drawn(character: str) -> bytes:
    inputs = {"fonts": json.dumps(FONTS), "characters": json.dumps([plain(character)])}
    drawn = typst.Compiler(_PROBE).compile(format="svg", sys_inputs=inputs)
    return drawn if isinstance(drawn, bytes) else b"".join(drawn or [])
