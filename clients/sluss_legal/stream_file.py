"""What came of a release, on disk (mode 0600) until it has been handed over: sealed as it came, so that it can go on.

The first line says what is under way:

{"v":1,"case":"L-2026-0001","request_id":"<UUID4>","suite":"X-Wing","private":"<base64url, 32 bytes, or empty>"}

Then one record per message, u32 length (big-endian) and the ReleaseResponse. A record that a crash has cut short is
dropped when the file is opened: the broker sends it again.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import orjson
from google.protobuf.message import DecodeError
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import ProfileError
from sluss_client.files import SECRET, sync_folder, write_atomic

from broker.errors import SlussError
from broker.sealing import SUITE_NAMES, RecipientPrivateKey, suite_named
from broker.slice_terms import base64url, unbase64

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VERSION = 1
_MEMBERS = {"v", "case", "request_id", "suite", "private"}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LENGTH = 4
_SECRET_SIZE = 32
_MAX_HEADER = 4096


@dataclass(frozen=True)
class Under:
    """What is under way.

    Attributes:
        case: whose release it is.
        request_id: under which each message is retried safely.
        key: made for the one package; None when the release is sealed to the authority's own key.
    """

    case: str
    request_id: str
    key: RecipientPrivateKey | None


class StreamFile:
    """One release under way. A context manager that keeps other processes out.

    Attributes:
        path: where it is.
        under: what it is about.
        cursor: of the last message that is whole on disk; empty if none is.
    """

    def __init__(self, path: Path, case: str, *, package: bool) -> None:
        """Opens a release that was under way, or begins one; its key is on disk before anybody is told of it.

        Raises:
            ProfileError: it is of another case or way of delivery, open to others, not well-formed, or in use.
        """
        self.path = path
        if not path.exists():
            key = RecipientPrivateKey.generate() if package else None
            write_atomic(path, _header(Under(case, str(uuid.uuid4()), key)), SECRET)
        self._handle = path.open("r+b")
        try:
            self._lock()
            self.under, self._start = self._read_header()
            self._check(case, package=package)
            self.cursor = self._cut_torn_tail()
        except BaseException:
            self._handle.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes in."""
        self._handle.close()

    def append(self, message: pb.ReleaseResponse) -> None:
        """Keeps a message; durable on return."""
        data = message.SerializeToString()
        self._handle.seek(0, os.SEEK_END)
        self._handle.write(len(data).to_bytes(_LENGTH, "big") + data)
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self.cursor = message.cursor

    def messages(self) -> Iterator[pb.ReleaseResponse]:
        """All messages, in the order in which they came."""
        for data, _ in self._records():
            yield pb.ReleaseResponse.FromString(data)

    def forget(self) -> None:
        """Removes it, with the key: what was sealed to that never opens again."""
        self.close()
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def _lock(self) -> None:
        if stat.S_IMODE(os.fstat(self._handle.fileno()).st_mode) & _OTHERS:
            raise ProfileError(f"{self.path.name} is open to others: chmod 600 it")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ProfileError(f"{self.path.name} is in use: this release is under way") from None

    def _check(self, case: str, *, package: bool) -> None:
        if self.under.case != case or (self.under.key is not None) != package:
            raise ProfileError(f"{self.path.name} is of another release: move it away, or name another file")

    def _read_header(self) -> tuple[Under, int]:
        line = self._handle.readline(_MAX_HEADER)
        try:
            found = orjson.loads(line)
            if not line.endswith(b"\n") or found.keys() != _MEMBERS or found["v"] != _VERSION:
                raise self._malformed()
            private = found["private"]
            key = RecipientPrivateKey(suite_named(found["suite"]), unbase64(private, _SECRET_SIZE)) if private else None
            return Under(str(found["case"]), str(found["request_id"]), key), len(line)
        except (orjson.JSONDecodeError, AttributeError, TypeError, SlussError):
            raise self._malformed() from None

    def _records(self) -> Iterator[tuple[bytes, int]]:
        """The whole records, each with the place where it ends."""
        at = self._start
        while True:
            self._handle.seek(at)
            size = int.from_bytes(self._handle.read(_LENGTH), "big")
            data = self._handle.read(size)
            if not size or len(data) < size:
                return
            at += _LENGTH + size
            yield data, at

    def _cut_torn_tail(self) -> str:
        end, cursor = self._start, ""
        try:
            for data, end in self._records():  # noqa: B007 - the last end is what counts
                cursor = pb.ReleaseResponse.FromString(data).cursor
        except DecodeError:
            raise self._malformed() from None
        self._handle.truncate(end)
        return cursor

    def _malformed(self) -> ProfileError:
        return ProfileError(f"{self.path.name} is not a release under way")


def _header(under: Under) -> bytes:
    key = under.key
    document = {
        "v": _VERSION,
        "case": under.case,
        "request_id": under.request_id,
        "suite": SUITE_NAMES[key.suite] if key else "",
        "private": base64url(key.data) if key else "",
    }
    return orjson.dumps(document) + b"\n"
