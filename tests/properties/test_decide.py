"""decide() and admits() against a reference model that is as naive as can be: sets and loops, no early exits."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from broker.choices.rule import ANY, Stand
from broker.contracts import (
    ContractFacts,
    FieldGrant,
    Grant,
    PersonFacts,
    Population,
    Predicate,
    State,
    Terms,
    Volume,
    Window,
    admits,
    decide,
)
from broker.errors import SlussError
from tests.support.catalogues import aged

CATALOGUE = aged()
PURPOSES = sorted(CATALOGUE.purposes)
FIELDS = sorted(name for name, field in CATALOGUE.fields.items() if not field.forbidden)
COUNTRIES = ["SE", "DE", "FR"]
TODAY = date(2026, 6, 15)
NOW_US = int(datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()) * 1_000_000
SHORT, WHOLE = 100_000, 1_000_000


def ancestors(code):
    parts = code.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def model_releases(case):
    """Whether field by field, person by person, anything may leave: the policy read aloud."""
    contract, terms = case["contract"], case["contract"].terms
    if contract.subcontractor != case["principal"] or contract.state is not State.ACTIVE or terms is None:
        return False
    if TODAY not in {
        terms.valid_from + timedelta(days=n) for n in range((terms.valid_until - terms.valid_from).days + 1)
    }:
        return False
    kind = str(CATALOGUE.purposes[case["purpose"]].kind) if case["purpose"] in CATALOGUE.purposes else "none"
    if kind not in {"primary", "secondary_own", "secondary_third_party"}:
        return False
    grants = {grant.purpose: grant for grant in terms.grants}
    covering = sorted(ancestors(case["purpose"]) & set(grants), key=len)
    if not covering:
        return False
    grant = grants[covering[-1]]
    allowed = {granted.field for granted in grant.fields}
    if not CATALOGUE.purposes[case["purpose"]].payment:
        allowed -= {name for name in FIELDS if CATALOGUE.fields[name].financial}
    if not set(case["fields"]) <= allowed:
        return False
    person = case["person"]
    related = {
        code for code in person["choices"] if code in ancestors(case["purpose"]) or case["purpose"] in ancestors(code)
    }
    outs = {code for code in related if person["choices"][code] == "out"}
    ins = {code for code in related - outs if code in ancestors(case["purpose"])}
    if kind == "secondary_own" and outs:
        return False
    if kind == "secondary_third_party" and (outs or not ins):
        return False
    return person["active"] and in_population(grant.population, person)


def in_population(population, person):
    if population.everyone:
        return True
    if population.persons:
        return person["id"] in population.persons
    return all(person["values"].get(p.field) in p.values for p in population.predicates) and bool(population.predicates)


def random_grant(draw, purpose):
    kind = draw.randrange(5)
    populations = [
        Population(everyone=True),
        Population(everyone=True),
        Population(persons=frozenset(draw.sample(range(1, 6), 2))),
        Population(predicates=(Predicate("address.country", frozenset(draw.sample(COUNTRIES, 2))),)),
        Population(),
    ]
    fields = tuple(FieldGrant(name, "full") for name in draw.sample(FIELDS, draw.randint(1, 12)))
    return Grant(purpose, fields, populations[kind], 30, (Volume(Window.DAY, 10),))


def random_case(draw):
    purposes = draw.sample(PURPOSES, draw.randint(1, 3))
    terms = Terms(
        subcontractor="subcontractor/acme",
        recipient_name="Acme",
        recipient_address="Somewhere 1",
        valid_from=TODAY - timedelta(days=draw.choice([0, 1, 100, 100, 100, -1])),
        valid_until=TODAY + timedelta(days=draw.choice([0, 1, 100, 100, 100, -1])),
        grants=tuple(random_grant(draw, purpose) for purpose in purposes),
        reference="x",
    )
    state = draw.choice([State.ACTIVE] * 12 + list(State))
    owner = draw.choice(["subcontractor/acme"] * 9 + ["subcontractor/other"])
    contract = ContractFacts("C-2026-0001", owner, state, 1, draw.choice([terms] * 9 + [None]))
    wanted = draw.choice(purposes)
    near = [code for code in PURPOSES if code.startswith(wanted) or wanted.startswith(code)]
    purpose = draw.choice([wanted, wanted, draw.choice(near), draw.choice(PURPOSES), "no.such"])
    granted = next(grant for grant in terms.grants if grant.purpose == wanted)
    fields = draw.sample([item.field for item in granted.fields], draw.randint(1, min(3, len(granted.fields))))
    fields += draw.choice([[], [], [], [], [draw.choice(FIELDS)], ["no.such.field"]])
    choices = {
        draw.choice([purpose, *near, draw.choice(PURPOSES)]): draw.choice(["in", "in", "out"])
        for _ in range(draw.randrange(3))
    }
    person = {
        "id": draw.randint(1, 6),
        "active": draw.random() > 0.1,
        "choices": choices,
        "values": draw.choice([{}, {"address.country": draw.choice(COUNTRIES)}]),
    }
    return {
        "contract": contract,
        "principal": "subcontractor/acme",
        "purpose": purpose,
        "fields": tuple(dict.fromkeys(fields)),
        "person": person,
    }


def code_releases(case):
    person = case["person"]
    made = {code: {ANY: Stand(state, 1)} for code, state in person["choices"].items()}
    facts = PersonFacts(person["id"], person["active"], made, person["values"].get)
    try:
        decision = decide(case["contract"], CATALOGUE, case["principal"], case["purpose"], case["fields"], NOW_US)
    except SlussError:
        return False
    assert {granted.field for granted in decision.fields} == set(case["fields"])
    return admits(decision, facts)


@pytest.mark.timeout(600)
def test_decide_releases_exactly_what_a_simple_model_of_the_policy_releases(campaign):
    draw = random.Random(20260615)
    released = 0
    for _ in range(WHOLE if campaign else SHORT):
        case = random_case(draw)
        expected = model_releases(case)
        assert code_releases(case) == expected, case
        released += expected
    # A model that refuses everything would agree with a decide() that does: both sides are well covered.
    assert released > SHORT / 40
