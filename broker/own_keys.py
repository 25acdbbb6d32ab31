"""What else is kept of a person, under keys of the person's own: with the erasure it can't be opened any more.

    sealed note   nonce 12 | AES-256-GCM ciphertext || tag   key HMAC(person secret, "sluss/v1 note"), bound
    accepted      "<version>:" HMAC(person secret, "sluss/v1 accepted" 0x00 version), in hexadecimal
    choices       HMAC(person secret, "sluss/v1 choices" 0x00 text), in hexadecimal, and the text: how many choices the
                  person has made "." the ledger's entry of the last one, 0 for none, and the JSON of those in force
    evidence      HMAC(person secret, "sluss/v1 evidence" 0x00 at 0x00 text), in the entry of the acceptance

The MACs keep whoever can write rows from granting with one: a version or a choice that this broker did not record of
this very person does not count, nor does an emptied column: who has chosen nothing has a MAC of that. A value of before
that is put back opens, and tells of fewer choices than the ledger: `choices/verifying.py` finds that.
"""

from __future__ import annotations

import hmac
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.choices.rule import dump, load
from broker.errors import Reason, SlussError
from broker.vault import PersonRow

if TYPE_CHECKING:
    from collections.abc import Container

    from broker.choices.rule import InForce
    from broker.vault import Vault

NOTE_LABEL: Final = b"sluss/v1 note\x00"
ACCEPTED_LABEL: Final = b"sluss/v1 accepted\x00"
CHOICES_LABEL: Final = b"sluss/v1 choices\x00"
NO_CHOICES: Final = "{}"
"""The column of who is erased; of anybody else it is a forgery."""
EVIDENCE_LABEL: Final = b"sluss/v1 evidence\x00"
NONCE_BYTES: Final = 12
_HEX: Final = 64
_MARK: Final = re.compile(r"(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})(?={)")


class Mark(NamedTuple):
    """How many choices a person has made, and the index of the last one's entry."""

    number: int
    last: int


NEVER: Final = Mark(0, 0)
"""Of who has made no choice."""
_NOTHING: Final = "0.0{}"


class AcceptedRow(PersonRow, Protocol):
    """A `person` row with the policy version that the person accepted."""

    @property
    def accepted(self) -> str | None:
        """The version and its MAC, or None."""


class ChoicesRow(Protocol):
    """The column of a `person` row that holds the choices in force."""

    @property
    def choices(self) -> str:
        """Their MAC and JSON."""


class ChoosingRow(PersonRow, ChoicesRow, Protocol):
    """A `person` row with the choices in force."""


def seal_note(vault: Vault, row: PersonRow, place: str, data: bytes) -> bytes:
    """Data of a person as they are stored at a place, such as `outbox`.

    Raises:
        SlussError: PERSON_UNAVAILABLE for an erased person, INTERNAL for altered keys.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(vault, row).encrypt(nonce, data, _place(row, place))


def open_note(vault: Vault, row: PersonRow, place: str, sealed: bytes) -> bytes:
    """What was sealed for this person at a place.

    Raises:
        SlussError: PERSON_UNAVAILABLE for an erased person, INTERNAL for what was altered or moved.
    """
    try:
        return _cipher(vault, row).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _place(row, place))
    except (InvalidTag, ValueError):
        raise SlussError(Reason.INTERNAL, "what is stored of a person does not open") from None


def accepted_text(vault: Vault, row: PersonRow, version: str) -> str:
    """A policy version as `person.accepted` holds it."""
    return f"{version}:{_mac(vault.person_secret(row), version)}"


def accepted_version(vault: Vault, row: AcceptedRow) -> str:
    """The policy version that the person accepted; empty for none.

    Raises:
        SlussError: INTERNAL for one that this broker never recorded of this person.
    """
    version = (row.accepted or "").rpartition(":")[0]
    return version if version and has_accepted(vault, row, {version}) else ""


def has_accepted(vault: Vault, row: AcceptedRow, versions: Container[str]) -> bool:
    """Whether the version that the person accepted is among these.

    Who accepted none of them costs no key, like a person who is not on record: the time of an answer tells nothing.

    Raises:
        SlussError: INTERNAL for an acceptance that this broker never recorded of this person.
    """
    version, _, mac = (row.accepted or "").rpartition(":")
    if version not in versions:
        return False
    if not hmac.compare_digest(mac.encode(), _mac(vault.person_secret(row), version).encode()):
        raise SlussError(Reason.INTERNAL, "what is stored of a person was not recorded by this broker")
    return True


def choices_text(secret: bytes, made: InForce, mark: Mark = NEVER) -> str:
    """Choices in force as `person.choices` holds them, with the count that they stand by."""
    text = f"{mark.number}.{mark.last}{dump(made)}"
    return _mac_of_choices(secret, text) + text


def choices(vault: Vault, row: ChoosingRow) -> InForce:
    """The choices in force, by purpose and channel.

    Raises:
        SlussError: INTERNAL for a damaged row, and for choices that this broker never recorded of this person;
            PERSON_UNAVAILABLE for an erased person.
    """
    require_chosen(row, vault.person_secret(row))
    return claimed_choices(row)


def claimed_choices(row: ChoicesRow) -> InForce:
    """What the row says, for whoever calls `require_chosen` before anything is granted by it.

    Raises:
        SlussError: INTERNAL for a damaged row: a choice that can't be read must not count as none.
    """
    text = row.choices
    if text == NO_CHOICES or text.endswith(_NOTHING, _HEX):
        return {}
    try:
        return load(text[text.index("{", _HEX) :])
    except (ValueError, TypeError):
        raise SlussError(Reason.INTERNAL, "a stored record does not open") from None


def claimed_mark(text: str) -> Mark | None:
    """The count that a column of choices names, without proof; None if it names none."""
    found = _MARK.match(text, _HEX)
    return Mark(int(found[1]), int(found[2])) if found else None


def require_chosen(row: ChoicesRow, secret: bytes) -> None:
    """Refuse choices that were not recorded of the person whose secret this is; an emptied column too.

    Raises:
        SlussError: INTERNAL.
    """
    mac, text = row.choices[:_HEX], row.choices[_HEX:]
    if not hmac.compare_digest(mac.encode(), _mac_of_choices(secret, text).encode()):
        raise SlussError(Reason.INTERNAL, "what is stored of a person was not recorded by this broker")


def evidence_commitment(person_secret: bytes, at: str, evidence: str) -> bytes:
    """What an entry of the time `at` (RFC 3339) says of evidence about a person (32 bytes)."""
    text = EVIDENCE_LABEL + at.encode("ascii") + b"\x00" + evidence.encode()
    return hmac.digest(person_secret, text, "sha256")


def _cipher(vault: Vault, row: PersonRow) -> AESGCM:
    return AESGCM(hmac.digest(vault.person_secret(row), NOTE_LABEL, "sha256"))


def _place(row: PersonRow, place: str) -> bytes:
    return NOTE_LABEL + row.id.to_bytes(8, "big") + place.encode("ascii")


def _mac_of_choices(secret: bytes, text: str) -> str:
    return hmac.digest(secret, CHOICES_LABEL + text.encode(), "sha256").hex()


def _mac(secret: bytes, version: str) -> str:
    return hmac.digest(secret, ACCEPTED_LABEL + version.encode(), "sha256").hex()
