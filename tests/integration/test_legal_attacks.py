"""Attacks on legal cases over real stores: what one person, a full page or a rewritten row could get released."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import delete, func, select, update

from broker import epochs, requests
from broker.asks import ReleasePart
from broker.contracts import Population, Predicate
from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.legal import documents, releasing
from broker.legal.model import CaseStep, Ground
from broker.legal.rows import EVENT, load, timeline
from broker.persons.model import Correction
from broker.persons.update import update as update_person
from broker.store import tables
from broker.store.engine import writing
from broker.store.queries import LEGAL_CASE, PERSON
from tests.support.legal import RELEASE, Bar
from tests.support.world import World

SEALED = tables.core(tables.SealedEntry)
DOCUMENT = tables.core(tables.LegalDocument)
HIDDEN = {"secrecy_until": date(2029, 1, 1), "secrecy_reason": "ongoing investigation"}


@pytest.fixture
def bar(store_engine, vault):
    return Bar(World(store_engine, vault))


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def by_hand(bar, *statements):
    with writing(bar.world.engine) as connection:
        for statement in statements:
            connection.execute(statement)


def emergency(bar, people):
    case = bar.open(bar.scope(people), ground=Ground.SAFETY)
    bar.deliver(bar.anna, case)
    bar.step(bar.anna, case, CaseStep.EMERGENCY)
    return case


# --- one person -----------------------------------------------------------------------------------------


def test_a_disputed_emergency_releases_nothing_more(bar):
    case = emergency(bar, [bar.person()])
    bar.step(bar.bo, case, CaseStep.DISPUTE)
    size = bar.world.ledger.state().tree.size
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.SECOND_PERSON_NEEDED
    assert [each["type"] for each in bar.world.entries()[size:]] == ["refusal"]


def test_a_dispute_stops_a_release_in_the_middle(bar):
    case = emergency(bar, [bar.person() for _ in range(257)])
    (first,) = bar.release(bar.anna, case, most=1)
    bar.step(bar.bo, case, CaseStep.DISPUTE)
    error = refused(lambda: bar.release(bar.anna, case, resume_after=first.cursor))
    assert error.reason is Reason.SECOND_PERSON_NEEDED
    assert bar.case(case).progress.released == 256


# --- how far a release goes -----------------------------------------------------------------------------


def test_a_period_that_never_ends_is_released(bar):
    person = bar.person()
    case = bar.approved(bar.scope([person], collected_until=date.max))
    assert set(bar.opened(case, bar.release(bar.anna, case))[person_text(person)]) == {"email", "name.given"}


def swedes(bar):
    return bar.scope(population=Population(predicates=(Predicate("address.country", frozenset({"SE"})),)))


def abroad(bar, number):
    values = {"customer_number": f"N-{number}", "email": f"n{number}@example.no", "address.country": "NO"}
    return bar.person(values=values)


def test_a_population_that_shrank_is_released_to_its_end_from_the_start_again(bar):
    foreign = {abroad(bar, number) for number in range(60)}
    people = [bar.person() for _ in range(230)]
    case = bar.approved(swedes(bar), ground=Ground.MERGER)
    (first,) = bar.release(bar.anna, case, most=1)
    # Who was looked at and not released goes; the first part is now shorter than a part, and not the last one.
    by_hand(bar, update(PERSON).where(PERSON.c.id.in_(foreign)).values(state="erased"))
    found = bar.opened(case, bar.release(bar.anna, case))
    assert found.keys() == {person_text(person) for person in people}
    assert len(first.parts) < len(people)


def test_a_release_that_is_complete_gets_no_newcomers(bar):
    first = bar.person()
    case = bar.approved(bar.everyone(), ground=Ground.MERGER)
    messages = bar.release(bar.anna, case)
    assert bar.case(case).progress.complete
    for _ in range(40):
        bar.person()
    for resume_after in ("", messages[-1].cursor):
        again = bar.release(bar.bo, case, resume_after=resume_after)
        assert bar.opened(case, again).keys() <= {person_text(first)}
    released = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert len(released) == 1


def test_who_joins_the_population_after_its_release_is_not_released(bar):
    person = abroad(bar, 1)
    case = bar.approved(swedes(bar), ground=Ground.MERGER)
    assert bar.opened(case, bar.release(bar.anna, case)) == {}
    correct(bar, person, "address.country", "SE")
    assert bar.opened(case, bar.release(bar.bo, case)) == {}
    assert bar.received(person) == []


@pytest.mark.parametrize("ground", [Ground.PROCESS, Ground.MERGER])
def test_a_release_is_the_same_long_after_requests_are_forgotten(store_engine, vault, ground):
    times = [1_800_000_000_000_000]
    bar = Bar(World(store_engine, vault, clock=lambda: times[0]))
    people = [bar.person() for _ in range(3)]
    case = bar.approved(bar.scope(people) if ground is Ground.PROCESS else bar.everyone(), ground=ground)
    first = bar.opened(case, bar.release(bar.anna, case))
    times[0] += 40 * 86_400_000_000
    bar.world.ledger.run(lambda tx: requests.forget_before(tx.connection, tx.at))
    assert bar.opened(case, bar.release(bar.bo, case)) == first
    released = [each for each in bar.world.entries(contract=case) if each["type"] == "release"]
    assert sum(len(each["slices"]) for each in released) == 3
    assert len(bar.received(people[0])) == 1
    bar.world.ledger.run(lambda tx: epochs.destroy_expired(tx.connection, tx.at))
    bar.world.reopen()
    assert refused(lambda: bar.release(bar.bo, case)).reason is Reason.RECORD_CHANGED
    assert len(bar.received(people[0])) == 1


@pytest.mark.parametrize("change", ["erased", "corrected"])
def test_a_person_who_changes_before_their_turn_is_released_as_they_are_then(bar, change):
    people = sorted(bar.person() for _ in range(260))
    case = bar.approved(bar.scope(people))
    (first,) = bar.release(bar.anna, case, most=1)
    if change == "corrected":
        correct(bar, people[-1], "email", "new@example.com")
    else:
        by_hand(bar, update(PERSON).where(PERSON.c.id == people[-1]).values(state="erased"))
    found = bar.opened(case, bar.release(bar.bo, case, resume_after=first.cursor))
    left = people[256:] if change == "corrected" else people[256:-1]
    assert found.keys() == {person_text(person) for person in left}
    if change == "corrected":
        assert found[person_text(people[-1])]["email"] == "new@example.com"
    progress = bar.case(case).progress
    assert (progress.done, progress.released, progress.complete) == (260, 256 + len(left), True)


def test_a_part_that_can_not_be_given_again_is_refused_and_the_release_goes_on_behind_it(bar):
    people = sorted(bar.person() for _ in range(260))
    case = bar.approved(bar.scope(people))
    bar.release(bar.anna, case, most=1)
    correct(bar, people[0], "email", "new@example.com")
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.RECORD_CHANGED
    part = bar.case(case).progress
    behind = releasing.cursor_of(case, ReleasePart(part.place, part.done, part.released), bar.cursors)
    found = bar.opened(case, bar.release(bar.anna, case, resume_after=behind))
    assert found.keys() == {person_text(person) for person in people[256:]}


def correct(bar, person, field, value):
    asked = Correction(person=person, values=[(field, value)], remove=[], source="registration", etag="1")
    bar.change(bar.registration, lambda c: update_person(c, asked))


# --- rewritten rows -------------------------------------------------------------------------------------


def put_back(bar, case, row, entry):
    """The case and its timeline say what they said up to an entry; the ledger goes on."""
    by_hand(
        bar,
        update(LEGAL_CASE).where(LEGAL_CASE.c.id == case).values(row),
        delete(EVENT).where(EVENT.c.entry > entry),
    )


@pytest.mark.parametrize("secrecy", [{}, HIDDEN], ids=["visible", "hidden"])
def test_an_earlier_approval_put_back_with_its_timeline_releases_nothing(bar, secrecy):
    people = [bar.person(), bar.person()]
    case = bar.approved(bar.scope(people), **secrecy)
    with bar.world.engine.connect() as connection:
        row = dict(connection.execute(select(LEGAL_CASE)).mappings().one())
        entry = connection.execute(select(func.max(EVENT.c.entry))).scalar_one()
    bar.step(bar.anna, case, CaseStep.REJECT)
    put_back(bar, case, row, entry)
    assert refused(lambda: bar.release(bar.anna, case)).reason is Reason.LEDGER_INCONSISTENT


@pytest.mark.parametrize("secrecy", [{}, HIDDEN], ids=["visible", "hidden"])
def test_a_dispute_that_was_taken_back_in_the_store_still_stops_a_release(bar, secrecy):
    case = bar.open(bar.scope([bar.person() for _ in range(257)]), ground=Ground.SAFETY, **secrecy)
    bar.deliver(bar.anna, case)
    bar.step(bar.anna, case, CaseStep.EMERGENCY)
    (first,) = bar.release(bar.anna, case, most=1)
    with bar.world.engine.connect() as connection:
        row = dict(connection.execute(select(LEGAL_CASE)).mappings().one())
        entry = connection.execute(select(func.max(EVENT.c.entry))).scalar_one()
    bar.step(bar.bo, case, CaseStep.DISPUTE)
    put_back(bar, case, row, entry)
    error = refused(lambda: bar.release(bar.anna, case, resume_after=first.cursor))
    assert error.reason is Reason.LEDGER_INCONSISTENT


@pytest.mark.parametrize(
    "tamper",
    [[update(LEGAL_CASE).values(hidden_until=1 << 60)], [delete(EVENT), delete(LEGAL_CASE)]],
    ids=["hidden", "deleted"],
)
def test_a_case_that_was_taken_out_of_the_report_in_the_store_is_missed(bar, tamper):
    case = bar.approved(bar.scope([bar.person()]))
    bar.release(bar.anna, case)
    by_hand(bar, *tamper)
    assert refused(bar.report).reason is Reason.LEDGER_INCONSISTENT


def test_a_document_that_was_replaced_is_not_given_back(bar):
    case = bar.open(bar.scope([bar.person()]))
    bar.change(bar.anna, lambda c: documents.add(c, case, "order.pdf", "application/pdf", b"as it was"))
    held = bar.read(lambda view: load(view, case))
    about = bar.read(lambda view: listed(view, case))[0]
    forged = documents._about(replace(about, sha256=hashlib.sha256(b"forged").digest()))
    by_hand(
        bar,
        update(DOCUMENT).values(
            about=held.keys.seal("about 1", forged), content=held.keys.seal("content 1", b"forged")
        ),
    )
    assert refused(lambda: bar.read(lambda view: documents.document(view, case, 1))).reason in (
        Reason.INTERNAL,
        Reason.LEDGER_INCONSISTENT,
    )


@pytest.mark.parametrize("secrecy", [{}, HIDDEN], ids=["visible", "hidden"])
def test_events_and_openings_of_another_case_do_not_pass_for_this_ones(bar, secrecy):
    one, two = (bar.open(bar.scope([bar.person()]), note=note, **secrecy) for note in ("one", "two"))
    with bar.world.engine.connect() as connection:
        texts = dict(connection.execute(select(EVENT.c.case, EVENT.c.text)).all())
    by_hand(
        bar,
        update(EVENT).where(EVENT.c.case == one).values(text=texts[two]),
        update(SEALED).where(SEALED.c.case == one).values(case=two),
    )
    error = refused(lambda: bar.read(lambda view: timeline(view, load(view, one))))
    assert error.reason in (Reason.INTERNAL, Reason.LEDGER_INCONSISTENT)


def test_a_document_of_another_case_does_not_open(bar):
    one, two = bar.open(bar.scope([bar.person()])), bar.open(bar.scope([bar.person()]))
    for case in (one, two):
        bar.change(bar.anna, lambda c, case=case: documents.add(c, case, "a.pdf", "application/pdf", case.encode()))
    with bar.world.engine.connect() as connection:
        row = connection.execute(select(DOCUMENT).where(DOCUMENT.c.case == two)).mappings().one()
    values = {"about": row["about"], "content": row["content"]}
    by_hand(bar, update(DOCUMENT).where(DOCUMENT.c.case == one).values(values))
    assert refused(lambda: bar.read(lambda view: documents.document(view, one, 1))).reason is Reason.INTERNAL


# --- documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 2, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_document_that_the_case_has_not_is_unknown_whatever_its_number(bar, number):
    case = bar.open(bar.scope([bar.person()]))
    bar.change(bar.anna, lambda c: documents.add(c, case, "order.pdf", "application/pdf", b"%PDF"))
    error = refused(lambda: bar.read(lambda view: documents.document(view, case, number)))
    assert error.reason is Reason.CASE_UNKNOWN


def listed(view, case):
    held = load(view, case)
    return documents.documents(view, held, timeline(view, held))


def test_a_document_that_was_taken_away_is_missed(bar):
    case = bar.open(bar.scope([bar.person()]))
    for name in ("one.pdf", "two.pdf"):
        bar.change(bar.anna, lambda c, name=name: documents.add(c, case, name, "application/pdf", b"%PDF"))
    by_hand(bar, delete(DOCUMENT).where(DOCUMENT.c.number == 2))
    error = refused(lambda: bar.read(lambda view: listed(view, case)))
    assert error.reason is Reason.LEDGER_INCONSISTENT


def test_a_line_taken_from_the_middle_of_a_timeline_is_missed(bar):
    case = bar.approved(bar.scope([bar.person()]))
    with bar.world.engine.connect() as connection:
        entries = connection.execute(select(EVENT.c.entry).order_by(EVENT.c.entry)).scalars().all()
    by_hand(bar, delete(EVENT).where(EVENT.c.entry == entries[2]))
    error = refused(lambda: bar.read(lambda view: timeline(view, load(view, case))))
    assert error.reason is Reason.LEDGER_INCONSISTENT


# --- a hidden case --------------------------------------------------------------------------------------


def test_nothing_that_a_hidden_case_leaves_tells_of_it(bar):
    case = bar.approved(bar.scope([bar.person() for _ in range(257)]), **HIDDEN)
    size = bar.world.ledger.state().tree.size
    (first,) = bar.release(bar.anna, case, most=1)
    bar.step(bar.anna, case, CaseStep.CLOSE)
    assert refused(lambda: bar.release(bar.anna, case, resume_after=first.cursor)).reason is Reason.CASE_WRONG_STATE
    for row in bar.world.ledger.entries(size, 1_000):
        assert row.type in ("sealed", "refusal")
        assert not any(word in row.entry for word in (case.encode(), b"legal.process", b"Polisen", b"email"))
        assert (row.contract, row.recipient) in (("", ""), ("", "legal/anna"))
    sealed = {len(row.entry) for row in bar.world.ledger.entries(size, 1_000) if row.type == "sealed"}
    assert len(sealed) == 1, "all sealed entries are of one length"


def test_a_part_of_a_hidden_release_that_is_refused_tells_no_number_of_persons(bar):
    case = bar.approved(bar.scope([bar.person() for _ in range(3)]), **HIDDEN)
    caller = bar.anna.caller(RELEASE)
    held = bar.world.desk.change(caller, lambda c: bar.cases.begin_release(c, case, None))
    ask = releasing.Parts(caller, held, bar.cursors, 0, "").next()
    bar.step(bar.anna, case, CaseStep.CLOSE)
    (answer,) = bar.world.spine.run([ask])
    assert answer.reason is Reason.CASE_WRONG_STATE
    told = bar.world.entries()[-1]
    assert (told["type"], told["persons"], told["contract"], told["fields"]) == ("refusal", 0, "", [])
