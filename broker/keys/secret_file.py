"""Files with secrets in them: mode 0600 or refused, replaced whole or not at all, on the disk on return."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHERS: Final = 0o077
_LARGEST: Final = 1 << 20


def read_secret(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        SlussError: KEYS_UNAVAILABLE if the file can't be read, is not this user's (or root's), or is open
            to others.
    """
    try:
        with path.open("rb") as file:
            refuse_wide(path, os.fstat(file.fileno()))
            return file.read(_LARGEST)
    except OSError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key file {path.name} can't be read") from None


def write_secret(path: Path, content: bytes, *, replace: bool) -> None:
    """Writes `content` to `path`, mode 0600, atomically and durably.

    Raises:
        SlussError: KEYS_UNAVAILABLE if it can't be written, or if it exists and `replace` is False.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_staged(path))  # mkstemp: mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                Path(name).replace(path)
            else:
                os.link(name, path)  # unlike a rename, fails if the name is taken
        finally:
            Path(name).unlink(missing_ok=True)
        _sync_folder(path.parent)
    except FileExistsError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key file {path.name} exists already") from None
    except OSError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key file {path.name} can't be written") from None


def remove_staged(path: Path) -> None:
    """Take away what a process that was killed was about to put in the place of `path`; for its sole writer.

    Raises:
        SlussError: KEYS_UNAVAILABLE if that can't be done.
    """
    try:
        left = [each for each in path.parent.iterdir() if each.name.startswith(_staged(path))]
        for each in left:
            each.unlink(missing_ok=True)
        if left:
            _sync_folder(path.parent)
    except OSError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"copies of the key file {path.name} can't be removed") from None


def _staged(path: Path) -> str:
    """How the name begins under which new content is written."""
    return f".{path.name}."


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Keeps other processes out of their own `sole_writer` blocks for files in the same folder."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def refuse_wide(path: Path, found: os.stat_result) -> None:
    """Refuse a file that others can open, or that is another user's.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    if found.st_mode & _OTHERS:
        raise SlussError(
            Reason.KEYS_UNAVAILABLE,
            f"the key file {path.name} can be opened by others (mode {found.st_mode & 0o777:04o}): chmod 600",
        )
    if found.st_uid not in {0, os.geteuid()}:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key file {path.name} belongs to another user")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
