"""What is wrong with a row, said without the value; and the faulty-rows file, to correct and import again.

    customers.faulty.csv           the faulty rows exactly as they were, under the same header and in the same
                                   encoding: correct them there and import that file with the same mapping
    customers.faulty.csv.reasons.txt
                                   one line per fault: the line in the faulty file, the line in the original,
                                   the field, the reason, the value masked

The reasons stand in a file of their own: a further column would be another format, and vCards have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def decode_errors(encoding: str) -> str:
    """How bytes that the encoding has not are carried from readers to the writer, to come out unchanged."""
    return "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"


def is_text(text: str) -> bool:
    """Whether it is text, with no byte in it that the file's encoding has not."""
    return not _SURROGATE.search(text)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a row.

    Attributes:
        line: where the row starts in the file, from 1.
        field: the field, or the column when it maps to none, or empty for the whole row.
        reason: a stable word and a sentence, `not_an_email: not an e-mail address`.
        masked: the value, masked; empty when there is none.
    """

    line: int
    field: str
    reason: str
    masked: str = ""

    def __str__(self) -> str:
        parts = (f"line {self.line}", self.field, self.reason, self.masked)
        return "  ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Record:
    """A row as a reader found it, before any mapping.

    Attributes:
        line: where it starts in the file, from 1.
        columns: the text by column name; absent and empty cells are left out.
        raw: the original text with its line ends, for the faulty-rows file.
        problem: why the row could not be read at all, or empty.
    """

    line: int
    columns: Mapping[str, str]
    raw: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row after mapping and validation.

    Attributes:
        line: where it starts in the file, from 1.
        values: normal forms by field name; empty when there is a fault.
        faults: everything that is wrong with it.
        raw: the original text, kept for a faulty row only.
    """

    line: int
    values: dict[str, str]
    faults: tuple[Fault, ...] = ()
    raw: str = ""

    @property
    def fault(self) -> Fault | None:
        """The first fault, or None when the row is good."""
        return self.faults[0] if self.faults else None


def _check_target(target: Path, original: Path | None) -> None:
    """Refuses to write where the rows come from, by whatever name, and where nothing can be written."""
    if not target.parent.is_dir() or target.is_dir():
        raise SlussError(Reason.INVALID_REQUEST, f"faulty rows can't be written to {target}")
    if original is not None and target.exists() and target.samefile(original):
        raise SlussError(Reason.INVALID_REQUEST, f"faulty rows would overwrite {original}, which they come from")


class FaultyRows:
    """Writer of the faulty-rows file and its reasons; creates neither until there is a fault.

    A context manager. The rows hold what the original held, so both files are readable by their owner only.

    Args:
        path: the faulty-rows file; its reasons go beside it, under its name with `.reasons.txt` after it.
        header: what precedes the first row, a CSV header with its line end.
        encoding: the encoding of the original, so that the same mapping reads both.
        original: the file that the rows come from.

    Raises:
        SlussError: INVALID_REQUEST: one of the two files would be the original itself, or can't be made.
    """

    def __init__(self, path: Path, header: str = "", encoding: str = "utf-8", *, original: Path | None = None) -> None:
        self.path, self.reasons_path = path, path.with_name(path.name + ".reasons.txt")
        for target in (self.path, self.reasons_path):
            _check_target(target, original)
        self.count = 0
        self._header, self._encoding = header, encoding
        self._line = 1
        self._rows: IO[bytes] | None = None
        self._reasons: IO[str] | None = None

    def add(self, row: Row) -> None:
        """Append a faulty row and its reasons."""
        if self._rows is None or self._reasons is None:
            self._rows, self._reasons = self._open()
        raw = row.raw if row.raw.endswith(("\n", "\r")) or not row.raw else row.raw + "\n"
        here = f"row line {self._line}" if raw else "row not copied"
        self._reasons.writelines(f"{here}  {fault}\n" for fault in row.faults)
        self._write(self._rows, raw)
        self.count += 1

    def close(self) -> None:
        """Flush and close both files."""
        for file in (self._rows, self._reasons):
            if file is not None:
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> tuple[IO[bytes], IO[str]]:
        for path in (self.path, self.reasons_path):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600, exist_ok=False)
        rows = self.path.open("wb")
        self._write(rows, self._header)
        return rows, self.reasons_path.open("w", encoding="utf-8", errors="backslashreplace")

    def _write(self, file: IO[bytes], text: str) -> None:
        """Text back into the bytes that it came from: what could not be decoded is carried as it was."""
        file.write(text.encode(self._encoding, decode_errors(self._encoding)))
        self._line += text.count("\n") or text.count("\r")
