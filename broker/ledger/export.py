"""Exporting the ledger: files that anyone can verify without the store (FORMAT.md, "Export").

keys.txt                   the public keys, one vkey a line
checkpoint                 the head's signed note
checkpoints.jsonl          every published checkpoint: {"at":microseconds,"note":"...","size":n}
entries-000000000.jsonl    65,536 entries a file, one canonical line each, named by the first index
leaf-hashes.bin            32 bytes per entry: tells which entry was altered
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, BinaryIO

import orjson

from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import Verifier, open_checkpoint
from broker.ledger.rows import existing
from broker.ledger.sources import ENTRIES_PER_FILE, TILE_RUN, StoreSource
from broker.ledger.tiles import WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


def export(engine: Engine, directory: Path, verifier: Verifier) -> int:
    """Write the ledger as it stands now; the folder appears whole, durable, or not at all.

    Args:
        engine: the store.
        directory: must not exist yet.
        verifier: the ledger's public keys, to go with it.

    Returns:
        How many entries were exported.

    Raises:
        SlussError: INVALID_REQUEST, if the folder exists or can't be written; LEDGER_UNAVAILABLE; what
            `open_checkpoint` raises, if the head is forged. Nothing else is verified: see `verify_export`.
    """
    partial = directory.with_name(directory.name + ".partial")
    try:
        directory.mkdir(mode=0o700)  # claims the name; renaming replaces an empty folder
        partial.mkdir(mode=0o700)
        with StoreSource.open(engine) as source:
            size = _write(source, partial, verifier)
        partial.rename(directory)
        _sync_folder(directory.parent)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise SlussError(Reason.INVALID_REQUEST, "the folder exists or can't be written") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return size


def _write(source: StoreSource, folder: Path, verifier: Verifier) -> int:
    note = existing(source.head()).note
    size = open_checkpoint(note, verifier).size
    _write_file(folder / "keys.txt", "".join(vkey + "\n" for vkey in verifier.vkeys()).encode())
    _write_file(folder / "checkpoint", note.encode())
    with _durable(folder / "checkpoints.jsonl") as file:
        for count, published, at in source.checkpoints():
            row = {"at": at, "note": published, "size": count}
            file.write(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) + b"\n")
    for first in range(0, size, ENTRIES_PER_FILE):
        with _durable(folder / f"entries-{first:09d}.jsonl") as file:
            _write_entries(source, file, first, min(size, first + ENTRIES_PER_FILE))
    with _durable(folder / "leaf-hashes.bin") as file:
        _write_hashes(source, file, -(-size // WIDTH))
    _sync_folder(folder)
    return size


def _write_entries(source: StoreSource, file: BinaryIO, start: int, stop: int) -> None:
    for index in range(start, stop, WIDTH):
        file.writelines(row[1] + b"\n" for row in source.entries(index, min(stop, index + WIDTH)))


def _write_hashes(source: StoreSource, file: BinaryIO, tiles: int) -> None:
    for run in range(0, tiles, TILE_RUN):
        found = source.tiles(0, run, min(run + TILE_RUN, tiles))
        file.writelines(found[index] for index in sorted(found))


class _durable:  # noqa: N801 - used like a function
    """A new file whose bytes are on the disk when the block ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> BinaryIO:
        self._file = self._path.open("xb")
        return self._file

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def _write_file(path: Path, data: bytes) -> None:
    with _durable(path) as file:
        file.write(data)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
