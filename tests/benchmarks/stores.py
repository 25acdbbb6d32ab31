"""Stores for the ledger's benchmarks: migrated SQLite files, with entries or with the tiles of a large tree."""

from __future__ import annotations

from functools import lru_cache

from broker.ledger import rows
from broker.ledger.log import Ledger
from broker.ledger.merkle import leaf_hash
from broker.ledger.scan import scan
from broker.ledger.tiles import WIDTH, Tree, full_rows
from broker.store.engine import open_engine, truncate_log, writing
from broker.store.migrations import migrate
from tests.unit.ledger.world import ORIGIN, SIGNER, Now, disclosure

ENTRY = disclosure()
"""The one entry that all leaves of a synthetic tree stand for."""


def new_store(path):
    """An engine on a new database."""
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    return engine


def ledger_on(engine):
    """A broker's view of the ledger, nothing in memory yet."""
    return Ledger(engine, SIGNER, ORIGIN, Now())


class _EqualLeaves:
    """The tiles of a tree whose leaves are all the same: true tiles of a true tree, at no cost."""

    def __init__(self, size):
        self._size = size

    @staticmethod
    @lru_cache
    def hash_at(level):
        """The hash of a full subtree below a tile of this level."""
        return leaf_hash(ENTRY) if level == 0 else full_rows(_EqualLeaves.hash_at(level - 1) * WIDTH)[-1]

    def read(self, keys):
        """As `TileReader.read`."""
        return {(level, index): self._tile(level, index) for level, index in keys}

    def _tile(self, level, index):
        width = min(WIDTH, (self._size >> 8 * level) - index * WIDTH)
        return self.hash_at(level) * width

    def all(self):
        """Every tile, by level."""
        level = 0
        while count := self._size >> 8 * level:
            whole, rest = divmod(count, WIDTH)
            yield {(level, index): self.hash_at(level) * WIDTH for index in range(whole)}
            if rest:
                yield {(level, whole): self._tile(level, whole)}
            level += 1


def synthetic(path, size):
    """A store whose ledger has `size` entries as far as tiles, head and the last entry tell; its engine."""
    engine, tiles = new_store(path), _EqualLeaves(size)
    tree = Tree.load(size, tiles)
    with writing(engine) as connection:
        for found in tiles.all():
            rows.write_tiles(connection, found)
        rows.insert_entries(connection, size - 1, [(ENTRY, scan(ENTRY))])
        note = SIGNER.sign(size, tree.root())
        rows.insert_head(connection, rows.HeadRow(size, tree.root(), note, 0, 0))
    truncate_log(engine)
    return engine


def filled(path, count, persons):
    """A store with a ledger of `count` disclosures of so many persons each; its engine and their bytes."""
    engine = new_store(path)
    ledger, batch = ledger_on(engine), 500
    ledger.genesis()
    entries = [disclosure(number, persons) for number in range(count)]
    for start in range(0, count, batch):
        with ledger.transaction() as tx:
            for entry in entries[start : start + batch]:
                tx.append(entry, persons=range(1, persons + 1))
        ledger.publish()
    return engine, entries
