"""That an entry is in the ledger, also one that was hidden for a time, and that a row says what its entry says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluss_client.errors import ReceiptInvalid
from sluss_client.watch import check_opening

from broker.errors import SlussError
from broker.ledger import entry as entries
from broker.ledger.receipt import parse_receipt, verify_receipt
from sluss_legal.words import PURPOSES, RECEIVED_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluss.v1 import legal_pb2 as pb

    from broker.ledger.checkpoint import Checkpoint, Verifier


@dataclass(frozen=True)
class ProvenEntry:
    """An entry that has proved itself.

    Attributes:
        index: its place in the ledger.
        entry: its members; of a hidden one, those of the entry that it was.
        was_hidden: whether the ledger holds a commitment to it.
        checkpoint: the tree that the receipt stands on.
    """

    index: int
    entry: Mapping[str, Any]
    was_hidden: bool
    checkpoint: Checkpoint


def prove_entry(entry: bytes, receipt: str, opening: pb.Opening | None, verifier: Verifier) -> ProvenEntry:
    """Proves that an entry, or a commitment to it, is in the ledger.

    Args:
        entry: what it is, or was.
        receipt: of the entry; of a hidden one, that of the sealed entry.
        opening: what opens the commitment; None for an entry that was never hidden.
        verifier: the ledger's keys.

    Raises:
        ReceiptInvalid: it does not prove itself.
    """
    try:
        proven = entry if opening is None else check_opening(opening, entry)
        checkpoint = verify_receipt(receipt, proven, verifier)
        return ProvenEntry(parse_receipt(receipt).index, entries.parse(entry), opening is not None, checkpoint)
    except SlussError as error:
        raise ReceiptInvalid(error.detail) from None


def prove_opening(reply: pb.GetOpeningResponse, index: int, verifier: Verifier) -> ProvenEntry:
    """Proves that the entry shown is the one that the ledger has been committed to at `index`.

    Raises:
        ReceiptInvalid: it is not.
    """
    proven = prove_entry(reply.opening.entry, reply.receipt, reply.opening, verifier)
    _at(proven, index)
    return proven


def prove_row(row: pb.Received, verifier: Verifier) -> ProvenEntry:
    """Proves a row of an accounting: its entry is in the ledger, and the row says what the entry says.

    Raises:
        ReceiptInvalid: it is not, or the row says something else.
    """
    opening = row.opening if row.HasField("opening") else None
    # An entry that was hidden may be shown as the ledger holds it, or as what it was.
    if opening and row.entry not in {opening.sealed_entry, opening.entry}:
        raise ReceiptInvalid("the opening of a row is of another entry")
    proven = prove_entry(opening.entry if opening else row.entry, row.receipt, opening, verifier)
    _at(proven, row.entry_index)
    told = {
        "kind": RECEIVED_NAMES.get(row.kind),
        "authority": row.authority,
        "fields": {granted.field: granted.transform for granted in row.fields},
        "slice": row.slice_index if row.HasField("slice_index") else None,
        "ground": PURPOSES.get(row.ground, ""),
    }
    if told != _says(proven.entry, row):
        raise ReceiptInvalid(f"a row of the accounting says something else than its entry, {row.entry_index}")
    return proven


def _at(proven: ProvenEntry, index: int) -> None:
    if proven.index != index:
        raise ReceiptInvalid("the receipt is of another place in the ledger")


def _says(entry: Mapping[str, Any], row: pb.Received) -> dict[str, Any]:
    """What an entry says of what a row tells, by the slice that the row names; a release elsewhere has none."""
    terms, slices = entry.get("terms", {}), entry.get("slices", ())
    one = slices[row.slice_index] if row.slice_index < len(slices) else None
    fields = {} if one is None else entries.held_fields(terms["fields"], one["holds"])
    return {
        "kind": entry["type"],
        "authority": terms.get("contract") or entry.get("case", ""),
        "fields": fields if terms else dict.fromkeys(entry.get("fields", ()), ""),
        "slice": row.slice_index if one else None,
        "ground": entry.get("ground", ""),
    }
