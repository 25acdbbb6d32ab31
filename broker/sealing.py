"""Slices: a person's granted fields, sealed to one recipient's key and bound to their terms. Pure.

`protos/SLICE.md` is the specification, byte by byte; this module is its first implementation and
`tests/vectors/independent_opener.py` the second. In one line:

    HPKE (RFC 9180) carries an epoch secret -> HKDF per disclosure -> HMAC per slice -> AES-256-GCM per field

Everything that fails raises `SlussError`: MALFORMED, UNSUPPORTED_VERSION or KEY_UNKNOWN.
Whatever fails to authenticate says the same sentence: nobody learns from the answer which part was wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from broker.errors import Reason, SlussError
from broker.handles import (
    HANDLE_SIZE,
    handle_of,
    handle_text,
    handles_of,
    parse_handle,
    person_of,
    persons_of,
)
from broker.slice_terms import VERSION, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "EPOCH_DISCLOSURES",
    "EPOCH_SECONDS",
    "HANDLE_SIZE",
    "SUITE_NAMES",
    "SUITE_X25519",
    "SUITE_XWING",
    "Epoch",
    "OpenedSlice",
    "Opener",
    "RecipientPrivateKey",
    "RecipientPublicKey",
    "Sealer",
    "Terms",
    "handle_of",
    "handle_text",
    "handles_of",
    "new_epoch",
    "parse_handle",
    "person_of",
    "persons_of",
    "suite_named",
]

SUITE_X25519: Final = 1
SUITE_XWING: Final = 2
SUITE_NAMES: Final = {SUITE_X25519: "X25519", SUITE_XWING: "X-Wing"}

LABEL_EPOCH: Final = b"sluss/v1 epoch\x00"
LABEL_EPOCH_ID: Final = b"sluss/v1 epoch id\x00"
LABEL_DISCLOSURE: Final = b"sluss/v1 disclosure\x00"
LABEL_SALT: Final = b"sluss/v1 salt\x00"
LABEL_SLICE: Final = b"sluss/v1 slice\x00"
LABEL_FIELD: Final = b"sluss/v1 field\x00"

EPOCH_SECONDS: Final = 3600
EPOCH_DISCLOSURES: Final = 1 << 20

_KEY_ID = slice(2, 34)
_EPOCH_ID = slice(34, 50)
_HEADER_SIZE: Final = 50
_SLICE_HEADER: Final = 34
_FIELD_HEADER: Final = 5
_TAG: Final = 16
_SECRET_SIZE: Final = 32
_PUBLIC_SIZE: Final = {SUITE_X25519: 32, SUITE_XWING: 1216}
_BLOB_SIZE: Final = {SUITE_X25519: 130, SUITE_XWING: 1218}
_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64

_HPKE: Final = {
    SUITE_X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    SUITE_XWING: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_NONCES: Final = tuple(bytes(11) + bytes([ordinal]) for ordinal in range(256))
_ORDINALS: Final = tuple(bytes([ordinal]) for ordinal in range(256))
_SHUT: Final = "the slice does not open: another key, other terms, or altered bytes"
_KNOWN_EPOCHS: Final = 256


def _malformed(detail: str) -> SlussError:
    return SlussError(Reason.MALFORMED, detail)


def _shut() -> SlussError:
    return SlussError(Reason.MALFORMED, _SHUT)


# --- keys ---------------------------------------------------------------------------------------------------


def suite_named(name: str) -> int:
    """The number of the suite called `X25519` or `X-Wing`; UNSUPPORTED_VERSION otherwise."""
    for suite, known in SUITE_NAMES.items():
        if known == name:
            return suite
    raise SlussError(Reason.UNSUPPORTED_VERSION, "unknown encryption suite")


def _known_suite(suite: int) -> int:
    if suite not in SUITE_NAMES:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "unknown encryption suite")
    return suite


def _load_public(suite: int, data: bytes) -> x25519.X25519PublicKey | MLKEM768X25519PublicKey:
    if suite == SUITE_X25519:
        return x25519.X25519PublicKey.from_public_bytes(data)
    return MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC]),
        x25519.X25519PublicKey.from_public_bytes(data[_MLKEM_PUBLIC:]),
    )


@dataclass(frozen=True)
class RecipientPublicKey:
    """The public key that slices are sealed to.

    Attributes:
        suite: `SUITE_X25519` (32 bytes) or `SUITE_XWING` (1216 bytes: ML-KEM-768, then X25519).
        data: the bytes as registered.

    Raises:
        SlussError: UNSUPPORTED_VERSION for an unknown suite; MALFORMED for a key of another length, an ML-KEM
            key that fails the modulus check (FIPS 203, 7.2) or an X25519 point of low order (RFC 7748, 6.1).
    """

    suite: int
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != _PUBLIC_SIZE[_known_suite(self.suite)]:
            raise _malformed("a public key of another length than its suite's")
        try:
            _load_public(self.suite, self.data)
            point = x25519.X25519PublicKey.from_public_bytes(self.data[-32:])
            x25519.X25519PrivateKey.generate().exchange(point)
        except ValueError:
            raise _malformed("not a public key of its suite") from None

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the bytes as registered, 32 bytes."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True)
class RecipientPrivateKey:
    """A recipient's private key in its portable form, 32 bytes in both suites.

    Attributes:
        suite: `SUITE_X25519` (RFC 7748 private key) or `SUITE_XWING` (seed, draft-connolly-cfrg-xwing-kem).
        data: the 32 secret bytes; never shown.
    """

    suite: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _known_suite(self.suite)
        if len(self.data) != _SECRET_SIZE:
            raise _malformed("a private key is 32 bytes")

    @classmethod
    def generate(cls, suite: int = SUITE_XWING) -> RecipientPrivateKey:
        """A fresh key from the operating system's randomness."""
        return cls(suite, os.urandom(_SECRET_SIZE))

    def _parts(self) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        expanded = hashlib.shake_256(self.data).digest(96)
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED:]),
        )

    def hpke_key(self) -> x25519.X25519PrivateKey | MLKEM768X25519PrivateKey:
        """The key as the HPKE implementation takes it."""
        if self.suite == SUITE_X25519:
            return x25519.X25519PrivateKey.from_private_bytes(self.data)
        return MLKEM768X25519PrivateKey(*self._parts())

    def public(self) -> RecipientPublicKey:
        """The public key to register with the broker."""
        if self.suite == SUITE_X25519:
            private = x25519.X25519PrivateKey.from_private_bytes(self.data)
            return RecipientPublicKey(self.suite, private.public_key().public_bytes_raw())
        lattice, curve = self._parts()
        return RecipientPublicKey(
            self.suite, lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        )


# --- epochs -------------------------------------------------------------------------------------------------


def _epoch_id(secret: bytes, contract: str) -> bytes:
    return hmac.digest(secret, LABEL_EPOCH_ID + contract.encode("ascii"), "sha256")[:16]


def _epoch_info(header: bytes, contract: str) -> bytes:
    return LABEL_EPOCH + header + b"\x00" + contract.encode("ascii")


@dataclass(frozen=True)
class Epoch:
    """One HPKE encapsulation, shared by an hour's disclosures (at most 2^20) to one recipient key.

    Attributes:
        secret: the 32-byte epoch secret; never shown.
        blob: what the recipient gets: header, encapsulation and sealed secret.

    A broker that restarts rebuilds an epoch as `Epoch(secret, blob)`.
    """

    secret: bytes = field(repr=False)
    blob: bytes

    def __post_init__(self) -> None:
        _check_blob(self.blob)
        if len(self.secret) != _SECRET_SIZE:
            raise _malformed("an epoch secret is 32 bytes")

    @property
    def suite(self) -> int:
        """The suite of the recipient's key."""
        return self.blob[1]

    @property
    def key_id(self) -> bytes:
        """The id of the recipient's key, 32 bytes."""
        return self.blob[_KEY_ID]

    @property
    def id(self) -> bytes:
        """The 16-byte epoch id: a commitment to the secret and the contract."""
        return self.blob[_EPOCH_ID]


def new_epoch(contract: str, recipient: RecipientPublicKey) -> Epoch:
    """A fresh epoch secret, sealed to `recipient` for this contract (RFC 9180, base mode)."""
    secret = os.urandom(_SECRET_SIZE)
    header = bytes([VERSION, recipient.suite]) + recipient.id + _epoch_id(secret, contract)
    public = _load_public(recipient.suite, recipient.data)
    sealed = _HPKE[recipient.suite].encrypt(secret, public, info=_epoch_info(header, contract))
    return Epoch(secret, header + sealed)


def _check_blob(blob: bytes) -> None:
    if not blob:
        raise _malformed("an empty epoch")
    if blob[0] != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "unknown epoch version")
    if len(blob) < _HEADER_SIZE:
        raise _malformed("a truncated epoch")
    if len(blob) != _BLOB_SIZE[_known_suite(blob[1])]:
        raise _malformed("an epoch of another length than its suite's")


# --- sealing ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _encoded(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, name.encode()) for name, _ in fields)


class _Disclosure:
    """What sealer and opener derive once per disclosure from the epoch secret and the terms."""

    __slots__ = ("aad", "key", "names", "salt_key", "terms")

    def __init__(self, secret: bytes, terms: bytes, parsed: Terms) -> None:
        digest = hashlib.sha256(terms).digest()
        self.terms = parsed
        self.names = _encoded(self.terms.fields)
        # HKDF-Expand (RFC 5869, 2.3) of one block is a single HMAC over info || 0x01.
        self.key = hmac.digest(secret, LABEL_DISCLOSURE + digest + b"\x01", "sha256")
        self.salt_key = hmac.digest(secret, LABEL_SALT + digest + b"\x01", "sha256")
        self.aad = LABEL_FIELD + digest


def _check_bound(terms: Terms, secret: bytes, blob: bytes) -> None:
    """The terms name this epoch and this key, and the epoch's id commits to this secret and contract."""
    if terms.key != blob[_KEY_ID] or terms.epoch != blob[_EPOCH_ID]:
        raise _shut()
    if not hmac.compare_digest(_epoch_id(secret, terms.contract), terms.epoch):
        raise _shut()


class Sealer:
    """Seals the slices of one disclosure. Holds the disclosure's keys: one per disclosure, then dropped.

    Deterministic: the same epoch, terms, handle and values give the same bytes, as a retry must.

    Args:
        epoch: the epoch that the terms name.
        terms: the canonical bytes of the terms.
        parsed: what `Terms.parse(terms)` gives, from whoever has just written those bytes from it.

    Raises:
        SlussError: MALFORMED when the terms are not canonical or name another epoch, key or contract.
    """

    def __init__(self, epoch: Epoch, terms: bytes, parsed: Terms | None = None) -> None:
        self._disclosure = _Disclosure(epoch.secret, terms, parsed or Terms.parse(terms))
        _check_bound(self._disclosure.terms, epoch.secret, epoch.blob)

    def seal(self, handle: bytes, values: Sequence[tuple[int, str, bytes]]) -> bytes:
        """One person's slice.

        Args:
            handle: the person's 16-byte handle under the contract.
            values: (ordinal in the terms' fields, that field's name, UTF-8 plaintext), ordinals
                strictly ascending. A field without a value is left out.

        Raises:
            SlussError: MALFORMED when a handle, an ordinal or a name is not what the terms say.
        """
        disclosure = self._disclosure
        _check_values(handle, values, disclosure.names)
        content = [handle]
        for ordinal, _, value in values:
            content += _ORDINALS[ordinal], len(value).to_bytes(4, "big"), value
        salt = hmac.digest(disclosure.salt_key, b"".join(content), "sha256")[:16]
        seal = AESGCM(hmac.digest(disclosure.key, LABEL_SLICE + handle + salt, "sha256")).encrypt
        names, aad = disclosure.names, disclosure.aad + handle
        out = [b"\x01", handle, salt, _ORDINALS[len(values)]]
        for ordinal, _, value in values:
            sealed = seal(_NONCES[ordinal], value, aad + names[ordinal][1])
            out += _ORDINALS[ordinal], len(sealed).to_bytes(4, "big"), sealed
        return b"".join(out)


def _check_values(
    handle: bytes, values: Sequence[tuple[int, str, bytes]], names: tuple[tuple[str, bytes], ...]
) -> None:
    if len(handle) != HANDLE_SIZE:
        raise _malformed("a handle is 16 bytes")
    last, count = -1, len(names)
    for ordinal, name, _ in values:
        if not last < ordinal < count or names[ordinal][0] != name:
            raise _malformed("a value whose ordinal and name are not the terms'")
        last = ordinal


# --- opening ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenedSlice:
    """A slice after opening.

    Attributes:
        handle: the person's 16-byte handle.
        values: field name -> text, for the fields that have a value.
    """

    handle: bytes
    values: dict[str, str] = field(repr=False)


class Opener:
    """Opens the slices that one recipient gets under one contract, with any of its private keys.

    Remembers up to 256 opened epochs, so that only the first disclosure of an epoch costs HPKE.
    """

    def __init__(self, private_keys: Iterable[RecipientPrivateKey], contract: str) -> None:
        self._keys = {key.public().id: key for key in private_keys}
        self._contract = contract
        self._secrets: dict[bytes, bytes] = {}
        self._latest: tuple[bytes, bytes, _Disclosure] | None = None

    def open_epoch(self, blob: bytes) -> bytes:
        """The epoch secret in `blob`.

        Raises:
            SlussError: KEY_UNKNOWN when the epoch is for none of these keys; UNSUPPORTED_VERSION; MALFORMED.
        """
        secret = self._secrets.get(blob)
        if secret is None:
            secret = self._decapsulate(blob)
            if len(self._secrets) >= _KNOWN_EPOCHS:
                self._secrets.clear()
            self._secrets[blob] = secret
        return secret

    def _decapsulate(self, blob: bytes) -> bytes:
        _check_blob(blob)
        key = self._keys.get(blob[_KEY_ID])
        if key is None:
            raise SlussError(Reason.KEY_UNKNOWN, "the slice is sealed to a key that is not here")
        if key.suite != blob[1]:
            raise _shut()
        info = _epoch_info(blob[:_HEADER_SIZE], self._contract)
        try:
            return _HPKE[key.suite].decrypt(blob[_HEADER_SIZE:], key.hpke_key(), info=info)
        except (InvalidTag, ValueError):
            raise _shut() from None

    def open(self, terms: bytes, epoch: bytes, sealed: bytes) -> OpenedSlice:
        """One person's values, or an error; never a part of them.

        Args:
            terms: the canonical bytes of the disclosure's terms, out of its verified ledger entry.
            epoch: the epoch blob.
            sealed: the slice.

        Raises:
            SlussError: KEY_UNKNOWN, UNSUPPORTED_VERSION or MALFORMED.
        """
        disclosure = self._derive(terms, epoch)
        handle, salt, parts = _parse_slice(sealed, len(disclosure.names))
        key = AESGCM(hmac.digest(disclosure.key, LABEL_SLICE + handle + salt, "sha256"))
        values, content = {}, [handle]
        for ordinal, ciphertext in parts:
            name, encoded = disclosure.names[ordinal]
            value = _open_field(key, ordinal, ciphertext, disclosure.aad + handle + encoded)
            content += _ORDINALS[ordinal], len(value).to_bytes(4, "big"), value
            values[name] = value
        expected = hmac.digest(disclosure.salt_key, b"".join(content), "sha256")[:16]
        if not hmac.compare_digest(salt, expected):
            raise _shut()
        return OpenedSlice(handle, _texts(values))

    def _derive(self, terms: bytes, epoch: bytes) -> _Disclosure:
        latest = self._latest
        if latest is not None and latest[0] == terms and latest[1] == epoch:
            return latest[2]
        secret = self.open_epoch(epoch)
        disclosure = _Disclosure(secret, terms, Terms.parse(terms))
        if disclosure.terms.contract != self._contract:
            raise _shut()
        _check_bound(disclosure.terms, secret, epoch)
        self._latest = (terms, epoch, disclosure)
        return disclosure


def _parse_slice(data: bytes, fields: int) -> tuple[bytes, bytes, list[tuple[int, bytes]]]:
    """Handle, salt and (ordinal, ciphertext) pairs, by lengths alone; nothing authenticated yet."""
    if data[:1] != b"\x01":
        raise SlussError(Reason.UNSUPPORTED_VERSION if data else Reason.MALFORMED, "unknown slice version")
    if len(data) < _SLICE_HEADER:
        raise _malformed("a truncated slice")
    parts, at, last = [], _SLICE_HEADER, -1
    for _ in range(data[_SLICE_HEADER - 1]):
        start = at + _FIELD_HEADER
        if start > len(data):
            raise _malformed("a truncated slice")
        ordinal, at = data[at], start + int.from_bytes(data[at + 1 : start], "big")
        if not last < ordinal < fields or at > len(data) or at - start < _TAG:
            raise _malformed("a slice whose fields are out of order, out of range or truncated")
        parts.append((ordinal, data[start:at]))
        last = ordinal
    if at != len(data):
        raise _malformed("bytes after the end of a slice")
    return data[1:17], data[17:33], parts


def _open_field(key: AESGCM, ordinal: int, ciphertext: bytes, aad: bytes) -> bytes:
    try:
        return key.decrypt(_NONCES[ordinal], ciphertext, aad)
    except InvalidTag:
        raise _shut() from None


def _texts(values: dict[str, bytes]) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in values.items()}
    except UnicodeDecodeError:
        raise _malformed("a value that is not UTF-8") from None
