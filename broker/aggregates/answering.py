"""The spine of anonymous information: one question on its way from the caller to an answer in the ledger.

    1. decide    authorise; what is asked, out of which budget; known answers are given at once
    2. count     exact totals outside every lock; each person bounded
    3. draw      noise over all of them; what too few persons may be behind is left out
    4. settle    under the head's lock: decide again, spend epsilon and delta, append the entry, keep the answer; one
                 transaction
    5. reply     what is answered is durable and has a receipt

Of two equal questions in flight, on one machine or on two, one is drawn and kept, and the other gets its bytes. A
broker that dies between 4 and 5 has spent, and the same question gets the kept answer. Where a person was erased
between 2 and 4, it is counted anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from broker.aggregates import answers, budget, noise, recording
from broker.aggregates.counting import count
from broker.aggregates.question import FREE, Cost
from broker.aggregates.rules import Limit, Permit, decide
from broker.errors import Reason, SlussError, invalid
from broker.ledger import entry
from broker.ledger.rows import stored_entries
from broker.rights import own
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from broker.aggregates.answers import Answer
    from broker.aggregates.budget import Standing
    from broker.aggregates.question import Asked
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.ledger.log import Ledger

ANSWER = tables.core(tables.AggregateAnswer)
RELEASE = tables.core(tables.AggregateRelease)
ATTEMPTS: Final = 4
"""How often a question is counted anew, when persons are erased while it is counted."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as it came, with the contract that it quotes; empty for the company's own analysis."""

    contract: str
    purpose: str
    asked: Asked


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with what proves it: the entry's index and bytes, its receipt; and what it has cost."""

    answer: Answer
    index: int
    entry: bytes
    receipt: str
    spent: Cost
    budget: Standing


@dataclass(frozen=True, slots=True)
class _Plan:
    """Step 1's outcome: the permit, the answer if it is known, how much had been forgotten, and a final outcome."""

    permit: Permit
    known: Answer | None
    forgotten: int
    settled: _Settled | None


@dataclass(frozen=True, slots=True)
class _Settled:
    """Step 4's outcome."""

    answer: Answer
    index: int
    spent: Cost
    budget: Standing


class Questions:
    """Answers questions. Safe to use from several threads; several processes may share the store."""

    def __init__(self, engine: Engine, ledger: Ledger, desk: Desk, retention_months: int) -> None:
        self._engine = engine
        self._ledger = ledger
        self._desk = desk
        self._retention_months = retention_months

    def answer(self, caller: Caller, parse: Callable[[], Ask], stop: Callable[[], None]) -> Reply:
        """The answer to a question.

        Args:
            caller: authorised first.
            parse: gives the question; called once the caller is authorised.
            stop: called now and then while counting; raises if nobody waits any more.

        Raises:
            SlussError: of authorisation, of `parse`, of `rules.decide`; INVALID_REQUEST for days whose events are gone;
                BUDGET_EXCEEDED; AGGREGATES_NOT_INSTALLED; LEDGER_INCONSISTENT for a kept answer that is not the
                ledger's; LEDGER_UNAVAILABLE, after which asking again is safe.
        """
        for _ in range(ATTEMPTS):
            settled = self._settled(caller, parse, stop)
            if settled is not None:
                # 5.
                return self._reply(settled)
        raise SlussError(Reason.OVERLOADED, "persons are being erased while it is counted", retry_after_s="1")

    def _settled(self, caller: Caller, parse: Callable[[], Ask], stop: Callable[[], None]) -> _Settled | None:
        """Steps 1 to 4; None if what was counted does not hold any more."""
        # 1.
        plan = self._desk.read(caller, lambda view: _plan(view, parse(), self._retention_months))
        if plan.settled is not None:
            return plan.settled
        drawn = plan.known
        if drawn is None:
            # 2. and 3.
            drawn = answers.draw(plan.permit.question, count(self._engine, plan.permit.question, stop))
        # 4.
        return self._desk.change(caller, lambda change: _settle(change, parse(), plan, drawn, self._retention_months))

    def _reply(self, settled: _Settled) -> Reply:
        found = self._ledger.entry(settled.index)
        receipt = self._ledger.receipt(settled.index)
        return Reply(settled.answer, settled.index, found.entry, receipt, settled.spent, settled.budget)


def permit(view: View, ask: Ask) -> Permit:
    """Whether the caller may ask, on the rights as they stand.

    Raises:
        SlussError: as `rules.decide`; INVALID_REQUEST for a contract quoted by the company's own people, or by nobody.
    """
    contract = None
    if view.principal.kind == "subcontractor":
        contract = own(lambda: view.snapshot.contract(view.connection, ask.contract), ask.contract).facts
    elif ask.contract:
        raise invalid("contract_id", "the company's own analysis is under no contract")
    name = view.principal.name
    return decide(contract, view.snapshot.catalogue, name, ask.purpose, ask.asked, view.now_us)


def _plan(view: View, ask: Ask, retention_months: int) -> _Plan:
    noise.require()
    found = permit(view, ask)
    known = _known(view, found)
    if known is None:
        recording.require_kept(found.question.first_day, view.now_us, retention_months)
    else:
        index = _released(view.connection, found, view.principal.name)
        if index is not None:
            settled = _Settled(known, index, FREE, budget.standing(view.connection, found.own, view.now_us))
            return _Plan(found, known, 0, settled)
    # Refused before anything is counted, and again under the lock.
    _require_budgets(view, found, known)
    return _Plan(found, known, recording.forgotten(view.connection), None)


def _settle(change: Change, ask: Ask, plan: _Plan, drawn: Answer, retention_months: int) -> _Settled | None:
    """Step 4; None if what was counted does not hold any more.

    Raises:
        SlussError: what the rights as they stand now, or the budget, refuse; INVALID_REQUEST for days whose events
            went while it was counted.
    """
    connection, now_us, recipient = change.connection, change.now_us, change.principal.name
    found = permit(change, ask)
    if found.question.digest != plan.permit.question.digest:
        return None
    known = _known(change, found)
    index = _released(connection, found, recipient) if known else None
    if known is not None and index is not None:
        return _Settled(known, index, FREE, budget.standing(connection, found.own, now_us))
    if known is None:
        if recording.forgotten(connection) != plan.forgotten:
            return None
        # A month may have turned while it was counted, and taken events with it.
        recording.require_kept(found.question.first_day, now_us, retention_months)
    charges = _require_budgets(change, found, known)
    answer = known or drawn
    for limit, charged in charges:
        budget.spend(connection, limit, charged, now_us)
    cost = charges[0][1]
    standing = budget.standing(connection, found.own, now_us)
    index = change.tx.append(
        _entry(change, found, answer, cost, standing), contract=found.contract, recipient=recipient
    )
    if known is None:
        connection.execute(insert(ANSWER).values(question=found.question.digest, answer=answer.data, entry=index))
    connection.execute(
        insert(RELEASE).values(
            owner=found.own.owner,
            recipient=recipient,
            purpose=found.purpose,
            question=found.question.digest,
            entry=index,
        )
    )
    return _Settled(answer, index, cost, standing)


def _require_budgets(view: View, found: Permit, known: Answer | None) -> list[tuple[Limit, Cost]]:
    """What the question costs each budget, its owner's first, if all of them cover it.

    Who learns pays: a budget pays for an answer once, and that of everybody when its noise is drawn.

    Raises:
        SlussError: BUDGET_EXCEEDED.
    """
    cost = found.question.cost
    charges = [(found.own, FREE if known and _paid(view.connection, found, owner=found.own.owner) else cost)]
    if found.recipient is not None:
        had = known and _paid(view.connection, found, recipient=found.recipient.owner)
        charges.append((found.recipient, FREE if had else cost))
    charges.append((found.everybody, FREE if known else cost))
    for limit, charged in charges:
        budget.require(budget.standing(view.connection, limit, view.now_us), charged, found, view.now_us)
    return charges


def _entry(change: Change, found: Permit, answer: Answer, cost: Cost, standing: Standing) -> bytes:
    return entry.aggregate(
        change.now_us,
        contract=found.contract,
        contract_version=found.version,
        recipient=change.principal.name,
        purpose=found.purpose,
        event=found.question.event,
        question=found.question.digest,
        answer=hashlib.sha256(answer.data).digest(),
        cells=answer.released,
        suppressed=answer.suppressed,
        min_persons=found.question.min_persons,
        noise=str(found.question.noise),
        epsilon_micro=cost.micro,
        delta_nano=cost.delta_nano,
        spent_micro=standing.spent.micro,
        spent_delta_nano=standing.spent.delta_nano,
        period=standing.name,
        policy=change.snapshot.policy(change.now_us),
    )


def _known(view: View, found: Permit) -> Answer | None:
    """The answer that is kept.

    Raises:
        SlussError: LEDGER_INCONSISTENT if it is not the one for which the ledger has an entry.
    """
    digest = found.question.digest
    row = view.connection.execute(
        select(ANSWER.c.answer, ANSWER.c.entry).where(ANSWER.c.question == digest)
    ).one_or_none()
    if row is None:
        return None
    data = bytes(row.answer)
    entries = stored_entries(view.connection, [row.entry])
    view.snapshot.standing.prove(view.connection, entries)
    said = entry.parse(entries[0].entry) if entries else {}
    meant = entry.base64url(digest), entry.base64url(hashlib.sha256(data).digest())
    if (said.get("question"), said.get("sha256")) != meant:
        raise SlussError(Reason.LEDGER_INCONSISTENT, "the kept answer is not the one that is in the ledger")
    return answers.read(data)


def _released(connection: Connection, found: Permit, recipient: str) -> int | None:
    """The entry by which this recipient has got the answer for this purpose."""
    index: int | None = connection.execute(
        select(RELEASE.c.entry).where(
            RELEASE.c.owner == found.own.owner,
            RELEASE.c.recipient == recipient,
            RELEASE.c.purpose == found.purpose,
            RELEASE.c.question == found.question.digest,
        )
    ).scalar_one_or_none()
    return index


def _paid(connection: Connection, found: Permit, **whose: str) -> bool:
    """Whether an owner or a recipient has got the answer before, for whatever purpose."""
    row = connection.execute(
        select(RELEASE.c.entry).filter_by(**whose).where(RELEASE.c.question == found.question.digest).limit(1)
    ).one_or_none()
    return row is not None
