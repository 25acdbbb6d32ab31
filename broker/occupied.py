"""Who has a home: brokers that serve share it, whoever replaces its database or destroys keys has it alone.

A lock of the operating system on the folder `run/`, which ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.settings import Home


@contextmanager
def shared(folder: Home) -> Iterator[None]:
    """While a process serves.

    Raises:
        SlussError: INVALID_REQUEST while somebody has the home alone.
    """
    with _held(folder, fcntl.LOCK_SH, "a restore, or a destruction of keys, is under way: start the broker after it"):
        yield


@contextmanager
def alone(folder: Home) -> Iterator[None]:
    """While nothing may serve.

    Raises:
        SlussError: INVALID_REQUEST while a broker serves, or somebody else has the home alone.
    """
    with _held(folder, fcntl.LOCK_EX, "the broker is running, or a restore, or a destruction of keys: stop it first"):
        yield


@contextmanager
def _held(folder: Home, how: int, otherwise: str) -> Iterator[None]:
    place = folder.port.parent
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"the folder {place.name} of the home can't be opened") from None
    try:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except OSError:
            raise SlussError(Reason.INVALID_REQUEST, otherwise) from None
        yield
    finally:
        os.close(handle)
