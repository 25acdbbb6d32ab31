"""Files that a command line names: regular ones only, and no larger than what they are for can be.

A device or a pipe has no end that anybody knows of (`/dev/zero`), or nobody at the other one; `-` is there for
what comes through a pipe. What is wrong with a file is the caller's to mend, and never the broker's lie.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from broker.errors import SlussError
from sluss_cli.exits import Exit
from sluss_cli.problems import Problem, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = 1 << 20
"""Bytes of a certificate, a contract, a mapping or a catalogue."""
LIST = 64 << 20
"""Bytes of a list: a million handles and more."""
SLICES = 256 << 20
"""Bytes of kept slices: four of the largest replies."""


def check_regular(path: Path) -> None:
    """Refuses what is not a regular file.

    Raises:
        Problem: USAGE.
        OSError: there is none, or it can't be opened.
    """
    _open(path).close()


def read_bytes(path: Path, most: int = SMALL) -> bytes:
    """A file's bytes.

    Raises:
        Problem: USAGE: it is not a regular file, or has more than `most` bytes.
        OSError: there is none, or it can't be opened.
    """
    with _open(path) as file:
        return _bounded(file.read(most + 1), most, str(path))


def read_text(path: Path, most: int = SMALL) -> str:
    """A file's text, which is UTF-8.

    Raises:
        Problem, OSError: as `read_bytes`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8")


def read_text_or_input(source: str, most: int = LIST) -> str:
    """The text of a file; `-` is standard input: values stay out of the process list and the history.

    Raises:
        Problem, OSError, UnicodeDecodeError: as `read_text`.
    """
    if source != "-":
        return read_text(Path(source), most)
    return _bounded(sys.stdin.buffer.read(most + 1), most, "standard input").decode("utf-8")


@contextmanager
def own_files() -> Iterator[None]:
    """Whatever the readers of files find wrong inside is a file that is not right."""
    try:
        yield
    except SlussError as error:
        raise Problem(Exit.USAGE, str(error.reason), error.detail, error.metadata) from None


def _open(path: Path) -> BinaryIO:
    # Not blocking: opening a pipe would wait for a writer before anybody could see that it is one.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise usage("not a regular file; - takes standard input where a list or a text is read", file=str(path))
    return os.fdopen(handle, "rb")


def _bounded(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        raise usage(f"larger than the {most >> 20} MiB that such a file has at most", file=name)
    return data
