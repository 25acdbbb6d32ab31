"""The spine of anonymous information: one question on its way from the caller to an answer in the ledger.

    1. decide    authorise; what is asked, out of which budget; known answers are given at once
    2. count     exact totals outside every lock; each person bounded
    3. draw      noise over all of them; what too few persons may be behind is left out
    4. settle    under the head's lock: decide again, spend, append the entry, keep the answer; one transaction
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
from broker.aggregates.rules import Permit, decide
from broker.errors import Reason, SlussError, invalid
from broker.ledger import entry
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
    spent: int
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
    spent: int
    budget: Standing


class Questions:
    """Answers questions. Safe to use from several threads; several processes may share the store."""

    def __init__(self, engine: Engine, ledger: Ledger, desk: Desk) -> None:
        self._engine = engine
        self._ledger = ledger
        self._desk = desk

    def answer(self, caller: Caller, parse: Callable[[], Ask], stop: Callable[[], None]) -> Reply:
        """The answer to a question.

        Args:
            caller: authorised first.
            parse: gives the question; called once the caller is authorised.
            stop: called now and then while counting; raises if nobody waits any more.

        Raises:
            SlussError: of authorisation, of `parse`, of `rules.decide`; BUDGET_EXCEEDED; AGGREGATES_NOT_INSTALLED;
                LEDGER_UNAVAILABLE, after which asking again is safe.
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
        plan = self._desk.read(caller, lambda view: _plan(view, parse()))
        if plan.settled is not None:
            return plan.settled
        drawn = plan.known
        if drawn is None:
            # 2. and 3.
            drawn = answers.draw(plan.permit.question, count(self._engine, plan.permit.question, stop))
        # 4.
        return self._desk.change(caller, lambda change: _settle(change, parse(), plan, drawn))

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


def _plan(view: View, ask: Ask) -> _Plan:
    noise.require()
    found = permit(view, ask)
    known = _known(view.connection, found)
    if known is not None:
        index = _released(view.connection, found, view.principal.name)
        if index is not None:
            settled = _Settled(known, index, 0, budget.standing(view.connection, found.own, view.now_us))
            return _Plan(found, known, 0, settled)
    # Refused before anything is counted, and again under the lock.
    _require_budgets(view, found, known)
    return _Plan(found, known, recording.forgotten(view.connection), None)


def _settle(change: Change, ask: Ask, plan: _Plan, drawn: Answer) -> _Settled | None:
    """Step 4; None if what was counted does not hold any more.

    Raises:
        SlussError: what the rights as they stand now, or the budget, refuse.
    """
    connection, now_us, recipient = change.connection, change.now_us, change.principal.name
    found = permit(change, ask)
    if found.question.digest != plan.permit.question.digest:
        return None
    known = _known(connection, found)
    index = _released(connection, found, recipient) if known else None
    if known is not None and index is not None:
        return _Settled(known, index, 0, budget.standing(connection, found.own, now_us))
    if known is None and recording.forgotten(connection) != plan.forgotten:
        return None
    cost = _require_budgets(change, found, known)
    answer = known or drawn
    budget.spend(connection, found.own, cost, now_us)
    if known is None:
        budget.spend(connection, found.everybody, found.question.cost_micro, now_us)
        connection.execute(insert(ANSWER).values(question=found.question.digest, answer=answer.data, at=now_us))
    standing = budget.standing(connection, found.own, now_us)
    index = change.tx.append(
        _entry(change, found, answer, cost, standing), contract=found.contract, recipient=recipient
    )
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


def _require_budgets(view: View, found: Permit, known: Answer | None) -> int:
    """What the question costs its asker, if both budgets cover it: nothing if its budget has paid for it before.

    Raises:
        SlussError: BUDGET_EXCEEDED.
    """
    paid = known is not None and _paid(view.connection, found)
    cost = 0 if paid else found.question.cost_micro
    budget.require(budget.standing(view.connection, found.own, view.now_us), cost, found, view.now_us)
    if known is None:
        everybody = budget.standing(view.connection, found.everybody, view.now_us)
        budget.require(everybody, found.question.cost_micro, found, view.now_us)
    return cost


def _entry(change: Change, found: Permit, answer: Answer, cost: int, standing: Standing) -> bytes:
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
        epsilon_micro=cost,
        spent_micro=standing.spent,
        period=standing.name,
        policy=change.snapshot.policy(change.now_us),
    )


def _known(connection: Connection, found: Permit) -> Answer | None:
    data = connection.execute(
        select(ANSWER.c.answer).where(ANSWER.c.question == found.question.digest)
    ).scalar_one_or_none()
    return None if data is None else answers.read(bytes(data))


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


def _paid(connection: Connection, found: Permit) -> bool:
    """Whether the budget has paid for this question before, for whatever purpose."""
    row = connection.execute(
        select(RELEASE.c.entry)
        .where(RELEASE.c.owner == found.own.owner, RELEASE.c.question == found.question.digest)
        .limit(1)
    ).one_or_none()
    return row is not None
