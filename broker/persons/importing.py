"""Customer files: batches of rows, each merged into the person whom its customer number names (POLICY 1a).

    1. authorise and plan   on one snapshot: check the values, find the persons, see what each row changes
    2. seal                 outside every transaction
    3. write                one transaction: new persons alone need no lock but the store's own; a batch that
                            changes existing persons runs under the head's lock, in ledger order
    4. reply                what is answered is durable

If the catalogue or a person has moved between 1 and 3, the batch is planned anew; a caller whose certificate has
been revoked meanwhile stores nothing. A crash before 3's commit leaves no trace, after it the batch: sending it
again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broker.clock import SECOND
from broker.compromise import locks
from broker.errors import Reason
from broker.ids import new_person_id
from broker.outbox import showing
from broker.persons import checking, rows
from broker.persons.model import ACTIVE, Fault, Outcome, Result
from broker.persons.register import queue_confirmation
from broker.store.engine import StoreError, writing
from broker.tracing.former import going
from broker.values import index_form, mask
from broker.vault import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Engine, Row

    from broker.catalogue import Catalogue
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.persons import model
    from broker.vault import Vault

ATTEMPTS: Final = 8
"""How often a batch is planned, or its rights are read, before the caller is asked to retry."""


class _StaleError(Exception):
    """The store has moved on since the plan: roll back and plan anew."""


class Importer:
    """Imports batches. Safe to use from several threads; several processes may share the store."""

    def __init__(self, engine: Engine, desk: Desk) -> None:
        self._engine = engine
        self._desk = desk

    def run(self, caller: Caller, parse: Callable[[], model.Batch], seen: set[bytes] | None = None) -> list[Result]:
        """Import a batch: one result per row, in order, durable unless it is a dry run.

        Args:
            caller: authorised anew for each batch.
            parse: gives the batch; called once the caller is authorised.
            seen: digests of the customer numbers in earlier parts of the same batch, each of which may stand in
                it once; those of this part are added.

        Raises:
            SlussError: of authorisation, of `parse`, INVALID_REQUEST for a malformed source, or
                LEDGER_UNAVAILABLE, after which sending the batch again is safe.
        """
        numbers: set[bytes] = set() if seen is None else seen
        for _ in range(ATTEMPTS):
            plan = self._desk.read(caller, lambda view: _Plan.of(view, parse(), numbers))
            if not plan.batch.dry_run:
                plan.seal()
                try:
                    self._write(caller, plan)
                except _StaleError:
                    continue
            numbers.update(plan.numbers)
            return plan.results()
        raise StoreError

    def _write(self, caller: Caller, plan: _Plan) -> None:
        if plan.changed or (plan.new and plan.batch.confirm):
            self._desk.change(caller, plan.change)
        elif plan.new:
            self._insert(caller, plan)

    def _insert(self, caller: Caller, plan: _Plan) -> None:
        """Insert new persons at a count of rights at which the caller was authorised.

        Raises:
            _StaleError: the plan no longer holds.
        """
        rights = plan.rights
        for _ in range(ATTEMPTS):
            with writing(self._engine) as connection:
                if rows.rights(connection) == rights:
                    return plan.insert(connection)
            rights, digest = self._desk.read(
                caller, lambda view: (view.snapshot.rights, view.snapshot.catalogue.digest)
            )
            if digest != plan.catalogue.digest:
                raise _StaleError
        raise StoreError


@dataclass(slots=True)
class _Person:
    """A person while a batch is planned: what is stored, and what a row adds to it."""

    id: int
    row: Row[Any] | None
    values: dict[str, Value] = field(default_factory=dict)
    stored: dict[str, Value] = field(default_factory=dict)
    touched: dict[str, Value | None] = field(default_factory=dict)

    def take(self, vault: Vault, accepted: Mapping[str, str], source: str, at: int) -> Outcome:
        """Merge a row: values that are on record already keep their source and time."""
        given = {name: Value(text, source, at) for name, text in accepted.items()}
        if self.row is None:
            self.values = given
            return Outcome.CREATED
        # Nothing is opened for a row that holds all of the record and nothing else.
        if vault.fingerprint(self.id, accepted) == self.row.fingerprint:
            return Outcome.UNCHANGED
        stored = vault.open_record(self.row)
        fresh = {name: value for name, value in given.items() if name not in stored or stored[name].text != value.text}
        self.stored, self.values = stored, {**stored, **fresh}
        self.touched.update(fresh)
        return Outcome.UPDATED if fresh else Outcome.UNCHANGED

    @property
    def texts(self) -> dict[str, str]:
        """The merged values by field."""
        return {name: value.text for name, value in self.values.items()}


@dataclass(slots=True)
class _Plan:
    """What a batch will do, decided at one count of rights."""

    batch: model.Batch
    rights: int
    catalogue: Catalogue
    vault: Vault
    now_us: int
    planned: list[tuple[Result, _Person | None]] = field(default_factory=list)
    numbers: set[bytes] = field(default_factory=set)
    locked: dict[int, str] = field(default_factory=dict)
    persons: list[_Person] = field(default_factory=list)
    new: list[rows.NewPerson] = field(default_factory=list)
    changed: list[rows.ChangedPerson] = field(default_factory=list)

    @classmethod
    def of(cls, view: View, batch: model.Batch, seen: set[bytes]) -> _Plan:
        """Step 1."""
        checking.check_source(batch.source)
        snapshot = view.snapshot
        plan = cls(batch, snapshot.rights, snapshot.catalogue, snapshot.vault, view.now_us, numbers=set(seen))
        checked = [plan.check(row) for row in batch.rows]
        numbers = dict.fromkeys(number for _, number, _ in checked if number)
        known = rows.by_numbers(view.connection, list(numbers))
        plan.locked = locks.locked_among(view, [row.id for row in known.values()])
        for row, (accepted, number, faults) in zip(batch.rows, checked, strict=True):
            plan.add(row.line, accepted, number, faults, known.get(number))
        return plan

    def check(self, row: model.Row) -> tuple[dict[str, str], bytes, list[Fault]]:
        """A row's values in normal form, the digest of its customer number, and its faults."""
        accepted, faults = checking.accept(self.catalogue, row.values)
        name = checking.number_field(self.catalogue)
        if name in accepted:
            form = index_form(checking.NUMBER, accepted[name])
            return accepted, self.vault.index_digest(checking.NUMBER, form), faults
        if all(fault.field != name for fault in faults):
            faults.append(checking.no_number(self.catalogue))
        return accepted, b"", faults

    def add(
        self, line: int, accepted: dict[str, str], number: bytes, faults: list[Fault], row: Row[Any] | None
    ) -> None:
        """Decide what becomes of a row, after those before it."""
        if number in self.numbers:
            twice = accepted[checking.number_field(self.catalogue)]
            faults = [*faults, checking.number_twice(self.catalogue, twice)]
        elif number:
            self.numbers.add(number)
        if not faults and row is not None and row.state != ACTIVE:
            faults = [self._about_number(accepted, Reason.PERSON_UNAVAILABLE, "the person is not available")]
        if faults:
            self.planned.append((Result(line, Outcome.FAULTY, faults), None))
            return
        person = _Person(row.id if row else new_person_id(), row)
        outcome = person.take(self.vault, accepted, self.batch.source, self.now_us // SECOND)
        if outcome is Outcome.UPDATED and person.id in self.locked:
            fault = self._about_number(accepted, Reason.CREDENTIAL_LOCKED, "the person's credential is stolen")
            self.planned.append((Result(line, Outcome.FAULTY, [fault]), None))
            return
        self.persons.append(person)
        self.planned.append((Result(line, outcome), person))

    def _about_number(self, accepted: Mapping[str, str], reason: Reason, what: str) -> Fault:
        name = checking.number_field(self.catalogue)
        return Fault(name, reason, f"{name}: {what}", mask(accepted[name]))

    def seal(self) -> None:
        """Step 2."""
        financial = rows.financial_names(self.catalogue, self.vault)
        for person in self.persons:
            if person.row is None:
                sealed = self.vault.seal_record(person.id, person.values, financial)
                self.new.append(rows.NewPerson(rows.kept(self.vault, person.id, sealed), self._indexes(person)))
            elif person.touched:
                marked = rows.financial_names(self.catalogue, self.vault, person.row)
                sealed = self.vault.update(person.row, person.touched, marked)
                moved = self._indexes(person) if self._is_indexed(person.touched) else None
                former = going(self.vault, self.catalogue, person.stored, person.texts)
                self.changed.append(rows.ChangedPerson(person.id, person.row.version, sealed, moved, former))

    def _indexes(self, person: _Person) -> frozenset[rows.Index]:
        return rows.indexes(self.vault, self.catalogue, person.texts)

    def _is_indexed(self, names: Mapping[str, object]) -> bool:
        return any(self.catalogue.fields[name].index for name in names)

    def insert(self, connection: Connection) -> None:
        """Step 3 for new persons.

        Raises:
            _StaleError: somebody registered one of the numbers meanwhile.
        """
        if not rows.insert_persons(connection, self.new, self.now_us):
            raise _StaleError

    def change(self, change: Change) -> None:
        """Step 3 under the head's lock: every change to an existing person is made there, so versions stand still.

        Raises:
            _StaleError: a person was changed or erased, or the catalogue replaced, meanwhile.
        """
        versions = rows.versions(change.connection, [person.id for person in self.changed])
        if versions != {person.id: person.version for person in self.changed}:
            raise _StaleError
        if change.snapshot.catalogue.digest != self.catalogue.digest:
            raise _StaleError
        if locks.locked_among(change, list(versions)):
            raise _StaleError
        if self.changed and not rows.update_persons(change.connection, self.changed, change.now_us):
            raise _StaleError
        if self.new:
            self.insert(change.connection)
        if self.batch.confirm:
            self._confirm(change)
        if self.changed:
            change.tx.bump_rights()

    def _confirm(self, change: Change) -> None:
        """Queue what was received of each new person,."""
        policy = change.snapshot.policy(change.now_us)
        texts = {person.id: person.texts for person in self.persons}
        for new in self.new:
            values, source = texts[new.id], self.batch.source
            received = showing.confirm(
                self.catalogue, new.id, values, source, (), at=change.now_us, policy=policy, accepted=""
            )
            queue_confirmation(change, new, received)

    def results(self) -> list[Result]:
        """Step 4: one result per row, in order."""
        return [
            result if person is None or self.batch.dry_run else Result(result.line, result.outcome, (), person.id)
            for result, person in self.planned
        ]
