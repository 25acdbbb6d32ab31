"""What the ledger of a database that a restore replaces says beyond what it shares with the restored one.

    shared   0 1 2 3 4 5 6 7             the same entries in both
    behind                   8 9 10 11   of the replaced database alone: what a restore loses

Most often the restored ledger is the beginning of the replaced one. If the replaced database was itself restored from
another backup, both go on from an earlier entry, each in its own way. Whether the replaced ledger is whole is proven:
its entries, put behind those that are shared, must give the root that its head signs.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select

from broker.clock import micros
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.merkle import leaf_hash
from broker.ledger.rows import ConnectionTiles, existing, read_entries, read_entry, read_head
from broker.ledger.tiles import Tree
from broker.slice_terms import unbase64
from broker.store import tables
from broker.store.driver import parts
from broker.store.engine import store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from broker.ledger.checkpoint import Verifier
    from broker.ledger.rows import EntryRow

CHOICE: Final = tables.core(tables.Choice)
ERASED: Final = tables.core(tables.LedgerErased)
TOLD: Final = frozenset({"certificate", "choice", "contract", "key"})
"""Entries that are read; of the others it is counted how many there are."""
DIGESTS: Final = frozenset({"spki", "key"})
SHA256: Final = 32
RUN: Final = 256
"""Entries read at a time."""


class Said(NamedTuple):
    """An entry behind, and whose choice it is; 0 if it is none, or of a person who was erased."""

    entry: dict[str, Any]
    person: int


@dataclass(frozen=True, slots=True)
class Behind:
    """What only the replaced database has.

    Attributes:
        shared: how many entries both ledgers begin with.
        whole: those behind are the ones that the replaced ledger's head signs, and none is missing.
        attributed: it could be read whose the choices are, but for those of persons who were erased.
        lost: how many there are behind, by type.
        said: those of the types that are read, oldest first.
    """

    shared: int
    whole: bool
    attributed: bool
    lost: dict[str, int] = field(default_factory=dict)
    said: tuple[Said, ...] = ()

    def of(self, type: str, *events: str) -> list[Said]:  # noqa: A002 - the member's name in the entry
        """The entries of a type, and of one of these events if any is named."""
        found = (each for each in self.said if each.entry["type"] == type)
        return [each for each in found if not events or each.entry["event"] in events]


def read(old: Connection, restored: Connection, verifier: Verifier) -> Behind:
    """What is behind, as far as it can be read.

    Args:
        old: of the database that is replaced.
        restored: of the one that takes its place.
        verifier: the ledger's public keys.

    Raises:
        SlussError: LEDGER_UNAVAILABLE: no entry of this ledger can be read there.
    """
    size = existing(read_head(restored)).size
    shared = _shared(old, restored, size)
    if not shared:
        raise SlussError(
            Reason.LEDGER_UNAVAILABLE, "the replaced database does not begin with this ledger's first entry"
        )
    tree = Tree.load(shared, ConnectionTiles(restored))
    whose = _whose(old, shared)
    lost: Counter[str] = Counter()
    said: list[Said] = []
    nobodys: list[int] = []
    for row in _from(old, shared):
        tree.append([leaf_hash(row.entry)])
        lost[str(row.type)] += 1
        person = (whose or {}).get(row.index, 0)
        if row.type == "choice" and not person:
            nobodys.append(row.index)
        if row.type in TOLD and (told := parsed(row)):
            said.append(Said(told, person))
    whole = (tree.size, tree.root()) == _signed(old, verifier)
    attributed = whose is not None and _all_erased(old, nobodys)
    return Behind(shared, whole, attributed, dict(sorted(lost.items())), tuple(said))


@contextmanager
def readable() -> Iterator[None]:
    """Whatever a damaged database makes of a statement, or of the rows that it gives, is one error.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, or what is raised within.
    """
    try:
        with store_errors():
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise SlussError(Reason.LEDGER_UNAVAILABLE, "the replaced database is damaged") from None


def parsed(row: EntryRow) -> dict[str, Any] | None:
    """What an entry says; None if it is none, which its leaf hash shows."""
    try:
        said = entry.parse(row.entry)
        micros(said.get("chosen_at", said["at"]))
        for name in DIGESTS & said.keys():
            unbase64(said[name], SHA256)
    except SlussError:
        return None
    return said


def _signed(connection: Connection, verifier: Verifier) -> tuple[int, bytes] | None:
    """Size and root of the tree that the head signs; None if it does not."""
    try:
        with readable():
            head = existing(read_head(connection))
        signed = open_checkpoint(head.note, verifier)
    except SlussError:
        return None
    return (signed.size, signed.root) if (signed.size, signed.root) == (head.size, head.root) else None


def _shared(old: Connection, restored: Connection, most: int) -> int:
    """How many entries both begin with: two ledgers never agree again behind the first entry that differs."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        one, other = _entry(old, middle), read_entry(restored, middle)
        if one and other and one.entry == other.entry:
            low = middle + 1
        else:
            high = middle
    return low


def _from(connection: Connection, start: int) -> Iterator[EntryRow]:
    """The entries from an index on; where they can't be read together, those that can be alone."""
    while True:
        try:
            with readable():
                rows = read_entries(connection, start, RUN)
        except SlussError:
            found = [row for index in range(start, start + RUN) if (row := _entry(connection, index))]
            if not found:
                return
            yield from found
            start += RUN
            continue
        if not rows:
            return
        yield from rows
        start = rows[-1].index + 1


def _entry(connection: Connection, index: int) -> EntryRow | None:
    try:
        with readable():
            return read_entry(connection, index)
    except SlussError:
        return None


def _whose(connection: Connection, start: int) -> dict[int, int] | None:
    """Who made the choices whose entries stand from an index on; None if that can't be read."""
    # In one go, as the history is in the order of persons.
    history = select(CHOICE.c.entry, CHOICE.c.person).where(CHOICE.c.entry >= start)
    try:
        with readable():
            return {row.entry: int(row.person) for row in connection.execute(history)}
    except SlussError:
        return None


def _all_erased(connection: Connection, entries: Sequence[int]) -> bool:
    """Whether erasures account for all of these entries, which are tied to nobody."""
    for some in parts(entries):
        query = select(func.count()).select_from(ERASED).where(ERASED.c.entry.in_(some))
        try:
            with readable():
                if connection.execute(query).scalar_one() != len(some):
                    return False
        except SlussError:
            return False
    return True
