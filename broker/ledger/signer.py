"""The ledger's key file: origin and both private seeds, readable by the owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import Signer, check_name
from broker.ledger.entry import base64url

if TYPE_CHECKING:
    from pathlib import Path

SEED_SIZE = 32
_MEMBERS = {"ed25519", "mldsa44", "origin", "v"}


@dataclass(frozen=True, slots=True, repr=False)
class LedgerKeys:
    """The origin and the two 32-byte seeds: who has them can sign checkpoints, and nobody else."""

    origin: str
    ed25519_seed: bytes
    mldsa44_seed: bytes

    @classmethod
    def generate(cls, origin: str) -> LedgerKeys:
        """New keys for a new ledger."""
        return cls(check_name(origin), secrets.token_bytes(SEED_SIZE), secrets.token_bytes(SEED_SIZE))

    @classmethod
    def load(cls, path: Path) -> LedgerKeys:
        """Read a key file.

        Raises:
            SlussError: KEYS_UNAVAILABLE, if the file can't be read, others may read it, or it is malformed.
        """
        try:
            with path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise SlussError(
                        Reason.KEYS_UNAVAILABLE, f"{path.name}, the ledger's keys, is open to others: chmod 600"
                    )
                return cls.parse(file.read())
        except OSError:
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the ledger's key file can't be read") from None

    @classmethod
    def parse(cls, data: bytes) -> LedgerKeys:
        """Read the bytes of a key file.

        Raises:
            SlussError: KEYS_UNAVAILABLE.
        """
        try:
            obj = orjson.loads(data)
            seeds = [urlsafe_b64decode(obj[name] + "=") for name in ("ed25519", "mldsa44")]
            keys = cls(check_name(obj["origin"]), *seeds)
            whole = obj.keys() == _MEMBERS and obj["v"] == 1
        except (ValueError, TypeError, KeyError, AttributeError, SlussError):
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the ledger's key file is malformed") from None
        if not whole or any(len(seed) != SEED_SIZE for seed in seeds):
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the ledger's key file is malformed")
        return keys

    def data(self) -> bytes:
        """The bytes of the key file."""
        seeds = {"ed25519": base64url(self.ed25519_seed), "mldsa44": base64url(self.mldsa44_seed)}
        return orjson.dumps({**seeds, "origin": self.origin, "v": 1}, option=orjson.OPT_SORT_KEYS) + b"\n"

    def save(self, path: Path) -> None:
        """Write a new key file with mode 0600, durable on return; an existing one is never replaced.

        Raises:
            SlussError: KEYS_UNAVAILABLE.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.data())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the ledger's key file can't be written") from None

    def signer(self) -> Signer:
        """The keys in use."""
        return Signer(self.origin, self.ed25519_seed, self.mldsa44_seed)
