"""The default key provider: every ring in one JSON file, mode 0600.

    {"rings": {"records": {"1": "<base64url of 32 bytes>", "2": "..."}, "financial": {...}, ...}, "v": 1}

A rotation adds a number; old ones are missing once they are destroyed. `index` has version 1 and no other. A running
broker takes a new file up before it wraps the next key, and when it meets a key under a version that it does not have.

Keep a copy of it apart from the backups of the database: together they are the data, alone each is nothing.
"""

from __future__ import annotations

import base64
import os
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker.errors import Reason, SlussError
from broker.keys.provider import INDEX, RINGS
from broker.keys.ring import KEY_LENGTH, LAST_VERSION, KeyRing
from broker.keys.secret_file import read_secret, sole_writer, write_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT: Final = 1

Keys = dict[str, dict[int, bytes]]


class FileProvider:
    """Rings from a file (see `provider.KeyProvider` for what it promises)."""

    def __init__(self, path: Path) -> None:
        """Loads the file at `path`.

        Raises:
            SlussError: KEYS_UNAVAILABLE if it is missing, malformed, or can be opened by others.
        """
        self._path = path
        self._seen = _stamp(path)
        keys = _parse(read_secret(path))
        self._rings = {name: KeyRing(name, keys[name], partial(self._versions, name), self._look) for name in RINGS}

    @classmethod
    def create(cls, path: Path) -> FileProvider:
        """Makes a file with one fresh key per ring, and loads it.

        Raises:
            SlussError: KEYS_UNAVAILABLE if the file exists (keys are never overwritten) or can't be written.
        """
        write_secret(path, _format({name: {1: os.urandom(KEY_LENGTH)} for name in RINGS}), replace=False)
        return cls(path)

    @property
    def rings(self) -> Mapping[str, KeyRing]:
        """The rings by name."""
        return MappingProxyType(self._rings)

    def rotate(self, name: str) -> int:
        """Adds a version to the ring `name`: in the file first, then in memory. Returns its number.

        Raises:
            SlussError: as `_changing`; KEYS_UNAVAILABLE if the ring has no versions left.
        """
        with self._changing(name) as versions:
            version = max(versions) + 1
            if version > LAST_VERSION:
                raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key ring {name} has no versions left")
            versions[version] = os.urandom(KEY_LENGTH)
        return version

    def destroy_old(self, name: str) -> list[int]:
        """Takes every version of the ring `name` but the newest out of the file; their numbers.

        The medium may keep the bytes of the file that was there: that is for the encryption of the volume.

        Raises:
            SlussError: as `_changing`.
        """
        with self._changing(name) as versions:
            old = sorted(versions)[:-1]
            for version in old:
                del versions[version]
        self._rings[name].forget(old)
        return old

    @contextmanager
    def _changing(self, name: str) -> Iterator[dict[int, bytes]]:
        """The versions of a ring that rotates, to be changed: on a clean exit they are in the file, then in memory.

        Raises:
            SlussError: INVALID_REQUEST for an unknown ring or `index`, KEYS_UNAVAILABLE if the file can't be
                written; the ring is then as before.
        """
        _require_rotating(name)
        with sole_writer(self._path):
            keys = _parse(read_secret(self._path))
            yield keys[name]
            write_secret(self._path, _format(keys), replace=True)
        self._rings[name].take(keys[name])

    def _versions(self, name: str) -> Mapping[int, bytes]:
        return _parse(read_secret(self._path))[name]

    def _look(self) -> None:
        """Take in what another process has added.

        Raises:
            SlussError: KEYS_UNAVAILABLE if the file is gone, or can't be used any more.
        """
        found = _stamp(self._path)
        if found == self._seen:
            return
        keys = _parse(read_secret(self._path))
        for name, ring in self._rings.items():
            ring.take(keys[name])
        self._seen = found


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when the file is replaced.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    try:
        found = path.stat()
    except OSError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key file {path.name} can't be read") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _require_rotating(name: str) -> None:
    if name not in RINGS or name == INDEX:
        raise SlussError(Reason.INVALID_REQUEST, f"no key ring {name!r} that rotates")


def _format(keys: Keys) -> bytes:
    rings = {
        name: {str(version): base64.urlsafe_b64encode(key).decode() for version, key in sorted(versions.items())}
        for name, versions in keys.items()
    }
    return orjson.dumps(
        {"rings": rings, "v": FORMAT},
        option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def _parse(content: bytes) -> Keys:
    """The keys in a file's bytes; anything unexpected in it is refused, and never quoted."""
    try:
        document = orjson.loads(content)
        if set(document) != {"rings", "v"} or document["v"] != FORMAT or set(document["rings"]) != set(RINGS):
            raise ValueError  # noqa: TRY301 - one way out for every fault
        keys = {name: _versions_of(versions) for name, versions in document["rings"].items()}
        if set(keys[INDEX]) != {1}:
            raise ValueError  # noqa: TRY301 - one way out for every fault
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the key file is malformed") from None
    return keys


def _versions_of(versions: Mapping[str, Any]) -> dict[int, bytes]:
    keys = {int(number): base64.b64decode(key, altchars=b"-_", validate=True) for number, key in versions.items()}
    lengths = {len(key) for key in keys.values()}
    if lengths != {KEY_LENGTH} or {str(number) for number in keys} != set(versions):
        raise ValueError
    if not 0 < min(keys) <= max(keys) <= LAST_VERSION:
        raise ValueError
    return keys
