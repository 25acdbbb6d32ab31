"""Proofs from tiles against the definitions of RFC 6962, at every size to 600 and around every border of a tile."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import SlussError
from broker.ledger.merkle import tree_root, verify_consistency, verify_inclusion
from broker.ledger.tiles import FULL_SIZE, TileCache, Tree
from tests.unit.ledger.world import naive_path, naive_proof, naive_root

LEAVES = [sha256(b"%d" % i).digest() for i in range(65_536 + 600)]


class Store(dict):
    """Tiles in a dict; counts what is read."""

    reads = 0

    def read(self, keys):
        self.reads += 1
        return {key: self[key] for key in keys if key in self}


def grown(size, store=None):
    store = Store() if store is None else store
    tree = Tree(store, TileCache(4))
    tree.append(LEAVES[:size])
    store.update(tree.dirty_tiles())
    tree.committed()
    return tree, store


def test_every_size_to_600_has_the_root_of_the_definition_however_it_was_reached():
    store = Store()
    stepped = Tree(store, TileCache(4))
    for size in range(1, 601):
        grows = stepped.copy()
        grows.append(LEAVES[size - 1 : size])
        store.update(grows.dirty_tiles())
        grows.committed()
        stepped = grows
        root = naive_root(LEAVES[:size])
        assert stepped.root() == root
        assert Tree.load(size, store).root() == root
        assert Tree.load(size // 2, store).advanced(size).root() == root


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 600])
def test_every_inclusion_proof_is_that_of_the_definition(size):
    tree, _ = grown(600)
    for index in range(size):
        assert tree.inclusion(index, size) == naive_path(index, LEAVES[:size])


@pytest.mark.parametrize("new", [1, 2, 255, 256, 257, 512, 600])
def test_every_consistency_proof_is_that_of_the_definition(new):
    tree, _ = grown(600)
    for old in range(new + 1):
        expected = naive_proof(old, LEAVES[:new]) if old else []
        assert tree.consistency(old, new) == expected


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_536 + 256, 65_536 + 300])
def test_proofs_hold_where_the_third_level_begins(size):
    tree, store = grown(size)
    root = tree_root(LEAVES[:size])
    assert tree.root() == root
    fresh = Tree.load(size, store, TileCache(4))
    for index in [0, 255, 256, 40_000, 65_279, 65_280, size - 1]:
        verify_inclusion(LEAVES[index], index, size, fresh.inclusion(index), root)
    for old in [1, 255, 256, 257, 65_280, 65_535, size - 1, size]:
        verify_consistency(old, size, fresh.consistency(old), tree_root(LEAVES[:old]), root)


@settings(deadline=None)
@given(st.data())
def test_batches_rollbacks_and_reloads_never_change_the_tree(data):
    store = Store()
    tree = Tree(store, TileCache(2))
    for _ in range(data.draw(st.integers(1, 12))):
        trial = tree.copy()
        trial.append(LEAVES[tree.size : tree.size + data.draw(st.integers(1, 700))])
        fate = data.draw(st.sampled_from(["commit", "discard", "reload", "other process"]))
        before = tree.root()
        if fate != "discard":
            store.update(trial.dirty_tiles())
            trial.committed()
        assert tree.root() == before
        size = trial.size
        if fate == "commit":
            tree = trial
        elif fate == "reload":
            tree = Tree.load(size, store, TileCache(2))
        elif fate == "other process":
            tree = tree.advanced(size)
        assert tree.root() == tree_root(LEAVES[: tree.size])
        if tree.size:
            index = data.draw(st.integers(0, tree.size - 1))
            verify_inclusion(LEAVES[index], index, tree.size, tree.inclusion(index), tree.root())
            old = data.draw(st.integers(1, tree.size))
            verify_consistency(old, tree.size, tree.consistency(old), tree.root_at(old), tree.root())
            assert tree.root_at(old) == tree_root(LEAVES[:old])


def test_tiles_are_those_of_c2sp_for_a_tree_of_70000():
    leaves = [sha256(b"%d" % i).digest() for i in range(70_000)]
    tree = Tree(Store())
    tree.append(leaves)
    widths = {tile: len(data) // 32 for tile, data in tree.dirty_tiles().items()}
    full = {(0, i): 256 for i in range(273)}
    assert widths == {**full, (0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert tree.dirty_tiles()[(0, 5)] == b"".join(leaves[5 * 256 : 6 * 256])
    assert tree.dirty_tiles()[(1, 0)][:32] == naive_root(leaves[:256])


def test_proving_what_was_just_appended_reads_no_tiles():
    tree, store = grown(65_536 + 300)
    store.reads = 0
    for index in range(65_536, tree.size):
        tree.inclusion(index)
    assert store.reads == 0


def test_an_old_entry_costs_one_read_of_all_the_tiles_it_needs():
    _, store = grown(65_536 + 300)
    tree = Tree.load(65_536 + 300, store, TileCache(16))
    store.reads = 0
    tree.inclusion(1000)
    assert store.reads == 1
    tree.inclusion(1001)
    assert store.reads == 1


@pytest.mark.parametrize("damage", ["gone", "short", "ragged"])
def test_a_damaged_tile_is_an_error_and_never_a_proof(damage):
    _, store = grown(600)
    for tile in [(0, 0), (0, 2), (1, 0)]:
        hurt = Store(store)
        data = hurt.pop(tile)
        if damage != "gone":
            hurt[tile] = data[:-32] if damage == "short" else data[:-1]
        with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
            Tree.load(600, hurt).inclusion(3)


def test_a_tree_that_shrank_or_has_no_such_leaf_is_refused():
    tree, _ = grown(300)
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        tree.advanced(299)
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        tree.consistency(3, 301)
    for index, size in [(-1, 300), (300, 300), (5, 5), (5, 301)]:
        with pytest.raises(SlussError, match="ENTRY_UNKNOWN"):
            tree.inclusion(index, size)
    assert len(Tree(Store()).root()) * 256 == FULL_SIZE
