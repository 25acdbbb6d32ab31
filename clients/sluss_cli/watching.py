"""Watching the ledger from outside: has it only grown, and do its entries prove themselves?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluss.v1 import ledger_pb2 as pb
from sluss_client.heads import CheckpointFile, Heads, open_published

from broker.ledger.checkpoint import Checkpoint, open_checkpoint
from broker.ledger.merkle import verify_consistency
from broker.ledger.receipt import parse_receipt, verify_receipt
from sluss_cli.exits import Exit
from sluss_cli.problems import Problem
from sluss_cli.session import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sluss_client.heads import Lane

    from sluss_cli.session import Session

_MEETINGS = 20
"""How often two trees may miss each other while the ledger grows."""


@dataclass(frozen=True)
class Seen:
    """A checkpoint that extends the last one seen.

    Attributes:
        before: the size seen before; 0 for none.
        checkpoint: now.
        note: its signed note.
        published: the last published one, with the ML-DSA-44 cosignature: of the same tree.
    """

    before: int
    checkpoint: Checkpoint
    note: str
    published: str


@dataclass
class Watch:
    """One look at the ledger."""

    session: Session
    _heads: Heads = field(init=False)

    def __post_init__(self) -> None:
        profile = self.session.profile
        self._verifier = profile.verifier()
        self._heads = Heads(CheckpointFile(profile.checkpoint_path, self._verifier))

    def look(self) -> Seen:
        """The latest checkpoint, proven to extend the last one seen, and now the last one seen.

        Raises:
            LedgerInconsistent: the ledger was forked, rolled back or rewritten, or what is published is not cosigned.
            ProfileError: the profile has no ML-DSA-44 key of the ledger.
        """
        with self._heads.lane() as lane:
            before = lane.head.size
            reply = self._advance(lane)
            checkpoint = open_checkpoint(reply.checkpoint, self._verifier)
        published = open_published(reply.published, checkpoint, self._verifier)
        if published.size < checkpoint.size:
            self._meet(Checkpoint(checkpoint.origin, published.size, published.root))
        return Seen(before, checkpoint, reply.checkpoint, reply.published)

    def receipt(self, index: int) -> tuple[pb.GetReceiptResponse, Checkpoint]:
        """An entry with its receipt, verified, and the tree that it stands on."""
        reply = self.session.ledger.GetReceipt(pb.GetReceiptRequest(index=index), timeout=DEADLINE_S)
        tree = verify_receipt(reply.receipt, reply.entry, self._verifier)
        if parse_receipt(reply.receipt).index != index:
            raise _two_faced(index, "the receipt is that of another entry")
        return reply, tree

    def receipts(self, entries: Iterable[pb.LedgerEntry], done: Callable[[int], None]) -> int:
        """Verifies the receipt of each entry, and that all trees meet in the one seen; returns how many."""
        trees: dict[tuple[int, bytes], Checkpoint] = {}
        count = 0
        for count, listed in enumerate(entries, 1):
            reply, tree = self.receipt(listed.index)
            if reply.entry != listed.entry:
                raise _two_faced(listed.index, "the listing and the receipt show different entries")
            trees[tree.size, tree.root] = tree
            done(count)
        self.meet(trees.values())
        return count

    def meet(self, trees: Iterable[Checkpoint]) -> None:
        """Proves that trees, each signed by a key of the ledger, and the tree seen last are one.

        Raises:
            LedgerInconsistent, Problem: they are not, or the ledger does not stand still.
        """
        for tree in trees:
            self._meet(tree)

    def _advance(self, lane: Lane) -> pb.GetCheckpointResponse:
        reply = self._checkpoint(lane.head.size)
        lane.advance(open_checkpoint(reply.checkpoint, self._verifier), reply.checkpoint, reply.consistency_proof)
        return reply

    def _checkpoint(self, seen_size: int) -> pb.GetCheckpointResponse:
        return self.session.ledger.GetCheckpoint(pb.GetCheckpointRequest(seen_size=seen_size), timeout=DEADLINE_S)

    def _meet(self, tree: Checkpoint) -> None:
        """Proves that a tree and the tree seen last are one: both must grow into the same checkpoint."""
        for _ in range(_MEETINGS):
            reply = self._checkpoint(tree.size)
            later = open_checkpoint(reply.checkpoint, self._verifier)
            verify_consistency(tree.size, later.size, reply.consistency_proof, tree.root, later.root)
            tree = later
            with self._heads.lane() as lane:
                self._advance(lane)
                if lane.head.size == tree.size:
                    _same(lane.head.root, tree.root)
                    return
        raise Problem(Exit.UNAVAILABLE, "BUSY", "the ledger grows too fast to be caught standing: try again")


def _same(one: bytes, other: bytes) -> None:
    if one != other:
        raise Problem(Exit.INTEGRITY, "LEDGER_INCONSISTENT", "the ledger shows two trees of one size: it was forked")


def _two_faced(index: int, what: str) -> Problem:
    return Problem(Exit.INTEGRITY, "LEDGER_INCONSISTENT", what, {"entry": str(index)})
