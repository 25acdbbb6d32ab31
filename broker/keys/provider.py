"""What the broker asks of whoever keeps its keys, be it a file, an HSM or a cloud's key service."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

RECORDS: Final = "records"
FINANCIAL: Final = "financial"
EPOCHS: Final = "epochs"
INDEX: Final = "index"

RINGS: Final = MappingProxyType(
    {
        RECORDS: "persons' data keys and secrets; contracts' handle keys; keys of legal cases",
        FINANCIAL: "persons' keys for financial fields (POLICY clause 4)",
        EPOCHS: "epoch secrets of slices",
        INDEX: "blind indexes and fingerprints: digests, never wrapped, so it does not rotate",
    }
)
"""Every ring that there is, and what it protects. A ring of another name is refused."""


class Ring(Protocol):
    """A named set of key versions: wraps with the newest, unwraps with any.

    Obligations:
        - `wrap` is authenticated encryption of the secret with the associated data, under a key that no other
          ring has; two wraps of one secret differ.
        - `unwrap` returns exactly what was wrapped with the same associated data, or raises SlussError:
          INTERNAL for bytes that were altered or belong elsewhere, KEYS_UNAVAILABLE if the version can't be
          had now.
        - `rewrap` gives the same secret under the newest version; what is there already comes back as it is.
        - `digest` is a keyed digest of 32 bytes, equal for equal input on every broker, for good.
        - Neither a key nor a secret is in a message, a repr or a log, ever.
        - Safe to call from several threads.
    """

    name: str

    @property
    def versions(self) -> tuple[int, ...]:
        """The numbers of the versions that there are, ascending."""
        ...

    def wrap(self, secret: bytes, aad: bytes) -> bytes:
        """Encrypts `secret` under the newest version, bound to `aad`."""
        ...

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        """The secret in `blob`, which was wrapped with the same `aad`."""
        ...

    def rewrap(self, blob: bytes, aad: bytes) -> bytes:
        """The same secret under the newest version."""
        ...

    def digest(self, label: bytes, data: bytes) -> bytes:
        """The keyed digest of `data`, separated from other uses by `label`."""
        ...


class KeyProvider(Protocol):
    """Keeps the rings.

    Obligations:
        - `rings` has every name in `RINGS` and no other; it gives the same objects each time, and a rotation,
          in this process or another, reaches them.
        - `rotate` returns only when the new version is durable: nothing is ever wrapped under a key that a
          crash could take away. Old versions stay. Rotating `index` is refused.
        - `destroy` returns only when the provider has these versions no more, and takes no other. Whether anything is
          still wrapped under them is for the caller to know. The newest version is never destroyed.
        - A number that a version once had never stands for another key.
        - Anything that keeps keys from being had raises SlussError KEYS_UNAVAILABLE.
    """

    @property
    def rings(self) -> Mapping[str, Ring]:
        """The rings by name."""
        ...

    def rotate(self, name: str, above: int = 0) -> int:
        """Adds a version to the ring `name`, with a number above all that it has and above `above`; the number."""
        ...

    def destroy(self, name: str, gone: Collection[int]) -> None:
        """Destroys these versions of the ring `name`."""
        ...
