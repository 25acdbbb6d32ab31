"""The trees that we have seen: a new checkpoint must extend one of them, and none is forgotten unproven.

Calls in flight at the same time get checkpoints that are each proven against what the call had seen, not
against each other. So a call borrows a *head* of its own and hands back the head that its reply proved. After
a burst several heads may be idle: `unsettled` says so, and the client asks for checkpoints until all of them
meet in one tree. A broker that shows two calls two different ledgers can't make them meet.

The largest head is in the file `checkpoint`, which all processes with this profile share.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from broker.errors import SlussError
from broker.ledger.checkpoint import MLDSA44, Checkpoint, Verifier, open_checkpoint
from broker.ledger.merkle import EMPTY_ROOT, verify_consistency
from sluss_client.errors import LedgerInconsistent, ProfileError
from sluss_client.files import locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PASSED = 1024
FORKED = "the ledger shows two different trees of one size: it was forked or rewritten"


@dataclass(frozen=True)
class Head:
    """A tree that we have seen.

    Attributes:
        size: entries.
        root: 32 bytes.
        note: the signed note; empty for the empty tree.
    """

    size: int
    root: bytes
    note: str


NOTHING_SEEN = Head(0, EMPTY_ROOT, "")


def open_published(note: str, latest: Checkpoint, verifier: Verifier) -> Head:
    """The published checkpoint that comes beside the latest one, with its ML-DSA-44 cosignature verified.

    A broker has published since its ledger was founded, so an answer without one is a lie as well.

    Raises:
        LedgerInconsistent: there is none, it is not signed and cosigned, or it is of another tree than the latest.
        ProfileError: the profile has no ML-DSA-44 key of the ledger to check it with.
    """
    if not verifier.knows(MLDSA44):
        raise ProfileError("the profile's ledger keys lack the ML-DSA-44 one: add it, as the company publishes it")
    try:
        checkpoint = open_checkpoint(note, verifier, cosigned=True)
    except SlussError as error:
        raise LedgerInconsistent(f"the published checkpoint: {error.detail}") from None
    if checkpoint.size > latest.size:
        raise LedgerInconsistent("the latest checkpoint is smaller than what is published: it was rolled back")
    head = Head(checkpoint.size, checkpoint.root, note)
    _check_fork(head, [Head(latest.size, latest.root, "")])
    return head


class CheckpointFile:
    """The largest checkpoint that any process with this profile has seen. It never moves backwards."""

    def __init__(self, path: Path, verifier: Verifier) -> None:
        self._path = path
        self._lock = path.with_name(path.name + ".lock")
        self._verifier = verifier

    def load(self) -> Head:
        """The head on file; `NOTHING_SEEN` before the first.

        Raises:
            ProfileError: the file is not a checkpoint signed by the profile's ledger keys.
        """
        try:
            note = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return NOTHING_SEEN
        try:
            checkpoint = open_checkpoint(note, self._verifier)
        except SlussError as error:
            raise ProfileError(f"the file `checkpoint` of the profile is not right: {error.detail}") from None
        return Head(checkpoint.size, checkpoint.root, note)

    def save(self, head: Head) -> Head:
        """Write a head unless a larger one is on file; returns what was there before.

        A power cut right afterwards may bring back the one before, as if it had come a moment earlier.
        """
        with locked(self._lock):
            before = self.load()
            if head.size > before.size:
                write_atomic(self._path, head.note.encode(), sync_name=False)
        _check_fork(head, [before])
        return before


class Lane:
    """The head of one call, or of one stream."""

    def __init__(self, head: Head, heads: Heads) -> None:
        self.head = head
        self._heads = heads

    def advance(self, checkpoint: Checkpoint, note: str, proof: Sequence[bytes]) -> None:
        """Take a verified checkpoint as the new head; on return it, or a larger one, is on file.

        Args:
            checkpoint: what a known ledger key signed.
            note: the signed note.
            proof: consistency of the present head with it (RFC 6962, 2.1.2).

        Raises:
            LedgerInconsistent: it is no extension of what was seen.
        """
        old = self.head
        try:
            verify_consistency(old.size, checkpoint.size, proof, old.root, checkpoint.root)
        except SlussError as error:
            raise LedgerInconsistent(error.detail) from None
        new = Head(checkpoint.size, checkpoint.root, note)
        self._heads.seen(new, instead_of=old)
        self.head = new


class Heads:
    """The heads of one client. Safe among threads; one file for all processes."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self._guard = Lock()
        self._saving = Lock()
        self._saved = self._largest = file.load()
        self._idle = [self._largest]
        self._borrowed = 0
        self._passed: dict[int, bytes] = {}

    @contextmanager
    def lane(self, start: Head | None = None) -> Iterator[Lane]:
        """Borrow the smallest idle head, so that every head moves on; hand back what it has become.

        Args:
            start: a tree from elsewhere to move on from instead.

        Raises:
            LedgerInconsistent: another tree of the size of `start` was seen.
        """
        with self._guard:
            if start is None:
                start = min(self._idle, key=_size, default=self._largest)
                self._idle = [head for head in self._idle if head is not start]
            else:
                self._check_fork(start)
            self._borrowed += 1
        lane = Lane(start, self)
        try:
            yield lane
        finally:
            with self._guard:
                self._borrowed -= 1
                self._keep(lane.head)

    def seen(self, head: Head, *, instead_of: Head) -> None:
        """Note a head that is proven to extend another, in memory and on file.

        Raises:
            LedgerInconsistent: another tree of the same size was seen.
            ProfileError: the file can't be written.
        """
        with self._guard:
            self._check_fork(head)
            self._largest = max(self._largest, head, key=_size)
        self._save(head.size)
        with self._guard:
            self._passed[instead_of.size] = instead_of.root
            if len(self._passed) > _PASSED:
                del self._passed[next(iter(self._passed))]

    def _save(self, size: int) -> None:
        """Bring the file to `size` or beyond: who waits here for another's write finds its own done by it."""
        with self._saving:
            if self._saved.size >= size:
                return
            largest = self._largest
            before = self._file.save(largest)
            known, self._saved = self._saved, max(largest, before, key=_size)
        if before.size > known.size:
            with self._guard:  # another process wrote it, and nothing proves it to be of our tree yet
                self._largest = max(self._largest, before, key=_size)
                self._keep(before)

    def unsettled(self) -> int:
        """How many heads are idle that are not proven to belong to one tree; 0 while calls are in flight."""
        with self._guard:
            return len(self._idle) if self._borrowed == 0 and len(self._idle) > 1 else 0

    def _keep(self, head: Head) -> None:
        self._check_fork(head)
        if any(one.size == head.size for one in self._idle):
            return
        # Where a passed head leads to is idle or borrowed, so nothing is lost by dropping it.
        if head.size not in self._passed or (not self._idle and not self._borrowed):
            self._idle.append(head)

    def _check_fork(self, head: Head) -> None:
        _check_fork(head, [*self._idle, self._largest])
        if self._passed.get(head.size, head.root) != head.root:
            raise LedgerInconsistent(FORKED)


def _size(head: Head) -> int:
    return head.size


def _check_fork(head: Head, others: Sequence[Head]) -> None:
    if any(one.size == head.size and one.root != head.root for one in others):
        raise LedgerInconsistent(FORKED)
