"""Verification from the stored rows or an export, offline, in one pass and bounded memory.

 1. the head: signed by the ledger's key, and what its columns say
 2. every entry, 256 at a time: format, search columns, order of time, leaf hash against the tile of level 0, the
    rows that tie persons to it, and whether checkpoints were published while it stood there
 3. every tile above, against the tree that the entries make
 4. every published checkpoint, and one from outside: signed, cosigned, and the root of the tree at its size
 5. the root against the head; rows that do not belong

Where an entry and its leaf hash differ, one of the two was tampered with. The hash of the tile above says
which, and failing that the signed root does: so an altered entry and an altered tile are told apart. Someone
who rewrites entry and tiles alike, without the key, is found by the root; the checkpoints then say between
which sizes it happened.
"""

from __future__ import annotations

import heapq
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import COSIGNATURE_SIZE, Checkpoint, Verifier, open_checkpoint, parse_note
from broker.ledger.companions import Persons, Publication
from broker.ledger.entry import parse
from broker.ledger.findings import Finding, Kind, Report
from broker.ledger.log import CLOCK_SKEW_US
from broker.ledger.merkle import HASH_SIZE, tree_root
from broker.ledger.scan import scan
from broker.ledger.sources import TILE_RUN, ExportSource, Published, Row, Source, StoreSource
from broker.ledger.tiles import HEIGHT, WIDTH, TileCache, TileKey, Tree, split_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine

__all__ = ["Finding", "Kind", "Report", "verify_export", "verify_store"]

SHOWN = 5
"""Entries named in one finding about a tile."""
MAX_DOUBTS = 10_000
"""Entries remembered in order to see which were swapped."""
_UNKNOWN = bytes(HASH_SIZE)
_COLUMNS = ("type", "contract", "recipient", "at")


class Follower(Protocol):
    """A room's rows beside the entries, as they stand in the same moment."""

    def take(self, index: int, entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """Take in one well-formed entry; they come in ascending order."""

    def finish(self) -> None:
        """All entries have been given: report what differs."""


def verify_store(
    engine: Engine,
    verifier: Verifier,
    checkpoint: str | None = None,
    rooms: Sequence[Callable[[Connection, Report], Follower]] = (),
) -> Report:
    """Verify the ledger in a store as it stands now; a broker may go on appending.

    Args:
        engine: the store.
        verifier: the ledger's public keys, from somewhere that whoever tampered could not reach.
        checkpoint: a note kept elsewhere, at any time since.
        rooms: make what compares the rows of rooms with the entries, and reports what differs.

    Raises:
        SlussError: LEDGER_UNAVAILABLE; MALFORMED or INVALID_SIGNATURE, if `checkpoint` is not this ledger's.
    """
    with StoreSource.open(engine) as source:
        verification = _Verification(source, verifier, checkpoint)
        verification.followers = [room(source.connection, verification.report) for room in rooms]
        return verification.run()


def verify_export(directory: Path, checkpoint: str | None = None, verifier: Verifier | None = None) -> Report:
    """Verify an export without the store.

    Args:
        directory: the export.
        checkpoint: a note kept elsewhere.
        verifier: the ledger's public keys; by default those in the export, which prove nothing about who made
        it.

    Raises:
        SlussError: MALFORMED, if the folder is not an export; as `verify_store` for `checkpoint`.
    """
    source = ExportSource(directory)
    try:
        return _Verification(source, verifier or exported_keys(directory), checkpoint).run()
    finally:
        source.close()


def exported_keys(directory: Path) -> Verifier:
    """The public keys that an export names.

    Raises:
        SlussError: MALFORMED.
    """
    try:
        return Verifier((directory / "keys.txt").read_text("ascii").splitlines())
    except (OSError, UnicodeDecodeError):
        raise SlussError(Reason.MALFORMED, "the export's public keys can't be read") from None


class _NoTiles:
    """A verification never trusts a stored tile for a hash of the tree."""

    def read(self, _keys: Sequence[TileKey]) -> dict[TileKey, bytes]:
        return {}


class _Verification:
    """One pass. `tree` believes leaf hashes where they differ from entries, `other` the entries."""

    def __init__(self, source: Source, verifier: Verifier, checkpoint: str | None) -> None:
        self._source = source
        self._verifier = verifier
        self._outside = open_checkpoint(checkpoint, verifier) if checkpoint else None
        self.report = self._report = Report()
        self.followers: Sequence[Follower] = ()
        self._tree = Tree(_NoTiles(), TileCache(8))
        self._other: Tree | None = None
        self._differing: dict[int, tuple[bytes, bytes]] = {}
        self._doubtful: list[int] = []
        self._last_at = 0
        self._good = 0
        self._persons: Persons | None = None
        self._publication = Publication(source, self._report)

    def run(self) -> Report:
        """The steps 1 to 5."""
        signed = self._head()
        first, end = self._source.extent()
        size = signed.size if signed else max(end, 0)
        self._report.size = size
        self._extent(first, end, size)
        self._persons = Persons(self._source, self._report, size) if self._source.has_rows else None
        self._replay(size, end)
        self._publication.finish(size)
        if self._persons:
            self._persons.finish()
        self._edges()
        self._root(signed)
        for name in self._source.strays(_tile_counts(size)):
            self._report.add(Kind.EXTRA, None, f"{name} stands beyond the ledger's {size} entries")
        # Last: an entry that is not the one that was appended explains what its rooms' rows differ in.
        for follower in self.followers:
            follower.finish()
        return self._report

    def _head(self) -> Checkpoint | None:
        head = self._source.head()
        if head is None:
            self._report.add(Kind.HEAD, None, "the head is missing")
            return None
        try:
            signed = open_checkpoint(head.note, self._verifier)
        except SlussError as error:
            self._report.add(Kind.HEAD, None, f"the head's note is forged: {error.detail}")
            return None
        if self._source.has_rows and head.size != signed.size:
            self._report.add(Kind.HEAD, None, f"the head says {head.size} entries, its note {signed.size}")
        if self._source.has_rows and head.root != signed.root:
            self._report.add(Kind.HEAD, None, "the head's root is not the one in its note")
        return signed

    def _extent(self, first: int, end: int, size: int) -> None:
        if end < size:
            said = f"entries {max(end, 0)} to {size - 1} are gone from the end"
            self._report.add(Kind.TRUNCATED, max(end, 0), said)
        if end > size:
            self._report.add(Kind.EXTRA, size, f"entries up to {end - 1} stand beyond the signed {size}")
        if first < 0:
            self._report.add(Kind.EXTRA, first, f"an entry stands at index {first}")

    def _replay(self, size: int, end: int) -> None:
        """Steps 2, 3 and 4, block by block."""
        checkpoints = self._checkpoints()
        due = next(checkpoints, None)
        blocks = -(-size // WIDTH)
        for run in range(0, blocks, TILE_RUN):
            tiles = self._source.tiles(0, run, min(run + TILE_RUN, blocks))
            for block in range(run, min(run + TILE_RUN, blocks)):
                start, stop = block * WIDTH, min(size, (block + 1) * WIDTH)
                self._block(start, stop, end, tiles.get(block))
                while due and due[0] <= stop:
                    self._compare(*due)
                    due = next(checkpoints, None)
                self._full_tiles()
        while due:
            self._compare(*due)
            due = next(checkpoints, None)

    def _block(self, start: int, stop: int, end: int, stored: bytes | None) -> None:
        """Step 2 for one tile of level 0."""
        rows = self._source.entries(start, stop)
        self._entries(rows)
        leaves: list[bytes | None] = [sha256(b"\x00" + row[1]).digest() for row in rows]
        if len(rows) != stop - start:
            by_index = {row[0]: leaf for row, leaf in zip(rows, leaves, strict=True)}
            leaves = [by_index.get(index) for index in range(start, stop)]
        whole = [_UNKNOWN if leaf is None else leaf for leaf in leaves]
        if stored == b"".join(whole):
            self._append(whole)
        else:
            self._differ(start, end, leaves, stored)

    def _append(self, leaves: list[bytes]) -> None:
        self._tree.append(leaves)
        if self._other:
            self._other.append(leaves)

    def _entries(self, rows: list[Row]) -> None:
        """Format, search columns and order of time."""
        has_rows, last = self._source.has_rows, self._last_at
        for row in rows:
            try:
                said = scan(row[1])
            except SlussError as error:
                self._report.add(Kind.MALFORMED, row[0], f"entry {row[0]}: {error.detail}")
                continue
            if has_rows and said != row[2:]:
                self._column(row, said)
            if said.type == "genesis" and row[0]:
                self._report.add(Kind.MALFORMED, row[0], f"entry {row[0]} is a second genesis")
            if said.at < last - CLOCK_SKEW_US:
                self._report.add(Kind.TIME, row[0], f"entry {row[0]} is older than the entry before it")
            last = said.at
            self._publication.check(row[0], said)
            if self._persons:
                self._persons.check(row[0], row[1], said.type)
            for follower in self.followers:
                follower.take(row[0], row[1], said.type)
        self._last_at = last
        if rows and rows[0][0] == 0:
            self._genesis(rows[0][1])

    def _column(self, row: Row, said: tuple[object, ...]) -> None:
        for name, stored, meant in zip(_COLUMNS, row[2:], said, strict=True):
            if stored != meant:
                self._report.add(Kind.COLUMN, row[0], f"column {name} of entry {row[0]} is not what the entry says")

    def _genesis(self, data: bytes) -> None:
        try:
            entry = parse(data)
        except SlussError:
            return
        if entry["type"] != "genesis" or entry["origin"] != self._verifier.origin:
            self._report.add(Kind.MALFORMED, 0, "entry 0 is not the genesis of this ledger")

    def _differ(self, start: int, end: int, leaves: list[bytes | None], stored: bytes | None) -> None:
        """Entries and leaf hashes differ: say where, and find out which of the two was tampered with."""
        hashes = split_hashes(stored or b"")
        if len(stored or b"") != len(leaves) * HASH_SIZE:
            self._tile_finding((0, start // WIDTH), "is missing" if stored is None else "is not whole")
            hashes = [leaf or _UNKNOWN for leaf in leaves]
        for offset, leaf in enumerate(leaves):
            if leaf is None and start + offset < end:
                self._report.add(Kind.MISSING, start + offset, f"entry {start + offset} is missing")
        entries = [leaf or known for leaf, known in zip(leaves, hashes, strict=True)]
        differing = [i for i, leaf in enumerate(entries) if leaf != hashes[i]]
        if not differing:
            self._append(entries)
            return
        above = self._above(start // WIDTH) if len(leaves) == WIDTH else None
        if above == tree_root(entries):
            self._tile_finding((0, start // WIDTH), _positions("is altered", start, differing))
            self._append(entries)
            return
        for i in differing:
            self._remember(start + i, entries[i], hashes[i])
        if above == tree_root(hashes):
            self._append(hashes)
            return
        self._doubtful.append(start // WIDTH)
        self._other = self._other or self._tree.copy()
        self._tree.append(hashes)
        self._other.append(entries)

    def _above(self, block: int) -> bytes | None:
        """What the stored tile of level 1 says about a tile of level 0."""
        tile, offset = divmod(block, WIDTH)
        data = self._source.tiles(1, tile, tile + 1).get(tile, b"")
        return data[offset * HASH_SIZE : (offset + 1) * HASH_SIZE] or None

    def _remember(self, index: int, entry: bytes, known: bytes) -> None:
        if len(self._differing) < MAX_DOUBTS:
            self._differing[index] = (entry, known)
        else:
            self._report.more += 1

    def _tile_finding(self, tile: TileKey, what: str) -> None:
        index = tile[1] << HEIGHT * (tile[0] + 1)
        self._report.add(Kind.TILE, index, f"tile {tile[0]}/{tile[1]} {what}")

    def _full_tiles(self) -> None:
        """Step 3 for the tiles that the last block has filled."""
        for tile, data in self._tree.full_tiles().items():
            self._compare_tile(tile, data)
        self._tree.committed()
        if self._other:
            self._other.committed()

    def _edges(self) -> None:
        """Step 3 for the unfinished tiles."""
        for tile, data in self._tree.edge_tiles().items():
            self._compare_tile(tile, data)

    def _compare_tile(self, tile: TileKey, data: bytes) -> None:
        level, index = tile
        if level == 0 or not self._source.has_rows:
            return
        stored = self._source.tiles(level, index, index + 1).get(index)
        if stored is None:
            self._tile_finding(tile, "is missing")
        elif stored != data:
            self._tile_finding(tile, "is altered")

    def _checkpoints(self) -> Iterator[tuple[int, Checkpoint, str]]:
        """Step 4: the checkpoints that are signed as they must be, by size."""
        if self._outside is None:
            yield from self._published()
            return
        outside = (self._outside.size, self._outside, "the checkpoint kept elsewhere")
        yield from heapq.merge(self._published(), [outside], key=lambda found: found[0])

    def _published(self) -> Iterator[tuple[int, Checkpoint, str]]:
        for row in self._source.checkpoints():
            name = f"the checkpoint published at size {row[0]}"
            try:
                checkpoint = open_checkpoint(row[1], self._verifier, cosigned=True)
            except SlussError as error:
                self._report.add(Kind.CHECKPOINT, None, f"{name} is forged: {error.detail}")
                continue
            if checkpoint.size != row[0] or not _published_when(row):
                self._report.add(Kind.CHECKPOINT, None, f"{name} has a row that its note contradicts")
                continue
            yield checkpoint.size, checkpoint, name

    def _compare(self, size: int, checkpoint: Checkpoint, name: str) -> None:
        self._report.checkpoints += 1
        if size > self._tree.size:
            self._report.add(
                Kind.ROLLED_BACK,
                self._tree.size,
                f"{name} has {size} entries, the ledger only {self._tree.size}",
            )
            return
        roots = [tree.root_at(size) for tree in (self._tree, self._other) if tree]
        if checkpoint.root in roots:
            self._good = size
        else:
            self._report.add(
                Kind.CHECKPOINT,
                self._good,
                f"{name} is not of this tree: something from entry {self._good} to {size - 1} was rewritten",
            )

    def _root(self, signed: Checkpoint | None) -> None:
        """Step 5: the signed root, and with it who is right where entries and leaf hashes differ."""
        tree = self._tree
        if self._other and signed and self._other.root() == signed.root:
            tree = self._other
            for block in self._doubtful:
                self._tile_finding((0, block), "is altered")
                inside = range(block * WIDTH, (block + 1) * WIDTH)
                self._differing = {i: pair for i, pair in self._differing.items() if i not in inside}
        self._altered()
        self._report.root = tree.root()
        if signed and tree.root() != signed.root:
            said = f"the tree is not the one that was signed: something from entry {self._good} on was rewritten"
            self._report.add(Kind.ROOT, self._good, said)

    def _altered(self) -> None:
        where = {known: index for index, (_, known) in self._differing.items()}
        for index, (entry, _) in self._differing.items():
            if entry in where:
                said = f"entry {index} is the one that was appended at {where[entry]}"
                self._report.add(Kind.SWAPPED, index, said)
            else:
                self._report.add(Kind.ALTERED, index, f"entry {index} is not the one that was appended")


def _positions(what: str, start: int, differing: list[int]) -> str:
    shown = ", ".join(str(start + i) for i in differing[:SHOWN])
    return f"{what} at the hash of entry {shown}" + (" and others" if len(differing) > SHOWN else "")


def _published_when(row: Published) -> bool:
    """Whether the row's time is that of the cosignature, in whole seconds."""
    cosigned = [line.value for line in parse_note(row[1]).signatures if len(line.value) == COSIGNATURE_SIZE]
    return any(int.from_bytes(value[:8], "big") == row[2] // SECOND for value in cosigned)


def _tile_counts(size: int) -> list[int]:
    """How many tiles each level of a tree has."""
    counts = []
    while size:
        counts.append(-(-size // WIDTH))
        size //= WIDTH
    return counts
