"""An authority's public or private key, in the forms in which people send such things."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from sluss.v1 import disclosure_pb2
from sluss.v1 import legal_pb2 as pb
from sluss_client.files import read_secret

from broker.errors import SlussError
from broker.sealing import SUITE_NAMES, SUITE_X25519, SUITE_XWING, RecipientPrivateKey, RecipientPublicKey
from sluss_cli.given_file import read_bytes
from sluss_cli.problems import usage

if TYPE_CHECKING:
    from pathlib import Path

_PEM = b"-----BEGIN"
_SIZES = {32: SUITE_X25519, 1216: SUITE_XWING}
_PRIVATE_SIZE = 32


def read_public_key(path: Path) -> pb.RecipientKey:
    """A public key: X25519 as PEM, or X25519 (32 bytes) or X-Wing (1216 bytes) raw, in base64 or in hexadecimal.

    Raises:
        Problem: USAGE, if it is none.
    """
    key = public_key(read_bytes(path))
    if key is None:
        raise _no_key("public", path)
    return key


def public_key(data: bytes) -> pb.RecipientKey | None:
    """The public key in any of these forms; None if it is none."""
    raw = _of_pem(data) if data.lstrip().startswith(_PEM) else _decoded(data, set(_SIZES))
    try:
        key = RecipientPublicKey(_SIZES[len(raw)], raw)
    except (SlussError, KeyError):
        return None
    return pb.RecipientKey(suite=disclosure_pb2.Suite.ValueType(key.suite), public_key=key.data)


def read_private_key(path: Path, key_id: bytes) -> RecipientPrivateKey:
    """The private key of a public key's id, of either suite; its file must be closed to others.

    Raises:
        Problem: USAGE, if it is none, or another's.
        ProfileError: the file is open to others.
    """
    data = read_secret(path)
    raw = _of_private_pem(data) if data.lstrip().startswith(_PEM) else _decoded(data, {_PRIVATE_SIZE})
    if len(raw) != _PRIVATE_SIZE:
        raise _no_key("private", path)
    for suite in SUITE_NAMES:
        key = RecipientPrivateKey(suite, raw)
        if key.public().id == key_id:
            return key
    raise usage("this is not the private key that the package is sealed to", file=str(path))


def _of_pem(data: bytes) -> bytes:
    try:
        key = load_pem_public_key(data)
    except ValueError:
        return b""
    return key.public_bytes_raw() if isinstance(key, X25519PublicKey) else b""


def _of_private_pem(data: bytes) -> bytes:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        return b""
    return key.private_bytes_raw() if isinstance(key, X25519PrivateKey) else b""


def _decoded(data: bytes, sizes: set[int]) -> bytes:
    """The bytes that a file holds raw, in hexadecimal, or in base64 of either alphabet; empty if no size fits."""
    if len(data) in sizes:
        return data
    text = b"".join(data.split())
    for decode in (binascii.unhexlify, _base64):
        try:
            found = decode(text)
        except ValueError:
            continue
        if len(found) in sizes:
            return found
    return b""


def _base64(text: bytes) -> bytes:
    standard = text.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)


def _no_key(kind: str, path: Path) -> Exception:
    return usage(f"the file holds no {kind} key of X25519 or X-Wing", file=str(path))
