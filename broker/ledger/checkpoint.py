"""Checkpoints: C2SP signed notes over (origin, size, root), signed by Ed25519, cosigned by ML-DSA-44.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature. Everything is read by
round trip: a note that would be written in any other way is refused.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from struct import pack
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519 = 0x01
"""Signature type of an Ed25519 note signature (c2sp.org/signed-note)."""
MLDSA44 = 0x06
"""Signature type of an ML-DSA-44 cosignature (c2sp.org/tlog-cosignature)."""
COSIGNATURE_LABEL = b"subtree/v1\n\x00"
COSIGNATURE_SIZE = 8 + 2420
"""Bytes of an ML-DSA-44 cosignature: its time and the signature."""
MAX_NOTE = 65_536
MAX_SIGNATURES = 16
MAX_SIZE = (1 << 53) - 1

_KEY_SIZES = {ED25519: 32, MLDSA44: 1312}
_NAME = re.compile(r"[!-*,-~]{1,255}")  # printable ASCII without space and plus


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: `root` (32 bytes) over its first `size` entries."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The note text (c2sp.org/tlog-checkpoint): three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: `key_id` (4 bytes) and `value`, what the algorithm made."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"\u2014 {self.name} {b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint and its signatures, none of them verified yet."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]

    def text(self) -> str:
        """The note as it is stored and sent."""
        return self.checkpoint.body() + "\n" + "".join(signature.line() for signature in self.signatures)


def _malformed(what: str) -> SlussError:
    return SlussError(Reason.MALFORMED, f"the {what} is malformed")


def decode64(text: str, what: str) -> bytes:
    """Standard base64 with padding (RFC 4648, section 4), by round trip.

    Raises:
        SlussError: MALFORMED, naming `what`.
    """
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise _malformed(what) from None
    if b64encode(data).decode() != text:
        raise _malformed(what)
    return data


def check_name(name: str) -> str:
    """A key name or origin: 1 to 255 printable ASCII characters without space and plus.

    Raises:
        SlussError: MALFORMED.
    """
    if not _NAME.fullmatch(name):
        raise _malformed("name of the log")
    return name


def parse_note(text: str) -> Note:
    """Read a note, verifying nothing.

    Raises:
        SlussError: MALFORMED.
    """
    if len(text) > MAX_NOTE:
        raise _malformed("checkpoint")
    body, blank, tail = text.partition("\n\n")
    lines = body.split("\n")
    signatures = tail.split("\n")[:-1]
    three = len(lines) == 3  # noqa: PLR2004 - origin, size, root
    if not (blank and three and 1 <= len(signatures) <= MAX_SIGNATURES):
        raise _malformed("checkpoint")
    note = Note(_parse_body(*lines), tuple(_parse_signature(line) for line in signatures))
    if note.text() != text:
        raise _malformed("checkpoint")
    return note


def _parse_body(origin: str, size: str, root: str) -> Checkpoint:
    if not (size.isascii() and size.isdigit() and len(size) <= len(str(MAX_SIZE)) and int(size) <= MAX_SIZE):
        raise _malformed("checkpoint's size")
    digest = decode64(root, "checkpoint's root")
    if len(digest) != sha256().digest_size:
        raise _malformed("checkpoint's root")
    return Checkpoint(check_name(origin), int(size), digest)


def _parse_signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = decode64(encoded, "checkpoint's signature")
    if dash != "\u2014" or len(data) <= 4:  # noqa: PLR2004 - the key id alone
        raise _malformed("checkpoint's signature")
    return Signature(check_name(name), data[:4], data[4:])


def key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name, newline, signature type, public key) (c2sp.org/signed-note)."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:4]


def cosigned_message(name: str, timestamp: int, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA-44 cosignature signs (c2sp.org/tlog-cosignature, "ML-DSA-44 signed message").

    Args:
        name: the cosigner's name.
        timestamp: POSIX seconds.
        checkpoint: with a whole tree, so `start` is 0.
    """
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            COSIGNATURE_LABEL,
            bytes([len(cosigner)]) + cosigner + pack(">Q", timestamp),
            bytes([len(origin)]) + origin + pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


class VerifierKey:
    """A public key of a log; as text a vkey, `name+key id in hex+base64(type, public key)`.

    Source: c2sp.org/signed-note, "Verifier keys".

    Attributes:
        name: the log's origin.
        kind: ED25519 or MLDSA44.
        id: 4 bytes.
        public_key: raw, 32 or 1312 bytes.
    """

    def __init__(self, name: str, kind: int, public_key: bytes) -> None:
        if len(public_key) != _KEY_SIZES.get(kind):
            raise _malformed("ledger's public key")
        self.name, self.kind, self.public_key = check_name(name), kind, public_key
        self.id = key_id(name, kind, public_key)

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey string.

        Raises:
            SlussError: MALFORMED.
        """
        parts = vkey.split("+", 2)
        if len(parts) != 3:  # noqa: PLR2004 - name, id, key
            raise _malformed("ledger's public key")
        data = decode64(parts[2], "ledger's public key")
        key = cls(parts[0], data[0] if data else 0, data[1:])
        if key.text() != vkey:
            raise _malformed("ledger's public key")
        return key

    def text(self) -> str:
        """The vkey string."""
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.kind]) + self.public_key).decode()}"

    def verify(self, checkpoint: Checkpoint, value: bytes) -> None:
        """Check one signature value.

        Raises:
            SlussError: INVALID_SIGNATURE.
        """
        try:
            if self.kind == ED25519:
                public = Ed25519PublicKey.from_public_bytes(self.public_key)
                public.verify(value, checkpoint.body().encode())
            else:
                timestamp = int.from_bytes(value[:8], "big")
                message = cosigned_message(self.name, timestamp, checkpoint)
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(value[8:], message)
        except (InvalidSignature, ValueError):
            raise SlussError(Reason.INVALID_SIGNATURE, "the checkpoint's signature does not verify") from None


class Verifier:
    """The public keys by which checkpoints of one log are believed."""

    def __init__(self, vkeys: Iterable[str]) -> None:
        keys = [VerifierKey.parse(vkey) for vkey in vkeys]
        if not keys or len({key.name for key in keys}) != 1:
            raise _malformed("set of the ledger's public keys")
        self.origin = keys[0].name
        self._keys = {(key.name, key.id): key for key in keys}

    def vkeys(self) -> list[str]:
        """The keys as strings, in the order given."""
        return [key.text() for key in self._keys.values()]

    def knows(self, kind: int) -> bool:
        """Whether a key of this signature type is among them."""
        return any(key.kind == kind for key in self._keys.values())

    def kinds(self, note: Note) -> set[int]:
        """The signature types by which known keys signed the note; unknown signatures are ignored.

        Raises:
            SlussError: INVALID_SIGNATURE, if a signature of a known key does not verify.
        """
        kinds = set()
        for signature in note.signatures:
            key = self._keys.get((signature.name, signature.key_id))
            if key is not None:
                key.verify(note.checkpoint, signature.value)
                kinds.add(key.kind)
        return kinds


def open_checkpoint(note: str, verifier: Verifier, *, cosigned: bool = False) -> Checkpoint:
    """Read a note and believe it only if a known key of its own origin signed it.

    Args:
        note: the signed note.
        verifier: the log's public keys.
        cosigned: an ML-DSA-44 cosignature is required as well as the Ed25519 signature.

    Raises:
        SlussError: MALFORMED; INVALID_SIGNATURE, if no known key signed, one of them did not verify or the
            checkpoint is another log's.
    """
    parsed = parse_note(note)
    if parsed.checkpoint.origin != verifier.origin:
        raise SlussError(Reason.INVALID_SIGNATURE, "the checkpoint is another log's")
    kinds = verifier.kinds(parsed)
    if not kinds or (cosigned and kinds != {ED25519, MLDSA44}):
        raise SlussError(Reason.INVALID_SIGNATURE, "no known key has signed the checkpoint as it must be")
    return parsed.checkpoint


class Signer:
    """The ledger's two private keys: Ed25519 signs every commit, ML-DSA-44 cosigns what is published."""

    def __init__(self, origin: str, ed25519_seed: bytes, mldsa44_seed: bytes) -> None:
        self.origin = check_name(origin)
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(ed25519_seed)
        self._mldsa44 = MLDSA44PrivateKey.from_seed_bytes(mldsa44_seed)
        self.ed25519_key = VerifierKey(origin, ED25519, self._ed25519.public_key().public_bytes_raw())
        self.mldsa44_key = VerifierKey(origin, MLDSA44, self._mldsa44.public_key().public_bytes_raw())
        self.verifier = Verifier(self.vkeys())

    def vkeys(self) -> list[str]:
        """Both public keys as vkey strings, Ed25519 first."""
        return [self.ed25519_key.text(), self.mldsa44_key.text()]

    def sign(self, size: int, root: bytes) -> str:
        """The note of one commit, with the Ed25519 signature."""
        body = Checkpoint(self.origin, size, root).body()
        value = self._ed25519.sign(body.encode())
        return body + "\n" + Signature(self.origin, self.ed25519_key.id, value).line()

    def cosign(self, note: str, timestamp: int) -> str:
        """The note with an ML-DSA-44 cosignature added.

        Args:
            note: signed by this signer; anything else is not cosigned.
            timestamp: POSIX seconds at which this is the largest tree of the log.

        Raises:
            SlussError: MALFORMED, INVALID_SIGNATURE.
        """
        checkpoint = open_checkpoint(note, self.verifier)
        message = cosigned_message(self.origin, timestamp, checkpoint)
        value = pack(">Q", timestamp) + self._mldsa44.sign(message)
        return note + Signature(self.origin, self.mldsa44_key.id, value).line()
