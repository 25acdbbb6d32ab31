"""What is verified of a disclosure, before anything of it is opened and before anything of it is shown. Pure.

1. the receipt proves that the entry is in the ledger, by a key of the profile
2. the entry is a canonical disclosure, about the very contract, purpose and fields that were asked, for us
3. the slices are the ones that the entry names, one by one
4. once they are open: each holds the very fields that the entry says
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.errors import SlussError
from broker.ledger import entry as entries
from broker.ledger.receipt import parse_receipt, verify_receipt
from broker.sealing import Terms
from sluss_client.errors import ReceiptInvalid, SliceInvalid

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sluss.v1.disclosure_pb2 import Disclosure
    from sluss.v1.legal_pb2 import Opening

    from broker.ledger.checkpoint import Checkpoint, Verifier
    from broker.sealing import OpenedSlice, Opener

SALT_SIZE = 32
"""Bytes of the salt of a sealed entry."""


@dataclass(frozen=True)
class Expectation:
    """What a disclosure has to be about.

    Attributes:
        recipient: ourselves.
        key_ids: our encryption keys.
        contract: the contract asked under; None for whatever the entry says.
        purpose: the purpose asked for; None likewise.
        fields: the fields asked for; None likewise.
        type: `disclosure`, or `release` for one on a legal ground.
    """

    recipient: str
    key_ids: AbstractSet[bytes]
    contract: str | None = None
    purpose: str | None = None
    fields: AbstractSet[str] | None = None
    type: str = "disclosure"


@dataclass(frozen=True)
class Verified:
    """A disclosure that has proved itself.

    Attributes:
        terms: what it is bound to.
        terms_bytes: their canonical bytes.
        index: the entry's index in the ledger.
        checkpoint: the tree that the receipt stands on.
        note: its signed note.
        holds: the names of the fields that the entry says each slice holds, slice by slice.
    """

    terms: Terms
    terms_bytes: bytes
    index: int
    checkpoint: Checkpoint
    note: str
    holds: list[frozenset[str]]

    def open(self, opener: Opener, disclosure: Disclosure) -> list[OpenedSlice]:
        """Step 4: open every slice of the disclosure that was verified.

        Raises:
            SliceInvalid: one does not open, or holds more or less than the entry says; then none is returned.
        """
        try:
            opened = [opener.open(self.terms_bytes, disclosure.epoch, data) for data in disclosure.slices]
        except SlussError as error:
            raise SliceInvalid(error.detail) from None
        if [frozenset(one.values) for one in opened] != self.holds:
            raise SliceInvalid("a slice does not hold the fields that the entry names")
        return opened


def verify_disclosure(
    disclosure: Disclosure, expected: Expectation, verifier: Verifier, opening: Opening | None = None
) -> Verified:
    """Steps 1 to 3.

    Args:
        disclosure: what came.
        expected: what it has to be about.
        verifier: the ledger's keys.
        opening: of an entry that is hidden for a time: the receipt is then that of the sealed entry in it.

    Raises:
        ReceiptInvalid: the entry is not proven, or about something else.
        SliceInvalid: the slices are not those of the entry.
    """
    # 1. the receipt
    try:
        proven = disclosure.entry if opening is None else check_opening(opening, disclosure.entry)
        checkpoint = verify_receipt(disclosure.receipt, proven, verifier)
        receipt = parse_receipt(disclosure.receipt)
    except SlussError as error:
        raise ReceiptInvalid(error.detail) from None
    # 2. the entry
    try:
        entry = entries.parse(disclosure.entry)
        if entry["type"] != expected.type:
            raise ReceiptInvalid(f"the entry is no {expected.type}")
        terms_bytes = entries.canonical(entry["terms"])
        terms = Terms.parse(terms_bytes)
    except SlussError as error:
        raise ReceiptInvalid(error.detail) from None
    _check_terms(terms, expected)
    # 3. the slices
    _check_slices(disclosure, entry)
    return Verified(terms, terms_bytes, receipt.index, checkpoint, receipt.note, _holds(entry))


def check_opening(opening: Opening, entry: bytes) -> bytes:
    """The sealed entry, as the ledger holds it, that commits to `entry`.

    Raises:
        ReceiptInvalid: it commits to something else, or is no sealed entry.
        SlussError: MALFORMED, UNSUPPORTED_VERSION: it is no entry at all.
    """
    sealed = entries.parse(opening.sealed_entry)
    if sealed["type"] != "sealed" or opening.entry != entry:
        raise ReceiptInvalid("the opening is of another entry")
    if len(opening.salt) != SALT_SIZE:
        raise ReceiptInvalid("the salt of a sealed entry is 32 bytes")
    commitment = entries.sealed_commitment(opening.salt, entry)
    if sealed["commitment"] != entries.base64url(commitment):
        raise ReceiptInvalid("the sealed entry commits to another entry")
    return opening.sealed_entry


def _check_terms(terms: Terms, expected: Expectation) -> None:
    if terms.recipient != expected.recipient:
        raise ReceiptInvalid("the entry names another recipient")
    if terms.key not in expected.key_ids:
        raise ReceiptInvalid("the entry names an encryption key that is not in the profile")
    if expected.contract is not None and terms.contract != expected.contract:
        raise ReceiptInvalid("the entry names another contract")
    if expected.purpose is not None and terms.purpose != expected.purpose:
        raise ReceiptInvalid("the entry names another purpose")
    # All of them, even if a person lacks one: the terms say what was asked and granted, `holds` what there was.
    if expected.fields is not None and {name for name, _ in terms.fields} != expected.fields:
        raise ReceiptInvalid("the entry names other fields than were asked for")


def _check_slices(disclosure: Disclosure, entry: dict[str, Any]) -> None:
    digests = entries.digest_texts([hashlib.sha256(data).digest() for data in disclosure.slices])
    if digests != [item["sha256"] for item in entry["slices"]]:
        raise SliceInvalid("the slices are not those that the entry names")


def _holds(entry: dict[str, Any]) -> list[frozenset[str]]:
    fields = entry["terms"]["fields"]
    return [frozenset(entries.held_fields(fields, item["holds"])) for item in entry["slices"]]
