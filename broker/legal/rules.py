"""The rules of legal cases (POLICY 6). Pure: no store, no clock, no keys.

Nothing is released that one person alone wanted: who set scope or delivery, or prepared them, can't approve them.
Only for danger to life (ground c) may one release at once, and a second person must answer for it afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker import transforms
from broker.choices.rule import NOTHING_ASKED
from broker.clock import day_of
from broker.contracts import Decision, Grant, Population
from broker.errors import Reason, SlussError, invalid
from broker.legal.model import Case, CaseState, CaseStep, Emergency, Ground

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.catalogue import Catalogue
    from broker.contracts import FieldGrant
    from broker.legal.model import Body, Scope

RELEASE_NUMBER: Final = 1
"""Stands in the terms of a release where a contract's version stands: a case is released once."""
MAX_FIELDS: Final = 64
MAX_PREDICATES: Final = 8
MAX_VALUES: Final = 300

_OPEN: Final = frozenset(
    {CaseState.RECEIVED, CaseState.UNDER_REVIEW, CaseState.INFORMATION_ASKED, CaseState.CHALLENGED}
)
_FROM: Final[Mapping[CaseStep, frozenset[CaseState]]] = {
    CaseStep.REVIEW: _OPEN | {CaseState.APPROVED},
    CaseStep.ASK_INFORMATION: _OPEN,
    CaseStep.CHALLENGE: _OPEN,
    CaseStep.REJECT: _OPEN | {CaseState.APPROVED},
    CaseStep.PREPARE: frozenset({CaseState.UNDER_REVIEW}),
    CaseStep.APPROVE: frozenset({CaseState.UNDER_REVIEW}),
    CaseStep.EMERGENCY: _OPEN,
    CaseStep.CONFIRM: frozenset({CaseState.RELEASED}),
    CaseStep.DISPUTE: frozenset({CaseState.RELEASED}),
    CaseStep.CLOSE: _OPEN | {CaseState.REJECTED, CaseState.RELEASED},
}
_TO: Final[Mapping[CaseStep, CaseState]] = {
    CaseStep.REVIEW: CaseState.UNDER_REVIEW,
    CaseStep.ASK_INFORMATION: CaseState.INFORMATION_ASKED,
    CaseStep.CHALLENGE: CaseState.CHALLENGED,
    CaseStep.REJECT: CaseState.REJECTED,
    CaseStep.PREPARE: CaseState.UNDER_REVIEW,
    CaseStep.APPROVE: CaseState.APPROVED,
    CaseStep.EMERGENCY: CaseState.RELEASED,
    CaseStep.CONFIRM: CaseState.RELEASED,
    CaseStep.DISPUTE: CaseState.RELEASED,
    CaseStep.CLOSE: CaseState.CLOSED,
}
EVENTS: Final[Mapping[CaseStep, str]] = {
    CaseStep.REVIEW: "reviewed",
    CaseStep.ASK_INFORMATION: "information_asked",
    CaseStep.CHALLENGE: "challenged",
    CaseStep.REJECT: "rejected",
    CaseStep.PREPARE: "prepared",
    CaseStep.APPROVE: "approved",
    CaseStep.EMERGENCY: "emergency",
    CaseStep.CONFIRM: "confirmed",
    CaseStep.DISPUTE: "disputed",
    CaseStep.CLOSE: "closed",
}
"""How the ledger names each step."""
EDITABLE: Final = _OPEN | {CaseState.APPROVED}
"""States in which scope and delivery can still change."""


def take(case: Case, step: CaseStep, by: str, now_us: int, confirm_us: int) -> Case:
    """The case after a step.

    Args:
        case: as it stands.
        step: what is to be done.
        by: who does it, `legal/<id>`.
        now_us: microseconds since 1970 UTC.
        confirm_us: within how many of them an emergency must be answered for.

    Raises:
        SlussError: CASE_WRONG_STATE; SECOND_PERSON_NEEDED if `by` is not a second person.
    """
    if case.state not in _FROM[step]:
        raise _wrong(case, step, f"a case that is {_words(case.state)} can't take this step")
    body = _PREPARED.get(step, _same)(case, by, now_us, confirm_us)
    return replace(case, state=_TO[step], body=body)


def possible(case: Case, by: str, now_us: int) -> list[CaseStep]:
    """The steps that `by` could take now, in the order of the table."""
    found = []
    for step in CaseStep:
        try:
            taken = take(case, step, by, now_us, 0)
        except SlussError:
            continue
        if taken != case:
            found.append(step)
    return found


def _same(case: Case, _by: str, _now_us: int, _confirm_us: int) -> Body:
    return case.body


def _reviewed(case: Case, _by: str, _now_us: int, _confirm_us: int) -> Body:
    """Review begins, begins again, or waits for others: what was prepared or approved no longer is."""
    return replace(case.body, prepared_by="", approved_by="")


def _prepared(case: Case, by: str, _now_us: int, _confirm_us: int) -> Body:
    if case.body.delivery is None:
        raise _wrong(case, CaseStep.PREPARE, "say first how it is delivered")
    if case.body.prepared_by:
        raise _wrong(case, CaseStep.PREPARE, "it is prepared already")
    return replace(case.body, prepared_by=by, editors=tuple(sorted({*case.body.editors, by})))


def _approved(case: Case, by: str, _now_us: int, _confirm_us: int) -> Body:
    if not case.body.prepared_by:
        raise _wrong(case, CaseStep.APPROVE, "nobody has prepared it")
    if by in case.body.editors:
        raise SlussError(
            Reason.SECOND_PERSON_NEEDED,
            "who opened or prepared it, or set its scope or delivery, can't approve it",
            case=case.id,
        )
    return replace(case.body, approved_by=by)


def _emergency(case: Case, by: str, now_us: int, confirm_us: int) -> Body:
    if case.ground is not Ground.SAFETY:
        raise _wrong(case, CaseStep.EMERGENCY, "an emergency is for ground (c), danger to life, only")
    if case.body.delivery is None:
        raise _wrong(case, CaseStep.EMERGENCY, "say first how it is delivered")
    return replace(case.body, prepared_by=by, approved_by="", emergency=Emergency(by, now_us + confirm_us))


def _answered(case: Case, by: str, step: CaseStep, *, disputed: bool) -> Body:
    emergency = case.body.emergency
    if emergency is None or emergency.answered_by:
        raise _wrong(case, step, "no emergency release waits for an answer")
    if by == emergency.released_by:
        raise SlussError(
            Reason.SECOND_PERSON_NEEDED, "somebody else than who released must answer for it", case=case.id
        )
    return replace(case.body, emergency=replace(emergency, answered_by=by, disputed=disputed))


def _confirmed(case: Case, by: str, _now_us: int, _confirm_us: int) -> Body:
    return _answered(case, by, CaseStep.CONFIRM, disputed=False)


def _disputed(case: Case, by: str, _now_us: int, _confirm_us: int) -> Body:
    return _answered(case, by, CaseStep.DISPUTE, disputed=True)


def _closed(case: Case, _by: str, _now_us: int, _confirm_us: int) -> Body:
    emergency = case.body.emergency
    if emergency is not None and not emergency.answered_by:
        raise _wrong(case, CaseStep.CLOSE, "an emergency release waits for its second person")
    return case.body


_PREPARED: Final = {
    CaseStep.REVIEW: _reviewed,
    CaseStep.ASK_INFORMATION: _reviewed,
    CaseStep.CHALLENGE: _reviewed,
    CaseStep.PREPARE: _prepared,
    CaseStep.APPROVE: _approved,
    CaseStep.EMERGENCY: _emergency,
    CaseStep.CONFIRM: _confirmed,
    CaseStep.DISPUTE: _disputed,
    CaseStep.CLOSE: _closed,
}


def require_answered_in_time(case: Case, now_us: int) -> None:
    """Refuse to begin, or to go on with, an emergency release that no second person has answered for in time.

    Raises:
        SlussError: SECOND_PERSON_NEEDED.
    """
    emergency = case.body.emergency
    if emergency is not None and not emergency.answered_by and now_us > emergency.confirm_by:
        raise SlussError(
            Reason.SECOND_PERSON_NEEDED, "the time to confirm the emergency release has passed", case=case.id
        )


def require_editable(case: Case) -> None:
    """Refuse a change of scope or delivery once the release has begun, or the case has ended.

    Raises:
        SlussError: CASE_WRONG_STATE.
    """
    if case.state not in EDITABLE:
        raise SlussError(
            Reason.CASE_WRONG_STATE,
            f"scope and delivery of a case that is {_words(case.state)} can't change",
            case=case.id,
            state=case.state,
        )


def require_not_ended(case: Case, *ended: CaseState) -> None:
    """Refuse what makes no sense for a case that has ended so.

    Raises:
        SlussError: CASE_WRONG_STATE.
    """
    if case.state in ended:
        raise SlussError(Reason.CASE_WRONG_STATE, f"the case is {_words(case.state)}", case=case.id, state=case.state)


# --- scopes ---------------------------------------------------------------------------------------------


def check_scope(scope: Scope, ground: Ground, catalogue: Catalogue) -> None:
    """Refuse a scope that can't be released.

    Raises:
        SlussError: INVALID_REQUEST with the place, FIELD_UNKNOWN, INVALID_TERMS for a transform.
    """
    if (scope.population is None) == (not scope.persons):
        raise invalid("scope.persons", "name persons, or on ground (d) a population")
    if scope.population is not None:
        _check_population(scope.population, ground, catalogue)
    if not 1 <= len(scope.fields) <= MAX_FIELDS:
        raise invalid("scope.fields", f"1 to {MAX_FIELDS} fields")
    if len({granted.field for granted in scope.fields}) != len(scope.fields):
        raise invalid("scope.fields", "a field stands there twice")
    for granted in scope.fields:
        _check_form(granted, catalogue.field(granted.field).type)
    first, last = scope.collected_from, scope.collected_until
    if first and last and last < first:
        raise invalid("scope.collected_until", "before the first day")


def _check_form(granted: FieldGrant, type: str) -> None:  # noqa: A002 - the catalogue's word
    if granted.transform not in transforms.allowed(type):
        forms = ", ".join(sorted(transforms.allowed(type)))
        why = f"scope.fields: {granted.field}, of type {type}, leaves as one of {forms}"
        raise SlussError(Reason.INVALID_TERMS, why, field="scope.fields")


def _check_population(population: Population, ground: Ground, catalogue: Catalogue) -> None:
    if ground is not Ground.MERGER:
        raise invalid("scope.population", "a population is released on ground (d) only")
    if population.persons:
        raise invalid("scope.population", "everyone, or predicates; persons are listed beside it")
    predicates = population.predicates
    if population.everyone == bool(predicates) or len(predicates) > MAX_PREDICATES:
        raise invalid("scope.population", f"everyone, or 1 to {MAX_PREDICATES} predicates")
    if len({predicate.field for predicate in predicates}) != len(predicates):
        raise invalid("scope.population", "a field stands there twice")
    for predicate in predicates:
        if catalogue.field(predicate.field).financial:
            raise invalid("scope.population", "no predicate on a financial field")
        if not 1 <= len(predicate.values) <= MAX_VALUES:
            raise invalid("scope.population", f"1 to {MAX_VALUES} values")


def require_narrower(new: Scope, old: Scope) -> None:
    """Refuse a scope that is wider than the one before in any respect.

    Raises:
        SlussError: SCOPE_WIDENED with the respect.
    """
    if not _persons_within(new, old):
        raise _wider("persons")
    if not {granted.field for granted in new.fields} <= {granted.field for granted in old.fields}:
        raise _wider("fields")
    before = {granted.field: granted.transform for granted in old.fields}
    if not all(_within(granted, before[granted.field]) for granted in new.fields):
        raise _wider("transforms")
    if old.collected_from and (new.collected_from is None or new.collected_from < old.collected_from):
        raise _wider("collected_from")
    if old.collected_until and (new.collected_until is None or new.collected_until > old.collected_until):
        raise _wider("collected_until")


def _within(granted: FieldGrant, before: str) -> bool:
    """Only of a full value is every other form a part."""
    return before in ("full", granted.transform)


def _persons_within(new: Scope, old: Scope) -> bool:
    if old.population is None:
        return new.population is None and set(new.persons) <= set(old.persons)
    if old.population.everyone:
        return True
    if new.population is None or new.population.everyone:
        return False
    now = {predicate.field: predicate.values for predicate in new.population.predicates}
    return all(
        predicate.field in now and now[predicate.field] <= predicate.values for predicate in old.population.predicates
    )


# --- the decision ---------------------------------------------------------------------------------------


def decide_release(case: Case, catalogue: Catalogue) -> Decision:
    """What the spine may release of a case, whose release has begun.

    Raises:
        SlussError: CASE_WRONG_STATE; SECOND_PERSON_NEEDED without an approval or an emergency, and once an emergency
            is disputed; PURPOSE_UNKNOWN, FIELD_UNKNOWN if the catalogue has changed.
    """
    body, scope = case.body, case.body.scope
    if case.state is not CaseState.RELEASED or body.begun is None or body.delivery is None:
        raise SlussError(Reason.CASE_WRONG_STATE, f"the case is {_words(case.state)}", case=case.id, state=case.state)
    if body.emergency is None and (not body.approved_by or body.approved_by in body.editors):
        raise SlussError(Reason.SECOND_PERSON_NEEDED, case=case.id)
    if body.emergency is not None and body.emergency.disputed:
        raise SlussError(
            Reason.SECOND_PERSON_NEEDED, "a second person has said that it should not be made", case=case.id
        )
    catalogue.purpose(case.ground)
    fields = tuple(sorted(scope.fields, key=lambda granted: granted.field))
    population = scope.population or Population(persons=frozenset(scope.persons))
    today = day_of(body.begun.at)
    days = max((body.delivery.retain_until - today).days, 0)
    return Decision(
        contract=case.id,
        version=RELEASE_NUMBER,
        purpose=case.ground,
        grant=Grant(case.ground, fields, population, days, ()),
        fields=fields,
        question=NOTHING_ASKED,
        retain_until=body.delivery.retain_until,
        financial=any(catalogue.field(granted.field).financial for granted in fields),
    )


def _words(state: CaseState) -> str:
    return state.replace("_", " ")


def _wrong(case: Case, step: CaseStep, why: str) -> SlussError:
    return SlussError(Reason.CASE_WRONG_STATE, why, case=case.id, state=case.state, step=step)


def _wider(what: str) -> SlussError:
    return SlussError(Reason.SCOPE_WIDENED, f"{what}: wider than what was asked for", field=f"scope.{what}")
