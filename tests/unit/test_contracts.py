"""The pure rules of contracts: states, windows, grants, choices, populations, volumes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.choices.rule import ANY, CHOICE_RULES, Stand
from broker.clock import micros
from broker.contracts import (
    ContractFacts,
    FieldGrant,
    Grant,
    PersonFacts,
    Population,
    Predicate,
    State,
    Step,
    Terms,
    Volume,
    Window,
    admits,
    check_volume,
    checked_fields,
    covers,
    decide,
    find_grant,
    next_state,
    require_live,
    safe_contract,
)
from broker.errors import Reason, SlussError
from tests.support.catalogues import aged

CATALOGUE = aged()
ACME = "subcontractor/acme"
NOON = micros("2026-06-15T12:00:00.000000Z")
SECOND = 1_000_000


def grant(purpose="billing", *fields, **changes):
    found = Grant(
        purpose=purpose,
        fields=tuple(FieldGrant(name, "full") for name in fields or ("email",)),
        population=Population(everyone=True),
        retention_days=30,
        volumes=(Volume(Window.DAY, 10),),
    )
    return replace(found, **changes)


def terms(*grants, **changes):
    found = Terms(ACME, "Acme", "Street 1", date(2026, 1, 1), date(2026, 12, 31), grants or (grant(),), "4711")
    return replace(found, **changes)


def facts(found=None, state=State.ACTIVE, **changes):
    return replace(ContractFacts("C-2026-0001", ACME, state, 3, found or terms()), **changes)


def refused(reason, call, *arguments):
    with pytest.raises(SlussError) as caught:
        call(*arguments)
    assert caught.value.reason is reason
    return caught.value


# --- states ----------------------------------------------------------------------------------------

STEPS = {
    (State.PROPOSED, Step.ACCEPT): State.ACTIVE,
    (State.PROPOSED, Step.AMEND): State.PROPOSED,
    (State.PROPOSED, Step.SUSPEND): None,
    (State.PROPOSED, Step.RESUME): None,
    (State.PROPOSED, Step.TERMINATE): State.TERMINATED,
    (State.ACTIVE, Step.ACCEPT): State.ACTIVE,
    (State.ACTIVE, Step.AMEND): State.ACTIVE,
    (State.ACTIVE, Step.SUSPEND): State.SUSPENDED,
    (State.ACTIVE, Step.RESUME): None,
    (State.ACTIVE, Step.TERMINATE): State.TERMINATED,
    (State.SUSPENDED, Step.ACCEPT): State.SUSPENDED,
    (State.SUSPENDED, Step.AMEND): State.SUSPENDED,
    (State.SUSPENDED, Step.SUSPEND): None,
    (State.SUSPENDED, Step.RESUME): State.ACTIVE,
    (State.SUSPENDED, Step.TERMINATE): State.TERMINATED,
    (State.TERMINATED, Step.ACCEPT): None,
    (State.TERMINATED, Step.AMEND): None,
    (State.TERMINATED, Step.SUSPEND): None,
    (State.TERMINATED, Step.RESUME): None,
    (State.TERMINATED, Step.TERMINATE): None,
}


def test_the_table_of_steps_holds_every_state_and_step():
    assert set(STEPS) == {(state, step) for state in State for step in Step}


@pytest.mark.parametrize(("state", "step"), STEPS)
def test_a_step_leads_where_the_table_says_or_is_refused_by_both_names(state, step):
    following = STEPS[state, step]
    if following is not None:
        assert next_state("C-2026-0001", state, step) is following
        return
    error = refused(Reason.CONTRACT_WRONG_STATE, next_state, "C-2026-0001", state, step)
    assert error.metadata == {"contract": "C-2026-0001", "state": state, "step": step}


def test_only_resuming_ends_a_suspension_and_nothing_ends_a_termination():
    assert {step for step in Step if STEPS[State.SUSPENDED, step] is State.ACTIVE} == {Step.RESUME}
    assert not any(STEPS[State.TERMINATED, step] for step in Step)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.PROPOSED, Reason.CONTRACT_NOT_ACCEPTED),
        (State.SUSPENDED, Reason.CONTRACT_SUSPENDED),
        (State.TERMINATED, Reason.CONTRACT_TERMINATED),
    ],
)
def test_a_contract_that_is_not_active_is_not_live_whatever_its_dates(state, reason):
    for found in (terms(), terms(valid_until=date(2026, 1, 2)), terms(valid_from=date(2026, 12, 1))):
        error = refused(reason, require_live, facts(found, state), NOON)
        assert error.metadata["contract"] == "C-2026-0001"


def test_an_active_contract_without_terms_is_not_live():
    refused(Reason.CONTRACT_NOT_ACCEPTED, require_live, facts(terms=None), NOON)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2026-02-27T23:59:59.999999Z", Reason.CONTRACT_NOT_YET_VALID),
        ("2026-02-28T00:00:00.000000Z", None),
        ("2026-03-01T23:59:59.999999Z", None),
        ("2026-03-02T00:00:00.000000Z", Reason.CONTRACT_EXPIRED),
    ],
)
def test_both_days_of_validity_are_within_it_to_the_microsecond(at, reason):
    found = facts(terms(valid_from=date(2026, 2, 28), valid_until=date(2026, 3, 1)))
    if reason is None:
        assert require_live(found, micros(at)) is found.terms
        return
    error = refused(reason, require_live, found, micros(at))
    named = {"valid_from": "2026-02-28"} if reason is Reason.CONTRACT_NOT_YET_VALID else {"valid_until": "2026-03-01"}
    assert error.metadata == {"contract": "C-2026-0001", **named}


# --- windows and volumes ---------------------------------------------------------------------------

WINDOWS = [
    (Window.HOUR, "2026-06-15T12:34:56.789012Z", "2026-06-15T12:00:00", "2026-06-15T13:00:00"),
    (Window.HOUR, "2026-06-15T13:00:00.000000Z", "2026-06-15T13:00:00", "2026-06-15T14:00:00"),
    (Window.HOUR, "2026-12-31T23:59:59.999999Z", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
    (Window.DAY, "2026-06-15T00:00:00.000000Z", "2026-06-15T00:00:00", "2026-06-16T00:00:00"),
    (Window.DAY, "2026-03-29T02:30:00.000000Z", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
    (Window.DAY, "2028-02-28T23:59:59.999999Z", "2028-02-28T00:00:00", "2028-02-29T00:00:00"),
    (Window.DAY, "2028-02-29T12:00:00.000000Z", "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
    (Window.MONTH, "2026-01-31T23:59:59.999999Z", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
    (Window.MONTH, "2026-02-01T00:00:00.000000Z", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
    (Window.MONTH, "2028-02-29T23:59:59.999999Z", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    (Window.MONTH, "2100-02-28T23:59:59.999999Z", "2100-02-01T00:00:00", "2100-03-01T00:00:00"),
    (Window.MONTH, "2026-04-30T00:00:00.000000Z", "2026-04-01T00:00:00", "2026-05-01T00:00:00"),
    (Window.MONTH, "2026-12-31T23:59:59.999999Z", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
    (Window.MONTH, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00", "1970-02-01T00:00:00"),
]


@pytest.mark.parametrize(("window", "at", "starts", "ends"), WINDOWS, ids=[f"{w}-{at}" for w, at, _, _ in WINDOWS])
def test_a_window_is_aligned_to_the_clock_and_the_calendar(window, at, starts, ends):
    found = tuple(
        datetime.fromtimestamp(bound, UTC).strftime("%Y-%m-%dT%H:%M:%S") for bound in window.bounds(micros(at))
    )
    assert found == (starts, ends)


@given(st.sampled_from(Window), st.datetimes(datetime(1970, 1, 2), datetime(9990, 1, 1)))  # noqa: DTZ001 - UTC, naive
def test_windows_hold_their_moment_and_meet_without_gap_or_overlap(window, moment):
    now_us = int(moment.replace(tzinfo=UTC).timestamp()) * SECOND + moment.microsecond
    start, end = window.bounds(now_us)
    assert start * SECOND <= now_us < end * SECOND
    assert window.bounds(start * SECOND) == window.bounds(end * SECOND - 1) == (start, end)
    assert window.bounds(end * SECOND)[0] == end
    assert window.bounds(start * SECOND - 1)[1] == start


def decision(*volumes, **changes):
    found = decide(
        facts(terms(grant(volumes=volumes or (Volume(Window.DAY, 10),)))), CATALOGUE, ACME, "billing", ("email",), NOON
    )
    return replace(found, **changes)


@pytest.mark.parametrize(("used", "persons"), [(0, 10), (9, 1), (10, 0), (0, 0)])
def test_a_volume_can_be_used_to_the_last_person(used, persons):
    check_volume(decision(), {Window.DAY: used}, persons, NOON)


@pytest.mark.parametrize(("used", "persons", "left"), [(0, 11, "10"), (10, 1, "0"), (9, 2, "1"), (12, 1, "0")])
def test_a_volume_is_never_exceeded_and_the_refusal_says_what_is_left_and_when(used, persons, left):
    asked = decision(Volume(Window.HOUR, 1_000), Volume(Window.DAY, 10))
    error = refused(Reason.VOLUME_EXCEEDED, check_volume, asked, {Window.DAY: used}, persons, NOON)
    assert error.metadata == {
        "contract": "C-2026-0001",
        "purpose": "billing",
        "window": "day",
        "limit": "10",
        "left": left,
        "retry_after_s": str(12 * 3600),
    }


def test_every_volume_of_a_grant_counts():
    asked = decision(Volume(Window.HOUR, 5), Volume(Window.DAY, 8), Volume(Window.MONTH, 9))
    used = {Window.HOUR: 4, Window.DAY: 7, Window.MONTH: 8}
    check_volume(asked, used, 1, NOON)
    for window in Window:
        error = refused(Reason.VOLUME_EXCEEDED, check_volume, asked, used | {window: used[window] + 1}, 1, NOON)
        assert error.metadata["window"] == window


def test_a_caller_is_never_told_to_retry_at_once():
    last = micros("2026-06-15T23:59:59.999999Z")
    error = refused(Reason.VOLUME_EXCEEDED, check_volume, decision(), {Window.DAY: 10}, 1, last)
    assert error.metadata["retry_after_s"] == "1"


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["C-2026-0001", "C-2026-123456789"])
def test_a_contract_id_is_repeated(text):
    assert safe_contract(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "C-2026-1", "c-2026-0001", "C-26-0001", "C-2026-1234567890", "C-2026-0001\n", " C-2026-0001", "a@example.com",
     "C-\u0662\u0660\u0662\u0666-\u0660\u0660\u0660\u0661", "C-2026-000\uff11"],
)  # fmt: skip
def test_what_is_no_contract_id_is_never_repeated(text):
    assert safe_contract(text) == "(malformed)"


@pytest.mark.parametrize(
    ("granted", "asked", "covered"),
    [
        ("billing", "billing", True),
        ("billing", "billing.collection", True),
        ("billing", "billing.collection.late", True),
        ("billing.collection", "billing", False),
        ("billing", "billingx", False),
        ("billing", "billing_x", False),
        ("billing.coll", "billing.collection", False),
        ("offers", "billing", False),
    ],
)
def test_a_purpose_covers_itself_and_its_descendants(granted, asked, covered):
    assert covers(granted, asked) is covered


@pytest.mark.parametrize("fields", [(), tuple(f"f{n}" for n in range(65)), ("email", "phone", "email")])
def test_no_too_many_or_duplicate_fields_are_refused(fields):
    assert refused(Reason.INVALID_REQUEST, checked_fields, fields).metadata == {"field": "fields"}


def test_64_fields_may_be_asked_for():
    fields = tuple(f"f{n}" for n in range(64))
    assert checked_fields(fields) == fields


# --- the decision ----------------------------------------------------------------------------------


def test_the_most_specific_grant_decides_whatever_the_order():
    wide, narrow = grant("billing", "email", "phone"), grant("billing.collection", "email")
    for found in (terms(wide, narrow), terms(narrow, wide)):
        assert find_grant(found, "C-2026-0001", "billing.collection") is narrow
        assert find_grant(found, "C-2026-0001", "billing.payment") is wide
    asked = (facts(terms(wide, narrow)), CATALOGUE, ACME, "billing.collection", ("phone",), NOON)
    error = refused(Reason.FIELD_OUT_OF_SCOPE, decide, *asked)
    assert error.metadata == {"contract": "C-2026-0001", "purpose": "billing.collection", "field": "phone"}


DECISIONS = [
    (Reason.NOT_YOUR_CONTRACT, {"principal": "subcontractor/beta", "state": State.TERMINATED, "purpose": "no.such"}),
    (Reason.CONTRACT_SUSPENDED, {"state": State.SUSPENDED, "purpose": "no.such", "fields": ("no_such",)}),
    (Reason.PURPOSE_UNKNOWN, {"purpose": "no.such", "fields": ("no_such",)}),
    (Reason.PURPOSE_OUT_OF_SCOPE, {"purpose": "support", "fields": ("no_such",)}),
    (Reason.PURPOSE_OUT_OF_SCOPE, {"purpose": "legal.process", "fields": ("no_such",)}),
    (Reason.FIELD_UNKNOWN, {"fields": ("email", "no_such")}),
    (Reason.FIELD_FORBIDDEN, {"fields": ("email", "cvc")}),
    (Reason.FIELD_OUT_OF_SCOPE, {"fields": ("email", "phone")}),
]


@pytest.mark.parametrize(("reason", "changes"), DECISIONS)
def test_the_first_thing_that_is_wrong_is_the_one_that_is_told(reason, changes):
    given_ = {"principal": ACME, "state": State.ACTIVE, "purpose": "billing", "fields": ("email",), **changes}
    contract = facts(state=given_["state"])
    refused(reason, decide, contract, CATALOGUE, given_["principal"], given_["purpose"], given_["fields"], NOON)


@pytest.mark.parametrize("purpose", ["legal", "legal.process", "anonymous"])
def test_a_grant_for_a_legal_or_anonymous_purpose_gives_nothing_even_if_it_were_in_a_contract(purpose):
    asked = (facts(terms(grant(purpose))), CATALOGUE, ACME, purpose, ("email",), NOON)
    refused(Reason.PURPOSE_OUT_OF_SCOPE, decide, *asked)


def test_a_financial_field_goes_out_for_payment_only_even_if_the_contract_grants_it_otherwise():
    both = terms(grant("support", "payment.iban"), grant("billing", "payment.iban"))
    error = refused(Reason.FIELD_OUT_OF_SCOPE, decide, facts(both), CATALOGUE, ACME, "support", ("payment.iban",), NOON)
    assert error.metadata["field"] == "payment.iban"
    found = decide(facts(both), CATALOGUE, ACME, "billing.collection", ("payment.iban",), NOON)
    assert found.financial


def test_a_decision_names_what_it_rests_on():
    asked = grant("billing", "email", "phone", "title", retention_days=30)
    at = micros("2026-02-10T23:59:59.999999Z")
    found = decide(facts(terms(asked)), CATALOGUE, ACME, "billing.collection", ("phone", "email"), at)
    assert (found.contract, found.version) == ("C-2026-0001", 3)
    assert (found.purpose, found.grant) == ("billing.collection", asked)
    assert [granted.field for granted in found.fields] == ["email", "phone"]
    assert not found.financial
    assert found.retain_until == date(2026, 3, 12)


def test_every_class_of_purpose_has_a_choice_rule_or_can_not_be_granted():
    kinds = {purpose.kind for purpose in CATALOGUE.purposes.values()}
    assert kinds - set(CHOICE_RULES) == {"legal", "anonymous"}


# --- persons ---------------------------------------------------------------------------------------


def admitted(purpose, choices=(), population=None, *, active=True, person=7, values=None):
    asked = grant(purpose, population=population or Population(everyone=True))
    found = decide(facts(terms(asked)), CATALOGUE, ACME, purpose, ("email",), NOON)
    made = {code: {ANY: Stand(state, 1)} for code, state in dict(choices).items()}
    return admits(found, PersonFacts(person, active, made, (values or {}).get))


CHOICES = [
    ("billing", {}, True),
    ("billing", {"billing": "out", "offers": "out"}, True),
    ("offers.email", {}, True),
    ("offers.email", {"offers.email": "in"}, True),
    ("offers.email", {"offers.email": "out"}, False),
    ("offers.email", {"offers": "out"}, False),
    ("offers.email", {"offers": "out", "offers.email": "in"}, False),
    ("offers.email", {"offers": "in", "offers.email": "out"}, False),
    ("offers.email", {"offers.post": "out"}, True),
    ("offers", {"offers.email": "out"}, False),
    ("offers", {"offers.email": "in"}, True),
    ("offers.email", {"offers.email": "maybe"}, False),
    ("partners.email", {}, False),
    ("partners.email", {"partners.email": "in"}, True),
    ("partners.email", {"partners": "in"}, True),
    ("partners.email", {"partners": "in", "partners.email": "out"}, False),
    ("partners.email", {"partners": "out", "partners.email": "in"}, False),
    ("partners.email", {"partners.post": "in"}, False),
    ("partners.email", {"offers.email": "in"}, False),
    ("partners", {"partners.email": "in"}, False),
    ("partners", {"partners": "in", "partners.email": "out"}, False),
    ("partners.email", {"partners": "IN"}, False),
]


@pytest.mark.parametrize(("purpose", "choices", "allowed"), CHOICES)
def test_a_persons_choices_are_kept(purpose, choices, allowed):
    assert admitted(purpose, choices) is allowed
    assert not admitted(purpose, choices, active=False)


SE_NO = Predicate("address.country", frozenset({"SE", "NO"}))
STOCKHOLM = Predicate("address.city", frozenset({"Stockholm"}))
POPULATIONS = [
    (Population(everyone=True), {}, True),
    (Population(), {}, False),
    (Population(persons=frozenset({7, 8})), {}, True),
    (Population(persons=frozenset({8})), {}, False),
    (Population(predicates=(SE_NO,)), {"address.country": "SE"}, True),
    (Population(predicates=(SE_NO,)), {"address.country": "se"}, False),
    (Population(predicates=(SE_NO,)), {"address.country": "DE"}, False),
    (Population(predicates=(SE_NO,)), {}, False),
    (Population(predicates=(SE_NO, STOCKHOLM)), {"address.country": "SE", "address.city": "Stockholm"}, True),
    (Population(predicates=(SE_NO, STOCKHOLM)), {"address.country": "SE"}, False),
    (Population(predicates=(SE_NO, STOCKHOLM)), {"address.city": "Stockholm", "address.country": "DE"}, False),
]


@pytest.mark.parametrize(("population", "values", "within"), POPULATIONS)
def test_only_persons_of_the_population_are_admitted(population, values, within):
    assert admitted("billing", population=population, values=values) is within
