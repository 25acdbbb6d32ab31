"""Legal holds in the store: what forbids an erasure, what frees it again, and that neither can be made up in rows."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from broker.erasure import erasing, holds
from broker.erasure.hold_rules import NEVER, HoldState, ends_at, in_force
from broker.errors import Reason, SlussError
from broker.identity import Caller, Evidence
from broker.ledger import entry
from broker.ledger.signer import LedgerKeys
from broker.ledger.verify import verify_store
from broker.store import tables
from broker.store.engine import reading, writing
from tests.unit.persons.world import CANARIES, DOMAIN, ORIGIN, caller, spki

ENTRY, HOLD, TIES = tables.core(tables.LedgerEntry), tables.core(tables.LegalHold), tables.core(tables.LedgerPerson)
WHY = "claim 12 of Quastenflosser at the district court"


def legal():
    evidence = Evidence(f"spiffe://{DOMAIN}/legal/one", spki("legal"), b"")
    return Caller(evidence, "/sluss.v1.ErasureService/PlaceHold", frozenset({"legal"}))


def place(world, person, reason=WHY, until=None, request_id=None):
    asked = request_id or uuid.uuid4().bytes
    return world.desk.change(legal(), lambda change: holds.place(change, asked, person, reason, until))


def lift(world, hold, reason="settled", request_id=None):
    asked = request_id or uuid.uuid4().bytes
    return world.desk.change(legal(), lambda change: holds.lift(change, asked, hold, reason))


def listed(world, person=None, before=0, size=50, *, include_ended=False):
    return world.desk.read(legal(), lambda view: holds.listed(view, person, before, size, include_ended=include_ended))


def erase(world, person):
    return world.desk.change(
        caller("ErasePerson", "privacy"), lambda change: erasing.erase(change, person, "R-2026-0001")
    )


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def test_a_held_person_is_not_erased_until_the_hold_is_lifted(world):
    person = world.register().person
    hold = place(world, person)
    error = refused(lambda: erase(world, person))
    assert (error.reason, error.metadata) == (Reason.LEGAL_HOLD, {})
    assert world.texts(person) == CANARIES
    lifted, index = lift(world, hold.id)
    assert entry.parse(world.table("ledger_entry")[index].entry)["event"] == "lifted"
    assert lifted.state(lifted.lifted_at) is HoldState.LIFTED
    erase(world, person)
    assert refused(lambda: world.get(person)).reason is Reason.PERSON_UNKNOWN


def test_each_of_several_holds_keeps_the_person(world):
    person = world.register().person
    first, second = place(world, person), place(world, person)
    assert (first.id, second.id) == ("H-2026-0001", "H-2026-0002")
    lift(world, first.id)
    assert refused(lambda: erase(world, person)).reason is Reason.LEGAL_HOLD
    lift(world, second.id)
    erase(world, person)


def test_a_hold_ends_by_itself_with_its_last_day(lite):
    person = lite.register().person
    (start,) = [row.placed_at for row in lite.table("legal_hold")] or [0]
    today = datetime.fromtimestamp(lite.ledger.state().last_at // 1_000_000, UTC).date()
    hold = place(lite, person, until=today)
    assert hold.state(ends_at(hold.until) - 1) is HoldState.IN_FORCE
    assert hold.state(ends_at(hold.until)) is HoldState.ENDED
    assert ends_at(hold.until) > hold.placed_at > start
    assert refused(lambda: erase(lite, person)).reason is Reason.LEGAL_HOLD
    yesterday = place(lite, lite.register({"customer_number": "N-2"}).person, until=today - timedelta(days=1))
    erase(lite, yesterday.person)


def test_a_retry_places_one_hold_and_another_body_is_refused(lite):
    person, request = lite.register().person, uuid.uuid4().bytes
    first = place(lite, person, request_id=request)
    assert place(lite, person, request_id=request) == first
    error = refused(lambda: place(lite, person, reason="another", request_id=request))
    assert error.reason is Reason.REQUEST_ID_REUSED
    lifting = uuid.uuid4().bytes
    assert lift(lite, first.id, request_id=lifting) == lift(lite, first.id, request_id=lifting)
    assert len(lite.entries("hold")) == 2
    assert refused(lambda: lift(lite, first.id)).reason is Reason.HOLD_UNKNOWN


@pytest.mark.parametrize("name", ["H-2026-9999", "", "h-2026-0001", "H" * 10_000, "' OR 1=1"])
def test_an_unknown_hold_is_not_lifted(lite, name):
    assert refused(lambda: lift(lite, name)).reason is Reason.HOLD_UNKNOWN


def test_nobody_is_held_who_is_not_on_record(lite):
    assert refused(lambda: place(lite, 4711)).reason is Reason.PERSON_UNKNOWN
    person = lite.register().person
    erase(lite, person)
    assert refused(lambda: place(lite, person)).reason is Reason.PERSON_UNKNOWN


@pytest.mark.parametrize(
    "forgery",
    [
        delete(HOLD),
        update(HOLD).values(lifted_at=1),
        update(HOLD).values(until=1),
        update(HOLD).values(person=4711),
    ],
    ids=["deleted", "lifted", "ended", "moved"],
)
def test_a_row_that_was_changed_frees_nobody(lite, forgery):
    person = lite.register().person
    place(lite, person)
    with writing(lite.engine) as connection:
        connection.execute(forgery)
    assert refused(lambda: erase(lite, person)).reason is Reason.LEGAL_HOLD


def test_a_tie_that_was_deleted_frees_nobody(world):
    person, other = world.register().person, world.register({"customer_number": "N-2"}).person
    place(world, person)
    with writing(world.engine) as connection:
        connection.execute(delete(TIES).where(TIES.c.person == person))
    assert refused(lambda: erase(world, person)).reason is Reason.LEGAL_HOLD
    erase(world, other)


@pytest.mark.parametrize("gone", [1, 2], ids=["one among others", "the last"])
def test_an_entry_that_is_hidden_from_the_search_frees_nobody(world, gone):
    people = [world.register({"customer_number": f"N-{n}"}).person for n in range(2)]
    made = [place(world, person) for person in people]
    with writing(world.engine) as connection:
        connection.execute(update(ENTRY).where(ENTRY.c.id == made[gone - 1].entry).values(type="sealed"))
    assert refused(lambda: erase(world, people[gone - 1])).reason is Reason.LEDGER_INCONSISTENT


def test_a_tie_that_was_deleted_shows_in_verification(lite):
    person = lite.register().person
    index = place(lite, person).entry
    with writing(lite.engine) as connection:
        connection.execute(delete(TIES).where(TIES.c.entry == index))
    verifier = LedgerKeys(ORIGIN, b"\x01" * 32, b"\x02" * 32).signer().verifier
    assert [finding.index for finding in verify_store(lite.engine, verifier).findings] == [index]


def test_a_hold_whose_text_was_exchanged_is_not_shown(lite):
    first, second = (lite.register({"customer_number": f"N-{n}"}).person for n in (1, 2))
    one, _ = place(lite, first), place(lite, second)
    with reading(lite.engine) as connection:
        other = connection.execute(HOLD.select().where(HOLD.c.person == second)).one()
    with writing(lite.engine) as connection:
        connection.execute(update(HOLD).where(HOLD.c.id == one.id).values(body=other.body))
    assert refused(lambda: listed(lite)).reason in {Reason.INTERNAL, Reason.LEDGER_INCONSISTENT}


def test_pages_are_newest_first_and_lose_nothing(lite):
    person = lite.register().person
    made = [place(lite, person).id for _ in range(5)]
    lift(lite, made[2])
    found, before = [], 0
    while True:
        page, before = listed(lite, person, before, 2)
        found += [hold.id for hold in page]
        if not before:
            break
    assert found == [made[4], made[3], made[1], made[0]]
    assert [hold.id for hold in listed(lite, include_ended=True)[0]] == made[::-1]


def test_nothing_of_a_hold_is_readable_at_rest_and_nothing_stays_after_erasure(world):
    person = world.register().person
    hold = place(world, person)
    (before,) = world.table("legal_hold")
    assert b"Quastenflosser" not in b"".join(bytes(each) for each in (before.keys, before.body))
    assert all("Quastenflosser" not in str(said) for said in world.entries())
    lift(world, hold.id, reason=WHY)
    erase(world, person)
    (row,) = world.table("legal_hold")
    assert (row.id, row.person, row.keys, row.body, row.entry) == (hold.id, 0, b"", b"", 0)
    assert listed(world, include_ended=True) == ([], 0)
    again = world.register().person
    assert place(world, again).id == "H-2026-0002"


def test_a_late_retry_of_the_registration_does_not_bring_the_person_back(world):
    request = uuid.uuid4().bytes
    person = world.register(request_id=request).person
    kept = {"customer_number": "SECOND-1", "email": "other@example.com"}
    other = uuid.uuid4().bytes
    stays = world.register(kept, request_id=other).person
    chosen = uuid.uuid4().bytes
    world.choose(person, "offers.email", "out", request_id=chosen)
    erase(world, person)
    assert refused(lambda: world.register(request_id=request)).reason is Reason.REQUEST_ID_REUSED
    error = refused(lambda: world.choose(person, "offers.email", "out", request_id=chosen))
    assert error.reason is Reason.REQUEST_ID_REUSED
    assert world.register(kept, request_id=other).person == stays
    assert sum(row.body == b"" for row in world.table("request")) == 2


DAYS = st.one_of(st.just(""), st.dates(date(2026, 1, 1), date(2026, 1, 6)).map(str))


@settings(max_examples=150)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["placed", "lifted"]), DAYS), max_size=8),
    today=st.dates(date(2026, 1, 1), date(2026, 1, 7)),
)
def test_a_hold_is_in_force_from_its_placing_until_its_end_or_lifting(steps, today):
    """Against a model that looks at each hold by itself."""
    said = [{"hold": str(n), "event": event, "until": day if event == "placed" else ""} for n, event, day in steps]
    now = ends_at(str(today)) - 1
    expected = set()
    for hold in {each["hold"] for each in said}:
        last = [each for each in said if each["hold"] == hold][-1]
        if last["event"] == "placed" and (not last["until"] or last["until"] >= str(today)):
            expected.add(hold)
    assert in_force(said, now) == expected
    assert ends_at("") == NEVER
