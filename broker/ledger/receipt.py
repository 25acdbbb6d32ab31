"""Receipts: an entry's inclusion proof and a checkpoint in one text (c2sp.org/tlog-proof@v1)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import MAX_NOTE, MAX_SIZE, Checkpoint, Verifier, decode64, open_checkpoint
from broker.ledger.merkle import HASH_SIZE, leaf_hash, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF = 64


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt, nothing of it verified: the entry's index, hashes from leaf to root, signed note."""

    index: int
    proof: tuple[bytes, ...]
    note: str


def format_receipt(index: int, proof: Sequence[bytes], note: str) -> str:
    """Write a receipt."""
    lines = "".join([b64encode(step).decode() + "\n" for step in proof])
    return f"{HEADER}\nindex {index}\n{lines}\n{note}"


def parse_receipt(text: str) -> Receipt:
    """Read a receipt by round trip. An `extra` line, which nothing authenticates, is refused.

    Raises:
        SlussError: MALFORMED; UNSUPPORTED_VERSION for another first line.
    """
    head, blank, note = text[: 2 * MAX_NOTE].partition("\n\n")
    header, _, rest = head.partition("\n")
    if header != HEADER:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "the receipt is not a c2sp.org/tlog-proof@v1")
    index, *steps = rest.split("\n")
    if not blank or len(steps) > MAX_PROOF:
        raise SlussError(Reason.MALFORMED, "the receipt is malformed")
    proof = tuple(decode64(step, "receipt's proof") for step in steps)
    receipt = Receipt(_parse_index(index), proof, note)
    if format_receipt(receipt.index, proof, note) != text or any(len(step) != HASH_SIZE for step in proof):
        raise SlussError(Reason.MALFORMED, "the receipt is malformed")
    return receipt


def _parse_index(line: str) -> int:
    word, _, digits = line.partition(" ")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_SIZE))
    if word != "index" or not plain:
        raise SlussError(Reason.MALFORMED, "the receipt's index is malformed")
    return int(digits)


def verify_receipt(text: str, entry: bytes, verifier: Verifier) -> Checkpoint:
    """Check that a ledger whose keys are known committed to exactly these entry bytes.

    Returns:
        The checkpoint that the receipt stands on, for the caller to compare with the last one that it saw.

    Raises:
        SlussError: MALFORMED, UNSUPPORTED_VERSION, INVALID_SIGNATURE; LEDGER_INCONSISTENT if the proof fails.
    """
    receipt = parse_receipt(text)
    checkpoint = open_checkpoint(receipt.note, verifier)
    verify_inclusion(leaf_hash(entry), receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
    return checkpoint
