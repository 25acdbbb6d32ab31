"""Files of a profile: written whole or not at all, durable on return, secret ones closed to others."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sluss_client.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = 0o600
PUBLIC = 0o644
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_atomic(path: Path, data: bytes, mode: int = PUBLIC, *, sync_name: bool = True) -> None:
    """Replace a file. After a crash at any point the old or the new content is there, whole.

    Args:
        path: the file.
        data: its new content.
        mode: its permissions.
        sync_name: wait until the replacement itself is durable; else a power cut may bring back the old content.

    Raises:
        ProfileError: it can't be written; the old content is there.
    """
    try:
        _replace(path, data, mode)
        if sync_name:
            sync_folder(path.parent)
    except OSError as error:
        raise ProfileError(f"{path.name} can't be written: {error.strerror or 'no reason given'}") from None


def _replace(path: Path, data: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_public(path: Path) -> bytes:
    """A file's bytes; ProfileError if it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ProfileError(f"the profile has no {path.name}") from None


def read_secret(path: Path, *, absent: bytes | None = None) -> bytes:
    """A secret file's bytes.

    Args:
        path: the file.
        absent: what to return if it is not there; None if it has to be.

    Raises:
        ProfileError: it is not there, or its mode lets anybody but its owner in.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise ProfileError(f"{path.name} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 it")
            return file.read()
    except FileNotFoundError:
        if absent is not None:
            return absent
        raise ProfileError(f"the profile has no {path.name}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes (flock on `path`, which is made if need be)."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
    except OSError as error:
        raise ProfileError(f"{path.name} can't be opened: {error.strerror or 'no reason given'}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
