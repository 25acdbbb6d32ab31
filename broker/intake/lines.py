"""Lines of a text file, one at a time: encodings told apart by byte order mark, lengths bounded, steps back.

Nothing here holds more than one record in memory: a line is cut at `MAX_LINE` characters, the rest skipped.
"""

from __future__ import annotations

import codecs
import io
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from broker.errors import Reason, SlussError
from broker.intake.faults import decode_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

MAX_LINE: Final = 1 << 18
"""Most characters of a line, and of a record of several lines; 50 fields of the greatest length fit."""
MAX_LINES: Final = 1000
"""Most lines of one record."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of(start: bytes, declared: str = "") -> tuple[str, int]:
    """The encoding of a file and the length of its byte order mark.

    A mark counts more than what the mapping declares; without either it is UTF-8.

    Args:
        start: the first bytes of the file, at least 3 where it has them.
        declared: the mapping's `encoding`.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    if declared and codecs.lookup(declared).name == "utf-16":
        return "utf-16-le", 0
    return declared or "utf-8", 0


class Lines:
    """An iterator of lines with their ends. Owns the file; a context manager.

    Attributes:
        line: the number of the next line, from 1.
        encoding: the codec, ready for `FaultyRows`.
        mark: the byte order mark that a faulty-rows file needs, as text.
    """

    def __init__(self, path: Path, declared: str = "") -> None:
        self._file: BinaryIO = path.open("rb")
        self.encoding, skip = encoding_of(self._file.read(4), declared)
        self._file.seek(skip)
        self.mark = "\ufeff" if self.encoding.startswith("utf-16") else ""
        self._text = io.TextIOWrapper(
            self._file, encoding=self.encoding, errors=decode_errors(self.encoding), newline=""
        )
        self._again: deque[str] = deque()
        self.line = 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.line += 1
        return line

    def again(self, lines: Iterable[str]) -> None:
        """Put lines back that were read too far; the next one read is the first of them."""
        lines = list(lines)
        self._again.extendleft(reversed(lines))
        self.line -= len(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.close()

    def _read(self) -> str:
        try:
            line = self._text.readline(MAX_LINE)
            if len(line) == MAX_LINE:
                rest = line
                while len(rest) == MAX_LINE and not rest.endswith(("\n", "\r")):
                    rest = self._text.readline(MAX_LINE)
        except UnicodeDecodeError:
            raise SlussError(Reason.MALFORMED, f"the file is not {self.encoding}") from None
        return line


def too_long(line: str) -> bool:
    """Whether a line was cut."""
    return len(line) >= MAX_LINE
