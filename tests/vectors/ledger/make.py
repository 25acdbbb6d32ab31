"""Writes known.json: a small ledger under fixed keys, for other implementations and against unwitting changes.

The examples in FORMAT.md are taken from it: one entry of each type (a new type's section must stand there already),
and the receipt of the disclosure.

    python -m tests.vectors.ledger.make

The Ed25519 notes come out the same each time; ML-DSA-44 signs with fresh randomness, so its cosignature is kept.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from broker.ledger.merkle import leaf_hash
from broker.ledger.receipt import format_receipt
from broker.ledger.tiles import Tree
from tests.unit.ledger.world import SIGNER, every_type

PATH = Path(__file__).with_name("known.json")
FORMAT = Path(__file__).parents[3] / "broker" / "ledger" / "FORMAT.md"


def known(cosigned: str = "") -> dict[str, object]:
    """The vectors; a new cosignature is made if none is given."""
    made = every_type()
    entries = [made.pop("genesis"), *[made[name] for name in sorted(made)]]
    leaves = [leaf_hash(data) for data in entries]
    tree = Tree(None)
    tree.append(leaves)
    note = SIGNER.sign(tree.size, tree.root())
    return {
        "vkeys": SIGNER.vkeys(),
        "entries": [data.decode() for data in entries],
        "leaf_hashes": [leaf.hex() for leaf in leaves],
        "root": tree.root().hex(),
        "checkpoint": note,
        "published": cosigned or SIGNER.cosign(note, 1_795_473_238),
        "receipts": [format_receipt(i, tree.inclusion(i), note) for i in range(tree.size)],
        "consistency": [[step.hex() for step in tree.consistency(old)] for old in range(tree.size + 1)],
    }


def with_examples(page: str, vectors: dict[str, Any]) -> str:
    """The format's page with the examples of these vectors; the genesis is shortened by hand there."""
    entries = {json.loads(data)["type"]: data for data in vectors["entries"]}

    def example(found: re.Match[str]) -> str:
        kind = json.loads(found[1])["type"]
        return found[0] if kind == "genesis" else f"```json\n{entries[kind]}\n```"

    page = re.sub(r"```json\n(\{.*\})\n```", example, page)
    receipt = vectors["receipts"][vectors["entries"].index(entries["disclosure"])]
    return re.sub(r"```\nc2sp\.org/tlog-proof@v1\n.*?```", lambda _: f"```\n{receipt}```", page, flags=re.DOTALL)


if __name__ == "__main__":
    made = known()
    PATH.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    FORMAT.write_text(with_examples(FORMAT.read_text(), made))
