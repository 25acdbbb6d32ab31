"""Contracts, grants and the pure decision whether a subcontractor may have what it asks for.

Nothing here reads a clock, a database or a key: `decide` takes the facts and answers with a `Decision` or raises a
`SlussError` that names what is wrong with the caller's contract, purpose or fields. What is wrong with a person is
never told: `admits` answers only yes or no (DESIGN promise 10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from broker.choices.rule import CHOICE_RULES, NO_FIELDS, ChoiceRule, Question, covers, left_out, needed
from broker.clock import SECOND, day_of
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.catalogue import Catalogue, Purpose
    from broker.choices.rule import InForce

CONTRACT_ID = re.compile(r"C-[0-9]{4}-[0-9]{4,9}")
CODE = re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9_]{1,40}){0,7}")
SIGNATURE_LABEL = b"sluss/v1 contract\x00"
ONWARD_TRANSFER = "forbidden"
PERSON_ACTIVE = "active"
CANARY = "canary:"
"""Begins the state of a canary; its contract follows."""


class State(StrEnum):
    """The state of a contract; whether it is within its validity is another question."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class Step(StrEnum):
    """What can be done to a contract."""

    ACCEPT = "accept"
    AMEND = "amend"
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"


# (state, step) -> the state after it. A pair that is not listed is refused. Amending and accepting an amendment
# leave a suspension in force: only `resume` ends it.
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    (State.PROPOSED, Step.ACCEPT): State.ACTIVE,
    (State.ACTIVE, Step.ACCEPT): State.ACTIVE,
    (State.SUSPENDED, Step.ACCEPT): State.SUSPENDED,
    (State.PROPOSED, Step.AMEND): State.PROPOSED,
    (State.ACTIVE, Step.AMEND): State.ACTIVE,
    (State.SUSPENDED, Step.AMEND): State.SUSPENDED,
    (State.ACTIVE, Step.SUSPEND): State.SUSPENDED,
    (State.SUSPENDED, Step.RESUME): State.ACTIVE,
    (State.PROPOSED, Step.TERMINATE): State.TERMINATED,
    (State.ACTIVE, Step.TERMINATE): State.TERMINATED,
    (State.SUSPENDED, Step.TERMINATE): State.TERMINATED,
}
GOALS: Mapping[Step, State] = {
    Step.SUSPEND: State.SUSPENDED,
    Step.RESUME: State.ACTIVE,
    Step.TERMINATE: State.TERMINATED,
}
"""The state that a step is taken for, where that is the same from every state."""


class Window(StrEnum):
    """The span over which a volume is counted: UTC, aligned to the clock and the calendar."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def bounds(self, now_us: int) -> tuple[int, int]:
        """Start and end of the window that holds `now_us`, in seconds since 1970 UTC."""
        seconds = now_us // SECOND
        if self is Window.MONTH:
            first = datetime.fromtimestamp(seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            following = (first + timedelta(days=32)).replace(day=1)
            return int(first.timestamp()), int(following.timestamp())
        span = 3_600 if self is Window.HOUR else 86_400
        start = seconds - seconds % span
        return start, start + span


@dataclass(frozen=True, slots=True)
class FieldGrant:
    """A field and the transform through which it leaves."""

    field: str
    transform: str


@dataclass(frozen=True, slots=True)
class Volume:
    """At most `persons` disclosed within one `window`."""

    window: Window
    persons: int


@dataclass(frozen=True, slots=True)
class Predicate:
    """True for a person whose `field` has one of `values`; false where the field is not on record."""

    field: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Population:
    """Whose data a grant covers: everyone, listed persons, or all for whom every predicate holds."""

    everyone: bool = False
    persons: frozenset[int] = frozenset()
    predicates: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True)
class EventGrant:
    """An event that may be counted, and the attributes that it may be grouped and filtered by."""

    event: str
    dimensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AggregateTerms:
    """What may be counted for a purpose of class anonymous, and how much may be learnt in all (POLICY 7).

    Attributes:
        events: the events.
        min_persons: the fewest distinct persons behind a published cell.
        budget_micro: what may be spent in a period, in millionths of epsilon.
        period: `month` or `quarter`.
        delta_nano: what may be spent besides, in thousand-millionths of delta; 0 for no Gaussian noise.
    """

    events: tuple[EventGrant, ...]
    min_persons: int
    budget_micro: int
    period: str
    delta_nano: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """One purpose of a contract, its descendants included, and what may be had for it.

    A purpose of class anonymous has `aggregate`, and neither fields nor volumes nor a retention.
    """

    purpose: str
    fields: tuple[FieldGrant, ...]
    population: Population
    retention_days: int
    volumes: tuple[Volume, ...]
    aggregate: AggregateTerms | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed. Both days of validity are within it, UTC."""

    subcontractor: str
    recipient_name: str
    recipient_address: str
    valid_from: date
    valid_until: date
    grants: tuple[Grant, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class ContractFacts:
    """A contract as the decision sees it; `terms` is None before the first acceptance."""

    id: str
    subcontractor: str
    state: State
    version: int
    terms: Terms | None


def _accepted_none(_versions: frozenset[str]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What the decision may know of a person.

    `value(field)` opens a stored value, or gives None; `accepted(versions)` says whether the newest policy version that
    the person accepted is among these. `canary` is a person who does not exist, on record for the decision's contract
    alone: nobody's wish is asked for.
    """

    id: int
    active: bool
    choices: InForce
    value: Callable[[str], str | None]
    accepted: Callable[[frozenset[str]], bool] = _accepted_none
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A yes, with all that it rests on.

    Attributes:
        contract: the contract's id.
        version: the contract version that decided.
        purpose: the purpose asked for.
        grant: the most specific grant that covers it.
        fields: the fields asked for with their transforms, in order of name.
        question: what it asks of each person's choices.
        retain_until: the day by which the recipient must have deleted the slices.
        financial: whether a field of the financial category is among the fields.
        accepted: the policy versions of which the person must have accepted one; None if the purpose needs none.
    """

    contract: str
    version: int
    purpose: str
    grant: Grant
    fields: tuple[FieldGrant, ...]
    question: Question
    retain_until: date
    financial: bool
    accepted: frozenset[str] | None = None


def canary_state(contract: str) -> str:
    """The state of a person who does not exist, and whom only this contract sees."""
    return CANARY + contract


def on_record(state: str, contract: str) -> bool:
    """Whether a person in this state is on record for a contract: a canary is for its own, and for nobody else."""
    return state == PERSON_ACTIVE or state == CANARY + contract


def safe_contract(text: str) -> str:
    """`text` if it has the form of a contract id, else `(malformed)`."""
    return text if CONTRACT_ID.fullmatch(text) else "(malformed)"


def parse_state(contract: str, text: str) -> State:
    """The state that a stored contract is in.

    Raises:
        SlussError: CONTRACT_WRONG_STATE for one that this broker does not know.
    """
    try:
        return State(text)
    except ValueError:
        raise SlussError(
            Reason.CONTRACT_WRONG_STATE, "the contract is in a state that this broker does not know", contract=contract
        ) from None


def next_state(contract: str, state: State, step: Step) -> State:
    """The state after a step.

    Raises:
        SlussError: CONTRACT_WRONG_STATE if the step is not possible in this state.
    """
    following = TRANSITIONS.get((state, step))
    if following is None:
        # A step whose reply was lost is taken again: what it wanted is so, and the caller can go on.
        done = state is GOALS.get(step)
        raise SlussError(
            Reason.CONTRACT_WRONG_STATE,
            f"the contract is {state} already" if done else f"a contract that is {state} cannot {step}",
            contract=contract,
            state=state,
            step=step,
        )
    return following


def require_live(contract: ContractFacts, now_us: int) -> Terms:
    """The terms in force.

    Raises:
        SlussError: CONTRACT_NOT_ACCEPTED, CONTRACT_SUSPENDED, CONTRACT_TERMINATED, CONTRACT_NOT_YET_VALID or
            CONTRACT_EXPIRED.
    """
    refused = {
        State.PROPOSED: Reason.CONTRACT_NOT_ACCEPTED,
        State.SUSPENDED: Reason.CONTRACT_SUSPENDED,
        State.TERMINATED: Reason.CONTRACT_TERMINATED,
    }.get(contract.state)
    if refused is not None:
        raise SlussError(refused, contract=contract.id)
    if contract.terms is None:
        raise SlussError(Reason.CONTRACT_NOT_ACCEPTED, contract=contract.id)
    today = day_of(now_us)
    if today < contract.terms.valid_from:
        first = contract.terms.valid_from.isoformat()
        raise SlussError(Reason.CONTRACT_NOT_YET_VALID, contract=contract.id, valid_from=first)
    if today > contract.terms.valid_until:
        last = contract.terms.valid_until.isoformat()
        raise SlussError(Reason.CONTRACT_EXPIRED, contract=contract.id, valid_until=last)
    return contract.terms


def find_grant(terms: Terms, contract: str, purpose: str) -> Grant:
    """The most specific grant that covers `purpose`.

    Raises:
        SlussError: PURPOSE_OUT_OF_SCOPE if none does.
    """
    covering = [grant for grant in terms.grants if covers(grant.purpose, purpose)]
    if not covering:
        raise SlussError(Reason.PURPOSE_OUT_OF_SCOPE, contract=contract, purpose=purpose)
    return max(covering, key=lambda grant: len(grant.purpose))


def _granted_fields(
    catalogue: Catalogue, grant: Grant, fields: tuple[str, ...], contract: str, purpose: str
) -> tuple[FieldGrant, ...]:
    transforms = {granted.field: granted for granted in grant.fields}
    for name in fields:
        catalogue.field(name)
        if name not in transforms:
            raise SlussError(
                Reason.FIELD_OUT_OF_SCOPE,
                f"the contract does not grant {name} for {purpose}",
                contract=contract,
                purpose=purpose,
                field=name,
            )
    return tuple(transforms[name] for name in sorted(fields))


def decide(
    contract: ContractFacts,
    catalogue: Catalogue,
    principal: str,
    purpose: str,
    fields: tuple[str, ...],
    now_us: int,
    policies: tuple[str, ...] = (),
) -> Decision:
    """Whether the principal may have these fields for this purpose under this contract, now.

    1. The contract is the caller's.
    2. It is live.
    3. The purpose exists and a grant covers it.
    4. Every field exists and the grant lists it.
    5. A financial field goes out for a payment purpose only (POLICY 4), whatever the contract says.

    Args:
        contract: the contract as it stands.
        catalogue: the field catalogue and purpose table in force.
        principal: the caller's name, `subcontractor/<id>`.
        purpose: the purpose's code.
        fields: names of fields, not empty, without duplicates (`checked_fields`).
        now_us: microseconds since 1970 UTC.
        policies: the policy versions, in the order in which they take effect.

    Raises:
        SlussError: with the reason that names what is out of scope.
    """
    # 1.
    if contract.subcontractor != principal:
        raise SlussError(Reason.NOT_YOUR_CONTRACT, contract=contract.id)
    # 2.
    terms = require_live(contract, now_us)
    # 3.
    known = catalogue.purpose(purpose)
    rule = CHOICE_RULES.get(known.kind)
    if rule is None:
        raise SlussError(Reason.PURPOSE_OUT_OF_SCOPE, contract=contract.id, purpose=purpose)
    grant = find_grant(terms, contract.id, purpose)
    # 4.
    granted = _granted_fields(catalogue, grant, fields, contract.id, purpose)
    # 5.
    financial = [name for name in fields if catalogue.field(name).financial]
    if financial and not known.payment:
        raise _for_payment_only(financial[0], contract.id, purpose)
    return Decision(
        contract=contract.id,
        version=contract.version,
        purpose=purpose,
        grant=grant,
        fields=granted,
        question=_question(catalogue, known, rule, fields),
        retain_until=day_of(now_us) + timedelta(days=grant.retention_days),
        financial=bool(financial),
        accepted=acceptable(catalogue, purpose, policies),
    )


def _for_payment_only(field: str, contract: str, purpose: str) -> SlussError:
    told = f"{field} is financial and goes out for payment purposes only"
    return SlussError(Reason.FIELD_OUT_OF_SCOPE, told, contract=contract, purpose=purpose, field=field)


def _question(catalogue: Catalogue, purpose: Purpose, rule: ChoiceRule, fields: tuple[str, ...]) -> Question:
    reaching = {name: channels for name in fields if (channels := catalogue.field(name).channels)}
    return Question(
        rule=rule,
        purpose=purpose.code,
        channel=purpose.channel,
        since=purpose.since,
        formed=catalogue.formed,
        needs={name: needed(channels, purpose.channel) for name, channels in reaching.items()},
    )


def accepted_since(catalogue: Catalogue, purpose: str, policies: tuple[str, ...]) -> str:
    """The oldest policy version that a person may have accepted last, for a purpose; empty if it needs no acceptance.

    What any purpose on its line asks for counts: itself, its ancestors, and its descendants, which it covers. A version
    that nobody knows is newer than all.
    """
    needed = {
        each.accepted_since
        for each in catalogue.purposes.values()
        if each.accepted_since and (covers(each.code, purpose) or covers(purpose, each.code))
    }
    return max(needed, key=lambda each: policies.index(each) if each in policies else len(policies), default="")


def acceptable(catalogue: Catalogue, purpose: str, policies: tuple[str, ...]) -> frozenset[str] | None:
    """The policy versions of which one must have been accepted for a purpose; None if it needs no acceptance."""
    since = accepted_since(catalogue, purpose, policies)
    if not since:
        return None
    return frozenset(policies[policies.index(since) :]) if since in policies else frozenset()


def population_holds(population: Population, person: PersonFacts) -> bool:
    """Whether a person is of a population."""
    if population.everyone:
        return True
    if population.persons:
        return person.id in population.persons
    predicates = population.predicates
    return bool(predicates) and all(person.value(p.field) in p.values for p in predicates)


def fields_left_out(decision: Decision, person: PersonFacts) -> frozenset[str] | None:
    """The fields that this person's choices keep out of a disclosure under the decision, as if they were not on record.

    None if the person may not be in it at all: not on record, not in the population, without the acceptance that the
    purpose needs, or kept out by a choice.
    """
    # The population first: it may open a value, and the time of an answer must not tell an opt-out.
    if not person.active or not population_holds(decision.grant.population, person):
        return None
    if person.canary:
        return NO_FIELDS
    if decision.accepted is not None and not person.accepted(decision.accepted):
        return None
    return left_out(decision.question, person.choices)


def admits(decision: Decision, person: PersonFacts) -> bool:
    """Whether the decision admits this person: on record, of the population, choices kept, policy accepted."""
    return fields_left_out(decision, person) is not None


def check_volume(decision: Decision, used: Mapping[Window, int], persons: int, now_us: int) -> None:
    """Refuse a disclosure that would go over a volume of the grant.

    Args:
        decision: the decision.
        used: persons already disclosed in the present window, per window.
        persons: persons that the disclosure would add.
        now_us: microseconds since 1970 UTC.

    Raises:
        SlussError: VOLUME_EXCEEDED, with `retry_after_s` until the window ends.
    """
    for volume in decision.grant.volumes:
        left = volume.persons - used.get(volume.window, 0)
        if persons > left:
            ends = volume.window.bounds(now_us)[1]
            raise SlussError(
                Reason.VOLUME_EXCEEDED,
                f"{persons} persons asked, {max(left, 0)} left of {volume.persons} per {volume.window}",
                contract=decision.contract,
                purpose=decision.grant.purpose,
                window=volume.window,
                limit=str(volume.persons),
                left=str(max(left, 0)),
                retry_after_s=str(max(ends - now_us // SECOND, 1)),
            )


def checked_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of a request: 1 to 64, no duplicates.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= len(fields) <= 64:  # noqa: PLR2004 - disclosure.proto
        raise SlussError(Reason.INVALID_REQUEST, "fields: 1 to 64 are needed", field="fields")
    if len(set(fields)) != len(fields):
        raise SlussError(Reason.INVALID_REQUEST, "fields: duplicates", field="fields")
    return fields
