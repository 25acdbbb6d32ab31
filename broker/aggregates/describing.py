"""What may be asked about usage, what it costs, and what is left of a budget. No personal data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.aggregates import budget, noise
from broker.aggregates.answers import usual_threshold
from broker.aggregates.question import Cost, last_closed_day, required_rules
from broker.aggregates.recording import first_kept_day
from broker.aggregates.rules import Limit, everybody, limit_of, recipient_limit
from broker.catalogue import Kind
from broker.contracts import find_grant, require_live
from broker.errors import Reason, SlussError
from broker.rights import own

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from broker.aggregates.budget import Standing
    from broker.catalogue import Attribute, Event, Purpose
    from broker.contracts import AggregateTerms, ContractFacts
    from broker.desk import View


@dataclass(frozen=True, slots=True)
class EventScope:
    """An event that may be asked about, and what it can be grouped and filtered by.

    `persons_needed` is the usual threshold of a cell; 0 where opendp is not installed.
    """

    event: Event
    dimensions: tuple[Attribute, ...]
    persons_needed: int


@dataclass(frozen=True, slots=True)
class PurposeScope:
    """A purpose of class anonymous that may be named, and the events for it."""

    purpose: Purpose
    events: tuple[EventScope, ...]
    min_persons: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be asked now; `not_live_reason` is empty where questions are answered."""

    scopes: tuple[PurposeScope, ...]
    budget: Standing
    first_kept_day: date
    last_closed_day: date
    each: Cost
    """What each measure costs, with Gaussian noise: without it no delta."""
    not_live_reason: str


def describe(view: View, contract: str, retention_months: int) -> Scope:
    """What may be asked under a contract; without one, by the company's own people.

    Raises:
        SlussError: NOT_YOUR_CONTRACT, CONTRACT_UNKNOWN, CONTRACT_NOT_ACCEPTED; PURPOSE_OUT_OF_SCOPE for a contract
            that grants nothing to count.
    """
    rules = required_rules(view.snapshot.catalogue)
    facts = contract_facts(view, contract)
    return Scope(
        scopes=tuple(_purposes(view, facts)),
        budget=own_budget(view, facts),
        first_kept_day=first_kept_day(view.now_us, retention_months),
        last_closed_day=last_closed_day(view.now_us, rules.closing_days),
        each=Cost(rules.epsilon_micro, rules.delta_nano),
        not_live_reason=_not_live(facts, view.now_us) if facts else "",
    )


def contract_facts(view: View, contract: str) -> ContractFacts | None:
    """The contract, if the caller may see it; None for the company's own analysis.

    Raises:
        SlussError: NOT_YOUR_CONTRACT, CONTRACT_UNKNOWN.
    """
    if view.principal.kind != "subcontractor":
        return view.snapshot.contract(view.connection, contract).facts if contract else None
    facts = own(lambda: view.snapshot.contract(view.connection, contract), contract).facts
    if facts.subcontractor != view.principal.name:
        raise SlussError(Reason.NOT_YOUR_CONTRACT, contract=facts.id)
    return facts


def own_budget(view: View, facts: ContractFacts | None) -> Standing:
    """The budget of a contract, or of the company's own analysis, as it stands.

    A contract may have several grants to count by, each with a limit of its own on the one budget: the largest is told.

    Raises:
        SlussError: CONTRACT_NOT_ACCEPTED; PURPOSE_OUT_OF_SCOPE for a contract that grants nothing to count.
    """
    catalogue = view.snapshot.catalogue
    if facts is None:
        limit = limit_of("", None, catalogue)
    else:
        limits = [limit_of(facts.id, terms, catalogue) for terms in _granted(facts).values()]
        if not limits:
            raise SlussError(
                Reason.PURPOSE_OUT_OF_SCOPE, "the contract grants nothing that is counted", contract=facts.id
            )
        most = Cost(max(each.most.micro for each in limits), max(each.most.delta_nano for each in limits))
        limit = Limit(facts.id, max(limits, key=lambda each: each.most.micro).period, most)
    return budget.standing(view.connection, limit, view.now_us)


def recipients_budget(view: View, facts: ContractFacts | None) -> Standing | None:
    """The budget of a contract's recipient over all of its contracts."""
    if facts is None:
        return None
    return budget.standing(view.connection, recipient_limit(facts.subcontractor, view.snapshot.catalogue), view.now_us)


def everybodys_budget(view: View) -> Standing | None:
    """The budget of all together; not for a subcontractor, who could see in it what others ask."""
    if view.principal.kind == "subcontractor":
        return None
    return budget.standing(view.connection, everybody(view.snapshot.catalogue), view.now_us)


def _granted(facts: ContractFacts) -> Mapping[str, AggregateTerms]:
    if facts.terms is None:
        raise SlussError(Reason.CONTRACT_NOT_ACCEPTED, contract=facts.id)
    return {grant.purpose: grant.aggregate for grant in facts.terms.grants if grant.aggregate}


def _not_live(facts: ContractFacts, now_us: int) -> str:
    try:
        require_live(facts, now_us)
    except SlussError as error:
        return str(error.reason)
    return ""


def _purposes(view: View, facts: ContractFacts | None) -> list[PurposeScope]:
    catalogue = view.snapshot.catalogue
    found = []
    for code, purpose in sorted(catalogue.purposes.items()):
        if purpose.kind is not Kind.ANONYMOUS:
            continue
        terms = None
        if facts is not None and facts.terms is not None:
            try:
                terms = find_grant(facts.terms, facts.id, code).aggregate
            except SlussError:
                continue
        found.append(_purpose(view, purpose, terms))
    return found


def _purpose(view: View, purpose: Purpose, terms: AggregateTerms | None) -> PurposeScope:
    catalogue = view.snapshot.catalogue
    if terms is None:
        names = {name: event.attributes for name, event in sorted(catalogue.events.items())}
    else:
        names = {each.event: tuple(sorted(each.dimensions)) for each in terms.events if each.event in catalogue.events}
    rules = required_rules(catalogue)
    least = max(rules.min_persons, terms.min_persons if terms else 0)
    events = tuple(
        EventScope(
            catalogue.events[name],
            tuple(catalogue.attributes[each] for each in dimensions if each in catalogue.events[name].attributes),
            usual_threshold(catalogue.events[name], rules, least) if noise.installed() else 0,
        )
        for name, dimensions in names.items()
    )
    return PurposeScope(purpose, events, least)
