"""Grants to count: terms that are kept, terms that are not, and what a contract then lets its subcontractor ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from broker import contract_terms
from broker.aggregates.rules import decide
from broker.contracts import (
    AggregateTerms,
    ContractFacts,
    EventGrant,
    FieldGrant,
    Grant,
    Population,
    State,
    Terms,
    Volume,
    Window,
)
from broker.errors import Reason, SlussError
from tests.unit.aggregates.world import ASKED, CATALOGUE, EVENT

ACME = "subcontractor/acme"
NOW = int(datetime(2026, 11, 26, tzinfo=UTC).timestamp()) * 1_000_000
COUNTED = AggregateTerms((EventGrant(EVENT, ("advertisement",)),), 50, 1_500_000, "month")
GRANT = Grant("anonymous", (), Population(everyone=True), 0, (), COUNTED)
TERMS = Terms(ACME, "Acme AB", "Storgatan 1, Stockholm", date(2026, 1, 1), date(2026, 12, 31), (GRANT,), "archive 1")
FACTS = ContractFacts("C-2026-0001", ACME, State.ACTIVE, 3, TERMS)


def with_grant(**changes):
    return replace(TERMS, grants=(replace(GRANT, **changes),))


def with_counts(**changes):
    return with_grant(aggregate=replace(COUNTED, **changes))


def test_terms_come_back_from_their_bytes_and_old_terms_have_no_new_member():
    for terms in (TERMS, with_counts(period="quarter"), with_counts(events=(EventGrant("service.used", ()),))):
        contract_terms.check(terms, CATALOGUE)
        data = contract_terms.canonical("C-2026-0001", 3, terms)
        assert contract_terms.parse(data) == ("C-2026-0001", 3, terms)
    plain = with_grant(aggregate=None)
    assert b"aggregate" not in contract_terms.canonical("C-2026-0001", 3, plain)


@pytest.mark.parametrize(
    ("place", "terms"),
    [
        ("", with_grant(fields=(FieldGrant("email", "full"),))),
        ("", with_grant(retention_days=30)),
        ("", with_grant(volumes=(Volume(Window.DAY, 1),))),
        ("", with_grant(population=Population(persons=frozenset({1})))),
        (".purpose", with_grant(aggregate=None)),
        (".aggregate", with_grant(purpose="billing")),
        (".aggregate.events", with_counts(events=())),
        (".aggregate.events", with_counts(events=(EventGrant(EVENT, ()), EventGrant(EVENT, ("country",))))),
        (".aggregate.events", with_counts(events=(EventGrant(EVENT, ("country", "country")),))),
        (".aggregate.events", with_counts(events=(EventGrant(EVENT, ("meeting.kind",)),))),
        (".aggregate.min_persons", with_counts(min_persons=0)),
        (".aggregate.min_persons", with_counts(min_persons=1_000_001)),
        (".aggregate.budget_micro", with_counts(budget_micro=0)),
        (".aggregate.budget_micro", with_counts(budget_micro=100_000_001)),
        (".aggregate.period", with_counts(period="week")),
    ],
)
def test_terms_that_could_not_be_kept_are_refused_with_their_place(place, terms):
    with pytest.raises(SlussError) as caught:
        contract_terms.check(terms, CATALOGUE)
    assert (caught.value.reason, caught.value.metadata["field"]) == (Reason.INVALID_TERMS, f"grants[0]{place}")


def test_an_event_that_the_catalogue_does_not_have_is_unknown():
    with pytest.raises(SlussError) as caught:
        contract_terms.check(with_counts(events=(EventGrant("unheard.of", ()),)), CATALOGUE)
    assert caught.value.reason is Reason.FIELD_UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"min_persons":50', b'"min_persons":true'),
        lambda data: data.replace(b'"dimensions":["advertisement"]', b'"dimensions":[1]'),
        lambda data: data.replace(b'"aggregate":{', b'"aggregate":{"more":1,'),
        lambda data: data.replace(b'"period":"month"', b'"period":7'),
    ],
)
def test_bytes_that_are_no_terms_are_malformed(change):
    data = contract_terms.canonical("C-2026-0001", 3, TERMS)
    assert change(data) != data
    with pytest.raises(SlussError) as caught:
        contract_terms.parse(change(data))
    assert caught.value.reason is Reason.MALFORMED


def asked(facts=FACTS, principal=ACME, purpose="anonymous.advertising", now=NOW, **changes):
    return decide(facts, CATALOGUE, principal, purpose, replace(ASKED, **changes), now)


def refusal(**changes):
    with pytest.raises(SlussError) as caught:
        asked(**changes)
    return caught.value.reason


def test_a_grant_covers_the_purposes_below_it_and_the_stricter_rule_holds():
    found = asked()
    assert (found.contract, found.version, found.question.min_persons) == ("C-2026-0001", 3, 50)
    assert (found.own.owner, found.own.most.micro) == ("C-2026-0001", 1_500_000)
    small = replace(FACTS, terms=with_counts(min_persons=2, budget_micro=100_000_000))
    found = asked(small)
    assert (found.question.min_persons, found.own.most.micro) == (20, CATALOGUE.rules.budget_micro)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.NOT_YOUR_CONTRACT, {"principal": "subcontractor/beta"}),
        (Reason.CONTRACT_SUSPENDED, {"facts": replace(FACTS, state=State.SUSPENDED)}),
        (Reason.CONTRACT_TERMINATED, {"facts": replace(FACTS, state=State.TERMINATED)}),
        (Reason.CONTRACT_EXPIRED, {"now": NOW + 100 * 86_400 * 1_000_000}),
        (Reason.PURPOSE_OUT_OF_SCOPE, {"purpose": "billing"}),
        (Reason.PURPOSE_OUT_OF_SCOPE, {"facts": replace(FACTS, terms=with_grant(purpose="anonymous.improvement"))}),
        (Reason.FIELD_OUT_OF_SCOPE, {"event": "service.used", "group_by": ()}),
        (Reason.FIELD_OUT_OF_SCOPE, {"group_by": ("country",)}),
        (Reason.FIELD_OUT_OF_SCOPE, {"filters": (("country", ("SE",)),)}),
        (Reason.PERIOD_NOT_CLOSED, {"last_day": date(2026, 11, 24)}),
        (Reason.PURPOSE_OUT_OF_SCOPE, {"facts": None, "principal": "legal/anna", "purpose": "billing"}),
    ],
)
def test_what_the_contract_does_not_say_is_refused(reason, changes):
    assert refusal(**changes) is reason


def test_the_companys_own_people_need_no_contract_and_have_a_budget_together():
    found = asked(None, "privacy/team")
    assert (found.contract, found.version, found.own.owner) == ("", 0, "analysis")
    assert found.everybody.most.micro == CATALOGUE.rules.total_micro
