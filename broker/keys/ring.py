"""A key ring in memory: AES-256-GCM under numbered keys.

    wrapped  =  version u16be | nonce 12 | AES-256-GCM ciphertext || tag 16      associated data: the caller's

Nonces are random: a version is good for 2^32 wraps (NIST SP 800-38D, 8.3), rotate before that.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12
LAST_VERSION: Final = 0xFFFF
_HEADER: Final = 2 + NONCE_LENGTH
_DIGEST_VERSION: Final = 1


class KeyRing:
    """A ring whose keys are in this process (see `provider.Ring` for what it promises).

    Attributes:
        name: the ring's name.
        version: the newest version, under which `wrap` works.
    """

    def __init__(
        self,
        name: str,
        versions: Mapping[int, bytes],
        reload: Callable[[], Mapping[int, bytes]] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Makes a ring of `versions` (number from 1 -> 32 bytes).

        Args:
            name: the ring's name.
            versions: the keys by version.
            reload: asked for all versions when a blob names one that is not here: another process may have
                rotated the ring.
            look: called before something is wrapped: it takes in a version that another process has added since, and
                raises if the keys can't be had any more.
        """
        self.name = name
        self._reload = reload
        self._look = look
        self._lock = threading.Lock()
        self._ciphers: dict[int, AESGCM] = {}
        self._known: dict[int, bytes] = {}
        self._digest_key = b""
        self.version = 0
        self.take(versions)

    def __repr__(self) -> str:
        return f"KeyRing({self.name!r}, version={self.version})"

    @property
    def versions(self) -> tuple[int, ...]:
        """The numbers of the versions that are here, ascending."""
        return tuple(sorted(self._ciphers))

    def take(self, versions: Mapping[int, bytes]) -> None:
        """Takes in `versions`; those already here stay.

        Raises:
            SlussError: KEYS_UNAVAILABLE for an empty ring, a version out of range or a key of another length, and as
                `require_same`.
        """
        if not versions and not self._ciphers:
            raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key ring {self.name} is empty")
        for version, key in versions.items():
            if not 0 < version <= LAST_VERSION or len(key) != KEY_LENGTH:
                raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key ring {self.name} is malformed")
        self.require_same(versions)
        with self._lock:
            fresh = {number: AESGCM(key) for number, key in versions.items() if number not in self._ciphers}
            self._known = {number: _mark(key) for number, key in versions.items()} | self._known
            self._ciphers = self._ciphers | fresh
            self._digest_key = self._digest_key or versions.get(_DIGEST_VERSION, b"")
            self.version = max(self._ciphers)

    def require_same(self, versions: Mapping[int, bytes]) -> None:
        """Refuse another key under a number that is known: one of the two would be lost.

        Raises:
            SlussError: KEYS_UNAVAILABLE.
        """
        for number, key in versions.items():
            if not hmac.compare_digest(self._known.get(number, mark := _mark(key)), mark):
                told = f"version {number} of the key ring {self.name} is another key than before"
                raise SlussError(Reason.KEYS_UNAVAILABLE, told)

    def rotate(self, key: bytes | None = None) -> int:
        """Adds a version, in memory only (a provider makes it durable first), and returns its number."""
        version = self.version + 1
        self.take({version: os.urandom(KEY_LENGTH) if key is None else key})
        return version

    def forget(self, versions: Collection[int]) -> None:
        """Drops versions that the provider has destroyed."""
        with self._lock:
            self._ciphers = {number: cipher for number, cipher in self._ciphers.items() if number not in versions}

    def wrap(self, secret: bytes, aad: bytes) -> bytes:
        """Encrypts `secret` under the newest version, bound to `aad`.

        Raises:
            SlussError: KEYS_UNAVAILABLE if the provider can't be reached: what is wrapped has to open again.
        """
        if self._look is not None:
            self._look()
        version, nonce = self.version, os.urandom(NONCE_LENGTH)
        return version.to_bytes(2, "big") + nonce + self._ciphers[version].encrypt(nonce, secret, aad)

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        """The secret in `blob`.

        Raises:
            SlussError: INTERNAL if the blob was altered or wrapped with other associated data or by another
                ring; KEYS_UNAVAILABLE if its version is not known here.
        """
        cipher = self._ciphers.get(int.from_bytes(blob[:2], "big")) or self._unknown(blob)
        try:
            return cipher.decrypt(blob[2:_HEADER], blob[_HEADER:], aad)
        except (InvalidTag, ValueError):
            raise SlussError(Reason.INTERNAL, "a wrapped key does not open") from None

    def rewrap(self, blob: bytes, aad: bytes) -> bytes:
        """The same secret under the newest version; `blob` itself if it is under that one."""
        if int.from_bytes(blob[:2], "big") == self.version:
            return blob
        return self.wrap(self.unwrap(blob, aad), aad)

    def digest(self, label: bytes, data: bytes) -> bytes:
        """HMAC-SHA256 of `label || data` under version 1, whatever the newest is: digests can't be re-keyed.

        Raises:
            SlussError: KEYS_UNAVAILABLE if version 1 is not here.
        """
        if not self._digest_key:
            raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key ring {self.name} has no version 1")
        return hmac.digest(self._digest_key, label + data, "sha256")

    def _unknown(self, blob: bytes) -> AESGCM:
        version = int.from_bytes(blob[:2], "big")
        if self._reload is not None and len(blob) > _HEADER:
            self.take(self._reload())
        if version in self._ciphers:
            return self._ciphers[version]
        raise SlussError(Reason.KEYS_UNAVAILABLE, f"the key ring {self.name} has no version {version}")


def _mark(key: bytes) -> bytes:
    """Tells a key from others, and nothing of it."""
    return hashlib.sha256(b"sluss/v1 ring key\x00" + key).digest()
