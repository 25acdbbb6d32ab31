"""What a recipient signs when it answers for an obligation, byte by byte. Pure; the SDK uses it too.

    signature = ECDSA P-256 with SHA-256 over LABEL || canonical JSON of

        {"contract":"C-2026-0001","event":"attested","kind":"erase","obligation":"O-2026-0001","outcome":"deleted",
         "owed":"<43 characters>","reason":"","recipient":"subcontractor/acme","through":0,
         "time":"2026-11-23T22:33:57.123456Z","until":"","v":1}

The entry in the ledger has the same members, the key and the signature: whoever has the entry can check the answer
without the store, the broker or the recipient. `owed` is the SHA-256 of the canonical JSON of what is owed, with the
person's handle and a salt, which only the recipient is told: once both are destroyed, nobody can link it to anyone.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from broker.ledger.entry import base64url, canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABEL: Final = b"sluss/v1 obligation\x00"
VERSION: Final = 1
SIGNED: Final = frozenset({"acknowledged", "attested", "delay_asked"})
"""What a recipient does, and signs for."""
ANSWERS: Final = {
    "delete_by": frozenset({"deleted", "never_held_any_more"}),
    "correct": frozenset({"corrected", "deleted", "never_held_any_more"}),
    "erase": frozenset({"deleted", "never_held_any_more"}),
}
"""What can be attested of each kind."""
_MEMBERS: Final = (
    "outcome",
    "contract",
    "event",
    "kind",
    "obligation",
    "owed",
    "reason",
    "recipient",
    "through",
    "time",
    "until",
)


def owed_digest(
    obligation: str,
    kind: str,
    contract: str,
    recipient: str,
    *,
    fields: Sequence[str],
    handle: bytes,
    salt: bytes,
    until: str,
    first: int,
) -> bytes:
    """The SHA-256 of what is owed.

    Args:
        obligation: its id.
        kind: `delete_by`, `correct` or `erase`.
        contract: under which the data were disclosed.
        recipient: who owes.
        fields: the fields concerned, ascending.
        handle: the person's, 16 bytes; empty of `delete_by`.
        salt: 32 bytes.
        until: the day until which it was owed when it was made.
        first: the first entry that it covers.
    """
    said = {
        "contract": contract,
        "fields": list(fields),
        "first": first,
        "handle": base64url(handle),
        "kind": str(kind),
        "obligation": obligation,
        "recipient": recipient,
        "salt": base64url(salt),
        "until": until,
        "v": VERSION,
    }
    return hashlib.sha256(canonical(said)).digest()


def statement(said: Mapping[str, Any]) -> bytes:
    """The bytes to sign: the members named above, of an entry or of what is to become one.

    Raises:
        SlussError: MALFORMED for what canonical JSON does not hold.
    """
    return LABEL + canonical({"v": VERSION, **{name: said[name] for name in _MEMBERS}})


def is_signed(entry: Mapping[str, Any]) -> bool:
    """Whether an entry's signature is by the key that it names.

    That the key is the recipient's stands in the ledger too: the SHA-256 of `key` is the `spki` of a `certificate`
    entry that pins it to the recipient.
    """
    try:
        key = load_der_public_key(_bytes(entry["key"]))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(_bytes(entry["signature"]), statement(entry), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
