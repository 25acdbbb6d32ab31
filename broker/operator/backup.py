"""Backups of the database, and putting them back.

A backup is a folder: `sluss.db`, an SQLite file with every row of one moment, whatever store the rows come from, and
`manifest.json`, written last, which says what was taken. No key is in it: neither rings nor the ledger's keys.

    {"at": "2026-11-26T01:00:00.000000Z", "checkpoint": "...", "format": 1, "origin": "example.com/sluss",
     "revision": "0011", "root": "<hex>", "rows": {"person": 812, ...}, "sha256": "<hex of sluss.db>", "size": 4711}

Restoring forbids again what was forbidden since the backup was taken (carrying.py), and erases again whoever was erased
since (erasure/register.py), before anything is served.
What the ledger held beyond the backup's size is gone, and every checkpoint published since shows it (DESIGN promise 7):
that is told, never hidden. So is what had been spent of privacy budgets: they are closed until their period ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select
from sqlmodel import SQLModel

from broker.aggregates import budget
from broker.clock import rfc3339, system_clock
from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import open_checkpoint
from broker.store import tables
from broker.store.engine import open_engine, reading, truncate_log, writing
from broker.store.migrations import current_revision, migrate, newest_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from broker.ledger.checkpoint import Signer

FORMAT: Final = 1
DATABASE: Final = "sluss.db"
MANIFEST: Final = "manifest.json"
HEAD = tables.core(tables.Head)
_PAGE: Final = 5_000
_MEMBERS: Final = frozenset({"at", "checkpoint", "format", "origin", "revision", "root", "rows", "sha256", "size"})
_LARGEST_MANIFEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """What a backup holds.

    Attributes:
        at: when it was taken, RFC 3339.
        origin: the ledger's name.
        revision: of the schema.
        size: entries of the ledger.
        root: of its tree, in hexadecimal.
        checkpoint: the signed note of that tree.
        rows: by table.
        sha256: of the database file, in hexadecimal.
    """

    at: str
    origin: str
    revision: str
    size: int
    root: str
    checkpoint: str
    rows: dict[str, int]
    sha256: str


def _nothing(_engine: Engine) -> None:
    """The rows are put back as they are."""


def take(engine: Engine, folder: Path, origin: str) -> Taken:
    """Write a backup into a folder that is made for it; a broker may go on serving meanwhile.

    Raises:
        SlussError: INVALID_REQUEST: the folder exists, or can't be written; LEDGER_UNAVAILABLE.
    """
    with _made_whole(folder) as staged:
        at = rfc3339(system_clock())
        copy = open_engine(f"sqlite:///{staged / DATABASE}")
        try:
            migrate(copy)
            rows = _copy(engine, copy)
            with reading(copy) as connection:
                head = connection.execute(select(HEAD)).one()
            truncate_log(copy)
        finally:
            copy.dispose()
        for left in ("-wal", "-shm"):
            (staged / f"{DATABASE}{left}").unlink(missing_ok=True)
        _sync(staged / DATABASE)
        digest = _sha256(staged / DATABASE)
        taken = Taken(at, origin, newest_revision(), head.size, bytes(head.root).hex(), head.note, rows, digest)
        _write_manifest(staged, taken)
    return taken


def read(folder: Path, signer: Signer) -> Taken:
    """What a backup holds, once its file is found to be the one that was written and its ledger ours.

    Raises:
        SlussError: INVALID_REQUEST: no whole backup; LEDGER_INCONSISTENT: another ledger's, or altered.
    """
    taken = _read_manifest(folder)
    if taken.origin != signer.origin:
        raise SlussError(Reason.LEDGER_INCONSISTENT, f"the backup is of the ledger {taken.origin}")
    if _sha256(folder / DATABASE) != taken.sha256:
        raise SlussError(Reason.LEDGER_INCONSISTENT, f"{DATABASE} is not the file that was written")
    checkpoint = open_checkpoint(taken.checkpoint, signer.verifier)
    if (checkpoint.size, checkpoint.root.hex()) != (taken.size, taken.root):
        raise SlussError(Reason.LEDGER_INCONSISTENT, "the backup's checkpoint is not of its tree")
    return taken


def put_back(
    folder: Path, url: str, taken: Taken, prepare: Callable[[Engine], None] = _nothing, within: Path | None = None
) -> None:
    """Fill an empty database with a backup's rows, bring it to this broker's revision, and close the privacy budgets.

    Args:
        folder: the backup.
        url: of the database, which has all of it or, if this is broken off, nothing.
        taken: what the backup holds.
        prepare: does what must be done to the rows before they are put back, in a copy.
        within: a folder for that copy; the system's for temporary files, if none is given.

    Raises:
        SlussError: INVALID_REQUEST: the database is not empty; LEDGER_UNAVAILABLE, UNSUPPORTED_VERSION.
    """
    with tempfile.TemporaryDirectory(prefix="sluss-restore-", dir=within) as place:
        # A copy of the file is opened, as opening it may write to it: the backup stays as it is.
        file = Path(place) / DATABASE
        shutil.copyfile(folder / DATABASE, file)
        file.chmod(0o600)
        source = open_engine(f"sqlite:///{file}")
        target = open_engine(url)
        try:
            if current_revision(source) != taken.revision:
                raise SlussError(Reason.LEDGER_INCONSISTENT, "the backup's revision is not the one that it names")
            migrate(source)
            migrate(target)
            with reading(target) as connection:
                if connection.execute(select(func.count()).select_from(HEAD)).scalar_one():
                    raise SlussError(Reason.INVALID_REQUEST, "the database holds a ledger already: name an empty one")
            prepare(source)
            _copy(source, target, restored=True)
        finally:
            source.dispose()
            target.dispose()


def _copy(source: Engine, target: Engine, *, restored: bool = False) -> dict[str, int]:
    """Every row of every table, as of one moment, in one transaction; counted by table."""
    rows: dict[str, int] = {}
    with reading(source) as reads, writing(target) as writes:
        for name, table in sorted(SQLModel.metadata.tables.items()):
            rows[name] = 0
            found = reads.execution_options(stream_results=True).execute(select(table))
            for page in found.mappings().partitions(_PAGE):
                writes.execute(insert(table), [dict(row) for row in page])
                rows[name] += len(page)
        if restored:
            budget.close(writes, system_clock())
    return rows


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside its place, moved there when it is complete: a backup that was broken off is none."""
    folder = folder.expanduser().absolute()
    if folder.is_symlink() or folder.exists():
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} exists: nothing is overwritten")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} can't be made") from None
    try:
        yield staged
        staged.rename(folder)
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} can't be written") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write_manifest(folder: Path, taken: Taken) -> None:
    told: dict[str, Any] = {name: getattr(taken, name) for name in taken.__slots__}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **told}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path) -> Taken:
    try:
        with (folder / MANIFEST).open(encoding="utf-8") as file:
            told = json.loads(file.read(_LARGEST_MANIFEST))
        if told.keys() != _MEMBERS or told.pop("format") != FORMAT:
            raise ValueError  # noqa: TRY301 - one way out for every fault
        taken = Taken(**told)
        if any(type(getattr(taken, name)) is not str for name in ("at", "origin", "revision", "root", "checkpoint")):
            raise ValueError  # noqa: TRY301 - likewise
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} holds no whole backup") from None
    return taken


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{path} can't be read") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
