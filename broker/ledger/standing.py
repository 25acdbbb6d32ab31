"""What the ledger says of rights: the entries that contracts, keys, certificates and catalogues stand on, proven.

Rights are kept in rows, for speed. Whoever can write to the store could write rights there, too; so a row counts only
as far as these entries say the same. Each is proven to be in the tree of the stored head, by an inclusion proof
(RFC 9162, section 2.1.3) in the same transaction. That the head itself is signed is checked by the ledger before
anything is appended to it, and nothing leaves without an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.errors import Reason, SlussError
from broker.ledger.entry import parse
from broker.ledger.merkle import leaf_hash, verify_inclusion
from broker.ledger.rows import ConnectionTiles, existing, read_entry, read_head, read_standing
from broker.ledger.tiles import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from broker.ledger.rows import EntryRow

MAX_PROVEN = 100_000
"""Entries remembered as proven, at some 100 bytes each."""


class Standing:
    """Reads the entries that rights stand on. What was proven once in this process is not proven again."""

    def __init__(self) -> None:
        self._proven: dict[int, bytes] = {}

    def of(
        self,
        connection: Connection,
        type: str,  # noqa: A002 - the member's name in the entry
        *,
        contract: str = "",
        recipient: str = "",
        last: bool = False,
        after: int = -1,
    ) -> list[dict[str, Any]]:
        """The entries of a type about a contract and a recipient, oldest first; only the last one if `last`.

        Args:
            connection: of a transaction that has not appended to the ledger.
            type: catalogue, certificate, contract, key or policy.
            contract: the search column `contract`.
            recipient: the search column `recipient`.
            last: whether earlier ones matter.
            after: the index behind which they stand.

        Raises:
            SlussError: LEDGER_INCONSISTENT if one is not in the tree.
        """
        found = self.rows(connection, type, contract, recipient, last=last, after=after)
        return [parse(row.entry) for row in found]

    def rows(
        self,
        connection: Connection,
        type: str,  # noqa: A002 - the member's name in the entry
        contract: str = "",
        recipient: str = "",
        *,
        last: bool = False,
        after: int = -1,
    ) -> list[EntryRow]:
        """The same entries as they are stored.

        Raises:
            SlussError: LEDGER_INCONSISTENT if one is not in the tree.
        """
        found = read_standing(connection, type, contract, recipient, last=last, after=after)
        self.prove(connection, found)
        return found

    def entry(self, connection: Connection, index: int | None, otherwise: SlussError) -> EntryRow:
        """The entry at an index that the store names.

        Args:
            connection: of a transaction that has not appended to the ledger.
            index: None if the store names none.
            otherwise: the refusal if there is no such entry (`differs`).

        Raises:
            SlussError: `otherwise`; LEDGER_INCONSISTENT if the entry is not in the tree.
        """
        found = None if index is None else read_entry(connection, index)
        if found is None:
            raise otherwise
        self.prove(connection, [found])
        return found

    def prove(self, connection: Connection, found: Sequence[EntryRow]) -> None:
        """Refuse entries that are not those that were appended at their indexes.

        Raises:
            SlussError: LEDGER_INCONSISTENT.
        """
        leaves = {row.index: leaf_hash(row.entry) for row in found}
        new = {index: leaf for index, leaf in leaves.items() if self._proven.get(index) != leaf}
        if not new:
            return
        head = existing(read_head(connection))
        try:
            tree = Tree.load(head.size, ConnectionTiles(connection))
            for index, leaf in new.items():
                verify_inclusion(leaf, index, head.size, tree.inclusion(index), head.root)
        except SlussError:
            raise SlussError(
                Reason.LEDGER_INCONSISTENT, "an entry that rights stand on is not the one that was appended"
            ) from None
        if len(self._proven) > MAX_PROVEN:
            self._proven.clear()
        self._proven.update(new)


def differs(what: str, **metadata: str) -> SlussError:
    """The refusal of rights that the store holds and the ledger does not."""
    return SlussError(
        Reason.LEDGER_INCONSISTENT, f"the store's {what} is not what the ledger says: nothing is granted", **metadata
    )
