"""The ledger's writer: one transaction at a time locks the head, appends, signs and commits.

    with ledger.transaction() as tx:     head locked: nobody else appends or changes rights now
        ... decide anew if tx.head.rights moved ...
        index = tx.append(entry)         buffered
    tx.receipt(index)                    only now, after the commit: the entry is durable

Between processes the head row's lock keeps the order; within one, a lock of the process's own. The tree in
memory is replaced only after a commit that returned. After one that failed nobody knows whether it persisted:
the next transaction reads the store again, and goes on from whichever of the two it finds.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError

from broker.clock import SECOND, Clock, system_clock
from broker.errors import Reason, SlussError
from broker.ledger import rows
from broker.ledger.checkpoint import Checkpoint, Signer, open_checkpoint
from broker.ledger.entry import Columns, genesis
from broker.ledger.merkle import EMPTY_ROOT, leaf_hash
from broker.ledger.receipt import format_receipt
from broker.ledger.rows import EntryRow, HeadRow
from broker.ledger.scan import scan
from broker.ledger.tiles import TileCache, Tree
from broker.store.engine import StoreError, commit, reading, store_errors, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

T = TypeVar("T")

LOCK_WAIT_S = 0.4
"""Seconds to wait for this process's other transactions. What bounds a caller is batching.py and rpc/threads.py."""
ATTEMPTS = 8
"""How often `run` tries a transaction that lost against another one."""
CLOCK_SKEW_US = 10 * SECOND
"""How far an entry's `at` may lie before that of the entry before it: the clocks of machines differ."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed state: the tree, the note over its root, the `at` of its last entry (microseconds)."""

    tree: Tree
    note: str
    last_at: int

    def receipt(self, index: int) -> str:
        """The receipt of an entry against this state's checkpoint.

        Raises:
            SlussError: ENTRY_UNKNOWN.
        """
        return format_receipt(index, self.tree.inclusion(index), self.note)


class Tx:
    """One transaction on the ledger; made by `Ledger.transaction`.

    Attributes:
        connection: for the caller's own reads and writes in the same transaction.
        head: the head as it was locked.
        rights_at_start: `head.rights`, to compare with the count that a batch was decided at.
        base: the committed state that the transaction builds on.
        at: the time for entries made under the lock, in microseconds: now, and never before the last entry's.
    """

    def __init__(self, connection: Connection, head: HeadRow, base: Snapshot, now: int) -> None:
        self.connection = connection
        self.head = head
        self.rights_at_start = head.rights
        self.at = max(now, base.last_at)
        self._rights = head.rights
        self._contracts = head.contracts
        self.base = base
        self._last_at = base.last_at
        self._entries: list[tuple[bytes, Columns]] = []
        self._persons: list[tuple[int, int]] = []
        self._done: Snapshot | None = None

    @property
    def size(self) -> int:
        """Entries in the ledger, those of this transaction included."""
        return self.head.size + len(self._entries)

    def append(self, entry: bytes, *, contract: str = "", recipient: str = "", persons: Sequence[int] = ()) -> int:
        """Add an entry.

        Args:
            entry: canonical bytes.
            contract: if given, what the entry must name; the search columns are taken from the entry itself.
            recipient: likewise.
            persons: ids of the persons whom the entry speaks of.

        Returns:
            The entry's index, valid if the transaction commits.

        Raises:
            SlussError: MALFORMED, UNSUPPORTED_VERSION; LEDGER_INCONSISTENT if the entry's time lies more than
                10 s before the last entry's.
        """
        said = scan(entry)
        if contract not in ("", said.contract) or recipient not in ("", said.recipient):
            raise SlussError(Reason.MALFORMED, "an entry does not name the contract or recipient that it is for")
        if said.at < self._last_at - CLOCK_SKEW_US:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "an entry's time lies before the last entry's")
        index = self.size
        if (said.type == "genesis") != (index == 0):
            raise SlussError(Reason.MALFORMED, "the genesis is the first entry, and no other is")
        self._last_at = said.at
        self._entries.append((entry, said))
        if persons:
            self._persons += [(person, index) for person in dict.fromkeys(persons)]
        return index

    def untie(self, person: int) -> list[int]:
        """Take back what ties a person to entries of this transaction, which are not written yet; their indices."""
        untied = [index for tied, index in self._persons if tied == person]
        self._persons = [(tied, index) for tied, index in self._persons if tied != person]
        return untied

    def bump_rights(self) -> None:
        """Say that this transaction changes rights: batches decided before it are decided anew."""
        self._rights += 1

    def number_contract(self) -> int:
        """The next contract's number, starting with 1."""
        self._contracts += 1
        return self._contracts

    def write(self, signer: Signer) -> Snapshot | None:
        """Write what was buffered and the new head; None if the head stays as it is."""
        if not self._entries and (self._rights, self._contracts) == (self.head.rights, self.head.contracts):
            return None
        done = self.base
        if self._entries:
            tree = self.base.tree.copy()
            tree.append([leaf_hash(data) for data, _ in self._entries])
            rows.insert_entries(self.connection, self.head.size, self._entries)
            rows.insert_persons(self.connection, self._persons)
            rows.write_tiles(self.connection, tree.dirty_tiles())
            done = Snapshot(tree, signer.sign(tree.size, tree.root()), self._last_at)
        moved = HeadRow(done.tree.size, done.tree.root(), done.note, self._rights, self._contracts)
        rows.update_head(self.connection, moved)
        return done

    def settle(self, done: Snapshot) -> None:
        """Note that the transaction is durable: from here on there are receipts."""
        self._done = done

    def _settled(self) -> Snapshot:
        if self._done is None:
            raise SlussError(Reason.INTERNAL, "a receipt was asked for before the commit")
        return self._done

    @property
    def note(self) -> str:
        """The checkpoint of this commit."""
        return self._settled().note

    def receipt(self, index: int) -> str:
        """The receipt of an entry against the checkpoint of this commit (c2sp.org/tlog-proof@v1).

        Raises:
            SlussError: ENTRY_UNKNOWN.
        """
        return self._settled().receipt(index)

    def consistency(self, old: int) -> list[bytes]:
        """The consistency proof from the tree of `old` entries to that of this commit.

        Raises:
            SlussError: LEDGER_INCONSISTENT, if `old` is larger.
        """
        return self._settled().tree.consistency(old)


class Ledger:
    """The ledger in a store; any number of processes may have one each. Safe to share between threads."""

    def __init__(self, engine: Engine, signer: Signer, origin: str, clock: Clock = system_clock) -> None:
        if origin != signer.origin:
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the ledger's keys are another origin's")
        self._engine = engine
        self._signer = signer
        self._clock = clock
        self._tiles = rows.EngineTiles(engine)
        self._cache = TileCache()
        self._turn = Lock()
        self._state: Snapshot | None = None
        self._commits = 0

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Lock the head, let the caller append, then write, sign and commit; roll back on any exception.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, when nothing must leave the broker: the store did not answer, is
                locked, full or gone (a `StoreError`, whose `conflict` says that a retry is likely to
                succeed); LEDGER_INCONSISTENT, when the store does not hold the ledger that was last signed;
                OVERLOADED, when this process's other transactions took all turns, and were committed.
        """
        commits = self._commits
        if not self._turn.acquire(timeout=LOCK_WAIT_S):
            raise SlussError(Reason.OVERLOADED, retry_after_s="1") if self._commits > commits else StoreError()
        try:
            with store_errors(), self._engine.connect() as connection:
                tx = self._begin(connection)
                yield tx
                self._commit(tx)
        except IntegrityError:
            # A row is there that must not be, such as an entry's index taken twice: what we know is wrong.
            self._state = None
            raise StoreError from None
        finally:
            self._turn.release()

    def _begin(self, connection: Connection) -> Tx:
        head = rows.existing(rows.read_head(connection, lock=True))
        return Tx(connection, head, self._current(connection, head, self._state), self._clock())

    def _commit(self, tx: Tx) -> None:
        done = tx.write(self._signer)
        # Until commit() returns it is not known which state the store is in.
        self._state = None
        commit(tx.connection)
        self._commits += 1
        if done is not None:
            done.tree.committed()
        self._state = done or tx.base
        tx.settle(self._state)

    def run(self, work: Callable[[Tx], T]) -> T:
        """Do `work` in a transaction, again and from the start if it lost against another one, up to 8 times.

        Raises:
            SlussError: as `transaction`, or what `work` raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.transaction() as tx:
                    result = work(tx)
            except StoreError as error:
                if not error.conflict or attempt == ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 - jitter, not a secret
            else:
                return result
        raise StoreError

    def _current(self, connection: Connection, head: HeadRow, known: Snapshot | None) -> Snapshot:
        """The state that the head describes: the one in memory, or read anew if another process moved on.

        Raises:
            SlussError: LEDGER_INCONSISTENT, if the stored tree is not the one that was signed.
        """
        if known is not None and known.tree.size == head.size:
            tree, last_at = known.tree, known.last_at
        else:
            source = rows.ConnectionTiles(connection)
            if known is None:
                tree = Tree.load(head.size, self._tiles, self._cache, source)
            else:
                tree = known.tree.advanced(head.size, source)
            last_at = _last_at(connection, head.size)
        if known is None or known.note != head.note:
            self._check(head)
        if tree.root() != head.root:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the stored tree does not lead to the stored root")
        return Snapshot(tree, head.note, last_at)

    def _check(self, head: HeadRow) -> None:
        """Never build on a head that this ledger's key has not signed.

        Raises:
            SlussError: LEDGER_INCONSISTENT.
        """
        try:
            signed = open_checkpoint(head.note, self._signer.verifier)
        except SlussError:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger's head is not signed by its key") from None
        if signed != Checkpoint(self._signer.origin, head.size, head.root):
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger's head is not what was signed")

    def _snapshot(self, size: int = 0) -> Snapshot:
        """A committed state of at least `size` entries if there is one: the known one, else the store's."""
        known = self._state
        if known is not None and known.tree.size >= size:
            return known
        return self._present()

    def _present(self) -> Snapshot:
        """The state that the store is in now."""
        # Taken before the head is read: what another thread commits meanwhile is not older than that head.
        known = self._state
        with reading(self._engine) as connection:
            head = rows.existing(rows.read_head(connection))
            found = self._current(connection, head, known)
        if self._state is known:
            self._state = found
        return found

    def state(self, size: int | None = None) -> Snapshot:
        """A committed state, for several proofs against one checkpoint.

        Args:
            size: any state of at least so many entries will do; if not given, the store's present one.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, LEDGER_INCONSISTENT.
        """
        return self._present() if size is None else self._snapshot(size)

    def receipt(self, index: int) -> str:
        """The receipt of any entry, against a recent checkpoint.

        Raises:
            SlussError: ENTRY_UNKNOWN, LEDGER_UNAVAILABLE, LEDGER_INCONSISTENT.
        """
        return self._snapshot(index + 1).receipt(index)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the first `old` entries stand unchanged in the first `new` (default: all known).

        Raises:
            SlussError: LEDGER_INCONSISTENT, if there are fewer entries; LEDGER_UNAVAILABLE.
        """
        return self._snapshot(max(old, new or 0)).tree.consistency(old, new)

    def latest(self) -> str:
        """The note of the last commit in the store.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with reading(self._engine) as connection:
            return rows.existing(rows.read_head(connection)).note

    def published(self) -> str | None:
        """The note last published, or None before the first.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        with reading(self._engine) as connection:
            last = rows.last_checkpoint(connection)
        return last[1] if last else None

    def entry(self, index: int) -> EntryRow:
        """One entry.

        Raises:
            SlussError: ENTRY_UNKNOWN, LEDGER_UNAVAILABLE.
        """
        found = self.entries(index, 1) if index >= 0 else []
        if not found or found[0].index != index:
            raise SlussError(Reason.ENTRY_UNKNOWN)
        return found[0]

    def entries(
        self,
        start: int,
        limit: int,
        *,
        contract: str = "",
        recipient: str = "",
        type: str = "",  # noqa: A002 - the member's name in the entry
    ) -> list[EntryRow]:
        """Up to `limit` entries from index `start` on, in order; of one contract, recipient or type if given.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """
        wanted = {"contract": contract, "recipient": recipient, "type": type}
        equal = {column: value for column, value in wanted.items() if value}
        with reading(self._engine) as connection:
            return rows.read_entries(connection, start, limit, equal)

    def publish(self) -> str:
        """Publish the head with an ML-DSA-44 cosignature, unless its size is published; the published note.

        Raises:
            SlussError: LEDGER_UNAVAILABLE; LEDGER_INCONSISTENT, if the head is not signed by this ledger's
            key
                or is smaller than what is published.
        """
        with reading(self._engine) as connection:
            head = rows.existing(rows.read_head(connection))
            last = rows.last_checkpoint(connection)
        self._check(head)
        if last and last[0] > head.size:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "the ledger is smaller than what it has published")
        if last and last[0] == head.size:
            return last[1]
        now = self._clock()
        note = self._signer.cosign(head.note, now // SECOND)
        with writing(self._engine) as connection:
            rows.insert_checkpoint(connection, head.size, note, now)
        return note

    def genesis(self) -> bool:
        """Make the head and the first entry if the store has none; whether this call made them.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, LEDGER_INCONSISTENT.
        """
        signer = self._signer
        with reading(self._engine) as connection:
            if rows.read_head(connection) is not None and rows.read_entries(connection, 0, 1):
                return False
        empty = HeadRow(0, EMPTY_ROOT, signer.sign(0, EMPTY_ROOT), 0, 0)
        with writing(self._engine) as connection:
            rows.insert_head(connection, empty)
        return self.run(self._append_genesis)

    def _append_genesis(self, tx: Tx) -> bool:
        if tx.size:
            return False
        keys = self._signer.ed25519_key.public_key, self._signer.mldsa44_key.public_key
        tx.append(genesis(tx.at, self._signer.origin, *keys))
        return True


def _last_at(connection: Connection, size: int) -> int:
    found = rows.read_entries(connection, size - 1, 1) if size else []
    return found[0].at if found else 0
