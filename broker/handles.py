"""Handles: a person's pairwise pseudonym under one contract; two subcontractors can't join their data. Pure.

A handle is one AES-256 block under the contract's handle key: person id (8 bytes, big-endian), 8 zero bytes.
Without the key it is a random string; with the key, a forged one shows by its missing zeros.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from broker.errors import Reason, SlussError
from broker.slice_terms import base64url, unbase64

if TYPE_CHECKING:
    from collections.abc import Sequence

HANDLE_SIZE: Final = 16

_PERSON_SIZE: Final = 8
_PERSON_LIMIT: Final = 1 << 62
_ZEROS: Final = bytes(8)
_PREFIX: Final = "h_"


@lru_cache(maxsize=256)
def _ecb(key: bytes) -> Cipher[modes.ECB]:
    """AES-256 as a pseudorandom permutation: every input is one block and no two are equal."""
    return Cipher(algorithms.AES256(key), modes.ECB())  # noqa: S305 - a permutation of single, distinct blocks


def handle_of(key: bytes, person: int) -> bytes:
    """The 16-byte handle of a person under the contract whose 32-byte handle key is `key`."""
    return handles_of(key, [person])[0]


def handles_of(key: bytes, persons: Sequence[int]) -> list[bytes]:
    """The handles of many persons, in order."""
    blocks = b"".join(person.to_bytes(_PERSON_SIZE, "big") + _ZEROS for person in persons)
    data = _ecb(key).encryptor().update(blocks)
    return [data[at : at + HANDLE_SIZE] for at in range(0, len(data), HANDLE_SIZE)]


def person_of(key: bytes, handle: bytes) -> int | None:
    """The person behind a handle; None for a forged handle or one of another contract."""
    return persons_of(key, [handle])[0]


def persons_of(key: bytes, handles: Sequence[bytes]) -> list[int | None]:
    """The persons behind many handles, in order; None where a handle is not of this contract.

    Raises:
        SlussError: MALFORMED when a handle is not 16 bytes long.
    """
    if any(len(handle) != HANDLE_SIZE for handle in handles):
        raise SlussError(Reason.MALFORMED, "a handle is 16 bytes")
    data = _ecb(key).decryptor().update(b"".join(handles))
    return [_person(data[at : at + HANDLE_SIZE]) for at in range(0, len(data), HANDLE_SIZE)]


def _person(block: bytes) -> int | None:
    person = int.from_bytes(block[:_PERSON_SIZE], "big")
    return person if block[_PERSON_SIZE:] == _ZEROS and 0 < person < _PERSON_LIMIT else None


def handle_text(handle: bytes) -> str:
    """A handle as text: `h_` and 22 characters of base64url."""
    return _PREFIX + base64url(handle)


def parse_handle(text: str) -> bytes:
    """The 16 bytes of a handle written by `handle_text`; MALFORMED for any other text."""
    if not text.startswith(_PREFIX):
        raise SlussError(Reason.MALFORMED, "a handle starts with h_")
    return unbase64(text.removeprefix(_PREFIX), HANDLE_SIZE)
