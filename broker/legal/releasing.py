"""A release on a legal ground, through the spine: the grant that a case gives, its entries, and its parts in order.

A release is a sequence of parts of up to 256 persons, each a request to the spine under an id of its own that follows
from the case and the place where the part begins. Whoever goes on with a release, and how often, gets the parts that
are there already as they are, and each person is released once. On ground (d) every person has an entry of its own.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sluss.v1 import legal_pb2
from sqlalchemy import update

from broker.asks import CHUNK, Ask, Named, Page, ReleasePart
from broker.contracts import ContractFacts, State
from broker.handles import handles_of
from broker.ids import person_text
from broker.ledger import entry
from broker.legal import hiding, rules
from broker.legal.model import Ground
from broker.legal.rows import HeldCase, load_with
from broker.plan import Granted
from broker.rights import HeldContract
from broker.sealing import RecipientPublicKey
from broker.slices import SliceMaker
from broker.store.queries import LEGAL_CASE
from broker.wire.disclosure import check_seen, disclosure

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from broker.asks import Answer, Opening, Sealed
    from broker.identity import Caller
    from broker.ledger.log import Tx
    from broker.ledger.rows import EntryRow
    from broker.legal.model import Case, Scope
    from broker.pages import Cursors
    from broker.rights import Snapshot
    from broker.vault import Vault

PART_LABEL: Final = b"sluss/v1 release part\x00"
FOREVER: Final = 1 << 62


def recipient(case: str) -> str:
    """The recipient of a case's slices, as their terms name it."""
    return f"authority/{case.lower()}"


def grant_release(connection: Connection, snapshot: Snapshot, case: str) -> Granted:
    """What the spine may release of a case, to the key that the release began with.

    Raises:
        SlussError: CASE_UNKNOWN, CASE_WRONG_STATE, SECOND_PERSON_NEEDED, LEDGER_INCONSISTENT.
    """
    held = load_with(connection, snapshot, case)
    decision = rules.decide_release(held.case, snapshot.catalogue)
    begun = held.case.body.begun
    if begun is None:
        raise AssertionError
    facts = ContractFacts(case, recipient(case), State.ACTIVE, decision.version, None)
    contract = HeldContract(facts, held.keys.handle_key)
    key = RecipientPublicKey(begun.key.suite, begun.key.data)
    maker = SliceMaker(snapshot.vault, snapshot, contract, decision, period(held.case.body.scope))
    return Granted(snapshot, contract, key, decision, maker, ReleaseWriter(held))


class ReleaseWriter:
    """How the entries of a release are written, and how far it has come.

    Attributes:
        chunk: persons per entry.
    """

    def __init__(self, held: HeldCase) -> None:
        self._held = held
        self.chunk = 1 if held.case.ground is Ground.MERGER else CHUNK

    def append(self, tx: Tx, sealed: Sealed, by: str) -> None:
        """Append the entry of one disclosure of it, sealed while the case is hidden."""
        case = self._held.case
        sealed.entry = entry.release(
            tx.at,
            sealed.terms,
            sealed.listed,
            sealed.unavailable,
            ground=case.ground,
            by=by,
            second_person=case.body.approved_by,
            emergency=case.body.emergency is not None,
        )
        hidden = case.hidden(tx.at)
        sealed.index, sealed.opening = hiding.append(
            tx, case.id, self._held.keys, sealed.entry, hidden=hidden, persons=sealed.persons
        )

    def opened(self, connection: Connection, found: EntryRow) -> tuple[bytes, Opening | None]:
        """An entry of it as it was written, and what opens it if it is sealed.

        Raises:
            SlussError: LEDGER_INCONSISTENT.
        """
        return hiding.opened(connection, self._held.case.id, self._held.keys, found)

    def moved(self, connection: Connection, ask: Ask, answer: Answer) -> None:
        """Note how far the release has come; never backwards."""
        if ask.release is None:
            raise AssertionError
        done = ask.release.done + answer.looked_at
        released = ask.release.released + sum(len(sealed.slices) for sealed in answer.sealed)
        place = next_place(ask, answer)
        connection.execute(
            update(LEGAL_CASE)
            .where(LEGAL_CASE.c.id == ask.contract, LEGAL_CASE.c.place < place)
            .values(place=place, done=done, released=released)
        )


def next_place(ask: Ask, answer: Answer) -> int:
    """Where the part after an answered one begins."""
    if ask.release is None:
        raise AssertionError
    return answer.last or ask.release.place if isinstance(ask.who, Page) else ask.release.place + answer.looked_at


class Parts:
    """The parts of one stream of a release, asked for one after the other.

    Args:
        caller: who releases.
        held: the case, whose release has begun.
        cursors: seals and opens the places.
        seen_size: the size of the tree that the caller verified last; 0 for none.
        resume_after: the cursor of the last message that arrived; empty to start.

    Raises:
        SlussError: INVALID_REQUEST for a cursor of something else.
    """

    def __init__(self, caller: Caller, held: HeldCase, cursors: Cursors, seen_size: int, resume_after: str) -> None:
        check_seen(seen_size)
        self._caller = caller
        self._case = held.case
        self._cursors = cursors
        self._total = held.case.progress.total
        self._seen = seen_size
        scope = held.case.body.scope
        self._fields = tuple(granted.field for granted in scope.fields)
        self._persons = None if scope.population is not None else scope.persons
        self._handles = handles_of(held.keys.handle_key, scope.persons) if scope.persons else []
        self._part = ReleasePart(0, 0, 0)
        self._end = _end(held.case)
        if resume_after:
            opened = cursors.open(resume_after, *_binding(held.case.id), field="resume_after")
            self._part = ReleasePart(*map(int, opened.split(",")))

    def next(self) -> Ask | None:
        """The next part to ask for; None after the last."""
        place = self._part.place
        if self._end is not None and place >= self._end:
            return None
        listed = Named(tuple(self._handles[place : place + CHUNK]))
        who = Page(place, CHUNK) if self._persons is None else listed
        name = hashlib.sha256(PART_LABEL + self._case.id.encode("ascii") + place.to_bytes(8, "big")).digest()[:16]
        return Ask(
            self._caller,
            name,
            self._case.id,
            self._case.ground,
            self._fields,
            who,
            self._seen,
            release=self._part,
        )

    def reply(self, ask: Ask, answer: Answer) -> legal_pb2.ReleaseResponse:
        """The message of a part; moves on to the next."""
        place = next_place(ask, answer)
        released = self._part.released + sum(len(sealed.slices) for sealed in answer.sealed)
        self._part = ReleasePart(place, self._part.done + answer.looked_at, released)
        if self._end is None and answer.last == 0:
            self._end = place
        if answer.sealed:
            self._seen = answer.size
        return legal_pb2.ReleaseResponse(
            parts=[_part(sealed) for sealed in answer.sealed],
            consistency_proof=answer.consistency,
            cursor=cursor_of(self._case.id, self._part, self._cursors),
            done=self._part.done,
            total=max(self._total, self._part.done),
        )


def _end(case: Case) -> int | None:
    """The place where a release ends; None if it is a population's and has not come to its end.

    Once it has, it stays there: who is registered later is not of it.
    """
    if case.body.scope.population is None:
        return len(case.body.scope.persons)
    return case.progress.place if case.progress.complete else None


def cursor_of(case: str, part: ReleasePart, cursors: Cursors) -> str:
    """The cursor of a release that has come so far, as its last message had it."""
    return cursors.seal(f"{part.place},{part.done},{part.released}", *_binding(case))


def _binding(case: str) -> tuple[object, ...]:
    return "release", case


def _part(sealed: Sealed) -> legal_pb2.ReleasedPart:
    part = legal_pb2.ReleasedPart(
        disclosure=disclosure(sealed), person_ids=[person_text(person) for person in sealed.persons]
    )
    if sealed.opening is not None:
        part.opening.CopyFrom(
            legal_pb2.Opening(
                sealed_entry=sealed.opening.sealed_entry, salt=sealed.opening.salt, entry=sealed.opening.entry
            )
        )
    return part


def within(vault: Vault, row: Row[Any], scope: Scope) -> frozenset[str]:
    """The fields that a person has a value of, collected within the scope's period."""
    first, end = period(scope) or (0, FOREVER)
    origins = vault.metadata(row)
    return frozenset(name for name, origin in origins.items() if first <= origin.collected_at < end)


def period(scope: Scope) -> tuple[int, int] | None:
    """The days of collection as seconds, the end not included; None without a limit."""
    if scope.collected_from is None and scope.collected_until is None:
        return None
    first = _start_of(scope.collected_from) if scope.collected_from else 0
    last = scope.collected_until
    end = _start_of(last + timedelta(days=1)) if last and last < date.max else FOREVER
    return first, end


def _start_of(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
