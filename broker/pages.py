"""Page tokens: opaque cursors, bound by a MAC to the method and the filter that they were made for.

A cursor may hold what its reader must not see (a person's id): it is sealed, and opens only with the same binding.
"""

from __future__ import annotations

import base64
import binascii
import os

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import Reason, SlussError

NONCE_BYTES = 12


class Cursors:
    """Seals and opens cursors under a key that all brokers of a store share (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, position: str, *binding: object) -> str:
        """The token for going on after `position`, good only with the same binding."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, position.encode(), orjson.dumps(binding))
        return _text(nonce + sealed)

    def open(self, token: str, *binding: object, field: str = "page_token") -> str:
        """The position behind a token.

        Raises:
            SlussError: INVALID_REQUEST for a token that was made up, or for another request.
        """
        try:
            data = _bytes(token)
            plain = self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], orjson.dumps(binding))
        except (InvalidTag, ValueError, binascii.Error):
            raise SlussError(Reason.INVALID_REQUEST, f"{field}: not a token for this request", field=field) from None
        return plain.decode()

    def number(self, token: str, *binding: object, first: int = 0, field: str = "page_token") -> int:
        """The number behind a token that `following` has made; `first` without a token, for the first page.

        Raises:
            SlussError: as `open`.
        """
        return int(self.open(token, *binding, field=field)) if token else first

    def following(self, number: int, *binding: object) -> str:
        """The token for going on after a number; empty for 0, which follows the last page."""
        return self.seal(str(number), *binding) if number else ""


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(token: str) -> bytes:
    """Only the one text that `_text` makes of some bytes: the decoder also takes `+` for `-`, and loose last bits."""
    data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    if _text(data) != token:
        raise ValueError("not canonical")
    return data


def page_size(asked: int, default: int, most: int) -> int:
    """The size of a page; 0 means the default.

    Raises:
        SlussError: INVALID_REQUEST above the most.
    """
    if asked > most:
        raise SlussError(Reason.INVALID_REQUEST, f"page_size: at most {most}", field="page_size")
    return asked or default
