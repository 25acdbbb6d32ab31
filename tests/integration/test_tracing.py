"""Traces over real stores: who had received a leaked value, in which form, and when it could have been."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from broker.clock import system_clock
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.ledger.verify import verify_store
from broker.legal.cases import Elsewhere
from broker.tracing import former
from broker.tracing.model import Status
from broker.tracing.tracing import Trace
from tests.support.legal import Bar
from tests.support.tracing import Scene
from tests.support.world import World

SECOND = 1_000_000


class Clock:
    """A clock that a test moves on."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return system_clock() + self.ahead

    def tick(self, seconds=5):
        self.ahead += seconds * SECOND
        return self()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scene(store_engine, vault, clock):
    return Scene(World(store_engine, vault, clock))


@pytest.fixture
def lite(sqlite_engine, vault, clock):
    return Scene(World(sqlite_engine, vault, clock))


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def test_a_leak_from_one_of_three_recipients_with_overlapping_persons_is_traced_to_it(scene):
    names = ("post", "pay", "calls")
    contracts = {name: scene.contract(name) for name in names}
    people = {f"p{number}@example.org": scene.person(f"p{number}@example.org") for number in range(60)}
    emails = list(people)
    parts = {"post": emails[:40], "pay": emails[20:60], "calls": emails[:60:2]}
    for name, part in parts.items():
        scene.disclose(name, contracts[name], [people[email] for email in part])
    summary, rows = scene.trace(*parts["pay"][5:25], "stranger@example.org")
    best = summary.sources[summary.order[0]]
    assert (best.contract, best.recipient, best.name) == (contracts["pay"], "subcontractor/pay", "Acme Pay AB")
    assert (best.rows, best.held, best.estimated) == (20, 40, False)
    assert best.likelihood > 0.99
    assert (summary.rows, summary.found, summary.received) == (21, 20, 20)
    assert rows[-1].values == (("email", Status.UNKNOWN, 0, False),)
    assert summary.recipients[0].everything
    assert not summary.recipients[1].everything
    assert abs(sum(s.likelihood for s in summary.sources) + summary.elsewhere - 1) < 1e-9


def test_a_list_out_of_two_contracts_of_one_recipient_points_to_it_and_not_to_whoever_had_everybody(lite):
    one, two, all_of_them = lite.contract("post"), lite.contract("post"), lite.contract("pay")
    people = {f"p{number}@example.org": lite.person(f"p{number}@example.org") for number in range(60)}
    emails = list(people)
    lite.disclose("post", one, [people[email] for email in emails[:16]])
    lite.disclose("post", two, [people[email] for email in emails[14:30]])
    lite.disclose("pay", all_of_them, list(people.values()))
    summary, _ = lite.trace(*emails[4:26])
    first, second = summary.recipients
    assert (first.name, first.rows, first.everything) == ("subcontractor/post", 22, True)
    assert first.likelihood > 0.99
    assert second.likelihood < 0.01
    assert abs(first.likelihood + second.likelihood + summary.elsewhere - 1) < 1e-9
    assert {summary.sources[bit].contract for bit in summary.order[:2]} == {one, two}
    assert all(summary.sources[bit].likelihood < 0.01 for bit in summary.order)


def test_a_row_that_a_recipient_had_in_parts_under_two_contracts_it_had_wholly(lite):
    one, two = lite.contract("post"), lite.contract("post")
    anna = lite.person("anna@example.org", phone="+46701234567")
    lite.disclose("post", one, [anna])
    lite.disclose("post", two, [anna], fields=("phone",))
    summary, _ = lite.trace({"email": "anna@example.org", "phone": "+46701234567"})
    assert [(source.rows, source.rows_partly) for source in summary.sources] == [(0, 1), (0, 1)]
    assert (summary.received, summary.recipients[0].rows, summary.recipients[0].everything) == (1, 1, True)
    assert summary.recipients[0].likelihood > 0.5


def test_what_two_rows_say_of_a_person_counts_in_whatever_order_as_in_one(lite):
    both, emails_only = lite.contract("post"), lite.contract("pay")
    persons = [lite.person(f"p{n}@example.org", phone=f"+4670174061{n}") for n in range(4)]
    lite.disclose("post", both, persons, fields=("email", "phone"))
    lite.disclose("pay", emails_only, persons)
    emails = [{"email": f"p{n}@example.org"} for n in range(4)]
    phones = [{"phone": f"+4670174061{n}"} for n in range(4)]
    in_one = [email | phone for email, phone in zip(emails, phones, strict=True)]

    def likelihoods(rows):
        summary, _ = lite.trace(*rows)
        return {source.contract: source.likelihood for source in summary.sources}

    assert likelihoods(in_one)[emails_only] == 0.0
    assert likelihoods([*emails, *phones]) == likelihoods([*phones, *emails]) == likelihoods(in_one)


def test_whoever_was_erased_is_not_on_record_and_makes_nobody_likelier(scene):
    contract = scene.contract("post")
    emails = [f"p{number}@example.org" for number in range(6)]
    people = [scene.person(email) for email in emails]
    scene.plant(contract)
    scene.disclose("post", contract, people[:3])
    before, _ = scene.trace(*emails[:3])
    for person in people[3:]:
        scene.world.desk.change(
            scene.privacy.caller(), lambda c, person=person: erasing.erase(c, person, "R-2026-0001")
        )
    after, _ = scene.trace(*emails[:3])
    assert (before.persons, after.persons) == (6, 3)
    assert after.sources[0].likelihood < before.sources[0].likelihood


def test_a_financial_value_can_not_be_guessed_by_a_list(lite):
    person = lite.person("anna@example.org", payment__iban="SE4550000000058398257466")
    lite.disclose("post", lite.contract("post"), [person])
    guesses = [{"email": "anna@example.org", "payment.iban": f"{number:04}"} for number in range(7460, 7481)]
    told = refused(lambda: lite.trace(*guesses))
    assert (told.reason, told.metadata["field"]) == (Reason.INVALID_REQUEST, "rows")
    assert "row 20: at most 20 values of payment.iban of one person" in told.detail
    assert refused(lambda: lite.trace(*guesses[:20] * 15, guesses[20])).reason is Reason.INVALID_REQUEST
    assert lite.world.entries(type="trace") == []
    # A list in which each stands often, or many stand, is traced.
    lite.person("bo@example.org")
    others = [{**each, "email": "bo@example.org"} for each in guesses[10:]]
    _, rows = lite.trace(*guesses[:15] * 20, *others)
    assert rows[6].values[1][1] is Status.NOT_DISCLOSED


def test_the_trace_is_in_the_ledger_and_tells_no_value(lite):
    contract = lite.contract("post")
    person = lite.person("anna@example.org")
    lite.disclose("post", contract, [person])
    summary, _ = lite.trace("anna@example.org", "bo@example.org")
    (said,) = lite.world.entries(type="trace")
    assert said | {"at": ""} == {
        "at": "",
        "by": "privacy/pia",
        "reason": "a list on a forum",
        "recipients": 1,
        "type": "trace",
        "v": 1,
        "values": 2,
    }
    assert lite.world.entries()[summary.entry] == said
    lite.world.ledger.publish()
    assert verify_store(lite.world.engine, lite.world.keys.signer().verifier).ok


def test_only_a_form_in_which_a_recipient_can_know_the_text_counts(lite):
    given = lite.world.grant
    full = lite.contract("pay", given(fields=("email=full", "payment.iban=full")))
    last4 = lite.contract("post", given(fields=("email=full", "payment.iban=last4")))
    country = lite.contract("calls", given(fields=("email=masked", "payment.iban=country_only", "name.given=full")))
    person = lite.person("anna@example.org", payment__iban="SE4550000000058398257466", name__given="Åsa")
    for name, contract in (("pay", full), ("post", last4), ("calls", country)):
        lite.disclose(name, contract, [person], fields=("email", "payment.iban"))
    row = {"email": "anna@example.org", "payment.iban": "SE45 5000 0000 0583 9825 7466"}
    assert lite.had(row) == [{full, last4}, {full}]
    assert lite.had(row | {"payment.iban": "7466"}) == [{full, last4}, {full, last4}]
    assert lite.had(row | {"payment.iban": "SE"}) == [{full, last4}, {full, country}]
    assert lite.had(row | {"payment.iban": "9999"}) == [{full, last4}, set()]
    assert lite.had({"email": "Anna@EXAMPLE.org", "name.given": "åsa"}) == [{full, last4}, set()]


def test_the_year_can_be_made_of_the_month_and_not_the_month_of_the_year(lite):
    contracts = {
        form: lite.contract(form.replace("_", "-"), lite.world.grant(fields=("email=full", f"birth_date={form}")))
        for form in ("full", "month", "year", "age_band")
    }
    person = lite.person("anna@example.org", birth_date="1985-04-03")
    for form, contract in contracts.items():
        lite.disclose(form.replace("_", "-"), contract, [person], fields=("birth_date",))

    def had(text):
        return {
            form
            for form, contract in contracts.items()
            if contract in lite.had({"email": "anna@example.org", "birth_date": text})[1]
        }

    assert had("1985-04-03") == {"full"}
    assert had("1985-04") == {"full", "month"}
    assert had("1985") == {"full", "month", "year"}
    assert had("1980-1989") == {"full", "month", "year", "age_band"}


def test_a_hash_is_traced_to_the_one_contract_whose_key_made_it(lite):
    grant = lite.world.grant(fields=("email=hashed", "phone=full"))
    contracts = [lite.contract(name, grant) for name in ("post", "pay")]
    person = lite.person("anna@example.org", phone="+46701740605")
    for name, contract in zip(("post", "pay"), contracts, strict=True):
        answer = lite.disclose(name, contract, [person], fields=("email", "phone"))
    (values,) = lite.world.opened(answer, lite.keys[name]).values()
    assert lite.had({"phone": "+46701740605", "email": values["email"]}) == [set(contracts), {contracts[1]}]


def test_a_number_is_found_whichever_of_the_persons_numbers_it_is(lite):
    contract = lite.contract("post", lite.world.grant(fields=("mobile=full",)))
    person = lite.person("anna@example.org", phone="+46701740605", mobile="+46701740606")
    lite.disclose("post", contract, [person], fields=("mobile",))
    assert lite.had({"phone": "070-174 06 06"}) == [set()]
    assert lite.had({"phone": "+46 70 174 06 06"}) == [{contract}]
    assert lite.had({"phone": "+46 70 174 06 05"}) == [set()]


def test_a_disclosure_before_the_value_was_collected_did_not_hold_it(scene, clock):
    early, late = scene.contract("early"), scene.contract("late")
    person = scene.person("old@example.org")
    scene.disclose("early", early, [person])
    clock.tick()
    scene.correct(person, email="new@example.org")
    clock.tick()
    scene.disclose("late", late, [person])
    assert scene.had("new@example.org") == [{late}]
    assert scene.had("old@example.org") == [{early}]
    _, (row,) = scene.trace("old@example.org")
    assert row.values[0][3], "it is told to be a former value"
    assert scene.had({"email": "new@example.org", "name.given": "Åsa"})[1] == set()


def test_a_value_that_came_back_is_traced_over_both_its_times(lite, clock):
    contracts = {}
    person = lite.person("a@example.org")
    for name, email in (("one", "b@example.org"), ("two", "a@example.org"), ("three", "c@example.org")):
        contracts[name] = lite.contract(name)
        lite.disclose(name, contracts[name], [person])
        clock.tick()
        lite.correct(person, email=email)
        clock.tick()
    assert lite.had("a@example.org") == [{contracts["one"], contracts["three"]}]
    assert lite.had("b@example.org") == [{contracts["two"]}]


def test_disclosures_from_the_time_on_at_which_it_had_leaked_are_left_out(lite, clock):
    contracts = [lite.contract("one"), lite.contract("two")]
    person = lite.person("anna@example.org")
    lite.disclose("one", contracts[0], [person])
    moment = clock.tick()
    lite.disclose("two", contracts[1], [person])
    assert lite.had("anna@example.org", before=moment) == [{contracts[0]}]
    assert lite.had("anna@example.org") == [set(contracts)]


def test_erasure_forgets_former_values_and_ties(lite, clock):
    contract = lite.contract("post")
    person = lite.person("old@example.org")
    lite.disclose("post", contract, [person])
    clock.tick()
    lite.correct(person, email="new@example.org")
    lite.world.desk.change(lite.privacy.caller(), lambda change: erasing.erase(change, person, "R-2026-0001"))
    for email in ("old@example.org", "new@example.org"):
        summary, (row,) = lite.trace(email)
        assert (summary.sources, row.persons, row.values[0][1]) == ([], (), Status.UNKNOWN)
    with lite.world.engine.connect() as connection:
        assert connection.execute(select(former.FORMER)).all() == []


def test_former_values_are_forgotten_after_six_years(lite, clock):
    person = lite.person("old@example.org")
    lite.correct(person, email="new@example.org")
    _, (row,) = lite.trace("old@example.org")
    assert row.values[0][1] is Status.NOT_DISCLOSED
    later = clock() + int(timedelta(days=6 * 366 + 1).total_seconds()) * SECOND
    with lite.world.ledger.transaction() as tx:
        former.forget_before(tx.connection, later - former.KEPT_US)
    _, (row,) = lite.trace("old@example.org")
    assert row.values[0][1] is Status.UNKNOWN


def test_releases_are_told_and_hidden_ones_leave_no_trace(scene):
    bar = Bar(scene.world)
    person = scene.person("anna@example.org", name__given="Åsa")
    scene.disclose("post", contract := scene.contract("post"), [person])
    plain, hidden = bar.approved(bar.scope([person])), bar.approved(bar.scope([person]))
    without = scene.trace("anna@example.org")
    bar.hide(bar.anna, hidden, bar.today + timedelta(days=30))
    bar.release(bar.bo, hidden)
    then = scene.trace("anna@example.org")
    assert ([s.case for s in then[0].sources], then[1]) == ([s.case for s in without[0].sources], without[1])
    assert scene.had("anna@example.org") == [{contract}]
    bar.release(bar.bo, plain)
    assert scene.had("anna@example.org") == [{contract, plain}]
    assert scene.had("anna@example.org", actor=bar.anna) == [{contract, plain}]
    (case,) = [s for s in scene.trace("anna@example.org")[0].sources if s.case]
    assert (case.name, case.recipient) == ("Polisen", "")


def test_a_release_made_elsewhere_is_told_too(lite):
    bar = Bar(lite.world)
    person = lite.person("anna@example.org")
    case = bar.open(bar.scope([person]))
    made = Elsewhere(bar.today, (person,), ("email",), "paper", "handed over")
    based_on = bar.etag(case)
    bar.change(bar.anna, lambda c: bar.cases.record_elsewhere(c, case, made, uuid.uuid4().bytes, based_on))
    assert lite.had("anna@example.org") == [{case}]


def test_what_is_wrong_with_a_row_is_told_by_name(lite):
    assert refused(lambda: lite.trace({"shoe_size": "43"})).reason is Reason.FIELD_UNKNOWN
    assert refused(lambda: lite.trace({"name.given": "Åsa"})).reason is Reason.INVALID_REQUEST
    assert refused(lite.trace).reason is Reason.INVALID_REQUEST
    _, (row,) = lite.trace({"email": "not an address", "name.given": "Åsa"})
    assert [value[1] for value in row.values] == [Status.UNREADABLE, Status.UNKNOWN]
    lite.person("anna@example.org", name__given="Anna")
    _, (row,) = lite.trace({"email": "anna@example.org", "name.given": "Åsa", "phone": "call me"})
    assert [value[1] for value in row.values] == [Status.NOT_DISCLOSED, Status.DIFFERS, Status.UNREADABLE]
    assert len(lite.world.entries(type="trace")) == 2


def test_a_damaged_record_stops_no_trace(lite):
    contract = lite.contract("post")
    people = [lite.person(f"p{number}@example.org") for number in range(2)]
    lite.disclose("post", contract, people)
    with lite.world.engine.begin() as connection:
        connection.execute(text("UPDATE person SET record = x'00' WHERE id = :id"), {"id": people[0]})
    _, rows = lite.trace("p0@example.org", "p1@example.org")
    assert [row.values[0][1] for row in rows] == [Status.DIFFERS, Status.RECEIVED]


def test_what_a_recipient_holds_is_estimated_from_a_part_of_many(lite, monkeypatch):
    contract = lite.contract("post")
    people = [lite.person(f"p{number}@example.org") for number in range(120)]
    lite.disclose("post", contract, people)
    monkeypatch.setattr("broker.tracing.tracing.HELD_READ", 60)
    whole = Trace.hold
    monkeypatch.setattr(Trace, "hold", lambda self, view: whole(self, view) or True)
    summary, _ = lite.trace("p1@example.org")
    (source,) = summary.sources
    assert source.estimated
    assert 60 < source.held < 240


@pytest.mark.parametrize("persons", [1, 3])
def test_an_address_of_several_persons_is_traced_for_all_of_them(lite, persons):
    contract = lite.contract("post")
    people = [lite.person("family@example.org") for _ in range(persons)]
    lite.disclose("post", contract, people[-1:])
    summary, (row,) = lite.trace("family@example.org")
    assert row.persons == tuple(sorted(people))
    assert row.values[0][1] is Status.RECEIVED
    assert summary.found == 1


def test_two_values_of_a_row_speak_of_whom_both_name(lite):
    contract = lite.contract("post")
    shared = [lite.person("family@example.org", phone=f"+4670174060{n}") for n in (5, 6)]
    lite.disclose("post", contract, shared[:1])
    _, rows = lite.trace(
        {"email": "family@example.org", "phone": "+46701740605"},
        {"email": "family@example.org", "phone": "+46701740606"},
    )
    assert [row.persons for row in rows] == [(shared[0],), (shared[1],)]
    assert [bool(row.values[0][2]) for row in rows] == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_any_history_of_corrections_and_disclosures_is_told_as_a_plain_record_of_it_tells(lite, clock, seed):
    """The reference: a list of who was sent whose address when, kept beside."""
    rng = random.Random(seed)
    pool = [f"a{number}@example.org" for number in range(5)]
    forms = {"full": "email=full", "alike": "email=full", "domain": "email=domain", "masked": "email=masked"}
    whole = {"full", "alike"}
    contracts = {name: lite.contract(name, lite.world.grant(fields=(form,))) for name, form in forms.items()}
    now = {lite.person(email): email for email in pool[:3]}
    sent = []
    for _ in range(25):
        clock.tick(2)
        person = rng.choice(list(now))
        if rng.random() < 0.4:
            now[person] = rng.choice(pool)
            lite.correct(person, email=now[person])
        else:
            name = rng.choice(list(forms))
            sent.append((clock(), name, now[person]))
            lite.disclose(name, contracts[name], [person])
    for before in (clock.tick(2), sent[len(sent) // 2][0]):
        expected = {
            email: {contracts[name] for at, name, was in sent if was == email and name in whole and at < before}
            for email in pool
        }
        assert {email: lite.had(email, before=before)[0] for email in pool} == expected
