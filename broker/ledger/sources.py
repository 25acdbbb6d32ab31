"""Where a verification reads from: the rows of a store, or the files of an export."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import orjson

from broker.errors import Reason, SlussError
from broker.ledger import rows
from broker.ledger.entry import MAX_ENTRY
from broker.ledger.merkle import HASH_SIZE
from broker.ledger.rows import HeadRow
from broker.ledger.tiles import WIDTH
from broker.store.driver import fetch
from broker.store.engine import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

Row = tuple[int, bytes, str, str, str, int]
"""An entry's index, its bytes and its search columns: type, contract, recipient, at."""
Published = tuple[int, str, int]
"""A checkpoint: size, note, time of publication in microseconds."""

ENTRIES_PER_FILE = 65_536
TILE_RUN = 64
"""Tiles read at once."""
PERSON_RUN = 20_000
"""Rows of persons counted in one statement: each ends well within a store's time for an answer."""


class Source(Protocol):
    """A ledger to verify, as it stood at one moment.

    Attributes:
        has_rows: whether there are search columns and tiles above level 0.
    """

    has_rows: bool

    def head(self) -> HeadRow | None:
        """The head, or None if there is none."""

    def extent(self) -> tuple[int, int]:
        """The lowest index of an entry and the highest plus one; (0, 0) if there are none."""

    def entries(self, start: int, stop: int) -> list[Row]:
        """The entries with indices from `start` up to but not including `stop`, in order."""

    def tiles(self, level: int, start: int, stop: int) -> dict[int, bytes]:
        """The tiles of a level with indices from `start` up to but not including `stop`, by index."""

    def checkpoints(self) -> Iterator[Published]:
        """The published checkpoints, by size."""

    def persons(self) -> Iterator[tuple[int, int]]:
        """The rows that tie persons to entries, counted in parts and in no order: entry, rows of this part."""

    def erased(self) -> Iterator[tuple[int, int]]:
        """How many ties to entries erasures have destroyed, by entry, ascending: entry, ties."""

    def strays(self, widths: list[int]) -> Iterable[str]:
        """Names of rows beyond the tree; `widths[l]` is how many tiles level `l` should have."""


class StoreSource:
    """The rows of a store, within one reading transaction."""

    has_rows = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    @contextmanager
    def open(cls, engine: Engine) -> Iterator[StoreSource]:
        """The store as it stands now, whatever is appended meanwhile.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with reading(engine) as connection:
            yield cls(connection)

    def head(self) -> HeadRow | None:
        """As `Source.head`."""
        return rows.read_head(self.connection)

    def extent(self) -> tuple[int, int]:
        """As `Source.extent`."""
        low, high = fetch(self.connection, "SELECT min(id), max(id) FROM ledger_entry")[0]
        return (0, 0) if low is None else (low, high + 1)

    def entries(self, start: int, stop: int) -> list[Row]:
        """As `Source.entries`."""
        text = "SELECT id, entry, type, contract, recipient, at FROM ledger_entry WHERE id >= ? AND id < ? ORDER BY id"
        return fetch(self.connection, text, (start, stop))

    def tiles(self, level: int, start: int, stop: int) -> dict[int, bytes]:
        """As `Source.tiles`."""
        text = "SELECT id, hashes FROM ledger_tile WHERE level = ? AND id >= ? AND id < ?"
        return {index: bytes(data) for index, data in fetch(self.connection, text, (level, start, stop))}

    def checkpoints(self) -> Iterator[Published]:
        """As `Source.checkpoints`."""
        start = -(1 << 62)
        while found := rows.read_checkpoints(self.connection, start, WIDTH):
            yield from found
            start = found[-1][0] + 1

    def persons(self) -> Iterator[tuple[int, int]]:
        """As `Source.persons`."""
        after = (-(1 << 63), -(1 << 63))
        while found := rows.count_persons(self.connection, after, PERSON_RUN):
            yield from ((entry, count) for entry, count, _ in found)
            after = max((person, entry) for entry, _, person in found)

    def erased(self) -> Iterator[tuple[int, int]]:
        """As `Source.erased`."""
        after = -(1 << 62)
        while found := rows.read_erased(self.connection, after, PERSON_RUN):
            yield from found
            after = found[-1][0]

    def strays(self, widths: list[int]) -> Iterator[str]:
        """As `Source.strays`."""
        text = "SELECT level, id FROM ledger_tile WHERE level < 0 OR id < 0 OR level >= ?"
        numbers = [len(widths)]
        for level, width in enumerate(widths):
            text += " OR (level = ? AND id >= ?)"
            numbers += [level, width]
        for level, index in fetch(self.connection, text + " LIMIT 100", numbers):
            yield f"tile {level}/{index}"


class ExportSource:
    """The files of an export; read in order, so that memory stays bounded."""

    has_rows = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: Iterator[bytes] = iter(())
        self._next = 0
        try:
            self._note = (directory / "checkpoint").read_text("utf-8")
            self._hashes = (directory / "leaf-hashes.bin").open("rb")
        except (OSError, UnicodeDecodeError):
            raise SlussError(Reason.MALFORMED, "the folder is not an export of a ledger") from None
        self._count = sum(_count_lines(path) for path in self._files())

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("entries-*.jsonl"))

    def close(self) -> None:
        """Close the files."""
        self._hashes.close()

    def head(self) -> HeadRow | None:
        """As `Source.head`; size and root are the note's to say."""
        return HeadRow(-1, b"", self._note, 0, 0)

    def extent(self) -> tuple[int, int]:
        """As `Source.extent`."""
        return (0, self._count)

    def entries(self, start: int, stop: int) -> list[Row]:
        """As `Source.entries`, without columns; `start` must be where the last call stopped, or 0."""
        if start == 0:
            self._lines, self._next = _read_lines(self._files()), 0
        found: list[Row] = []
        while self._next < stop:
            line = next(self._lines, None)
            if line is None:
                break
            found.append((self._next, line, "", "", "", 0))
            self._next += 1
        return found

    def tiles(self, level: int, start: int, stop: int) -> dict[int, bytes]:
        """As `Source.tiles`; an export has those of level 0."""
        if level:
            return {}
        size = WIDTH * HASH_SIZE
        self._hashes.seek(start * size)
        data = self._hashes.read((stop - start) * size)
        return {start + i: data[i * size : (i + 1) * size] for i in range(-(-len(data) // size))}

    def checkpoints(self) -> Iterator[Published]:
        """As `Source.checkpoints`.

        Raises:
            SlussError: MALFORMED.
        """
        try:
            with (self._directory / "checkpoints.jsonl").open("rb") as file:
                for line in file:
                    row = orjson.loads(line)
                    yield int(row["size"]), str(row["note"]), int(row["at"])
        except (OSError, ValueError, TypeError, KeyError):
            raise SlussError(Reason.MALFORMED, "the export's checkpoints can't be read") from None

    def persons(self) -> Iterator[tuple[int, int]]:
        """As `Source.persons`: an export names no person."""
        return iter(())

    def erased(self) -> Iterator[tuple[int, int]]:
        """As `Source.erased`: likewise."""
        return iter(())

    def strays(self, widths: list[int]) -> Iterator[str]:
        """As `Source.strays`: an export's leaf hashes have the length that the head says."""
        self._hashes.seek(0, 2)
        if widths and -(-self._hashes.tell() // (WIDTH * HASH_SIZE)) > widths[0]:
            yield "leaf-hashes.bin beyond the ledger's size"


def _count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            last = block
    return count + (not last.endswith(b"\n"))


def _read_lines(paths: Iterable[Path]) -> Iterator[bytes]:
    """The lines without their newlines; one that is too long comes in pieces, none of them an entry."""
    for path in paths:
        with path.open("rb") as file:
            while line := file.readline(MAX_ENTRY + 1):
                yield line.removesuffix(b"\n")
