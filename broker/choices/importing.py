"""Preference lists: rows of choices, merged into what is on record by when each was chosen (POLICY 2).

A batch is first read through, and runs under the head's lock only if it changes anything: a list that is sent again, or
a register of which nobody is on record, costs no lock. Under the lock it is decided anew. A crash before the commit
leaves no trace, after it the batch: sending it again changes nothing.

A row without a time is as old as its list (`as_of`). It is a renewal of nothing: if what it says stands already, it is
UNCHANGED, so that an opt-out register can be imported every month. Whatever on record is newer than a row stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select

from broker import own_keys
from broker.channels import CHANNELS
from broker.choices import recording
from broker.choices.checking import check_choice, check_evidence, parse_moment
from broker.choices.model import ChoiceMade, ListRow, Outcome, Result
from broker.choices.rule import ANY, OPTED_IN, OfPurpose, Stand, merge
from broker.compromise import locks
from broker.errors import Reason, SlussError, invalid
from broker.ids import parse_person
from broker.persons import checking
from broker.persons.lookup import look_up_form
from broker.persons.model import ACTIVE, MAX_FOUND, Fault
from broker.store.queries import BLIND_INDEX, FOR_DISCLOSURE, PERSON, read_persons

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Row

    from broker.choices.model import Batch
    from broker.choices.rule import InForce
    from broker.desk import Change, Desk, View
    from broker.identity import Caller

BY_PERSON: Final = "person"


def run(desk: Desk, caller: Caller, parse: Callable[[], Batch]) -> list[Result]:
    """Import a batch: one result per row, in order, durable unless it is a dry run.

    Args:
        desk: opens the store for callers who may.
        caller: authorised anew for each batch.
        parse: gives the batch; called once the caller is authorised.

    Raises:
        SlussError: of authorisation, of `parse`, or LEDGER_UNAVAILABLE, after which sending the batch again is safe.
    """
    plan = desk.read(caller, lambda view: _Plan.of(view, parse()))
    if plan.batch.dry_run or not plan.appends:
        return plan.results
    return desk.change(caller, lambda change: _Plan.of(change, plan.batch).write(change))


class _Append(NamedTuple):
    """A choice to append, on its person's row."""

    row: Row[Any]
    choice: ChoiceMade
    source: str
    evidence: str
    at: int


class _Checked(NamedTuple):
    """A row in form: its choice, when it was chosen, and whether the row itself says so."""

    choice: ChoiceMade
    at: int
    dated: bool


@dataclass(slots=True)
class _Plan:
    """What a batch does, row by row, each on what those before it leave."""

    batch: Batch
    now_us: int
    made: dict[int, InForce] = field(default_factory=dict)
    appends: list[_Append] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @classmethod
    def of(cls, view: View, batch: Batch) -> _Plan:
        """The plan on what is on record now."""
        plan = cls(batch, view.now_us)
        found = _Found(view, batch.rows)
        for row in batch.rows:
            try:
                plan.results.append(plan.add(view, row, found.persons(row)))
            except SlussError as error:
                plan.results.append(Result(row.line, Outcome.FAULTY, (), [_fault(error)]))
        return plan

    def add(self, view: View, row: ListRow, persons: Sequence[Row[Any]]) -> Result:
        """Decide what becomes of a row.

        Raises:
            SlussError: what is wrong with it.
        """
        checked = self.check(view, row)
        if not persons:
            return Result(row.line, Outcome.NOBODY)
        if len(persons) > 1 and checked.choice.state == OPTED_IN:
            detail = f"{row.kind}: {len(persons)} persons have it, and nobody can tell which of them said yes"
            raise SlussError(Reason.INVALID_REQUEST, detail, field=row.kind)
        if checked.choice.state == OPTED_IN:
            locks.require_unlocked(view, persons[0].id)
        outcomes = {self.choose(view, row, checked, person) for person in persons}
        ids = [person.id for person in persons]
        order = (Outcome.RECORDED, Outcome.SUPERSEDED, Outcome.UNCHANGED)
        return Result(row.line, next(each for each in order if each in outcomes), ids)

    def check(self, view: View, row: ListRow) -> _Checked:
        """The row in form.

        Raises:
            SlussError: INVALID_REQUEST, PURPOSE_UNKNOWN.
        """
        choice = replace(row.choice, channels=check_choice(view.snapshot.catalogue, row.choice))
        checking.check_source(row.source)
        check_evidence(row.evidence)
        if not row.chosen_at:
            return _Checked(choice, min(self.batch.as_of or self.now_us, self.now_us), dated=False)
        at = parse_moment(row.chosen_at, "chosen_at")
        if at > self.now_us:
            raise invalid("chosen_at", "it lies in the future")
        return _Checked(choice, at, dated=True)

    def choose(self, view: View, row: ListRow, checked: _Checked, person: Row[Any]) -> Outcome:
        """What a row is for one person; what it changes is noted."""
        made = self.made.get(person.id) or own_keys.choices(view.snapshot.vault, person)
        choice = checked.choice
        stands = made.get(choice.purpose, {})
        if not checked.dated and _says(stands, choice):
            return Outcome.UNCHANGED
        after = merge(stands, choice.channels, choice.state, checked.at)
        if after == stands:
            standing = (stands.get(key) or stands.get(ANY) for key in choice.channels or (ANY,))
            return Outcome.UNCHANGED if Stand(choice.state, checked.at) in standing else Outcome.SUPERSEDED
        self.made[person.id] = {**made, choice.purpose: after}
        self.appends.append(_Append(person, choice, row.source, row.evidence, checked.at))
        return Outcome.RECORDED

    def write(self, change: Change) -> list[Result]:
        """Record it, under the head's lock."""
        entries: dict[int, list[int]] = {person: [] for person in self.made}
        for each in self.appends:
            entries[each.row.id].append(recording.append(change, *each))
        rows = {each.row.id: each.row for each in self.appends}
        for person, made in self.made.items():
            recording.put(change, rows[person], made, entries[person])
        if self.appends:
            change.tx.bump_rights()
        return self.results


def _says(stands: OfPurpose, choice: ChoiceMade) -> bool:
    """Whether what stands is what a choice says, whenever that was chosen."""
    if not choice.channels and ANY not in stands:
        return False
    standing = [stands.get(channel) or stands.get(ANY) for channel in choice.channels or CHANNELS]
    return all(stand is not None and stand.state == choice.state for stand in standing)


def _fault(error: SlussError) -> Fault:
    return Fault(
        error.metadata.get("field") or ("purpose" if "purpose" in error.metadata else ""),
        error.reason,
        error.detail,
        "",
    )


class _Found:
    """The persons whom the rows of a batch name, read at once."""

    def __init__(self, view: View, rows: Sequence[ListRow]) -> None:
        self._view = view
        self._digests: dict[tuple[str, str], bytes] = {}
        self._by_id = self._read_ids({row.key for row in rows if row.kind == BY_PERSON})
        self._by_digest: dict[tuple[str, bytes], list[Row[Any]]] = {}
        self._crowds: set[tuple[str, bytes]] = set()
        for kind in {row.kind for row in rows} - {BY_PERSON, ""}:
            self._read_kind(kind, {row.key for row in rows if row.kind == kind})

    def persons(self, row: ListRow) -> Sequence[Row[Any]]:
        """Those on record whom a row names.

        Raises:
            SlussError: INVALID_REQUEST, INVALID_VALUE for a key that is none, without repeating it.
        """
        if not row.kind:
            raise SlussError(Reason.INVALID_REQUEST, "a row without a key names nobody", field="whose")
        if row.kind == BY_PERSON:
            found = self._by_id.get(parse_person(row.key))
            return [found] if found is not None else []
        place = row.kind, self._digest(row.kind, row.key)
        if place in self._crowds:
            raise SlussError(
                Reason.INVALID_REQUEST, f"{row.kind}: more than {MAX_FOUND} persons have it", field=row.kind
            )
        return self._by_digest.get(place, [])

    def _read_ids(self, keys: set[str]) -> dict[int, Row[Any]]:
        ids = []
        for key in keys:
            try:
                ids.append(parse_person(key))
            except SlussError:
                continue  # told where the row is looked at
        return {row.id: row for row in read_persons(self._view.connection, ids) if row.state == ACTIVE}

    def _digest(self, kind: str, key: str) -> bytes:
        known = self._digests.get((kind, key))
        if known is None:
            form = look_up_form(self._view.snapshot.catalogue, kind, key)
            known = self._digests[kind, key] = self._view.snapshot.vault.index_digest(kind, form)
        return known

    def _read_kind(self, kind: str, keys: set[str]) -> None:
        digests = []
        for key in keys:
            try:
                digests.append(self._digest(kind, key))
            except SlussError:
                continue  # told where the row is looked at
        digest, joined = BLIND_INDEX.c.digest, BLIND_INDEX.join(PERSON, PERSON.c.id == BLIND_INDEX.c.person)
        active = BLIND_INDEX.c.kind == kind, digest.in_(digests), PERSON.c.state == ACTIVE
        many = select(digest).select_from(joined).where(*active).group_by(digest).having(func.count() > MAX_FOUND)
        crowds = {bytes(each) for each in self._view.connection.execute(many).scalars()}
        self._crowds |= {(kind, each) for each in crowds}
        query = select(digest, *FOR_DISCLOSURE).select_from(joined).where(*active, digest.not_in(crowds))
        for row in self._view.connection.execute(query.order_by(PERSON.c.id)):
            self._by_digest.setdefault((kind, bytes(row.digest)), []).append(row)
