from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.errors import SlussError
from broker.ledger.merkle import (
    EMPTY_ROOT,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger.world import naive_path, naive_proof, naive_root

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ledger/merkle.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in VECTORS["leaves"]]


@pytest.mark.parametrize(("size", "root"), list(enumerate(VECTORS["roots"])))
def test_roots_are_those_that_other_implementations_publish(size, root):
    assert tree_root(LEAVES[:size]).hex() == root


@pytest.mark.parametrize("size", range(1, 9))
def test_inclusion_proofs_verify_and_no_other_place_or_leaf_does(size):
    root = tree_root(LEAVES[:size])
    for index in range(size):
        proof = naive_path(index, LEAVES[:size])
        verify_inclusion(LEAVES[index], index, size, proof, root)
        for other in [i for i in range(-1, size + 1) if i != index]:
            with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
                verify_inclusion(LEAVES[index], other, size, proof, root)
        for wrong in ([*proof, EMPTY_ROOT], proof[:-1] or [EMPTY_ROOT], [p[:31] for p in proof] or [b""]):
            with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
                verify_inclusion(LEAVES[index], index, size, wrong, root)
        with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
            verify_inclusion(EMPTY_ROOT, index, size, proof, root)


@pytest.mark.parametrize("new", range(9))
def test_consistency_proofs_verify_and_every_change_to_one_is_refused(new):
    new_root = naive_root(LEAVES[:new])
    for old in range(new + 1):
        old_root = naive_root(LEAVES[:old])
        proof = naive_proof(old, LEAVES[:new]) if old else []
        verify_consistency(old, new, proof, old_root, new_root)
        flipped = [bytes([step[0] ^ 1]) + step[1:] for step in proof]
        changes = [
            [*proof, EMPTY_ROOT],
            proof[:-1],
            *[[*proof[:i], flipped[i], *proof[i + 1 :]] for i in range(len(proof))],
        ]
        for wrong in [change for change in changes if change != proof]:
            with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
                verify_consistency(old, new, wrong, old_root, new_root)
        claims = [(LEAVES[7], new_root), (old_root, LEAVES[7])]
        for roots in claims if old else claims[:1]:  # every tree begins with the empty one
            with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
                verify_consistency(old, new, proof, *roots)


def test_a_tree_that_has_shrunk_is_never_consistent():
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        verify_consistency(3, 2, [], tree_root(LEAVES[:3]), tree_root(LEAVES[:2]))


def test_a_node_can_not_be_passed_off_as_a_leaf():
    pair = LEAVES[0] + LEAVES[1]
    assert leaf_hash(pair) != node_hash(LEAVES[0], LEAVES[1])
