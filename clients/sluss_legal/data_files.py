"""Released data as files: CSV to look at, JSON lines that are exact."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from sluss_legal.cells import cell
from sluss_legal.documents.model import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sluss_legal.releasing import Person


def csv_lines(fields: Iterable[str], persons: Iterable[tuple[int, Person]]) -> Iterator[bytes]:
    """The CSV, with a byte order mark by which spreadsheets know that it is UTF-8; no cell is a formula.

    Args:
        fields: a column each.
        persons: with the index of the entry that released them.
    """
    columns = sorted(fields)
    yield b"\xef\xbb\xbf" + _csv_line(["person", "entry", *columns])
    for index, person in persons:
        values = (cell(plain(person.values.get(field, ""))) for field in columns)
        yield _csv_line([person.person_id, str(index), *values])


def json_lines(persons: Iterable[tuple[int, Person]]) -> Iterator[bytes]:
    """One person a line, the values exactly as they were released."""
    for index, person in persons:
        yield json_line({"person": person.person_id, "entry": index, "values": person.values})


def json_line(document: dict[str, Any]) -> bytes:
    """A document on a line of its own."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()
