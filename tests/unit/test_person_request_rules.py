"""The rules of persons' requests: a reference model of the states, the calendar, the grounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SlussError
from broker.person_requests import rules
from broker.person_requests.model import Facts, Identity, Kind, State, Telling, facts_json, parse_facts
from broker.person_requests.rules import Step

DAY = date(2026, 11, 26)
DEADLINE = date(2026, 12, 26)


@pytest.mark.parametrize(
    ("received", "months", "due"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-01-28", 1, "2026-02-28"),
        ("2026-02-28", 1, "2026-03-28"),
        ("2026-03-31", 1, "2026-04-30"),
        ("2026-11-26", 1, "2026-12-26"),
        ("2026-12-31", 1, "2027-01-31"),
        ("2026-12-31", 2, "2027-02-28"),
        ("2026-11-30", 3, "2027-02-28"),
        ("2027-11-30", 3, "2028-02-29"),
    ],
)
def test_a_month_ends_on_the_same_date_or_the_last_day(received, months, due):
    assert rules.months_after(date.fromisoformat(received), months) == date.fromisoformat(due)


def test_the_deadline_stands_still_while_more_is_needed():
    facts = rules.checked(Facts(Kind.ACCESS, "web", DAY), Identity.MORE_NEEDED, "eid", DAY + timedelta(days=2))
    assert not rules.overdue(facts, State.RECEIVED, DAY + timedelta(days=400))
    facts = rules.checked(facts, Identity.PASSED, "eid", DAY + timedelta(days=12))
    assert rules.deadline(facts) == rules.months_after(DAY + timedelta(days=10), 1)


def test_it_is_extended_within_the_first_month_by_two_at_most():
    facts = Facts(Kind.ACCESS, "web", DAY)
    with pytest.raises(SlussError):
        rules.extended(facts, 1, rules.deadline(facts) + timedelta(days=1), "")
    # While it stands still, no month passes.
    still = rules.checked(facts, Identity.MORE_NEEDED, "eid", DAY + timedelta(days=2))
    assert rules.extended(still, 1, DAY + timedelta(days=400), "").months == 1
    twice = rules.extended(rules.extended(facts, 1, DAY, ""), 1, DAY, "")
    assert rules.deadline(twice) == date(2027, 2, 26)
    for months in (0, 1, 3):
        with pytest.raises(SlussError):
            rules.extended(twice, months, DAY, "")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_ground_is_for_its_kinds_only(kind):
    for ground, kinds in rules.GROUNDS.items():
        facts = Facts(kind, "web", DAY)
        if kind in kinds:
            assert rules.state(rules.refused(facts, ground), answered=True) is State.REFUSED
        else:
            with pytest.raises(SlussError):
                rules.refused(facts, ground)
    with pytest.raises(SlussError):
        rules.refused(Facts(kind, "web", DAY), "because")


@pytest.mark.parametrize(
    ("ended", "paused_since", "is_late"),
    [
        (DEADLINE, None, False),
        (DEADLINE + timedelta(days=1), None, True),
        (DEADLINE + timedelta(days=9), DEADLINE, False),
        (DEADLINE + timedelta(days=9), DEADLINE + timedelta(days=1), True),
    ],
)
def test_late_is_what_ends_after_its_deadline_unless_that_stood_still(ended, paused_since, is_late):
    facts = Facts(Kind.ERASURE, "web", DAY, paused_since=paused_since, ground="excessive")
    assert rules.late(facts, ended) is is_late


@dataclass
class Model:
    """What a person would say about a request: one flag for each thing that happened."""

    kind: Kind
    proven: bool = False
    begun: bool = False
    exported: bool = False
    acted: bool = False
    untold: bool = False
    ended: State | None = None

    def allows(self, step):
        own = {
            Step.EXPORT: Kind.ACCESS, Step.HAND_OVER: Kind.ACCESS, Step.RECTIFY: Kind.RECTIFICATION,
            Step.ERASE: Kind.ERASURE, Step.OBJECT: Kind.OBJECTION,
        }  # fmt: skip
        if step is Step.TELL:
            return self.untold and bool(self.acted or self.ended)
        if step is Step.COMPLETE or self.ended or self.acted or own.get(step, self.kind) is not self.kind:
            return False
        if (step in own or step is Step.WORK) and not self.proven and self.kind is not Kind.OBJECTION:
            return False
        return step is not Step.HAND_OVER or self.exported

    def state(self, answered):
        if self.ended:
            return self.ended
        if self.acted:
            waits = self.kind in (Kind.ERASURE, Kind.RECTIFICATION) and not answered
            return State.WAITING if waits else State.DONE
        if self.begun:
            return State.IN_PROGRESS
        return State.IDENTITY_CHECKED if self.proven else State.RECEIVED


def taken(facts, model, step, passed, last):
    """Facts and model after a step that both allow."""
    match step:
        case Step.CHECK:
            facts = rules.checked(facts, Identity.PASSED if passed else Identity.FAILED, "eid", DAY)
            model.proven = passed
        case Step.WORK:
            facts, model.begun = replace(facts, begun=True), True
        case Step.REFUSE:
            facts, model.ended = rules.refused(facts, "excessive"), State.REFUSED
        case Step.WITHDRAW:
            facts, model.ended = replace(facts, withdrawn=True), State.WITHDRAWN
        case Step.EXPORT:
            facts = replace(facts, begun=True, exports=facts.exports + 1)
            model.begun = model.exported = True
        case Step.TELL:
            facts = rules.told(facts, "L-2026-0001", Telling.IMPOSSIBLE, "gone")
            model.untold = False
        case Step.RECTIFY:
            if passed:
                facts, model.untold = rules.owing(facts, ["L-2026-0001"]), True
            facts = replace(facts, begun=True, fulfilled=DAY if last else None)
            model.begun, model.acted = True, last
        case Step.HAND_OVER | Step.ERASE | Step.OBJECT:
            facts = replace(facts, begun=True, fulfilled=DAY)
            model.begun = model.acted = True
    return facts


STEPS = st.tuples(st.sampled_from(list(Step)), st.booleans(), st.booleans(), st.booleans())


@given(st.sampled_from(list(Kind)), st.lists(STEPS, max_size=12))
def test_the_rules_follow_a_reference_model_and_done_is_never_said_before_it_is(kind, steps):
    facts, model = Facts(kind, "web", DAY), Model(kind)
    for step, passed, last, answered in steps:
        assert (step in rules.possible(facts)) == model.allows(step)
        if model.allows(step):
            facts = taken(facts, model, step, passed, last)
        found = rules.state(facts, answered=answered)
        assert found is model.state(answered)
        if found is State.DONE:
            assert facts.fulfilled
            assert answered or kind not in (Kind.ERASURE, Kind.RECTIFICATION)
        assert parse_facts(facts_json(facts)) == facts
    done = replace(facts, completed=DAY)
    assert parse_facts(facts_json(done)) == done
    assert b"completed" in facts_json(done)
