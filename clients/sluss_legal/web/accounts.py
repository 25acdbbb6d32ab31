"""The accounting of disclosures as a file, with the receipt of each entry: CSV for people, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from sluss_legal import words
from sluss_legal.cells import cell
from sluss_legal.fields import label_of
from sluss_legal.tongue import tongue_of
from sluss_legal.words import N_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.tongue import Tongue

KINDS = ("csv", "json")
_HEADS = (
    N_("When (UTC)"),
    N_("How it left"),
    N_("Recipient"),
    N_("Address"),
    N_("What"),
    N_("Purpose or ground"),
    N_("Contract or case"),
    N_("Instrument"),
    N_("Delete by"),
    N_("Entry"),
)


def document(kind: str, language: str, person: str, rows: Sequence[pb.Received]) -> tuple[bytes, str]:
    """The accounting and its media type.

    Args:
        kind: one of `KINDS`.
        language: `sv` or `en`.
        person: whose accounting it is.
        rows: in the order of the ledger.
    """
    tongue = tongue_of(language)
    if kind == "json":
        found = {"person": person, "language": tongue.language, "received": [_item(row, tongue) for row in rows]}
        return json.dumps(found, ensure_ascii=False, indent=2).encode(), "application/json"
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([tongue.say(head) for head in _HEADS])
    writer.writerows([[cell(text) for text in _row(row, tongue)] for row in rows])
    return out.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8"


def _row(row: pb.Received, tongue: Tongue) -> list[str]:
    return [
        row.at,
        tongue.say(words.RECEIVED.get(row.kind, "")),
        row.recipient_name,
        row.recipient_address,
        ", ".join(label_of(granted.field, tongue.language) for granted in row.fields),
        tongue.say(words.GROUNDS[row.ground]) if row.ground in words.GROUNDS else row.purpose,
        row.authority,
        _instrument(row, tongue),
        row.retain_until,
        str(row.entry_index),
    ]


def _instrument(row: pb.Received, tongue: Tongue) -> str:
    if not row.HasField("instrument"):
        return ""
    kind = tongue.say(words.INSTRUMENTS.get(row.instrument.kind, row.instrument.kind))
    return f"{kind} {row.instrument.reference}, {row.instrument.date}"


def _item(row: pb.Received, tongue: Tongue) -> dict[str, object]:
    names = ("at", "kind", "recipient", "address", "fields", "purpose", "authority", "instrument", "retain_until")
    shown: dict[str, object] = dict(zip(names, _row(row, tongue), strict=False))
    shown["fields"] = [{"field": granted.field, "transform": granted.transform} for granted in row.fields]
    proof = {"entry_index": row.entry_index, "entry": row.entry.decode("utf-8", "replace"), "receipt": row.receipt}
    return {**shown, **proof}
