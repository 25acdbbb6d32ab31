"""CSV (RFC 4180) with any of four delimiters: records with the line where each starts, quoted line ends too.

A quote that is never closed can't swallow the file: the record is given up after `MAX_LINES` lines, its first
line is reported, and reading goes on with the next one.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from broker.catalogue import is_security_code
from broker.errors import Reason, SlussError
from broker.intake.faults import Record, is_text
from broker.intake.lines import MAX_LINE, MAX_LINES, Lines, too_long
from broker.intake.mapping import DELIMITERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.intake.mapping import Mapping

_QUOTES: Final = "quotes: a quote is not closed, or stands inside a cell"
_TOO_LONG: Final = f"too_long: a row of more than {MAX_LINE} characters or {MAX_LINES} lines"
_SNIFFED: Final = 20


class _TooLong(Exception):  # noqa: N818 - a signal from the feed to the loop that drives it
    """More lines than a record may have."""


class CsvSource:
    """A CSV file's records.

    A column named like a card's security code is dropped here, from the cells and from the raw text.

    Attributes:
        names: the header's columns.
        delimiter: between cells.
        header: what a faulty-rows file starts with.

    Raises:
        SlussError: MALFORMED for a file without a header, a broken header, or a column named twice.
    """

    def __init__(self, lines: Lines, delimiter: str = "") -> None:
        self._lines = lines
        self.delimiter = delimiter or _sniff(lines)
        cells, self.header, problem = self._next()
        if cells is None or problem:
            raise SlussError(Reason.MALFORMED, problem or "the file is empty")
        self.header = lines.mark + self.header
        self.names = [name.strip() for name in cells]
        if "" in self.names or len(set(self.names)) != len(self.names):
            raise SlussError(Reason.MALFORMED, "header: a column without a name, or a name that stands twice")
        if not all(map(is_text, self.names)):
            raise SlussError(Reason.MALFORMED, "header: bytes that are no text in the file's encoding")
        self._dropped = [place for place, name in enumerate(self.names) if is_security_code(name)]

    def check(self, mapping: Mapping) -> None:
        """Refuse a file that the mapping does not fit, before its first row.

        Unknown columns are told by their place, since a file without a header has a person's data there.

        Raises:
            SlussError: MALFORMED.
        """
        missing = [name for name in mapping.columns if name not in self.names]
        if missing:
            raise SlussError(Reason.MALFORMED, f"header: no column {', '.join(sorted(missing)[:5])}")
        unknown = [str(place) for place, name in enumerate(self.names, 1) if not mapping.knows(name)]
        if unknown:
            places = ", ".join(unknown[:10])
            raise SlussError(Reason.MALFORMED, f"header: column {places} is neither mapped nor ignored")

    def __iter__(self) -> Iterator[Record]:
        while True:
            line = self._lines.line
            cells, raw, problem = self._next()
            if cells is None:
                return
            if problem:
                yield Record(line, {}, "" if self._dropped else raw, problem)
            elif cells:
                yield self._record(line, cells, raw)

    def _record(self, line: int, cells: list[str], raw: str) -> Record:
        wanted = len(self.names)
        if len(cells) < wanted or any(cells[wanted:]):
            problem = f"columns: {wanted} expected, {len(cells)} found"
            return Record(line, {}, "" if self._dropped else raw, problem)
        if self._dropped:
            for place in self._dropped:
                cells[place] = ""
            raw = self._written(cells)
        columns = {name: cell for name, cell in zip(self.names, cells, strict=False) if cell}
        return Record(line, columns, raw)

    def _written(self, cells: list[str]) -> str:
        out = io.StringIO()
        csv.writer(out, delimiter=self.delimiter).writerow(cells)
        return out.getvalue()

    def _next(self) -> tuple[list[str] | None, str, str]:
        """(cells or None at the end, raw text, problem)."""
        taken: list[str] = []
        try:
            cells = next(csv.reader(self._feed(taken), delimiter=self.delimiter, strict=True), None)
        except _TooLong:
            problem = _TOO_LONG
        except csv.Error:
            problem = _QUOTES
        else:
            return cells, "".join(taken), ""
        self._lines.again(taken[1:])
        return [], "" if too_long(taken[0]) else taken[0], problem

    def _feed(self, taken: list[str]) -> Iterator[str]:
        size = 0
        for line in self._lines:
            taken.append(line)
            size += len(line)
            if size >= MAX_LINE or len(taken) > MAX_LINES:
                raise _TooLong
            yield line


def _sniff(lines: Lines) -> str:
    """The delimiter that gives the header most columns, and most rows as many; a comma when nothing splits it."""
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        if len(seen) == _SNIFFED:
            break
    lines.again(seen)
    return max(DELIMITERS, key=lambda delimiter: _fit(seen, delimiter))


def _fit(seen: list[str], delimiter: str) -> tuple[int, int]:
    """(columns of the header, rows with as many)."""
    try:
        rows = [row for row in csv.reader(seen, delimiter=delimiter) if row]
    except csv.Error:
        return 0, 0
    width = len(rows[0]) if rows else 0
    return width, sum(len(row) == width for row in rows)
