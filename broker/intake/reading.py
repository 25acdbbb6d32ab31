"""A customer file, from its path to validated rows: what it is, how it is read, and where its faults go.

    with open_source(path, mapping) as source:
        with source.faulty_rows(path.with_suffix(".faulty.csv")) as faulty:
            for row in read(source, mapping, catalogue):
                ...                          # row.values, or faulty.add(row)

Memory stays bounded whatever the file: one record, and 16 to 32 bytes per row to see a key twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn, Self

from broker.errors import Reason, SlussError
from broker.intake.convert import Converter
from broker.intake.csv_reader import CsvSource
from broker.intake.faults import FaultyRows, Record, Row
from broker.intake.jsonl import JsonlSource
from broker.intake.lines import Lines, encoding_of
from broker.intake.vcard import VcardSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from broker.catalogue import Catalogue
    from broker.intake.mapping import Mapping

_START: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Detection:
    """What a file seems to be.

    Attributes:
        input: `csv`, `jsonl` or `vcard`.
        encoding: to declare in the mapping; empty when a byte order mark or UTF-8 makes it plain.
    """

    input: str
    encoding: str = ""


def detect(path: Path) -> Detection:
    """Tell a file's format and encoding by its first 64 KiB; the name does not matter."""
    with path.open("rb") as file:
        start = file.read(_START)
    encoding, skip = encoding_of(start)
    declared = "" if skip or _is_utf8(start) else "cp1252"
    text = start[skip:].decode(declared or encoding, "replace").lstrip()
    if text[:11].upper() == "BEGIN:VCARD":
        return Detection("vcard", declared)
    return Detection("jsonl" if text.startswith("{") else "csv", declared)


def _is_utf8(start: bytes) -> bool:
    """Whether bytes are UTF-8, but for a character that the end of the window may have cut."""
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(start) == _START and error.start >= len(start) - 3
    return True


def _refuse_kind() -> NoReturn:
    raise SlussError(Reason.MALFORMED, "input must be csv, jsonl or vcard")


class Source:
    """An open customer file. A context manager; iterates over its records once.

    Attributes:
        names: the header of a CSV file; empty for other formats.
    """

    def __init__(self, path: Path, kind: str, encoding: str = "", delimiter: str = "") -> None:
        self._path = path
        self._lines = Lines(path, encoding)
        self._reader: CsvSource | JsonlSource | VcardSource
        try:
            if kind == "csv":
                self._reader = CsvSource(self._lines, delimiter)
            elif kind in ("jsonl", "vcard"):
                self._reader = JsonlSource(self._lines) if kind == "jsonl" else VcardSource(self._lines)
            else:
                _refuse_kind()
        except SlussError:
            self._lines.__exit__(None, None, None)
            raise
        self.names: tuple[str, ...] = tuple(self._reader.names) if isinstance(self._reader, CsvSource) else ()

    def __iter__(self) -> Iterator[Record]:
        return iter(self._reader)

    def check(self, mapping: Mapping) -> None:
        """Refuse a CSV file whose header the mapping does not fit; other formats show row by row.

        Raises:
            SlussError: MALFORMED.
        """
        if isinstance(self._reader, CsvSource):
            self._reader.check(mapping)

    def faulty_rows(self, path: Path) -> FaultyRows:
        """A writer of faulty rows in this file's own format and encoding.

        Raises:
            SlussError: INVALID_REQUEST: `path` is this file, or can't be written.
        """
        return FaultyRows(path, self._reader.header, self._lines.encoding, original=self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, trace)


def open_source(path: Path, mapping: Mapping) -> Source:
    """Open a file as its mapping says.

    Raises:
        SlussError: MALFORMED when the header and the mapping do not fit each other.
    """
    source = Source(path, mapping.input, mapping.encoding, mapping.delimiter)
    try:
        source.check(mapping)
    except SlussError:
        source.__exit__(None, None, None)
        raise
    return source


def read(source: Source, mapping: Mapping, catalogue: Catalogue) -> Iterator[Row]:
    """Every row of a file, in order, validated; faulty ones carry their faults and their original text."""
    converter = Converter(mapping, catalogue)
    for record in source:
        yield converter.row(record)


def sample(path: Path, count: int = 50) -> tuple[Detection, tuple[str, ...], list[dict[str, str]]]:
    """What `guess` needs of a file: what it is, its columns, and its first readable rows."""
    detection = detect(path)
    with Source(path, detection.input, detection.encoding) as source:
        rows = [dict(record.columns) for record in islice(source, count) if not record.problem]
        names = source.names or tuple(dict.fromkeys(name for row in rows for name in row))
    return detection, names, rows
