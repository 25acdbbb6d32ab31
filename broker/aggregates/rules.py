"""Who may ask what about usage, and out of which budget. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.aggregates.question import Asked, Cost, Question, canonical, require_closed, required_rules
from broker.catalogue import Kind
from broker.catalogue.usage import Period
from broker.contracts import ContractFacts, find_grant, require_live
from broker.errors import Reason, SlussError, invalid

if TYPE_CHECKING:
    from broker.catalogue import Catalogue
    from broker.contracts import AggregateTerms

ANALYSIS: Final = "analysis"
"""Whose budget the company's own analysis is spent from."""
EVERYBODY: Final = "everybody"
"""The budget of all of them together."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A privacy budget: whose, for how long, and how much."""

    owner: str
    period: Period
    most: Cost


@dataclass(frozen=True, slots=True)
class Permit:
    """A yes, with all that it rests on.

    Attributes:
        contract: the contract's id; empty for the company's own analysis.
        version: the contract version that decided, or 0.
        purpose: the purpose.
        question: the question in its one form.
        own: the budget of the contract, or of the company's own analysis.
        recipient: the budget of the recipient over all of its contracts; None for the company's own analysis.
        everybody: the budget of all together, spent when an answer is drawn.
    """

    contract: str
    version: int
    purpose: str
    question: Question
    own: Limit
    recipient: Limit | None
    everybody: Limit


def decide(
    contract: ContractFacts | None, catalogue: Catalogue, principal: str, purpose: str, asked: Asked, now_us: int
) -> Permit:
    """Whether the principal may ask this for this purpose, now.

    1. The contract is the caller's and live; the company's own people ask without one.
    2. The purpose exists, is of class anonymous, and a grant covers it.
    3. The question is one that the catalogue can answer.
    4. The grant names the event, and every dimension that is grouped or filtered by.
    5. The noise is of a kind whose cost the budget has anything of: Gaussian noise costs delta, too.
    6. Every day asked about is closed.

    Args:
        contract: the contract as it stands, or None.
        catalogue: what is counted, and the purpose table in force.
        principal: the caller's name.
        purpose: the purpose's code.
        asked: the question.
        now_us: microseconds since 1970 UTC.

    Raises:
        SlussError: with the reason that names what is out of scope.
    """
    # 1. and 2.
    terms = None
    if contract is not None:
        if contract.subcontractor != principal:
            raise SlussError(Reason.NOT_YOUR_CONTRACT, contract=contract.id)
        agreed = require_live(contract, now_us)
        _require_anonymous(catalogue, purpose, contract.id)
        terms = find_grant(agreed, contract.id, purpose).aggregate
        if terms is None:
            raise SlussError(Reason.PURPOSE_OUT_OF_SCOPE, contract=contract.id, purpose=purpose)
    else:
        _require_anonymous(catalogue, purpose, "")
    # 3.
    question = canonical(asked, catalogue, terms.min_persons if terms else 0)
    # 4.
    if contract is not None and terms is not None:
        _require_granted(terms, question, contract.id, purpose)
    own = limit_of(contract.id if contract else "", terms, catalogue)
    # 5.
    if question.cost.delta_nano and not own.most.delta_nano:
        raise invalid("noise", "gaussian noise costs delta, and the budget has none: ask for laplace")
    # 6.
    rules = required_rules(catalogue)
    require_closed(question, now_us, rules.closing_days)
    return Permit(
        contract.id if contract else "",
        contract.version if contract else 0,
        purpose,
        question,
        own,
        recipient_limit(principal, catalogue) if contract else None,
        everybody(catalogue),
    )


def limit_of(contract: str, terms: AggregateTerms | None, catalogue: Catalogue) -> Limit:
    """The budget of a contract, or of the company's own analysis: never more than the catalogue's."""
    rules = required_rules(catalogue)
    if terms is None:
        return Limit(ANALYSIS, rules.period, Cost(rules.analysis_micro, rules.analysis_delta_nano))
    most = Cost(min(terms.budget_micro, rules.budget_micro), min(terms.delta_nano, rules.budget_delta_nano))
    return Limit(contract, Period(terms.period), most)


def recipient_limit(recipient: str, catalogue: Catalogue) -> Limit:
    """The budget of a recipient, over all of its contracts: another contract gives nothing more."""
    rules = required_rules(catalogue)
    return Limit(recipient, rules.period, Cost(rules.budget_micro, rules.budget_delta_nano))


def everybody(catalogue: Catalogue) -> Limit:
    """The budget of everybody together."""
    rules = required_rules(catalogue)
    return Limit(EVERYBODY, rules.period, Cost(rules.total_micro, rules.total_delta_nano))


def _require_anonymous(catalogue: Catalogue, purpose: str, contract: str) -> None:
    named = {"contract": contract, "purpose": purpose} if contract else {"purpose": purpose}
    if catalogue.purpose(purpose).kind is not Kind.ANONYMOUS:
        raise SlussError(Reason.PURPOSE_OUT_OF_SCOPE, f"{purpose} is not of class anonymous", **named)


def _require_granted(terms: AggregateTerms, question: Question, contract: str, purpose: str) -> None:
    granted = {each.event: each.dimensions for each in terms.events}
    used = {*question.group_by, *(name for name, _ in question.filters)} - {"day", "month"}
    missing = [question.event] if question.event not in granted else sorted(used - set(granted[question.event]))
    if missing:
        raise SlussError(
            Reason.FIELD_OUT_OF_SCOPE,
            f"the contract does not grant {missing[0]} for {purpose}",
            contract=contract,
            purpose=purpose,
            field=missing[0],
        )
