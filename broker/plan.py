"""One request on its way through the spine: what is known of it, and what becomes of it."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from broker import requests
from broker.asks import CHUNK, Answer, Ask, Named, Page
from broker.errors import Reason, SlussError
from broker.refusals import UNKNOWN_PRINCIPAL, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from broker.contracts import Decision
    from broker.identity import Principal
    from broker.legal.releasing import ReleaseWriter
    from broker.rights import HeldContract, Snapshot
    from broker.sealing import RecipientPublicKey
    from broker.slices import SliceMaker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Granted:
    """A yes of step 1 and what steps 2 to 4 need for it."""

    snapshot: Snapshot
    held: HeldContract
    key: RecipientPublicKey
    decision: Decision
    maker: SliceMaker
    release: ReleaseWriter | None = None


class Basis(NamedTuple):
    """What decisions rest on.

    Attributes:
        rights: the count of rights.
        day: the day (UTC), which ends validities.
        policy: the policy version in force, which is pinned into the terms; when the next takes effect is known before,
            so no count of rights moves then.
    """

    rights: int
    day: int
    policy: str


@dataclass(slots=True)
class Plan:
    """One request on its way through the steps. `refused` ends it; `exceeded` will, unless it is a retry."""

    ask: Ask
    principal: Principal | None = None
    granted: Granted | None = None
    answer: Answer | None = None
    persons: list[tuple[bytes, int]] = field(default_factory=list)
    refused: SlussError | None = None
    exceeded: SlussError | None = None
    retry_of: requests.Known | None = None

    @property
    def name(self) -> requests.Name:
        """Under which the request is remembered; a part of a release is the case's, whoever asks for it."""
        if self.ask.release is not None:
            return self.ask.contract, self.ask.request_id
        return (self.principal.name if self.principal else UNKNOWN_PRINCIPAL), self.ask.request_id


class Refusing:
    """Around a step for one plan: if it refuses, the plan is refused and the rest of the batch goes on.

    What concerns the whole batch passes: a store that does not answer, an interruption.
    """

    __slots__ = ("_plan",)

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, SlussError) and error.reason is not Reason.LEDGER_UNAVAILABLE:
            self._plan.refused = error
            return True
        if isinstance(error, Exception) and not isinstance(error, SlussError | SQLAlchemyError):
            reference = secrets.token_hex(4)
            log.error("a request failed: %s, reference %s", type(error).__name__, reference)
            self._plan.refused = SlussError(Reason.INTERNAL, reference=reference)
            return True
        return False


def spare_retries(connection: Connection, plans: Sequence[Plan]) -> None:
    """Mark large requests that were answered before: nobody is read or sealed for them twice.

    That one is a retry still has to show under the lock. If its answer was forgotten in between, it is asked again.
    """
    large = [plan for plan in plans if plan.answer and not plan.ask.dry_run and plan.ask.who.persons > CHUNK]
    known = requests.find(connection, [plan.name for plan in large]) if large else {}
    for plan in large:
        if plan.name in known:
            plan.exceeded = SlussError(Reason.RATE_EXCEEDED, "its answer is being forgotten", retry_after_s="1")


def refusal_of(plan: Plan) -> Refusal | None:
    """What the ledger says of a plan that was refused, or that found nobody available."""
    answer = plan.answer
    if plan.refused is not None:
        reason = plan.refused.reason
        if reason is Reason.RATE_EXCEEDED:
            return None
    elif plan.retry_of is None and answer and answer.unavailable and not answer.sealed:
        if isinstance(plan.ask.who, Page) or plan.ask.release is not None:
            return None
        reason = Reason.PERSON_UNAVAILABLE
    else:
        return None
    ask = plan.ask
    told = plan.refused.metadata if plan.refused else {}
    name = plan.principal.name if plan.principal else told.get("principal", UNKNOWN_PRINCIPAL)
    if ask.release is not None:
        # A case may be hidden, and refusals are not: what is refused of one tells neither which nor how many persons.
        return Refusal(name, ask.caller.method, reason, "", "", (), 0)
    persons = ask.who.persons if isinstance(ask.who, Named) else 0
    return Refusal(name, ask.caller.method, reason, ask.contract, ask.purpose, ask.fields, persons)
