"""Our encryption keys: `keys.json`, mode 0600. The newest is registered; older ones still open older slices.

{"v":1,"keys":[{"suite":"X-Wing","private":"<base64url, 32 bytes>","created":"2026-11-23T22:33:57.123456Z"}]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from broker.clock import micros, rfc3339, system_clock
from broker.errors import SlussError
from broker.sealing import SUITE_NAMES, SUITE_XWING, RecipientPrivateKey, suite_named
from broker.slice_terms import base64url, unbase64
from sluss_client.errors import ProfileError
from sluss_client.files import SECRET, locked, read_secret, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_VERSION = 1
_MEMBERS = {"suite", "private", "created"}
_SECRET_SIZE = 32


@dataclass(frozen=True)
class StoredKey:
    """A private key and when it was made, in microseconds since 1970 UTC."""

    key: RecipientPrivateKey
    created: int

    @property
    def id(self) -> bytes:
        """SHA-256 of the public key."""
        return self.key.public().id


class KeyStore:
    """The keys of one profile. Every change is durable on return and safe among processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[StoredKey]:
        """All keys, oldest first; empty if none was ever made.

        Raises:
            ProfileError: the file is open to others or not well-formed.
        """
        if not self._path.exists():
            return []
        return _parse(read_secret(self._path))

    def current(self) -> StoredKey:
        """The newest key; ProfileError if there is none."""
        keys = self.all()
        if not keys:
            raise ProfileError("the profile has no encryption key yet: register one")
        return keys[-1]

    def generate(self, suite: int = SUITE_XWING) -> StoredKey:
        """Add a new key, which becomes the current one. It is on disk before anybody is told of it."""
        made = StoredKey(RecipientPrivateKey.generate(suite), system_clock())
        self._change(lambda keys: [*keys, made])
        return made

    def destroy(self, key_id: bytes) -> None:
        """Remove an old key for good: what was sealed to it never opens again.

        Raises:
            ProfileError: no such key, or it is the current one.
        """
        if self.current().id == key_id:
            raise ProfileError("the current key can't be destroyed: rotate first")
        if key_id not in {key.id for key in self.all()}:
            raise ProfileError("no such key in the profile")
        self._change(lambda keys: [key for key in keys if key.id != key_id])

    def _change(self, step: Callable[[list[StoredKey]], Sequence[StoredKey]]) -> None:
        with locked(self._path.with_name(self._path.name + ".lock")):
            write_atomic(self._path, _format(step(self.all())), SECRET)


def _format(keys: Sequence[StoredKey]) -> bytes:
    listed = [
        {
            "suite": SUITE_NAMES[stored.key.suite],
            "private": base64url(stored.key.data),
            "created": rfc3339(stored.created),
        }
        for stored in keys
    ]
    return orjson.dumps({"v": _VERSION, "keys": listed}, option=orjson.OPT_INDENT_2)


def _parse(data: bytes) -> list[StoredKey]:
    try:
        document = orjson.loads(data)
        if document.keys() != {"v", "keys"} or document["v"] != _VERSION:
            raise ProfileError("keys.json is of an unknown version")
        return [_parse_key(item) for item in document["keys"]]
    except (orjson.JSONDecodeError, AttributeError, TypeError, SlussError):
        raise ProfileError("keys.json is not well-formed") from None


def _parse_key(item: dict[str, Any]) -> StoredKey:
    if item.keys() != _MEMBERS:
        raise ProfileError("keys.json is not well-formed")
    key = RecipientPrivateKey(suite_named(item["suite"]), unbase64(item["private"], _SECRET_SIZE))
    return StoredKey(key, micros(item["created"]))
