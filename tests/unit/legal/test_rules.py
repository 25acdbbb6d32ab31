"""The rules of legal cases against a table of their own, a brute-force model of scopes, and people who try all."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import date, timedelta

import pytest

from broker.catalogue import default_catalogue_text, parse_catalogue
from broker.contracts import FieldGrant, Population, Predicate
from broker.errors import Reason, SlussError
from broker.legal import rules
from broker.legal.model import (
    Begun,
    Body,
    Case,
    CaseState,
    CaseStep,
    Delivery,
    Emergency,
    Ground,
    Instrument,
    Key,
    Progress,
    Requester,
    Scope,
)

CATALOGUE = parse_catalogue(default_catalogue_text())
NOW_US = 1_800_000_000_000_000
ANNA, BO, CLEO = "legal/anna", "legal/bo", "legal/cleo"
PEOPLE = (ANNA, BO, CLEO)
DELIVERY = Delivery(Key(1, bytes(32)), date(2099, 1, 1))
FIELDS = (FieldGrant("email", "full"),)
SCOPE = Scope((1, 2), None, FIELDS)


def case(state=CaseState.UNDER_REVIEW, ground=Ground.SAFETY, **body):
    given = {
        "requester": Requester("Polisen", "Box 1", "SE", "a@example.org"),
        "instrument": Instrument("warrant", "B 1", date(2026, 1, 1)),
        "scope": SCOPE,
        "received": date(2026, 1, 1),
        "deadline": date(2026, 2, 1),
        "delivery": DELIVERY,
        "editors": (ANNA,),
    }
    progress = Progress(0, 0, 0, 0, complete=False)
    return Case("L-2026-0001", state, ground, ANNA, 1, Body(**{**given, **body}), progress)


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


# --- states and steps -----------------------------------------------------------------------------------

TABLE = """
                  received         under_review     information_asked challenged       approved     released rejected closed
review            under_review     under_review     under_review      under_review     under_review -        -        -
ask_information   information_asked information_asked information_asked information_asked -         -        -        -
challenge         challenged       challenged       challenged        challenged       -            -        -        -
reject            rejected         rejected         rejected          rejected         rejected     -        -        -
prepare           -                under_review     -                 -                -            -        -        -
approve           -                approved         -                 -                -            -        -        -
emergency         released         released         released          released         -            -        -        -
confirm           -                -                -                 -                -            released -        -
dispute           -                -                -                 -                -            released -        -
close             closed           closed           closed            closed           -            closed   closed   -
"""  # noqa: E501 - a table
COLUMNS, *LINES = [line.split() for line in TABLE.strip().splitlines()]
EXPECTED = {(state, line[0]): to for line in LINES for state, to in zip(COLUMNS, line[1:], strict=True)}
READY = {
    "approve": {"prepared_by": ANNA},
    "confirm": {"emergency": Emergency(ANNA, NOW_US)},
    "dispute": {"emergency": Emergency(ANNA, NOW_US)},
}
"""What a step needs besides the state."""


def test_the_table_knows_every_state_and_step():
    assert set(EXPECTED) == {(str(state), str(step)) for state in CaseState for step in CaseStep}


@pytest.mark.parametrize(("state", "step"), sorted(EXPECTED))
def test_each_step_leads_from_each_state_where_the_table_says(state, step):
    found = case(CaseState(state), **READY.get(step, {}))

    def take():
        return rules.take(found, CaseStep(step), BO, NOW_US, 1)

    if EXPECTED[state, step] == "-":
        error = refused(take)
        assert (error.reason, error.metadata["state"]) == (Reason.CASE_WRONG_STATE, state)
        assert CaseStep(step) not in rules.possible(found, BO, NOW_US)
    else:
        taken = take()
        assert taken.state == EXPECTED[state, step]
        assert (CaseStep(step) in rules.possible(found, BO, NOW_US)) == (taken != found)


@pytest.mark.parametrize("ground", list(Ground))
@pytest.mark.parametrize("state", list(CaseState))
def test_an_emergency_is_for_danger_to_life_only(ground, state):
    found = case(state, ground)
    if ground is Ground.SAFETY and EXPECTED[state, "emergency"] != "-":
        assert rules.take(found, CaseStep.EMERGENCY, ANNA, NOW_US, 7).body.emergency == Emergency(ANNA, NOW_US + 7)
    else:
        assert refused(lambda: rules.take(found, CaseStep.EMERGENCY, ANNA, NOW_US, 7)).reason is Reason.CASE_WRONG_STATE


@pytest.mark.parametrize("step", [CaseStep.PREPARE, CaseStep.EMERGENCY])
def test_nothing_is_prepared_that_can_not_be_delivered(step):
    found = case(delivery=None)
    assert refused(lambda: rules.take(found, step, BO, NOW_US, 1)).reason is Reason.CASE_WRONG_STATE


@pytest.mark.parametrize("step", [CaseStep.CONFIRM, CaseStep.DISPUTE])
def test_an_emergency_is_answered_once_and_by_another(step):
    found = case(CaseState.RELEASED, emergency=Emergency(ANNA, NOW_US))
    assert refused(lambda: rules.take(found, step, ANNA, NOW_US, 1)).reason is Reason.SECOND_PERSON_NEEDED
    assert refused(lambda: rules.take(found, CaseStep.CLOSE, BO, NOW_US, 1)).reason is Reason.CASE_WRONG_STATE
    answered = rules.take(found, step, BO, NOW_US, 1)
    assert answered.body.emergency == Emergency(ANNA, NOW_US, BO, disputed=step is CaseStep.DISPUTE)
    for again in (CaseStep.CONFIRM, CaseStep.DISPUTE):
        assert refused(lambda again=again: rules.take(answered, again, CLEO, NOW_US, 1)).reason is (
            Reason.CASE_WRONG_STATE
        )
    assert rules.take(answered, CaseStep.CLOSE, ANNA, NOW_US, 1).state is CaseState.CLOSED


@pytest.mark.parametrize("step", [CaseStep.REVIEW, CaseStep.ASK_INFORMATION, CaseStep.CHALLENGE])
def test_what_was_prepared_no_longer_is_once_the_review_goes_on(step):
    assert rules.take(case(prepared_by=ANNA), step, BO, NOW_US, 1).body.prepared_by == ""


# --- two persons ----------------------------------------------------------------------------------------


class Witness:
    """Who did what, kept apart from the case: whoever touched scope, delivery or preparation is not a second person."""

    def __init__(self, opener):
        self.touched, self.approver, self.emergency, self.disputed = {opener}, None, False, False

    def saw(self, action, by):
        if action in ("scope", "delivery", CaseStep.PREPARE):
            self.touched.add(by)
        if action in ("scope", "delivery", CaseStep.REVIEW):
            self.approver = None
        if action is CaseStep.APPROVE:
            self.approver = by
        if action is CaseStep.EMERGENCY:
            self.emergency = True
        if action is CaseStep.DISPUTE:
            self.disputed = True

    def allows(self, ground):
        """Whether a release may go out now."""
        if self.emergency:
            return ground is Ground.SAFETY and not self.disputed
        return self.approver is not None and self.approver not in self.touched


def act(found, action, by):
    """The case after a step, a narrower scope, or another delivery."""
    if isinstance(action, CaseStep):
        return rules.take(found, action, by, NOW_US, 1)
    rules.require_editable(found)
    changed = {"delivery": DELIVERY} if action == "delivery" else {"scope": SCOPE}
    state = CaseState.UNDER_REVIEW if found.state is CaseState.APPROVED else found.state
    return replace(found, state=state, body=found.body.edited(by, **changed))


def begun(found):
    """The case as `Cases.begin_release` makes it: of an approved one, or of an emergency."""
    if found.state not in (CaseState.APPROVED, CaseState.RELEASED):
        raise SlussError(Reason.CASE_WRONG_STATE)
    body = replace(found.body, begun=Begun(NOW_US, DELIVERY.key))
    return replace(found, state=CaseState.RELEASED, body=body)


def releases(found):
    try:
        rules.decide_release(begun(found), CATALOGUE)
    except SlussError:
        return False
    return True


ACTIONS = (*CaseStep, "scope", "delivery")


def test_whatever_three_people_do_nothing_is_released_that_one_person_alone_wanted(campaign):
    chance, released = random.Random(42), 0
    for _ in range(20_000 if campaign else 2_000):
        opener, ground = chance.choice(PEOPLE), chance.choice(list(Ground))
        found, witness = case(CaseState.RECEIVED, ground, editors=(opener,), delivery=None), Witness(opener)
        for _ in range(40):
            action, by = chance.choice(ACTIONS), chance.choice(PEOPLE)
            if action in (CaseStep.REJECT, CaseStep.CLOSE) and chance.random() < 0.9:
                continue
            try:
                found = act(found, action, by)
            except SlussError:
                continue
            witness.saw(action, by)
            if releases(found):
                released += 1
                assert witness.allows(ground), found
            if found.state is CaseState.APPROVED:
                assert releases(found), "what was approved by a second person can be released"
    assert released > 100


# --- narrowing ------------------------------------------------------------------------------------------

DAYS = [date(2026, 1, 1) + timedelta(days=n) for n in range(3)]
WORLD = {1: {"address.country": "SE", "address.city": "Lund"}, 2: {"address.country": "NO", "address.city": "Lund"},
         3: {"address.country": "SE"}, 4: {}}  # fmt: skip
"""Persons with the values that populations are told by."""


def populations():
    countries = [Predicate("address.country", frozenset(values)) for values in ({"SE"}, {"NO"}, {"SE", "NO"})]
    lund = Predicate("address.city", frozenset({"Lund"}))
    yield Population(everyone=True)
    for country in countries:
        yield Population(predicates=(country,))
        yield Population(predicates=(lund, country))
    yield Population(predicates=(lund,))


def holds(population, values):
    return population.everyone or all(values.get(p.field) in p.values for p in population.predicates)


def small_scopes():
    """Every scope of a small universe."""
    fields = [(FieldGrant("email", form),) for form in ("full", "masked", "domain")]
    fields += [(FieldGrant("email", "full"), FieldGrant("phone", form)) for form in ("full", "masked")]
    who = [(persons, None) for persons in ((1,), (1, 2), (2, 3))] + [((), population) for population in populations()]
    periods = [(None, None), (DAYS[0], None), (DAYS[1], DAYS[1]), (DAYS[0], DAYS[2]), (None, DAYS[1])]
    for (persons, population), granted, (first, last) in itertools.product(who, fields, periods):
        yield Scope(persons, population, granted, first, last)


def released(scope):
    """(person, field, form, day) of everything that a scope covers: a full value covers every form of it."""
    people = scope.persons or [number for number, values in WORLD.items() if holds(scope.population, values)]
    days = [None, *DAYS] if scope.collected_from is None and scope.collected_until is None else DAYS
    before, after = date(2025, 1, 1), date(2027, 1, 1)
    days = [before, *DAYS, after]
    days = [d for d in days if (scope.collected_from or before) <= d <= (scope.collected_until or after)]
    forms = {g.field: ("full", "masked", "domain") if g.transform == "full" else (g.transform,) for g in scope.fields}
    return {(p, field, form, day) for p in people for field in forms for form in forms[field] for day in days}


def narrower(new, old):
    try:
        rules.require_narrower(new, old)
    except SlussError as error:
        if error.reason is not Reason.SCOPE_WIDENED:
            raise
        return False
    return True


def test_a_narrower_scope_releases_nothing_that_the_wider_one_did_not():
    scopes = list(small_scopes())
    chance = random.Random(7)
    covered = {id(scope): released(scope) for scope in scopes}
    taken = 0
    for old in chance.sample(scopes, 60):
        for new in scopes:
            if narrower(new, old):
                taken += 1
                assert covered[id(new)] <= covered[id(old)], (new, old)
            elif old.population is None and new.population is None:
                assert not covered[id(new)] <= covered[id(old)], "refused though it is a part"
    assert taken > 1_000


def test_narrowing_is_a_partial_order():
    scopes = random.Random(8).sample(list(small_scopes()), 70)
    within = {(a, b) for a, b in itertools.product(range(len(scopes)), repeat=2) if narrower(scopes[a], scopes[b])}
    assert all((n, n) in within for n in range(len(scopes)))
    for (a, b), c in itertools.product(within, range(len(scopes))):
        if (b, c) in within:
            assert (a, c) in within, (scopes[a], scopes[b], scopes[c])
    for a, b in within:
        if (b, a) in within:
            assert released(scopes[a]) == released(scopes[b])


# --- the decision ---------------------------------------------------------------------------------------


def test_a_release_is_decided_for_exactly_the_scope():
    scope = Scope((2, 1), None, (FieldGrant("phone", "masked"), FieldGrant("email", "full")))
    found = begun(case(CaseState.APPROVED, Ground.PROCESS, scope=scope, approved_by=BO))
    decision = rules.decide_release(found, CATALOGUE)
    assert decision.contract == "L-2026-0001"
    assert decision.purpose == "legal.process"
    assert [(granted.field, granted.transform) for granted in decision.fields] == [
        ("email", "full"),
        ("phone", "masked"),
    ]
    assert decision.grant.population == Population(persons=frozenset({1, 2}))
    assert not decision.financial


@pytest.mark.parametrize(
    "broken",
    [
        {"approved_by": ""},
        {"approved_by": ANNA},
        {"approved_by": BO, "editors": (ANNA, BO)},
        {"emergency": Emergency(ANNA, NOW_US, BO, disputed=True)},
    ],
)
def test_a_body_without_a_second_person_is_never_decided_for(broken):
    found = begun(case(CaseState.APPROVED, **broken))
    assert refused(lambda: rules.decide_release(found, CATALOGUE)).reason is Reason.SECOND_PERSON_NEEDED


@pytest.mark.parametrize("state", [state for state in CaseState if state is not CaseState.RELEASED])
def test_only_a_case_whose_release_has_begun_is_decided_for(state):
    found = replace(begun(case(CaseState.APPROVED, approved_by=BO)), state=state)
    assert refused(lambda: rules.decide_release(found, CATALOGUE)).reason is Reason.CASE_WRONG_STATE
