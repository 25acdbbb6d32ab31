"""A person of very many disclosures: they are read before the head's lock, and what came in between under it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from datetime import date

import pytest
from sluss.v1 import complaint_pb2, person_pb2, person_request_pb2

from broker.complaints import handling
from broker.complaints.handling import NewComplaint
from broker.erasure import erasing
from broker.ids import person_text
from broker.obligations import owing
from broker.person_requests import tracking
from broker.person_requests.model import Identity, Kind
from broker.person_requests.tracking import Call, Opening
from broker.persons import rows
from broker.rpc.complaints import Complaints
from broker.rpc.person_requests import PersonRequests
from broker.rpc.persons import Persons
from tests.support.obligations import Owing

GIVEN = 5


@pytest.fixture
def world(store_engine, vault, monkeypatch):
    """Counts, in `read`, the disclosures read outside and under the lock; `between` is done before the latter."""
    made = Owing(store_engine, vault)
    made.read, made.under_lock, made.between = {False: 0, True: 0}, False, lambda: None
    held = owing.held
    ledger_run = made.ledger.run

    def counting(*args):
        made.read[made.under_lock] += 1
        return held(*args)

    def run(work):
        between, made.between = made.between, lambda: None
        between()
        made.under_lock = True
        try:
            return ledger_run(work)
        finally:
            made.under_lock = False

    monkeypatch.setattr(owing, "held", counting)
    monkeypatch.setattr(made.ledger, "run", run)
    return made


async def call(work, caller, *args):
    return work(caller, *args)


def given(world):
    """A person whose data has left a few times."""
    person = world.person(world.registration)
    for _ in range(GIVEN):
        world.give(world.acme, world.acme_contract, person)
    return person


@contextmanager
def read_before(world, *, between=0):
    """Within, nothing of a person's disclosures is read under the lock but what came in between."""
    world.read.update({False: 0, True: 0})
    yield
    assert world.read == {False: GIVEN, True: between}


def requested(world, person, kind):
    caller = world.privacy.caller()
    asked = Opening(kind, "letter", date(2026, 1, 1), person, "please", "Anna", "en")
    held, _ = world.desk.change(caller, lambda c: tracking.open_request(c, asked, uuid.uuid4().bytes))
    checked = Call(held.id, str(held.etag), uuid.uuid4().bytes)
    return world.desk.change(caller, lambda c: tracking.note_identity(c, checked, "eid", Identity.PASSED, 0))[0]


def named(held):
    return {"id": held.id, "etag": str(held.etag), "request_id": str(uuid.uuid4())}


def etag_of(world, person):
    return world.desk.read(world.privacy.caller(), lambda view: str(rows.active(view.connection, person).version))


def value():
    return person_pb2.FieldValue(field="email", value="another@example.com")


def servicer(world):
    return PersonRequests(world.desk, world.ledger, "origin", None, call, call, lambda: None)


def test_who_gets_the_data_while_it_is_read_for_an_erasure_owes_like_the_others(world):
    person = given(world)
    held = requested(world, person, Kind.ERASURE)
    world.between = lambda: world.give(world.mail, world.mail_contract, person)
    with read_before(world, between=1):
        asyncio.run(servicer(world).erase(world.privacy.caller(), person_request_pb2.EraseRequest(**named(held)), 1.0))
    assert world.progress(held.id).total == 2


def test_nothing_that_was_known_before_is_read_again(world):
    person = given(world)
    caller = world.privacy.caller()
    known = world.desk.read(caller, lambda view: list(owing.disclosed(view, person)))
    world.give(world.mail, world.mail_contract, person)
    whole = world.desk.read(caller, lambda view: list(owing.disclosed(view, person)))
    assert len(whole) == GIVEN + 1
    for first in (0, 1, GIVEN, GIVEN + 1):
        world.read.update({False: 0})
        again = world.desk.read(caller, lambda view, n=first: list(owing.disclosed(view, person, whole[:n])))
        assert (again, world.read[False]) == (whole, GIVEN + 1 - first)
    world.desk.change(caller, lambda change: erasing.erase(change, person, "R-2026-0009", known))
    assert world.progress("R-2026-0009").total == 2


def test_a_page_ends_nowhere_within(world, monkeypatch):
    person = given(world)
    whole = world.desk.read(world.privacy.caller(), lambda view: list(owing.disclosed(view, person)))
    for size in range(1, GIVEN + 2):
        monkeypatch.setattr(owing, "MAX_READ", size)
        found = world.desk.read(world.privacy.caller(), lambda view: list(owing.disclosed(view, person)))
        assert found == whole


def test_rectifications_and_remedies_read_before_the_lock(world):
    person, caller = given(world), world.privacy.caller()
    held = requested(world, person, Kind.RECTIFICATION)
    asked = person_request_pb2.RectifyRequest(
        **named(held), values=[value()], person_etag=etag_of(world, person), last=True
    )
    with read_before(world):
        asyncio.run(servicer(world).rectify(caller, asked, 1.0))
    assert world.progress(held.id).total == 1

    person = given(world)
    correction = person_pb2.UpdatePersonRequest(
        person_id=person_text(person), values=[value()], source="web", etag=etag_of(world, person), rectification=True
    )
    with read_before(world):
        asyncio.run(Persons(world.desk, None, call, call).update_person(world.registration.caller(), correction, 1.0))

    new = NewComplaint(person, "Anna", "letter", "disclosure", "they call me", ())
    file = world.desk.change(caller, lambda c: handling.open_complaint(c, new, uuid.uuid4().bytes))
    file, _ = world.desk.change(caller, lambda c: handling.set_outcome(c, file.id, "upheld", "you are right", "1"))
    remedy = complaint_pb2.RemedyRequest(
        complaint_id=file.id, etag=str(file.etag), kind="erase_data", note="as was asked for"
    )
    complaints = Complaints(world.desk, world.agreed, None, call, call, lambda: None)
    with read_before(world):
        asyncio.run(complaints.remedy(caller, remedy, 1.0))
    assert world.progress(file.id).total == 1
