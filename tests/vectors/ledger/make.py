"""Writes known.json: a small ledger under fixed keys, for other implementations and against unwitting changes.

    python -m tests.vectors.ledger.make

The Ed25519 notes come out the same each time; ML-DSA-44 signs with fresh randomness, so its cosignature is kept.
"""

from __future__ import annotations

import json
from pathlib import Path

from broker.ledger.merkle import leaf_hash
from broker.ledger.receipt import format_receipt
from broker.ledger.tiles import Tree
from tests.unit.ledger.world import SIGNER, every_type

PATH = Path(__file__).with_name("known.json")


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


if __name__ == "__main__":
    PATH.write_text(json.dumps(known(), indent=1, ensure_ascii=False) + "\n")
