"""A case's keys: what seals it at rest, names its persons, and what the ledger is told of its texts.

    keys      wrap(ring "records", sealing key 32 | secret 32)      bound to the case
    sealed    nonce 12 | AES-256-GCM ciphertext || tag              bound to the case and the place: body, text, ...
    handles   HMAC(secret, "sluss/v1 case handles")                 the key of the persons' handles in its slices
    text      HMAC(secret, "sluss/v1 case text" 0x00 at 0x00 text)  in the entry of the step
    body      HMAC(secret, "sluss/v1 case body" 0x00 JSON)          likewise

A commitment tells nothing without the secret; with it, anybody can check that a text is the one that was written then.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from broker.vault import Vault

PRIVATE: Final = "/private"
"""Behind a case's id, names the keys of what it holds of a person alone, where the rest of it outlives the person."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
HANDLES_LABEL: Final = b"sluss/v1 case handles"
TEXT_LABEL: Final = b"sluss/v1 case text\x00"
BODY_LABEL: Final = b"sluss/v1 case body\x00"
PLACE_LABEL: Final = b"sluss/v1 case place\x00"


class CaseKeys:
    """The keys of one case.

    Args:
        case: its id.
        secrets: 64 bytes: sealing key and secret.
    """

    def __init__(self, case: str, secrets: bytes) -> None:
        self._case = case.encode("ascii")
        self._cipher = AESGCM(secrets[:KEY_BYTES])
        self._secret = secrets[KEY_BYTES:]

    @classmethod
    def new(cls, vault: Vault, case: str) -> tuple[CaseKeys, bytes]:
        """Fresh keys, and as they are stored."""
        secrets = os.urandom(2 * KEY_BYTES)
        return cls(case, secrets), vault.wrap_case_keys(case, secrets)

    @classmethod
    def load(cls, vault: Vault, case: str, wrapped: bytes) -> CaseKeys:
        """The keys of a stored case.

        Raises:
            SlussError: INTERNAL for altered keys or another case's; KEYS_UNAVAILABLE.
        """
        return cls(case, vault.unwrap_case_keys(case, wrapped))

    @property
    def handle_key(self) -> bytes:
        """The key of the handles of this case's slices (32 bytes)."""
        return hmac.digest(self._secret, HANDLES_LABEL, "sha256")

    def seal(self, place: str, data: bytes) -> bytes:
        """Data as they are stored at a place of the case."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, self._bound_to(place))

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed at a place.

        Raises:
            SlussError: INTERNAL for what was altered, or moved from another place or case.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound_to(place))
        except (InvalidTag, ValueError):
            raise SlussError(Reason.INTERNAL, "what is stored of a case does not open") from None

    def commit_text(self, at: str, text: str) -> bytes:
        """What an entry of the time `at` (RFC 3339) says of a text."""
        return hmac.digest(self._secret, TEXT_LABEL + at.encode("ascii") + b"\x00" + text.encode(), "sha256")

    def commit_body(self, body: bytes) -> bytes:
        """What an entry says of a case's canonical JSON."""
        return hmac.digest(self._secret, BODY_LABEL + body, "sha256")

    def _bound_to(self, place: str) -> bytes:
        return PLACE_LABEL + self._case + b"\x00" + place.encode("ascii")
