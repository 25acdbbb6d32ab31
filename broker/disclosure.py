"""The spine: the only way out for data.

    1. decide     whether the caller may have it, on a snapshot of all rights
    2. read       the persons' records, for all requests of the batch at once
    3. transform  each value into the form that the contract grants
    4. seal       each person's slice to the recipient's key
    5. append     under the head's lock: if any right has moved since 1, steps 1 to 4 are done anew; then retries,
                  volumes, entries and refusals, in one transaction with one fsync and one signature
    6. reply      with slices whose entries are durable, and their receipts

Requests in flight go through these steps as one batch (DESIGN 7, group commit). A crash before 5's commit leaves no
trace and nothing has left; a crash after it leaves entries of slices that nobody got, which errs on the side of
the person. A retry takes the same steps but appends nothing: its bytes must equal those of the first answer.
"""

from __future__ import annotations

import logging
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from broker import requests
from broker.asks import CHUNK, Answer, Ask, Named, Sealed
from broker.choices.rule import NO_FIELDS, ChoiceRule
from broker.clock import DAY, rfc3339
from broker.contracts import (
    Decision,
    PersonFacts,
    canary_state,
    check_volume,
    decide,
    fields_left_out,
    on_record,
)
from broker.errors import Reason, SlussError
from broker.handles import handles_of, persons_of
from broker.identity import authorise
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.log import ATTEMPTS
from broker.legal.releasing import grant_release
from broker.obligations.owing import is_gone
from broker.obligations.retention import Retentions
from broker.own_keys import claimed_choices, has_accepted, require_chosen
from broker.plan import Basis, Granted, Plan, Refusing, refusal_of, spare_retries
from broker.rights import not_yours, own
from broker.slice_terms import unbase64
from broker.slices import Candidate, Opened, SliceMaker
from broker.store.engine import StoreError, reading
from broker.store.queries import persons_after, read_persons
from broker.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine, Row

    from broker.clock import Clock
    from broker.epochs import Epochs
    from broker.ledger.log import Ledger, Tx
    from broker.refusals import RefusalLog
    from broker.rights import HeldContract, Rights, Snapshot
    from broker.sealing import Epoch
    from broker.vault import Vault

log = logging.getLogger(__name__)

Outcome = Answer | SlussError
EPOCH_ID_BYTES = 16
NOBODY = 0
"""An id that no person has."""
MAX_GRANTED = 4_096
"""Decisions that are kept; a caller can't make the broker keep more."""


class Spine:
    """Runs batches of requests through the steps. One thread at a time; several processes may share the store.

    Args:
        engine: the store.
        ledger: the ledger in that store.
        rights: the snapshots that decisions are made on.
        vault: opens records.
        refusals: how refusals are logged.
        epochs: the epochs in use, this spine's own.
        clock: microseconds since 1970 UTC.
        trust_domain: of the callers' certificates.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        rights: Rights,
        vault: Vault,
        refusals: RefusalLog,
        epochs: Epochs,
        clock: Clock,
        trust_domain: str,
    ) -> None:
        self._engine = engine
        self._refusals = refusals
        self._ledger = ledger
        self._rights = rights
        self._vault = vault
        self._clock = clock
        self._trust_domain = trust_domain
        self._epochs = epochs
        self._granted: dict[tuple[object, ...], Granted] = {}

    def run(self, asks: Sequence[Ask]) -> list[Outcome]:
        """Answer a batch; one outcome per request, in order.

        Raises:
            SlussError: LEDGER_UNAVAILABLE when the store fails; then nothing of the batch leaves.
        """
        plans = self._prepared_and_appended(asks)
        retries = [plan for plan in plans if plan.retry_of and not plan.refused]
        if retries:
            with reading(self._engine) as connection:
                snapshot, now_us = self._rights.at(connection), self._clock()
                for plan in retries:
                    with Refusing(plan):
                        # On the rights as they stand here: what was decided under the lock may have ended since.
                        self._decide(connection, snapshot, plan, now_us)
                        self._answer_again(connection, plan)
            self._log_late_refusals([plan for plan in retries if plan.refused])
        return [self._outcome(plan) for plan in plans]

    def _prepared_and_appended(self, asks: Sequence[Ask]) -> list[Plan]:
        """Steps 1 to 5, from the start again if the transaction lost against another one (DESIGN 8)."""
        for attempt in range(1, ATTEMPTS + 1):
            with reading(self._engine) as connection:
                snapshot, now_us = self._rights.at(connection), self._clock()
                basis, plans = _basis(snapshot, now_us), self._prepare(connection, snapshot, asks, now_us)
            if all(plan.ask.dry_run for plan in plans):
                return plans
            try:
                return self._append(snapshot, basis, plans)
            except StoreError as error:
                if not error.conflict or attempt == ATTEMPTS:
                    raise
        raise StoreError

    # --- steps 1 to 4 -------------------------------------------------------------------------------

    def _prepare(self, connection: Connection, snapshot: Snapshot, asks: Sequence[Ask], now_us: int) -> list[Plan]:
        """Steps 1 to 4 on one snapshot, as of `now_us`."""
        plans = [Plan(ask) for ask in asks]
        volumes = Volumes(connection, now_us)
        for plan in plans:
            with Refusing(plan):
                self._decide(connection, snapshot, plan, now_us)
                self._look_at_volume(volumes, plan, now_us)
        spare_retries(connection, plans)
        rows = self._read(connection, plans)
        for plan in plans:
            if plan.answer and not plan.ask.dry_run and plan.exceeded is None:
                with Refusing(plan):
                    self._seal_all(snapshot, plan, rows, now_us)
        return plans

    @staticmethod
    def _look_at_volume(volumes: Volumes, plan: Plan, now_us: int) -> None:
        """Over its volume, nobody is read or sealed; whether the request is a retry shows under the lock."""
        ask = plan.ask
        if plan.answer is None or ask.dry_run or not isinstance(ask.who, Named):
            return
        try:
            check_volume(plan.answer.decision, volumes.used(plan.answer.decision), ask.who.persons, now_us)
        except SlussError as error:
            plan.exceeded = error

    def _decide(self, connection: Connection, snapshot: Snapshot, plan: Plan, now_us: int) -> None:
        ask = plan.ask
        principal = authorise(lambda spki: snapshot.pin(connection, spki), self._trust_domain, ask.caller, now_us)
        plan.principal = principal
        if ask.invalid is not None:
            raise ask.invalid
        plan.granted = self._grant(connection, snapshot, ask, principal.name, now_us)
        decision = plan.granted.decision
        plan.answer = Answer(decision)
        if ask.dry_run:
            used = Volumes(connection, now_us).used(decision)
            check_volume(decision, used, ask.who.persons if isinstance(ask.who, Named) else 1, now_us)

    def _grant(self, connection: Connection, snapshot: Snapshot, ask: Ask, principal: str, now_us: int) -> Granted:
        """The decision, made once for equal requests of a day on one snapshot: nothing else goes into it."""
        question = (principal, ask.contract, ask.purpose, ask.fields, now_us // DAY, ask.release is not None)
        granted = self._granted.get(question)
        if granted is None or granted.snapshot is not snapshot:
            granted = self._granted_anew(connection, snapshot, ask, principal, now_us)
            if len(self._granted) >= MAX_GRANTED:
                self._granted.clear()
            self._granted[question] = granted
        return granted

    def _granted_anew(
        self, connection: Connection, snapshot: Snapshot, ask: Ask, principal: str, now_us: int
    ) -> Granted:
        if ask.release is not None:
            return grant_release(connection, snapshot, ask.contract)
        held = _own_contract(connection, snapshot, ask.contract, principal)
        versions = tuple(version for _, version in snapshot.policies)
        decision = decide(held.facts, snapshot.catalogue, principal, ask.purpose, ask.fields, now_us, versions)
        key = snapshot.recipient_key(connection, principal)
        return Granted(snapshot, held, key, decision, SliceMaker(self._vault, snapshot, held, decision))

    def _read(self, connection: Connection, plans: Sequence[Plan]) -> Mapping[int, Row[Any]]:
        """Step 2: one query for all named persons, one per page; sets whom each plan is about."""
        rows: dict[int, Row[Any]] = {}
        wanted: list[int] = []
        for plan in plans:
            if plan.granted is None or plan.ask.dry_run:
                continue
            who = plan.ask.who
            if isinstance(who, Named):
                persons = persons_of(plan.granted.held.handle_key, who.handles)
                plan.persons = [(h, p or 0) for h, p in zip(who.handles, persons, strict=True)]
                # A handle of nobody costs a look into the store like any other: how long it takes tells nothing.
                wanted += [person or NOBODY for person in persons if plan.exceeded is None]
            else:
                page = persons_after(connection, who.after, who.limit, plan.granted.decision.contract)
                rows.update((row.id, row) for row in page)
                self._take_page(plan, [row.id for row in page])
        rows.update((row.id, row) for row in read_persons(connection, wanted))
        return rows

    @staticmethod
    def _take_page(plan: Plan, persons: list[int]) -> None:
        if plan.granted is None or plan.answer is None:
            raise AssertionError
        handles = handles_of(plan.granted.held.handle_key, persons)
        # In the order of the handles, which is another one under every contract: no two recipients can join by it.
        plan.persons = sorted(zip(handles, persons, strict=True))
        plan.answer.last = persons[-1] if persons else 0

    def _seal_all(self, snapshot: Snapshot, plan: Plan, rows: Mapping[int, Row[Any]], now_us: int) -> None:
        """Steps 3 and 4 for one request, in disclosures of up to 256 persons."""
        answer, granted = plan.answer, plan.granted
        if answer is None or granted is None:
            raise AssertionError
        answer.looked_at = len(plan.persons)
        available = []
        for handle, person in plan.persons:
            row = rows.get(person)
            opened = None if row is None else self._open(granted, handle, row)
            if opened is None:
                answer.unavailable.append(handle)
            else:
                available.append(opened)
        contract = granted.decision.contract
        size = granted.release.chunk if granted.release else CHUNK
        for start in range(0, len(available), size):
            epoch = self._epochs.current(contract, granted.key, now_us)
            terms = granted.maker.terms(epoch, snapshot.policy(now_us), rfc3339(now_us))
            answer.sealed.append(granted.maker.make(epoch, terms, available[start : start + size]))
        if answer.sealed:
            answer.sealed[-1].unavailable = len(answer.unavailable)

    def _open(self, granted: Granted, handle: bytes, row: Row[Any]) -> Opened | None:
        """The person, opened; None if the decision does not admit it, or if its row is damaged.

        A damaged row is unavailable for everybody and stops nobody else's disclosure.
        """
        try:
            without = self._left_out(granted.decision, row)
            opened = None if without is None else granted.maker.open(handle, row, without)
            if opened is not None and granted.decision.question.rule is not ChoiceRule.NONE:
                require_chosen(row, opened.secret)
        except SlussError as error:
            if error.reason is not Reason.INTERNAL:
                raise
            log.error("a person's row does not open: %s", person_text(row.id))  # noqa: TRY400 - no values in logs
            return None
        return opened

    def _left_out(self, decision: Decision, row: Row[Any]) -> frozenset[str] | None:
        """The fields that the person's choices keep back; None if the decision does not admit the person.

        By the choices that the row claims: whoever goes on with the person has them proven first.
        """
        nobody_asked = decision.question.rule is ChoiceRule.NONE and decision.accepted is None
        if nobody_asked and decision.grant.population.everyone:
            return NO_FIELDS if on_record(row.state, decision.contract) else None
        facts = PersonFacts(
            id=row.id,
            active=on_record(row.state, decision.contract),
            choices=claimed_choices(row),
            value=lambda name: self._vault.open_fields(row, (name,), allow_financial=False).get(name),
            accepted=lambda versions: has_accepted(self._vault, row, versions),
            canary=row.state == canary_state(decision.contract),
        )
        return fields_left_out(decision, facts)

    # --- step 5 -------------------------------------------------------------------------------------

    def _append(self, snapshot: Snapshot, basis: Basis, plans: list[Plan]) -> list[Plan]:
        """Append what was prepared, or what is prepared anew if anything has moved; then the receipts.

        Anew is as of the entries' own time: what they pin is what is in force then.
        """
        with self._ledger.transaction() as tx:
            if tx.head.rights != basis.rights or _basis(snapshot, tx.at) != basis:
                asks = [plan.ask for plan in plans]
                plans = self._prepare(tx.connection, self._rights.at(tx.connection), asks, tx.at)
            for_real = [plan for plan in plans if not plan.ask.dry_run]
            self._find_retries(tx, for_real)
            used = self._append_disclosures(tx, for_real, tx.at)
            self._log_refusals(tx, for_real)
            fresh = self._epochs.store(tx.connection, used)
        self._epochs.stored(fresh)
        for plan in for_real:
            with Refusing(plan):
                self._add_proofs(tx, plan)
        return plans

    def _find_retries(self, tx: Tx, plans: Sequence[Plan]) -> None:
        asked = [plan for plan in plans if plan.answer and not plan.refused]
        known = requests.find(tx.connection, [plan.name for plan in asked])
        in_batch: set[requests.Name] = set()
        for plan in asked:
            plan.retry_of = known.get(plan.name)
            if plan.retry_of:
                with Refusing(plan):
                    requests.require_same(plan.retry_of, plan.ask.request_id, plan.ask.digest())
            elif plan.name in in_batch:
                plan.refused = SlussError(Reason.RATE_EXCEEDED, "the same request is in progress", retry_after_s="1")
            elif plan.ask.seen_size > tx.head.size:
                seen, size = str(plan.ask.seen_size), str(tx.head.size)
                plan.refused = SlussError(Reason.LEDGER_INCONSISTENT, seen_size=seen, size=size)
            in_batch.add(plan.name)

    def _append_disclosures(self, tx: Tx, plans: Sequence[Plan], now_us: int) -> set[bytes]:
        """Volumes, entries, days of deletion, request ids of what is disclosed; the epochs used, as encapsulations."""
        volumes, retentions = Volumes(tx.connection, now_us), Retentions(tx.connection)
        remembered: list[tuple[requests.Name, requests.Known]] = []
        used: set[bytes] = set()
        for plan in plans:
            answer = plan.answer
            if plan.refused or plan.retry_of or answer is None:
                continue
            if plan.exceeded is not None:
                plan.refused = plan.exceeded
                continue
            persons = sum(len(sealed.slices) for sealed in answer.sealed)
            with Refusing(plan):
                # By those asked for: a refusal must not tell how many of the persons named are available.
                asked = plan.ask.who.persons if isinstance(plan.ask.who, Named) else persons
                volumes.take(answer.decision, persons, asked)
            if plan.refused or plan.granted is None:
                continue
            if plan.granted.release is not None:
                plan.granted.release.moved(tx.connection, plan.ask, answer)
            if not answer.sealed:
                if isinstance(plan.ask.who, Named) or plan.granted.release is not None:
                    reply = answer.last.to_bytes(8, "big")
                    remembered.append((plan.name, requests.Known(plan.ask.digest(), tx.size, 0, reply)))
                continue
            for sealed in answer.sealed:
                self._append_one(tx, plan, sealed, now_us)
                if plan.granted.release is None:
                    retentions.take(sealed.terms, sealed.index)
            used.update(sealed.epoch for sealed in answer.sealed)
            reply = answer.last.to_bytes(8, "big")
            known = requests.Known(plan.ask.digest(), answer.sealed[0].index, len(answer.sealed), reply)
            remembered.append((plan.name, known))
        volumes.save()
        retentions.save()
        requests.remember(tx.connection, remembered, now_us)
        return used

    @staticmethod
    def _append_one(tx: Tx, plan: Plan, sealed: Sealed, now_us: int) -> None:
        by = plan.principal.name if plan.principal else ""
        if plan.granted is not None and plan.granted.release is not None:
            plan.granted.release.append(tx, sealed, by)
            return
        sealed.entry = entry.disclosure(now_us, sealed.terms, sealed.listed, sealed.unavailable)
        sealed.index = tx.append(sealed.entry, contract=plan.ask.contract, recipient=by, persons=sealed.persons)

    def _add_proofs(self, tx: Tx, plan: Plan) -> None:
        """Step 6 begins: the commit stands, so receipts can be given."""
        if plan.refused or plan.retry_of or plan.answer is None:
            return
        for sealed in plan.answer.sealed:
            sealed.receipt = tx.receipt(sealed.index)
        plan.answer.size = tx.size
        if plan.ask.seen_size:
            plan.answer.consistency = tx.consistency(plan.ask.seen_size)

    # --- retries ------------------------------------------------------------------------------------

    def _answer_again(self, connection: Connection, plan: Plan) -> None:
        """Seal the persons of the first answer once more under its terms; other bytes than then are refused.

        Raises:
            SlussError: RECORD_CHANGED when the first answer can't be given again.
        """
        known, answer, granted = plan.retry_of, plan.answer, plan.granted
        if known is None or answer is None or granted is None:
            raise AssertionError
        last = int.from_bytes(known.reply, "big")
        again = Answer(answer.decision, looked_at=len(plan.persons), last=last)
        left = deque(self._candidates(connection, plan, last))
        epochs: dict[str, Epoch] = {}
        stored = self._ledger.entries(known.first_entry, known.entries)
        if len(stored) != known.entries:
            raise SlussError(Reason.RECORD_CHANGED)
        for found in stored:
            written, opening = (found.entry, None)
            if granted.release is not None:
                written, opening = granted.release.opened(connection, found)
            first = entry.parse(written)
            name = first["terms"]["epoch"]
            if name not in epochs:
                epochs[name] = self._epochs.load(connection, unbase64(name, EPOCH_ID_BYTES))
            sealed = granted.maker.remake(epochs[name], first, left)
            sealed.entry, sealed.index, sealed.opening = written, found.index, opening
            again.sealed.append(sealed)
        if again.sealed:
            self._require_still_had(connection, granted, again.sealed)
        if isinstance(plan.ask.who, Named):
            given = {made[1:17] for sealed in again.sealed for made in sealed.slices}
            again.unavailable = [handle for handle in plan.ask.who.handles if handle not in given]
        state = self._ledger.state(max(known.first_entry + known.entries, plan.ask.seen_size))
        for sealed in again.sealed:
            sealed.receipt = state.receipt(sealed.index)
        again.size = state.tree.size
        if plan.ask.seen_size:
            again.consistency = state.tree.consistency(plan.ask.seen_size)
        plan.answer = again

    @staticmethod
    def _require_still_had(connection: Connection, granted: Granted, again: Sequence[Sealed]) -> None:
        """Refuse to give again what its recipient has attested to be gone, or what was sealed to a stolen key.

        Raises:
            SlussError: RECORD_CHANGED, LEDGER_INCONSISTENT.
        """
        # All disclosures of an answer have one recipient, contract and retention date.
        index, terms = again[0].index, again[0].terms
        ids = [person for sealed in again for person in sealed.persons]
        if granted.release is None and is_gone(connection, granted.snapshot.standing, index, terms, ids):
            raise SlussError(Reason.RECORD_CHANGED, disclosure=again[0].disclosure)
        granted.snapshot.require_not_stolen(connection, granted.held.facts.subcontractor, index)

    def _candidates(self, connection: Connection, plan: Plan, last: int) -> list[Candidate]:
        """Those of the persons asked for who may be disclosed now, as their choices are now; in the order of then."""
        granted, answer, who = plan.granted, plan.answer, plan.ask.who
        if granted is None or answer is None:
            raise AssertionError
        if isinstance(who, Named):
            rows = {row.id: row for row in read_persons(connection, [p for _, p in plan.persons if p])}
            pairs = [(handle, rows[person]) for handle, person in plan.persons if person in rows]
        else:
            page = _persons_between(connection, who.after, last, who.limit, answer.decision.contract)
            handles = handles_of(granted.held.handle_key, [row.id for row in page])
            pairs = sorted(zip(handles, page, strict=True), key=itemgetter(0))
        found = (self._candidate(answer.decision, handle, row) for handle, row in pairs)
        return [each for each in found if each is not None]

    def _candidate(self, decision: Decision, handle: bytes, row: Row[Any]) -> Candidate | None:
        """The person as `_left_out` has them, by choices that are proven; None for a damaged row, too."""
        try:
            without = self._left_out(decision, row)
            secret = b"" if without is None else self._vault.person_secret(row)
            if secret and decision.question.rule is not ChoiceRule.NONE:
                require_chosen(row, secret)
        except SlussError as error:
            if error.reason is not Reason.INTERNAL:
                raise
            return None
        return None if without is None else Candidate(handle, row, without, secret)

    def _log_late_refusals(self, plans: Sequence[Plan]) -> None:
        if plans:
            self._ledger.run(lambda tx: self._log_refusals(tx, plans))

    def _log_refusals(self, tx: Tx, plans: Sequence[Plan]) -> None:
        found = [refusal for plan in plans if (refusal := refusal_of(plan)) is not None]
        if found:
            self._refusals.append(tx, found, self._rights.at(tx.connection).catalogue)

    @staticmethod
    def _outcome(plan: Plan) -> Outcome:
        if plan.refused is not None:
            return plan.refused
        if plan.answer is None:
            raise AssertionError
        return plan.answer


def _basis(snapshot: Snapshot, now_us: int) -> Basis:
    return Basis(snapshot.rights, now_us // DAY, snapshot.policy_if_any(now_us))


def _persons_between(connection: Connection, after: int, last: int, limit: int, contract: str) -> list[Row[Any]]:
    """Those on record with ids above `after` up to `last`: the page of a first answer and who came between since."""
    found: list[Row[Any]] = []
    while after < last:
        page = persons_after(connection, after, limit, contract)
        found += [row for row in page if row.id <= last]
        after = page[-1].id if page else last
    return found


def _own_contract(connection: Connection, snapshot: Snapshot, contract: str, principal: str) -> HeldContract:
    """The contract, if it is the caller's; a subcontractor is not told whether someone else's exists.

    Raises:
        SlussError: NOT_YOUR_CONTRACT.
    """
    held = own(lambda: snapshot.contract(connection, contract), contract)
    if held.facts.subcontractor != principal:
        raise not_yours(contract)
    return held
