"""A leaked list as it was found: lines of addresses and numbers, or CSV with a header, into rows to trace.

Which column is which field is told by `--column`, by the field's own name as a header, or guessed as for an import;
other columns are left out, and named. No fault repeats what is in the file.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sluss.v1 import person_pb2, trace_pb2

from broker.catalogue import default_catalogue
from broker.errors import SlussError
from broker.intake.convert import international
from broker.intake.guess import field_named, guess
from sluss_cli.problems import usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.catalogue import Catalogue

DELIMITERS: Final = ",;\t|"
MAX_ROWS: Final = 100_000
MAX_VALUES: Final = 16
SAMPLE: Final = 50
_PHONE_DIGITS: Final = 7
_LONG: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LeakedList:
    """Rows to trace, the line of each in the file, and the columns that were left out."""

    rows: list[trace_pb2.LeakedRow] = field(repr=False)
    lines: list[int]
    left_out: list[str]


def of_values(values: Iterable[str], country: str) -> LeakedList:
    """One value a row, each an e-mail address, a telephone number or a customer number by its looks.

    Raises:
        Problem: USAGE: there is none, or too many.
    """
    rows, lines = [], []
    for number, value in enumerate(values, 1):
        text = value.strip()
        if text:
            rows.append(_row([_looks_like(text, country)]))
            lines.append(number)
    return LeakedList(_counted(rows), lines, [])


def of_text(text: str, columns: Mapping[str, str], country: str) -> LeakedList:
    """The rows of a file.

    Args:
        text: of the file.
        columns: fields by the header of their column, as the caller told.
        country: ISO 3166-1, of telephone numbers without their country's code; empty if not known.

    Raises:
        Problem: USAGE: nothing is in it, no column is of an address or a number, it is no CSV.
    """
    first = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    if delimiter not in first and not columns and not _names_a_field(first.strip()):
        return of_values(text.lstrip("\ufeff").splitlines(), country)
    return _of_csv(text.lstrip("\ufeff"), delimiter, columns, country)


def _of_csv(text: str, delimiter: str, columns: Mapping[str, str], country: str) -> LeakedList:
    csv.field_size_limit(_LONG)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        cells = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error:
        raise usage("the file is no CSV: a quote is not closed, or stands inside a cell") from None
    catalogue = default_catalogue()
    fields = _fields(header, [row for _, row in cells[:SAMPLE]], columns, catalogue)
    rows, lines = [], []
    for line, row in cells:
        values = [
            (name, _national(catalogue, name, cell.strip(), country))
            for name, cell in zip(fields, row, strict=False)
            if name and cell.strip()
        ]
        if any(_finds(catalogue, name) for name, _ in values):
            rows.append(_row(values[:MAX_VALUES]))
            lines.append(line)
    return LeakedList(_counted(rows), lines, [name for name, found in zip(header, fields, strict=True) if not found])


def _fields(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: Mapping[str, str], catalogue: Catalogue
) -> list[str]:
    """The field of each column; "" for one that is left out.

    Raises:
        Problem: USAGE.
    """
    unknown = sorted(set(columns) - set(header))
    if unknown:
        raise usage("--column names a column that the file has not", column=unknown[0])
    guessed: dict[str, str] = {}
    if len(set(header)) == len(header) and "" not in header:
        told = [dict(zip(header, row, strict=False)) for row in rows]
        try:
            guessed = {name: found.field for name, found in guess(header, told, catalogue).columns.items()}
        except SlussError:
            # Good for no import, as nothing in it tells persons apart; a telephone number finds them all the same.
            guessed = {name: field_named(name, catalogue) for name in header}
    fields: list[str] = []
    for name in header:
        found = columns.get(name) or (name if name in catalogue.fields else guessed.get(name, ""))
        fields.append("" if found in fields else found)
    if not any(_finds(catalogue, name) for name in fields if name):
        raise usage("no column is of an address or a number: name one with --column HEADER=email (phone, ...)")
    return fields


def _finds(catalogue: Catalogue, name: str) -> bool:
    """Whether persons are looked up by it; a field that only the broker's catalogue has may be one."""
    known = catalogue.fields.get(name)
    return known is None or bool(known.index)


def _names_a_field(text: str) -> bool:
    return bool(field_named(text.strip('"'), default_catalogue()))


def _looks_like(text: str, country: str) -> tuple[str, str]:
    if "@" in text:
        return "email", text
    if text.startswith("+") or (country and sum(map(str.isdigit, text)) >= _PHONE_DIGITS and text[0] == "0"):
        return "phone", international(text, country)
    return "customer_number", text


def _national(catalogue: Catalogue, name: str, text: str, country: str) -> str:
    known = catalogue.fields.get(name)
    return international(text, country) if country and known is not None and known.type == "phone" else text


def _row(values: Sequence[tuple[str, str]]) -> trace_pb2.LeakedRow:
    return trace_pb2.LeakedRow(values=[person_pb2.FieldValue(field=name, value=text) for name, text in values])


def _counted(rows: list[trace_pb2.LeakedRow]) -> list[trace_pb2.LeakedRow]:
    if not rows:
        raise usage("nothing to trace: no row has an address or a number")
    if len(rows) > MAX_ROWS:
        raise usage(f"a trace takes up to {MAX_ROWS:,} rows: cut the file", rows=str(len(rows)))
    return rows
