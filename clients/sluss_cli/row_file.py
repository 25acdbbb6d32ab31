"""Opened slices in a file of the recipient's: CSV or JSON lines, readable by its owner only, resumable.

`csv` is for programs: every cell is the very value, and comes back as it was. `spreadsheet` is CSV for people: a
spreadsheet takes a cell that begins with = + - @, a tab or a line end for a formula and runs it, so such a cell
gets an apostrophe before it and every cell its quotes (OWASP, "CSV Injection"). That changes values (each phone
number begins with +), which is why a program never gets it unasked.

Beside `OUT` stands `OUT.resume` until the bulk disclosure is complete. It is replaced after every chunk whose
rows are on disk, so a run that is cut off goes on where it stopped, and no person stands in the file twice.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Self

import orjson

from sluss_cli.problems import Problem, usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FOLDER_MODE: Final = 0o700
FORMATS: Final = ("csv", "jsonl", "spreadsheet")
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-][0-9]+([.,][0-9]+)?")
_EXTRA: Final = ("retain_until", "entry")


@dataclass(frozen=True)
class Row:
    """One person's opened slice.

    Attributes:
        handle: in text form.
        values: field -> value, for the fields that are on record.
        retain_until: the date by which the recipient must have deleted them.
        entry: index of the ledger entry that recorded the disclosure.
    """

    handle: str
    values: Mapping[str, str]
    retain_until: str
    entry: int


@dataclass(frozen=True)
class Progress:
    """How far a bulk disclosure got.

    Attributes:
        request_id: of the call: the same one on resumption, unless the broker refuses to give the same chunk again.
        contract: of the request, as are the next three: another request can't go on in the same file.
        purpose: see contract.
        fields: see contract.
        format: of the file.
        cursor: of the last chunk whose rows are on disk.
        length: bytes of the file that belong to it; what stands after them is a torn chunk.
        rows: rows in the file.
    """

    request_id: str
    contract: str
    purpose: str
    fields: list[str]
    format: str
    cursor: str = ""
    length: int = 0
    rows: int = 0


def spreadsheet_cell(value: str) -> str:
    """A value that no spreadsheet runs as a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


class RowFormat:
    """Rows as bytes.

    Args:
        name: `csv`, `jsonl` or `spreadsheet`.
        fields: in the order of the columns.

    Attributes:
        formulas: how many values of a `csv` a spreadsheet would take for formulas, numbers apart.
    """

    def __init__(self, name: str, fields: Sequence[str]) -> None:
        if name not in FORMATS:
            raise usage("--format is csv or jsonl, or spreadsheet for people", format=name)
        self.formulas = 0
        self._name = name
        self._fields = list(fields)

    def header(self) -> bytes:
        """What stands before the rows."""
        return self._line(["handle", *self._fields, *_EXTRA]) if self._name != "jsonl" else b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """The rows."""
        return b"".join(self._row(row) for row in rows)

    def _row(self, row: Row) -> bytes:
        if self._name == "jsonl":
            return orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE)
        values = [row.values.get(field, "") for field in self._fields]
        if self._name == "spreadsheet":
            values = [spreadsheet_cell(value) for value in values]
        else:
            self.formulas += sum(bool(_FORMULA.match(value)) and not _NUMBER.fullmatch(value) for value in values)
        return self._line([row.handle, *values, row.retain_until, str(row.entry)])

    def _line(self, cells: Sequence[str]) -> bytes:
        text = io.StringIO()
        quoting: Literal[0, 1] = csv.QUOTE_ALL if self._name == "spreadsheet" else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator="\r\n", quoting=quoting).writerow(
            cells
        )  # what ends lines is quoted inside of them
        return text.getvalue().removesuffix("\r\n").encode() + b"\n"


def write_private(path: Path, data: bytes) -> None:
    """Writes a new file with mode 0600; refuses to overwrite."""
    with create_private(path) as file:
        file.write(data)
        _sync(file)


def write_public(path: Path, data: bytes) -> None:
    """Writes a new file for anybody to read; refuses to overwrite."""
    try:
        with path.open("xb") as file:
            file.write(data)
            _sync(file)
    except FileExistsError:
        raise _taken(path) from None


def check_new(folder: Path, names: Iterable[str]) -> None:
    """Refuses names that stand in the folder already, before anything is asked for that would be written there."""
    for name in names:
        if os.path.lexists(folder / name):
            raise _taken(folder / name)


def write_new(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes new files with mode 0600 into a folder, made closed to others; all of them, or none if one is there."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    check_new(folder, files)
    for name, data in files.items():
        write_private(folder / name, data)
    return [folder / name for name in files]


class ResumableFile:
    """A row file that grows chunk by chunk. A context manager."""

    def __init__(self, path: Path, progress: Progress, *, resume: bool) -> None:
        self.progress = progress
        self._path = path
        self._mark = path.with_name(path.name + ".resume")
        self._format = RowFormat(progress.format, progress.fields)
        self._file = self._reopen() if resume else self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def formulas(self) -> int:
        """See `RowFormat`; of this run."""
        return self._format.formulas

    def append(self, rows: Sequence[Row], cursor: str) -> None:
        """Rows of one chunk: on disk first, then the mark: a crash between the two repeats the chunk."""
        self._file.write(self._format.rows(rows))
        _sync(self._file)
        self._advance(cursor, self.progress.rows + len(rows))

    def ask_anew(self, request_id: str) -> None:
        """Go on under another request id."""
        self.progress = replace(self.progress, request_id=request_id)
        self._advance(self.progress.cursor, self.progress.rows)

    def complete(self) -> None:
        """All chunks have come: the mark goes."""
        self._mark.unlink(missing_ok=True)

    def discard(self) -> None:
        """Nothing has come and nothing will: neither the file nor the mark is left."""
        self._mark.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _start(self) -> BinaryIO:
        if self._mark.exists():
            raise usage("an unfinished run has left its mark: add --resume, or remove it", file=str(self._mark))
        file = create_private(self._path)
        file.write(self._format.header())
        _sync(file)
        self._file = file
        self._advance("", 0)
        return file

    def _reopen(self) -> BinaryIO:
        try:
            mark = Progress(**orjson.loads(self._mark.read_bytes()))
        except FileNotFoundError:
            raise usage("nothing to resume", file=str(self._mark)) from None
        except (TypeError, orjson.JSONDecodeError):
            raise usage("the mark of the unfinished run is damaged", file=str(self._mark)) from None
        asked = self.progress
        if (mark.contract, mark.purpose, mark.fields, mark.format) != (
            asked.contract,
            asked.purpose,
            asked.fields,
            asked.format,
        ):
            raise usage("the unfinished run asked for something else", file=str(self._mark))
        self.progress = mark
        file = self._path.open("r+b")
        if file.seek(0, os.SEEK_END) < mark.length:
            file.close()
            raise usage("the file is shorter than its mark says; start again", file=str(self._path))
        file.truncate(mark.length)
        file.seek(mark.length)
        return file

    def _advance(self, cursor: str, rows: int) -> None:
        marked = asdict(self.progress) | {"cursor": cursor, "length": self._file.tell(), "rows": rows}
        self.progress = Progress(**marked)
        new = self._mark.with_name(self._mark.name + ".new")
        new.unlink(missing_ok=True)
        write_private(new, orjson.dumps(marked))
        new.replace(self._mark)


def create_private(path: Path) -> BinaryIO:
    """A new file with mode 0600; refuses to overwrite."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> Problem:
    return usage("the file exists already; it is not overwritten", file=str(path))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
