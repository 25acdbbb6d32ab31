"""The known ledger is written the same today, and a reading that shares no code with the broker agrees with it."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.ledger.checkpoint import Verifier, open_checkpoint
from broker.ledger.receipt import verify_receipt
from tests.unit.ledger.world import naive_path, naive_proof, naive_root
from tests.vectors.ledger.make import PATH, known

KNOWN = json.loads(PATH.read_text())


def test_the_known_ledger_is_still_written_byte_by_byte():
    assert known(KNOWN["published"]) == KNOWN


def test_the_known_ledger_verifies():
    verifier = Verifier(KNOWN["vkeys"])
    assert open_checkpoint(KNOWN["published"], verifier, cosigned=True).root.hex() == KNOWN["root"]
    for text, data in zip(KNOWN["receipts"], KNOWN["entries"], strict=True):
        assert verify_receipt(text, data.encode(), verifier).root.hex() == KNOWN["root"]


def test_a_reading_from_the_format_alone_agrees():
    leaves = [sha256(b"\x00" + data.encode()).digest() for data in KNOWN["entries"]]
    assert [leaf.hex() for leaf in leaves] == KNOWN["leaf_hashes"]
    assert naive_root(leaves).hex() == KNOWN["root"]
    body, signatures = KNOWN["checkpoint"].split("\n\n")
    name, _, key = KNOWN["vkeys"][0].split("+", 2)
    origin, size, root = body.split("\n")
    assert (origin, int(size), b64decode(root)) == (name, len(leaves), naive_root(leaves))
    public = Ed25519PublicKey.from_public_bytes(b64decode(key)[1:])
    public.verify(b64decode(signatures.split(" ")[2])[4:], body.encode() + b"\n")
    for index, text in enumerate(KNOWN["receipts"]):
        head, note = text.split("\n\n", 1)
        assert note == KNOWN["checkpoint"]
        header, line, *steps = head.split("\n")
        assert (header, line) == ("c2sp.org/tlog-proof@v1", f"index {index}")
        assert [b64decode(step) for step in steps] == naive_path(index, leaves)
    for old, steps in enumerate(KNOWN["consistency"][1:], 1):
        assert [bytes.fromhex(step) for step in steps] == naive_proof(old, leaves)


def test_the_examples_in_the_format_are_the_known_entries():
    page = (PATH.parents[3] / "broker/ledger/FORMAT.md").read_text()
    by_type = {json.loads(data)["type"]: data for data in KNOWN["entries"]}
    genesis = by_type.pop("genesis")
    assert [kind for kind, data in by_type.items() if f"```json\n{data}\n```" not in page] == []
    assert f"```\n{KNOWN['receipts'][KNOWN['entries'].index(by_type['disclosure'])]}```" in page
    assert KNOWN["vkeys"][0] in page
    assert genesis[:100] in page
