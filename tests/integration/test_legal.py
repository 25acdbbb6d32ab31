"""Legal cases over real stores: two persons, a scope that only narrows, releases, what the ledger says of it all."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import select, update

from broker.companions import ROOMS
from broker.contracts import Population, Predicate
from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.receipt import verify_receipt
from broker.ledger.verify import verify_store
from broker.legal.cases import Elsewhere
from broker.legal.model import CaseState, CaseStep, Delivery, Ground, Key
from broker.legal.report import Line
from broker.legal.rows import EVENT, load, timeline
from broker.sealing import RecipientPrivateKey
from broker.store.engine import writing
from broker.store.queries import LEGAL_CASE
from broker.store.wrapped import rewrap_all
from broker.watching import Filter
from tests.support.legal import Bar
from tests.support.world import World


@pytest.fixture
def bar(store_engine, vault):
    return Bar(World(store_engine, vault))


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def last_entry(bar):
    return bar.world.entries()[-1]


def test_a_case_goes_from_intake_to_release_and_the_ledger_tells_it(bar):
    person = bar.person()
    case = bar.approved(bar.scope([person]))
    messages = bar.release(bar.bo, case)
    values = bar.opened(case, messages)[person_text(person)]
    assert set(values) == {"email", "name.given"}
    steps = [each["event"] for each in bar.world.entries(contract=case) if each["type"] == "case"]
    expected = ["opened", "changed", "reviewed", "prepared", "approved", "release_began", "release_completed"]
    assert steps == expected
    (released,) = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert (released["by"], released["second_person"]) == ("legal/bo", "legal/bo")
    assert released["ground"] == "legal.process"
    assert released["terms"]["recipient"] == f"authority/{case.lower()}"
    assert bar.case(case).progress.complete
    bar.world.ledger.publish()
    assert verify_store(bar.world.engine, bar.world.keys.signer().verifier, rooms=ROOMS).findings == []


def test_the_entry_is_in_the_ledger_before_the_message_leaves(bar):
    case = bar.approved(bar.scope([bar.person()]))
    ((part,),) = [message.parts for message in bar.release(bar.anna, case)]
    verify_receipt(part.disclosure.receipt, part.disclosure.entry, bar.world.keys.signer().verifier)


@pytest.mark.parametrize("who", ["opened", "prepared", "set the delivery", "narrowed"])
def test_nobody_approves_what_they_had_a_hand_in(bar, who):
    people = [bar.person(), bar.person()]
    case = bar.open(bar.scope(people), actor=bar.bo if who == "opened" else bar.anna)
    bar.deliver(bar.bo if who == "set the delivery" else bar.anna, case)
    if who == "narrowed":
        bar.edit(bar.bo, case, scope=bar.scope(people[:1]))
    bar.step(bar.anna, case, CaseStep.REVIEW)
    bar.step(bar.bo if who == "prepared" else bar.anna, case, CaseStep.PREPARE)
    error = refused(lambda: bar.step(bar.bo, case, CaseStep.APPROVE))
    assert error.reason is Reason.SECOND_PERSON_NEEDED
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.CASE_WRONG_STATE
    assert bar.case(case).state is CaseState.UNDER_REVIEW


def test_a_change_after_the_approval_ends_it(bar):
    people = [bar.person(), bar.person()]
    case = bar.approved(bar.scope(people))
    bar.edit(bar.anna, case, scope=bar.scope(people[:1]))
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.CASE_WRONG_STATE
    assert bar.case(case).body.approved_by == ""
    bar.step(bar.anna, case, CaseStep.PREPARE)
    assert refused(lambda: bar.step(bar.anna, case, CaseStep.APPROVE)).reason is Reason.SECOND_PERSON_NEEDED
    bar.step(bar.bo, case, CaseStep.APPROVE)
    assert bar.opened(case, bar.release(bar.anna, case)).keys() == {person_text(people[0])}


WIDER = {
    "another person": lambda bar, people: bar.scope([people[0], bar.person()]),
    "more persons": lambda bar, people: bar.scope([*people, bar.person()]),
    "another field": lambda bar, people: bar.scope(people, fields=("phone=full",)),
    "a fuller form": lambda bar, people: bar.scope(people, fields=("email=full",), **PERIOD),
    "a longer period": lambda bar, people: bar.scope(people, fields=("email=masked",), **LONGER),
    "no period": lambda bar, people: bar.scope(people, fields=("email=masked",)),
}
PERIOD = {"collected_from": date(2026, 1, 1), "collected_until": date(2026, 6, 30)}
LONGER = {"collected_from": date(2026, 1, 1), "collected_until": date(2026, 7, 1)}


@pytest.mark.parametrize("how", WIDER)
def test_a_scope_only_narrows(bar, how):
    people = [bar.person(), bar.person()]
    case = bar.open(bar.scope(people, fields=("email=masked", "name.given=full"), **PERIOD))
    size = bar.world.ledger.state().tree.size
    error = refused(lambda: bar.edit(bar.anna, case, scope=WIDER[how](bar, people)))
    assert error.reason is Reason.SCOPE_WIDENED
    assert bar.case(case).body.scope.persons == tuple(sorted(people))
    assert [each["type"] for each in bar.world.entries()[size:]] in (["refusal"], [])


def test_narrower_in_every_respect_is_taken(bar):
    people = [bar.person(), bar.person()]
    case = bar.open(bar.scope(people))
    bar.edit(bar.anna, case, scope=bar.scope(people[:1], fields=("email=domain",), **PERIOD))
    scope = bar.case(case).body.scope
    assert (scope.persons, [f.transform for f in scope.fields]) == ((people[0],), ["domain"])


def test_a_population_narrows_to_a_part_of_it(bar):
    case = bar.open(bar.everyone(), ground=Ground.MERGER)
    sweden = Population(predicates=(Predicate("address.country", frozenset({"SE", "NO"})),))
    bar.edit(bar.anna, case, scope=bar.scope(population=sweden))
    wider = Population(predicates=(Predicate("address.country", frozenset({"SE", "DK"})),))
    error = refused(lambda: bar.edit(bar.anna, case, scope=bar.scope(population=wider)))
    assert error.reason is Reason.SCOPE_WIDENED
    assert refused(lambda: bar.edit(bar.anna, case, scope=bar.everyone())).reason is Reason.SCOPE_WIDENED


def test_only_values_collected_in_the_period_are_released(bar):
    person = bar.person()
    early = {"collected_from": date(2000, 1, 1), "collected_until": date(2000, 12, 31)}
    case = bar.approved(bar.scope([person], **early))
    assert bar.opened(case, bar.release(bar.anna, case)) == {person_text(person): {}}


# --- the emergency --------------------------------------------------------------------------------------


def test_in_danger_one_releases_at_once_and_another_must_answer(bar):
    person = bar.person()
    case = bar.open(bar.scope([person]), ground=Ground.SAFETY)
    bar.deliver(bar.anna, case)
    bar.step(bar.anna, case, CaseStep.EMERGENCY)
    assert person_text(person) in bar.opened(case, bar.release(bar.anna, case))
    (released,) = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert (released["emergency"], released["second_person"]) == (True, "")
    for step in (CaseStep.CONFIRM, CaseStep.DISPUTE):
        assert refused(lambda step=step: bar.step(bar.anna, case, step)).reason is Reason.SECOND_PERSON_NEEDED
    assert refused(lambda: bar.step(bar.anna, case, CaseStep.CLOSE)).reason is Reason.CASE_WRONG_STATE
    answered = bar.step(bar.bo, case, CaseStep.CONFIRM).body.emergency
    assert (answered.answered_by, answered.disputed) == ("legal/bo", False)
    bar.step(bar.anna, case, CaseStep.CLOSE)


def test_an_emergency_that_nobody_answers_for_in_time_releases_nothing_more(store_engine, vault):
    times = [1_800_000_000_000_000]
    bar = Bar(World(store_engine, vault, clock=lambda: times[0]))
    case = bar.open(bar.scope([bar.person()]), ground=Ground.SAFETY)
    bar.deliver(bar.anna, case)
    bar.step(bar.anna, case, CaseStep.EMERGENCY)
    bar.release(bar.anna, case)
    times[0] += 86_400_000_001
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.SECOND_PERSON_NEEDED
    bar.step(bar.bo, case, CaseStep.CONFIRM)
    assert len(bar.opened(case, bar.release(bar.anna, case))) == 1


@pytest.mark.parametrize("ground", [Ground.PROCESS, Ground.RIGHTS, Ground.MERGER])
def test_no_emergency_on_other_grounds(bar, ground):
    case = bar.open(bar.scope([bar.person()]), ground=ground)
    bar.deliver(bar.anna, case)
    assert refused(lambda: bar.step(bar.anna, case, CaseStep.EMERGENCY)).reason is Reason.CASE_WRONG_STATE


# --- steps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", list(CaseStep))
def test_a_closed_case_moves_no_more(bar, step):
    case = bar.open(bar.scope([bar.person()]))
    bar.step(bar.anna, case, CaseStep.CLOSE)
    assert refused(lambda: bar.step(bar.bo, case, step)).reason is Reason.CASE_WRONG_STATE


def test_a_rejected_case_releases_nothing(bar):
    case = bar.approved(bar.scope([bar.person()]))
    bar.step(bar.anna, case, CaseStep.REJECT)
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.CASE_WRONG_STATE


def test_a_step_based_on_an_older_state_is_refused(bar):
    case = bar.open(bar.scope([bar.person()]))
    stale = bar.etag(case)
    bar.step(bar.anna, case, CaseStep.REVIEW)
    assert refused(lambda: bar.step(bar.bo, case, CaseStep.REJECT, etag=stale)).reason is Reason.ETAG_STALE


def test_the_same_request_opens_one_case(bar):
    request, scope = uuid.uuid4().bytes, bar.scope([bar.person()])
    first = bar.open(scope, request_id=request)
    assert bar.open(scope, request_id=request) == first
    error = refused(lambda: bar.open(scope, request_id=request, note="another"))
    assert error.reason is Reason.REQUEST_ID_REUSED


def test_a_person_who_is_not_on_record_is_named_by_place(bar):
    error = refused(lambda: bar.open(bar.scope([bar.person(), 4711])))
    assert (error.reason, error.metadata["position"]) == (Reason.PERSON_UNKNOWN, "0")


def test_what_was_written_is_proven_and_not_in_the_ledger(bar):
    case = bar.open(bar.scope([bar.person()]), note="Anna Svensson is suspected")
    bar.step(bar.anna, case, CaseStep.REVIEW, "a look at the order")
    held = bar.read(lambda view: timeline(view, load(view, case)))
    assert [(event.event, event.text, event.proven) for event in held] == [
        ("opened", "Anna Svensson is suspected", True),
        ("reviewed", "a look at the order", True),
    ]
    assert not any(b"Svensson" in row.entry for row in bar.world.ledger.entries(0, 1_000))


# --- tampering ------------------------------------------------------------------------------------------


def test_an_approval_written_into_the_store_releases_nothing(bar):
    case = bar.open(bar.scope([bar.person()]))
    bar.deliver(bar.anna, case)
    by_hand(bar, update(LEGAL_CASE).values(state="approved"))
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.LEDGER_INCONSISTENT


def test_an_earlier_approval_put_back_releases_nothing(bar):
    people = [bar.person(), bar.person()]
    case = bar.approved(bar.scope(people))
    with bar.world.engine.connect() as connection:
        row = connection.execute(select(LEGAL_CASE)).mappings().one()
        approved = {"state": row["state"], "body": row["body"]}
    bar.edit(bar.anna, case, scope=bar.scope(people[:1]))
    by_hand(bar, update(LEGAL_CASE).values(approved))
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.LEDGER_INCONSISTENT


def test_secrecy_written_into_the_store_hides_nothing(bar):
    person = bar.person()
    case = bar.approved(bar.scope([person]))
    bar.release(bar.anna, case)
    by_hand(bar, update(LEGAL_CASE).values(hidden_until=1 << 61))
    assert refused(lambda: bar.case(case)).reason is Reason.LEDGER_INCONSISTENT


def test_a_text_that_was_rewritten_is_not_proven(bar):
    case = bar.open(bar.scope([bar.person()]), note="as it was")
    held = bar.read(lambda view: load(view, case))
    index = bar.read(lambda view: timeline(view, held))[0].index
    forged = held.keys.seal(f"event {index}", b"as it was not")
    by_hand(bar, update(EVENT).values(text=forged))
    assert [event.proven for event in bar.read(lambda view: timeline(view, held))] == [False]


def by_hand(bar, statement):
    with writing(bar.world.engine) as connection:
        connection.execute(statement)


# --- releases -------------------------------------------------------------------------------------------


def test_a_release_that_broke_goes_on_and_each_person_is_released_once(bar):
    people = [bar.person() for _ in range(300)]
    case = bar.approved(bar.scope(people))
    (first,) = bar.release(bar.anna, case, most=1)
    bar.world.reopen()
    rest = bar.release(bar.bo, case, resume_after=first.cursor)
    again = bar.release(bar.bo, case, resume_after="")
    assert bar.opened(case, [first, *rest]).keys() == {person_text(person) for person in people}
    assert [p.disclosure.slices for m in again for p in m.parts] == [
        p.disclosure.slices for m in (first, *rest) for p in m.parts
    ]
    released = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert sum(len(each["slices"]) for each in released) == 300
    progress = bar.case(case).progress
    assert (progress.done, progress.total, progress.released, progress.complete) == (300, 300, 300, True)


def test_a_merger_releases_a_population_with_one_entry_per_person(bar):
    people = [bar.person() for _ in range(7)]
    abroad = bar.person(
        values={"customer_number": "K-1", "email": "nils@example.no", "name.given": "Nils", "address.country": "NO"}
    )
    sweden = Population(predicates=(Predicate("address.country", frozenset({"SE"})),))
    case = bar.approved(bar.scope(population=sweden), ground=Ground.MERGER)
    found = bar.opened(case, bar.release(bar.anna, case))
    assert found.keys() == {person_text(person) for person in people}
    assert person_text(abroad) not in found
    released = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert [len(each["slices"]) for each in released] == [1] * 7


def test_a_population_is_released_on_ground_d_only(bar):
    error = refused(lambda: bar.open(bar.everyone()))
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, "scope.population")


def test_a_package_is_sealed_to_one_key_for_all_of_it(bar):
    case = bar.open(bar.scope([bar.person()]))
    bar.edit(bar.anna, case, delivery=Delivery(None, date(2099, 1, 1)))
    bar.step(bar.anna, case, CaseStep.REVIEW)
    bar.step(bar.anna, case, CaseStep.PREPARE)
    bar.step(bar.bo, case, CaseStep.APPROVE)
    assert refused(lambda: bar.release(bar.anna, case)).metadata["field"] == "package_key"
    key, other = RecipientPrivateKey.generate(), RecipientPrivateKey.generate()
    package = Key(key.public().suite, key.public().data)
    messages = bar.release(bar.anna, case, key=package)
    assert len(bar.opened(case, messages, key)) == 1
    another = Key(other.public().suite, other.public().data)
    assert refused(lambda: bar.release(bar.anna, case, key=another)).metadata["field"] == "package_key"


def test_a_subcontractor_can_not_disclose_under_a_case(bar):
    acme = bar.world.actor("subcontractor/acme")
    case = bar.approved(bar.scope([bar.person()]))
    bar.release(bar.anna, case)
    error = refused(lambda: bar.world.disclose(acme, case, [bytes(16)], purpose="legal.process"))
    assert error.reason is Reason.NOT_YOUR_CONTRACT


def test_the_ledger_lists_what_happened_in_a_case_and_nothing_of_a_hidden_one(bar):
    plain = bar.open(bar.scope([bar.person()]))
    hidden = bar.open(bar.scope([bar.person()]), secrecy_until=date(2029, 1, 1), secrecy_reason="x")
    for case, found in ((plain, ["opened"]), (hidden, [])):
        Filter(case, "", "").check()
        assert [each["event"] for each in bar.world.entries(contract=case)] == found
    assert refused(lambda: Filter("L-1", "", "").check()).metadata["field"] == "contract_id"


# --- who received what ----------------------------------------------------------------------------------


def test_the_accounting_names_every_way_in_which_data_left(bar):
    person = bar.person()
    operator, acme = bar.world.actor("operator/olle"), bar.world.actor("subcontractor/acme")
    contract = bar.world.contract(acme, operator)
    bar.world.disclose(acme, contract, [bar.world.handle(contract, person)])
    case = bar.approved(bar.scope([person]))
    bar.release(bar.anna, case)
    elsewhere(bar, case, person)
    found = bar.received(person)
    assert [row.said["type"] for row in found] == ["disclosure", "release", "release_elsewhere"]
    assert found[0].terms.recipient_name == "Acme Pay AB"
    assert found[1].case.body.requester.name == "Polisen"
    assert found[2].said["released_on"] == "2026-02-03"
    assert bar.received(bar.person()) == []
    assert [row.index for row in bar.received(person, after=found[0].index, limit=1)] == [found[1].index]


def elsewhere(bar, case, person, request=None):
    made = Elsewhere(date(2026, 2, 3), (person,), ("email",), "paper", "by letter")
    etag = bar.etag(case)
    return bar.change(
        bar.anna, lambda c: bar.cases.record_elsewhere(c, case, made, request or uuid.uuid4().bytes, etag)
    )


def test_a_release_made_elsewhere_is_recorded_once(bar):
    person, request = bar.person(), uuid.uuid4().bytes
    case = bar.open(bar.scope([person]))
    first = elsewhere(bar, case, person, request)[1]
    assert elsewhere(bar, case, person, request)[1] == first
    assert len(bar.received(person)) == 1
    assert bar.case(case).body.elsewhere


# --- secrecy --------------------------------------------------------------------------------------------


def test_a_hidden_case_leaves_nothing_but_commitments(bar):
    person = bar.person()
    case = bar.approved(bar.scope([person]), secrecy_until=date(2029, 1, 1), secrecy_reason="ongoing investigation")
    bar.release(bar.anna, case)
    assert bar.world.entries(contract=case) == []
    assert bar.received(person) == []
    assert case.encode() not in b"".join(row.entry for row in bar.world.ledger.entries(0, 1_000))
    assert bar.report() == []
    assert [line for line, _ in bar.report(hidden=True)] == [Line("legal.process", "SE", "released")]
    bar.world.ledger.publish()
    assert verify_store(bar.world.engine, bar.world.keys.signer().verifier, rooms=ROOMS).findings == []


def test_after_lifting_the_ledger_proves_what_was_hidden(bar):
    person = bar.person()
    case = bar.approved(bar.scope([person]), secrecy_until=date(2029, 1, 1), secrecy_reason="ongoing investigation")
    bar.release(bar.anna, case)
    bar.hide(bar.bo, case, None, "charges were brought")
    (row,) = bar.received(person)
    opening = row.opening
    assert opening.sealed_entry == row.entry
    commitment = entry.base64url(entry.sealed_commitment(opening.salt, opening.entry))
    assert entry.parse(row.entry)["commitment"] == commitment
    assert entry.parse(opening.entry)["terms"]["contract"] == case
    assert last_entry(bar)["event"] == "lifted"


def test_a_hidden_release_can_be_fetched_again_with_its_opening(bar):
    case = bar.approved(bar.scope([bar.person()]), secrecy_until=date(2029, 1, 1), secrecy_reason="x")
    first, again = bar.release(bar.anna, case), bar.release(bar.bo, case)
    ((one,), (two,)) = [[part for message in messages for part in message.parts] for messages in (first, again)]
    assert (one.opening, one.disclosure.slices) == (two.opening, two.disclosure.slices)
    verify_receipt(two.disclosure.receipt, two.opening.sealed_entry, bar.world.keys.signer().verifier)


def test_secrecy_ends_by_itself(store_engine, vault):
    times = [1_800_000_000_000_000]
    bar = Bar(World(store_engine, vault, clock=lambda: times[0]))
    person = bar.person()
    case = bar.approved(bar.scope([person]), secrecy_until=bar.today, secrecy_reason="until tonight")
    bar.release(bar.anna, case)
    assert bar.received(person) == []
    times[0] += 86_400_000_000
    assert len(bar.received(person)) == 1


@pytest.mark.parametrize(("until", "field"), [(date(2020, 1, 1), "until"), (date(2060, 1, 1), "until")])
def test_secrecy_has_an_end_within_reason(bar, until, field):
    case = bar.open(bar.scope([bar.person()]))
    error = refused(lambda: bar.hide(bar.anna, case, until))
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, field)


def test_secrecy_is_prolonged_and_never_shortened_in_silence(bar):
    case = bar.open(bar.scope([bar.person()]), secrecy_until=date(2028, 1, 1), secrecy_reason="x")
    assert refused(lambda: bar.hide(bar.anna, case, date(2027, 6, 1))).metadata["field"] == "until"
    assert bar.hide(bar.anna, case, date(2028, 6, 1)).body.secrecy.until == date(2028, 6, 1)
    visible = bar.open(bar.scope([bar.person()]))
    assert refused(lambda: bar.hide(bar.anna, visible, None)).reason is Reason.CASE_WRONG_STATE


def test_a_refusal_about_a_case_does_not_name_it(bar):
    case = bar.open(bar.scope([bar.person()]), secrecy_until=date(2028, 1, 1), secrecy_reason="x")
    bar.deliver(bar.anna, case)
    bar.step(bar.anna, case, CaseStep.REVIEW)
    bar.step(bar.anna, case, CaseStep.PREPARE)
    refused(lambda: bar.step(bar.anna, case, CaseStep.APPROVE))
    assert last_entry(bar)["reason"] == "SECOND_PERSON_NEEDED"
    assert case not in str(last_entry(bar))


# --- the report -----------------------------------------------------------------------------------------


def test_the_report_counts_by_ground_country_and_outcome(bar):
    people = [bar.person() for _ in range(3)]
    bar.release(bar.anna, bar.approved(bar.scope(people)))
    rejected = bar.open(bar.scope(people[:1]))
    bar.step(bar.anna, rejected, CaseStep.REJECT)
    withdrawn = bar.open(bar.scope(people[:1]), ground=Ground.RIGHTS)
    bar.step(bar.anna, withdrawn, CaseStep.CLOSE)
    recorded = bar.open(bar.scope(people[:1]), ground=Ground.RIGHTS)
    elsewhere(bar, recorded, people[0])
    bar.open(bar.scope(people[:1]), requester=replace(bar.new(bar.scope()).requester, country="NO"))
    found = {(line.ground, line.country, line.outcome): (n.requests, n.persons) for line, n in bar.report()}
    assert found == {
        ("legal.process", "SE", "released"): (1, 3),
        ("legal.process", "SE", "rejected"): (1, 0),
        ("legal.rights", "SE", "withdrawn"): (1, 0),
        ("legal.rights", "SE", "elsewhere"): (1, 1),
        ("legal.process", "NO", "pending"): (1, 0),
    }
    assert bar.report(period=(0, 1)) == []


def test_the_report_counts_each_person_of_a_merger_once_hidden_or_not(bar):
    people = [bar.person() for _ in range(5)]
    plain = bar.approved(bar.everyone(), ground=Ground.MERGER)
    bar.release(bar.anna, plain)
    sealed = bar.approved(
        bar.everyone(), ground=Ground.MERGER, secrecy_until=date(2029, 1, 1), secrecy_reason="not announced yet"
    )
    bar.release(bar.anna, sealed)
    assert [(count.requests, count.persons) for _, count in bar.report()] == [(1, len(people))]
    assert [(count.requests, count.persons) for _, count in bar.report(hidden=True)] == [(2, 2 * len(people))]


def test_case_keys_go_to_the_newest_version_of_their_ring(bar):
    case = bar.open(bar.scope([bar.person()]), note="kept")
    bar.world.vault._records.rotate()
    assert rewrap_all(bar.world.engine, bar.world.vault).changed > 0
    assert rewrap_all(bar.world.engine, bar.world.vault).changed == 0
    assert bar.case(case).body.requester.name == "Polisen"
