"""What a verb prints: JSON for programs, tables for people, plain columns when nobody is looking.

Text from elsewhere (the broker, a file) reaches no terminal with control characters, and is never markup.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

# C0, DEL, C1, the separators of lines and paragraphs, bidirectional marks and overrides, halves of characters: a value
# must not move the cursor, rewrite the line before it, or be what no stream can print.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_BETWEEN = 3
"""Columns of a terminal between two of a table."""


def safe(text: object) -> str:
    """The text with each control character replaced by U+FFFD; a line break becomes a blank."""
    return _CONTROL.sub("\ufffd", str(text).replace("\r\n", " ").replace("\n", " "))


def json_line(document: Mapping[str, Any]) -> str:
    """A document as one line of JSON, letters of any language as they are, what may move a cursor escaped."""
    text = orjson.dumps(document).decode()
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Output:
    """Where results go.

    Attributes:
        as_json: one JSON document on standard output, nothing else.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, document: Mapping[str, Any]) -> None:
        """The result for programs; printed only with `--json`."""
        if self.as_json:
            _write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())

    def line(self, text: object = "") -> None:
        """A line for people."""
        if not self.as_json:
            _write(safe(text))

    def heading(self, text: str) -> None:
        """A title above what follows."""
        if self.as_json:
            return
        if _terminal():
            console().print(safe(text), style="bold", markup=False, highlight=False)
        else:
            _write(safe(text))

    def facts(self, facts: Mapping[str, object]) -> None:
        """Names and values, one per line; empty values are left out."""
        shown = {name: safe(value) for name, value in facts.items() if value not in ("", None)}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.line(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "none") -> None:
        """A table; a person's terminal gets borders and wrapping, a pipe gets aligned columns."""
        if self.as_json:
            return
        cells = [[safe(cell) for cell in row] for row in rows]
        if not cells:
            self.line(empty)
        elif _terminal():
            _rich_table(columns, cells)
        else:
            _plain_table(columns, cells)

    def note(self, text: str) -> None:
        """Something beside the result, on standard error."""
        _write(safe(text), error=True)


def console(*, error: bool = False) -> Console:
    """A rich console on the present standard output or error; honours NO_COLOR."""
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load: only who needs it pays

    return Console(stderr=error, highlight=False)


def _terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _write(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """A table that breaks lines between words only; where even so it is too wide, each row as a block of its own.

    An id that is cut off, or broken over two lines, can't be copied into the next command.
    """
    from rich import box  # noqa: PLC0415 - as in console()
    from rich.cells import cell_len  # noqa: PLC0415 - as in console()
    from rich.table import Table  # noqa: PLC0415 - as in console()
    from rich.text import Text  # noqa: PLC0415 - as in console()

    out = console()
    every = [columns, *cells]
    words = [max(cell_len(word) for row in every for word in (row[at].split() or [""])) for at in range(len(columns))]
    if sum(words) + _BETWEEN * (len(words) - 1) > out.width:
        _blocks(columns, cells)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, width in zip(columns, words, strict=True):
        table.add_column(name, min_width=width, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def _blocks(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Each row as lines of name and value, what is empty left out."""
    width = max(map(len, columns))
    for number, row in enumerate(cells):
        if number:
            _write("")
        for name, cell in zip(columns, row, strict=True):
            if cell:
                _write(f"{name:<{width}}  {cell}")


def _plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    every = [[column.upper() for column in columns], *cells]
    widths = [max(len(row[at]) for row in every) for at in range(len(columns))]
    for row in every:
        _write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
