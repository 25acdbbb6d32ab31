"""The tree on C2SP tiles (c2sp.org/tlog-tiles): full tiles from the store, the right edge in memory.

A tile of level `l` covers 8 levels of the tree: its row 0 holds hashes of height 8*l, its row 8 the one hash
that goes into the tile above. Rows between are rebuilt by hashing: once, when a full tile is first used; as
entries come, in the unfinished tile of each level. So appending costs one node hash per entry, and proving a
recent entry costs look-ups only.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from broker.errors import Reason, SlussError
from broker.ledger.merkle import HASH_SIZE, Node, consistency_ranges, fold, node_hash, peaks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HEIGHT = 8
WIDTH = 1 << HEIGHT
FULL_SIZE = WIDTH * HASH_SIZE
CACHED_TILES = 512
"""Full tiles kept in memory, of 16 KiB each: all of level 1 up to 33 million entries."""
CATCH_UP_TILES = 8
"""A tree that is further behind than so many tiles of level 0 is read anew instead of replayed."""

TileKey = tuple[int, int]
"""A tile's level and index."""


class TileReader(Protocol):
    """Where tiles are kept."""

    def read(self, keys: Sequence[TileKey]) -> Mapping[TileKey, bytes]:
        """The hashes of the tiles asked for, row 0 concatenated, in one go; absent ones are left out."""


def missing_tile(tile: TileKey) -> SlussError:
    """The error of a store that lacks a tile, or has one that is too short."""
    return SlussError(Reason.LEDGER_INCONSISTENT, f"tile {tile[0]}/{tile[1]} of the ledger is not whole")


def split_hashes(data: bytes) -> list[bytes]:
    """Concatenated 32-byte hashes, one by one."""
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


class Edge:
    """The unfinished tile of one level: `rows[h]` are its hashes of height `h` above its row 0."""

    __slots__ = ("index", "rows")

    def __init__(self, index: int, rows: list[list[bytes]] | None = None) -> None:
        self.index = index
        self.rows = rows or [[] for _ in range(HEIGHT + 1)]

    def copy(self) -> Edge:
        """An edge that can be appended to without touching this one."""
        return Edge(self.index, [row[:] for row in self.rows])

    def append(self, hashes: Iterable[bytes]) -> None:
        """Add hashes of row 0, at most as many as there is room for."""
        rows = self.rows
        leaves = rows[0]
        for digest in hashes:
            leaves.append(digest)
            count, height, found = len(leaves), 0, digest
            while not count & 1:
                found = sha256(b"\x01" + rows[height][-2] + found).digest()
                height += 1
                rows[height].append(found)
                count >>= 1

    def data(self) -> bytes:
        """The tile as it is stored."""
        return b"".join(self.rows[0])


class TileCache:
    """The full tiles last used, each as its rows; safe to share between threads."""

    def __init__(self, capacity: int = CACHED_TILES) -> None:
        self._capacity = capacity
        self._tiles: OrderedDict[TileKey, list[bytes]] = OrderedDict()
        self._lock = Lock()

    def get(self, tile: TileKey) -> list[bytes] | None:
        """The rows 0 to 8 of a full tile, each concatenated, or None."""
        with self._lock:
            rows = self._tiles.get(tile)
            if rows is not None:
                self._tiles.move_to_end(tile)
            return rows

    def put(self, tile: TileKey, rows: list[bytes]) -> None:
        """Keep a full tile."""
        with self._lock:
            self._tiles[tile] = rows
            self._tiles.move_to_end(tile)
            if len(self._tiles) > self._capacity:
                self._tiles.popitem(last=False)


def full_rows(data: bytes) -> list[bytes]:
    """All rows of a full tile from its row 0."""
    rows = [data]
    pair = 2 * HASH_SIZE
    while len(data) > HASH_SIZE:
        nodes = [sha256(b"\x01" + data[i : i + pair]).digest() for i in range(0, len(data), pair)]
        data = b"".join(nodes)
        rows.append(data)
    return rows


class Tree:
    """The tree at one size.

    What is committed is never changed: build on a `copy`, and keep that if the commit succeeds.

    Attributes:
        size: number of leaves.
    """

    def __init__(self, reader: TileReader, cache: TileCache | None = None) -> None:
        self.size = 0
        self._reader = reader
        self._cache = cache or TileCache()
        self._edges: list[Edge] = [Edge(0)]
        self._full: dict[TileKey, list[bytes]] = {}
        self._base: list[TileKey] = [(0, 0)]

    @classmethod
    def load(
        cls, size: int, reader: TileReader, cache: TileCache | None = None, source: TileReader | None = None
    ) -> Tree:
        """The tree of `size` leaves, from the unfinished tile of each level.

        Args:
            size: number of leaves.
            reader: where the tree finds full tiles later.
            cache: full tiles known already.
            source: where to read now, if not `reader`.

        Raises:
            SlussError: LEDGER_INCONSISTENT, if a tile is missing or too short.
        """
        tree = cls(reader, cache)
        tree.size = size
        widths = _edge_widths(size)
        found = (source or reader).read([tile for tile, width in widths if width])
        tree._edges = [_edge(tile, width, found.get(tile, b"")) for tile, width in widths]
        tree._rebase()
        return tree

    def copy(self) -> Tree:
        """A tree to build on; `dirty_tiles` of the copy counts from here."""
        tree = Tree(self._reader, self._cache)
        tree.size = self.size
        tree._edges = [edge.copy() for edge in self._edges]
        tree._rebase()
        return tree

    def advanced(self, size: int, source: TileReader | None = None) -> Tree:
        """The tree at a later size to which another process brought the store, read from `source`.

        Raises:
            SlussError: LEDGER_INCONSISTENT, if a tile is missing or too short or the store has shrunk.
        """
        first, last = self.size // WIDTH, (size - 1) // WIDTH
        if size < self.size:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger in the store has shrunk")
        if last - first >= CATCH_UP_TILES:
            return Tree.load(size, self._reader, self._cache, source)
        tree = self.copy()
        keys = [(0, index) for index in range(first, last + 1)]
        found = (source or self._reader).read(keys)
        for key in keys:
            start = key[1] * WIDTH
            wanted = found.get(key, b"")[: (min(size, start + WIDTH) - start) * HASH_SIZE]
            tree.append(split_hashes(wanted[(tree.size - start) * HASH_SIZE :]))
        if tree.size != size:
            raise missing_tile((0, last))
        tree.committed()
        return tree

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes."""
        self.__dict__.pop("_peaks", None)
        self.__dict__.pop("_suffixes", None)
        done = 0
        while done < len(leaves):
            room = WIDTH - len(self._edges[0].rows[0])
            self._edges[0].append(leaves[done : done + room])
            done += room
            if len(self._edges[0].rows[0]) == WIDTH:
                self._finish(0)
        self.size += len(leaves)

    def _finish(self, level: int) -> None:
        """Put the full tile of a level aside and its hash into the tile above."""
        edge = self._edges[level]
        rows = [b"".join(row) for row in edge.rows]
        self._full[(level, edge.index)] = rows
        self._edges[level] = Edge(edge.index + 1)
        if level + 1 == len(self._edges):
            self._edges.append(Edge(0))
            self._base.append((level + 1, 0))
        above = self._edges[level + 1]
        above.append((rows[HEIGHT],))
        if len(above.rows[0]) == WIDTH:
            self._finish(level + 1)

    def _rebase(self) -> None:
        self._full = {}
        self._base = [(edge.index, len(edge.rows[0])) for edge in self._edges]

    def committed(self) -> None:
        """What was appended is in the store: full tiles may now be forgotten."""
        for tile, rows in self._full.items():
            self._cache.put(tile, rows)
        self._rebase()

    def full_tiles(self) -> dict[TileKey, bytes]:
        """The tiles filled since the tree was loaded, copied or committed."""
        return {tile: rows[0] for tile, rows in self._full.items()}

    def edge_tiles(self) -> dict[TileKey, bytes]:
        """The unfinished tiles that are not empty."""
        return {(level, edge.index): edge.data() for level, edge in enumerate(self._edges) if edge.rows[0]}

    def dirty_tiles(self) -> dict[TileKey, bytes]:
        """The tiles to write: those filled or added to since the tree was loaded, copied or committed."""
        dirty = self.full_tiles()
        for level, (edge, base) in enumerate(zip(self._edges, self._base, strict=True)):
            if edge.rows[0] and (edge.index, len(edge.rows[0])) != base:
                dirty[(level, edge.index)] = edge.data()
        return dirty

    @cached_property
    def _peaks(self) -> list[bytes]:
        """The hashes of the perfect subtrees side by side, highest first: all of them stand in the edges."""
        peaks = []
        for edge in reversed(self._edges):
            width = len(edge.rows[0])
            peaks += [edge.rows[h][-1] for h in range(HEIGHT - 1, -1, -1) if width >> h & 1]
        return peaks

    @cached_property
    def _suffixes(self) -> list[bytes]:
        """For each peak the hash over it and all to its right: the right border that proofs share."""
        suffixes = self._peaks[-1:]
        for peak in self._peaks[-2::-1]:
            suffixes.append(node_hash(peak, suffixes[-1]))
        return suffixes[::-1]

    def root(self) -> bytes:
        """The root hash."""
        return self._suffixes[0] if self.size else fold(())

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that a leaf stands at `index` in the tree of `size` leaves (default: all), leaf to root.

        Raises:
            SlussError: ENTRY_UNKNOWN, if there is no such leaf.
        """
        size = self.size if size is None else size
        if not 0 <= index < size <= self.size:
            raise SlussError(Reason.ENTRY_UNKNOWN)
        nodes = peaks_of((0, size))
        position = next(i for i, (height, at) in enumerate(nodes) if index >> height == at)
        path = [(height, index >> height ^ 1) for height in range(nodes[position][0])]
        if size == self.size:
            right, left = self._suffixes[position + 1 : position + 2], self._peaks[:position]
            return self._nodes(path) + right + left[::-1]
        hashes = self._nodes(path + nodes)
        peaks = hashes[len(path) :]
        rest = peaks[position + 1 :]
        return hashes[: len(path)] + ([fold(rest)] if rest else []) + peaks[:position][::-1]

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the tree of `old` leaves is the beginning of the tree of `new` (default: all).

        Raises:
            SlussError: LEDGER_INCONSISTENT unless 0 <= old <= new <= size.
        """
        new = self.size if new is None else new
        if new > self.size:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger is smaller than the tree that was claimed")
        parts = [peaks_of(span) for span in consistency_ranges(old, new)]
        hashes = iter(self._nodes([node for part in parts for node in part]))
        return [fold([next(hashes) for _ in part]) for part in parts]

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` leaves.

        Raises:
            SlussError: LEDGER_INCONSISTENT, if there are fewer.
        """
        if not 0 <= size <= self.size:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger is smaller than the tree that was claimed")
        return fold(self._nodes(peaks_of((0, size))))

    def _nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """The hashes of perfect subtrees; the full tiles that are not in memory are read in one go."""
        rows: dict[TileKey, Sequence[Sequence[bytes] | bytes]] = {}
        places = []
        for height, index in nodes:
            level, row = divmod(height, HEIGHT)
            position = index << row
            tile = (level, position >> HEIGHT)
            places.append((tile, row, (position & WIDTH - 1) >> row))
        self._gather({tile for tile, _, _ in places}, rows)
        found = []
        for tile, row, offset in places:
            line = rows[tile][row]
            if isinstance(line, bytes):
                found.append(line[offset * HASH_SIZE : (offset + 1) * HASH_SIZE])
            else:
                found.append(line[offset])
        return found

    def _gather(self, tiles: set[TileKey], rows: dict[TileKey, Sequence[Sequence[bytes] | bytes]]) -> None:
        """Find the rows of tiles: in the edge, among those just filled, in the cache, in the store."""
        absent = []
        for tile in tiles:
            edge = self._edges[tile[0]]
            known = edge.rows if edge.index == tile[1] else self._full.get(tile) or self._cache.get(tile)
            if known is None:
                absent.append(tile)
            else:
                rows[tile] = known
        found = self._reader.read(absent) if absent else {}
        for tile in absent:
            data = found.get(tile, b"")
            if len(data) != FULL_SIZE:
                raise missing_tile(tile)
            rows[tile] = read = full_rows(data)
            self._cache.put(tile, read)


def _edge_widths(size: int) -> list[tuple[TileKey, int]]:
    """The unfinished tile of each level of a tree of `size` leaves, and how many hashes it holds."""
    widths = [((0, size >> HEIGHT), size & WIDTH - 1)]
    level, rest = 1, size >> HEIGHT
    while rest:
        widths.append(((level, rest >> HEIGHT), rest & WIDTH - 1))
        level, rest = level + 1, rest >> HEIGHT
    return widths


def _edge(tile: TileKey, width: int, data: bytes) -> Edge:
    """The first `width` hashes of a stored tile as an edge."""
    if len(data) < width * HASH_SIZE or len(data) % HASH_SIZE:
        raise missing_tile(tile)
    edge = Edge(tile[1])
    edge.append(split_hashes(data[: width * HASH_SIZE]))
    return edge
