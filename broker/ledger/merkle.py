"""The Merkle tree of RFC 6962: hashes, proofs and their verification, with no I/O.

A tree of `size` leaves is a row of *peaks*: perfect subtrees, highest first, one for each bit of `size`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962, section 2.1)."""

Range = tuple[int, int]
"""Leaves `start` up to but not including `end`."""
Node = tuple[int, int]
"""A perfect subtree by height and its index among those of that height: leaves `index << height` onwards."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children's hashes (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees that stand side by side, highest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for left in peaks[-2::-1]:
        root = node_hash(left, root)
    return root


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    row = list(leaves)
    while len(row) > 1:
        paired = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = paired + row[2 * len(paired) :]
    return row[0]


def peaks_of(span: Range) -> list[Node]:
    """The perfect subtrees of a range whose start is a multiple of the largest of them, highest first."""
    start, end = span
    nodes: list[Node] = []
    while start < end:
        height = (end - start).bit_length() - 1
        nodes.append((height, start >> height))
        start += 1 << height
    return nodes


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Which subtrees a consistency proof from size `old` to size `new` lists, in order (RFC 6962, 2.1.2).

    Raises:
        SlussError: LEDGER_INCONSISTENT unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise SlussError(
            Reason.LEDGER_INCONSISTENT,
            "the tree is smaller than the tree that was claimed",
            seen_size=str(old),
            size=str(new),
        )
    if old in (0, new):
        return []
    ranges: list[Range] = []
    start, end = 0, new
    while old != end:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    if start:
        ranges.append((start, end))
    return ranges[::-1]


def _differs(what: str) -> SlussError:
    return SlussError(Reason.LEDGER_INCONSISTENT, f"the {what} proof does not lead to the root")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` in the tree of `size` leaves (RFC 9162, section 2.1.3.2).

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    if not 0 <= index < size:
        raise _differs("inclusion")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_SIZE:
            raise _differs("inclusion")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    if last or found != root:
        raise _differs("inclusion")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of `old` leaves is the beginning of the tree of `new` (RFC 9162, section 2.1.4.2).

    The empty tree begins every tree; its proof, like that of a tree with itself, has no hashes.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    if not 0 <= old <= new:
        raise SlussError(
            Reason.LEDGER_INCONSISTENT,
            "the tree is smaller than the tree that was claimed",
            seen_size=str(old),
            size=str(new),
        )
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected or (new == 0 and new_root != EMPTY_ROOT):
            raise _differs("consistency")
        return
    if not proof or any(len(step) != HASH_SIZE for step in proof):
        raise _differs("consistency")
    if _replay(old, new, proof, old_root) != (old_root, new_root):
        raise _differs("consistency")


def _replay(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes] | None:
    """Both roots that the proof leads to, or None when it is too long or too short."""
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    steps = list(proof) if node else [old_root, *proof]
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, step)
        node, last = node >> 1, last >> 1
    return None if last else (first, second)
