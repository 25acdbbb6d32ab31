"""Messages to an address that a thief may have set: what is judged, and that they stop no other and are not lost."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing

import pytest
from sluss.v1 import outbox_pb2 as ob
from sqlalchemy import delete, update

from broker import case_files
from broker.clock import SECOND
from broker.compromise import reports
from broker.compromise.reports import NewReport
from broker.ids import parse_person, person_text
from broker.outbox import consumers, holding, listing
from broker.outbox.kinds import Kind
from broker.outbox.queue import Message, queue_all
from broker.pages import Cursors
from broker.persons import update as correcting
from broker.persons.model import Correction
from broker.rpc import outbox
from broker.rpc.threads import Threads
from tests.support.policies import HOUR, Clock
from tests.support.world import World

ABOUT = {"complaint": "K-2026-0001", "due": "2026-12-01"}


class Scene:
    """A broker with a mailer that takes everything."""

    def __init__(self, engine, vault):
        self.clock = Clock()
        self.world = World(engine, vault, clock=self.clock)
        self.team, self.inside = (self.world.actor(name) for name in ("privacy/team", "internal/import"))
        self.threads = Threads(2, 5.0)
        self.service = outbox.Outbox(self.world.desk, Cursors(bytes(32)), self.threads, SECOND)
        self.change(lambda change: consumers.enlist(change, "mail", (), skip_earlier=False))

    def change(self, work, by=None):
        return self.world.desk.change((by or self.team).caller(), work)

    def read(self, work):
        return self.world.desk.read(self.team.caller(), work)

    def person(self):
        return self.world.person(self.inside)

    def moved(self, person, email="thief@example.com", etag="1", by=None):
        """Another address, an hour later; the time before and after."""
        before = self.clock.us = self.clock.us + HOUR
        self.clock.us += HOUR
        asked = Correction(person, [("email", email)], [], "web", etag, rectification=False, cause="")
        self.change(lambda change: correcting.update(change, asked), by or self.inside)
        self.clock.us += HOUR
        return before, self.clock.us

    def report(self, person, since, by=None):
        new = NewReport("person", b"", "", person, since, None, None, "by phone")
        return self.change(lambda change: reports.report(change, new, uuid.uuid4().bytes)[0], by)

    def stolen(self):
        """A person whose messages are held back, and the report."""
        person = self.person()
        before, _ = self.moved(person)
        return person, self.report(person, before)

    def reinstate(self, report, etag="1"):
        self.change(lambda change: reports.reinstate(change, report.id, etag, "seen in person"))

    def queue(self, person, count=1):
        messages = [Message(person, Kind.COMPLAINT_RECEIVED, ABOUT)] * count
        return self.change(lambda change: queue_all(change.connection, messages, change.now_us))

    def sent(self):
        """Whom a mailer that watches now gets messages to."""
        found, _ = self.read(lambda view: outbox._looked(view, "mail", {}, outbox._Aside(), 100))
        return {parse_person(reply.item.person_id) for _, _, reply in found if reply is not None}

    def watch(self, **more):
        request = ob.WatchOutboxRequest(consumer="mail", **more)
        return aclosing(self.service.watch_outbox(self.team.caller(), request, 60.0))

    async def answer(self, item):
        done = [ob.OutboxAcknowledgement(id=item.id)]
        request = ob.AcknowledgeOutboxRequest(consumer="mail", acknowledgements=done)
        await self.service.acknowledge_outbox(self.team.caller(), request, 60.0)

    def expire(self):
        self.world.ledger.run(lambda tx: consumers.expire(tx.connection, tx.at))

    def held(self):
        """To whom messages are listed as held back."""
        return {each.person for each in self.read(lambda view: listing.page(view, (), 0, 200))[0] if each.held_back}


@pytest.fixture
def scene(store_engine, vault):
    made = Scene(store_engine, vault)
    yield made
    made.threads.close()


@pytest.fixture
def lite(sqlite_engine, vault):
    made = Scene(sqlite_engine, vault)
    yield made
    made.threads.close()


# --- what is judged --------------------------------------------------------------------------------


@pytest.mark.parametrize("wide_first", [True, False])
def test_all_reports_that_lock_the_credential_are_judged(lite, wide_first):
    person = lite.person()
    before, after = lite.moved(person)
    first = lite.report(person, before if wide_first else after, lite.inside)
    assert lite.held() == ({person} if wide_first else set())
    lite.clock.us += HOUR
    second = lite.report(person, after if wide_first else before)
    assert lite.held() == {person}
    assert lite.sent() == set()
    # What is left is judged by itself.
    wide, narrow = (first, second) if wide_first else (second, first)
    lite.reinstate(narrow)
    assert lite.held() == {person}
    lite.reinstate(wide)
    assert lite.held() == set()
    assert lite.sent() == {person}


def test_a_report_without_the_address_change_in_its_window_holds_nothing_back_once_the_other_is_reinstated(lite):
    person = lite.person()
    before, after = lite.moved(person)
    wide, _ = lite.report(person, before), lite.report(person, after)
    assert lite.held() == {person}
    lite.reinstate(wide)
    assert lite.held() == set()
    assert lite.sent() == {person}


def test_an_address_that_the_team_set_before_a_later_report_is_suspect_again_until_it_is_corrected(lite):
    person, report = lite.stolen()
    lite.moved(person, "owner@example.com", "2", lite.team)
    assert lite.held() == set()
    lite.report(person, report.opened_at - SECOND)
    assert lite.held() == {person}
    lite.moved(person, "right@example.com", "3", lite.team)
    assert lite.held() == set()


# --- what is damaged -------------------------------------------------------------------------------

DAMAGES = {
    "its contents": update(case_files.FILE).values(body=b"\x00"),
    "its keys": update(case_files.FILE).values(keys=b"\x00" * 80),
    "its person": update(case_files.FILE).values(person=0),
    "its state": update(case_files.FILE).values(state="closed"),
    "the row": delete(case_files.FILE),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_report_holds_its_persons_messages_back_and_no_others(scene, damage, caplog):
    person, other = scene.person(), scene.person()
    report = scene.report(person, scene.clock.us)
    with scene.world.engine.begin() as connection:
        connection.execute(damage.where(case_files.FILE.c.id == report.id))
    assert scene.sent() == {other}
    assert scene.held() == {person}
    (said, *_) = (each.getMessage() for each in caplog.records if each.name == holding.__name__)
    assert said.endswith(report.id)
    assert str(person) not in caplog.text
    assert person_text(person) not in caplog.text


# --- how many --------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 100])
def test_however_many_are_held_back_the_others_go_and_they_go_later(scene, monkeypatch, window):
    monkeypatch.setattr(outbox, "MOST", 3)
    monkeypatch.setattr(outbox, "LOOK_S", 0.02)
    monkeypatch.setattr(outbox, "AGAIN_S", 0.5)
    person, report = scene.stolen()
    scene.queue(person, 10)
    between = scene.person()
    scene.queue(person, 4)
    last = scene.person()

    async def watch():
        order = []
        async with scene.watch(window=window) as stream:
            while order.count(person) < 16:
                reply = await anext(stream)
                if reply.HasField("item"):
                    order.append(parse_person(reply.item.person_id))
                    await scene.answer(reply.item)
                    if order[-1] == last:
                        await asyncio.to_thread(scene.reinstate, report)
        return order

    # The registration, the report, and 14 more.
    order = asyncio.run(asyncio.wait_for(watch(), 30))
    assert order[:2] == [between, last]
    assert set(order[2:]) == {person}


def test_what_is_put_aside_is_bounded_and_nothing_behind_it_is_passed(monkeypatch):
    monkeypatch.setattr(outbox, "MOST", 3)
    monkeypatch.setattr(outbox, "AGAIN_S", 10.0)
    aside = outbox._Aside()
    for item in (70, 80, 10):
        aside.put(item, 1.0)
    assert (aside.behind, set(aside.items)) == (10, {70, 80})
    for item in (20, 90):
        aside.put(item, 2.0)
    assert (aside.behind, set(aside.items)) == (90, set())
    aside.put(95, 3.0)
    # Not in the middle, and not before its time.
    aside.let_go(20.0, at_the_end=False)
    assert (aside.behind, set(aside.items)) == (90, set())
    aside.let_go(10.0, at_the_end=True)
    assert aside.behind == 90
    aside.let_go(11.0, at_the_end=True)
    assert aside.behind == 0


# --- how long --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mend", ["corrected", "reinstated"])
def test_what_is_held_back_outlives_the_time_in_which_others_are_given_up(scene, mend):
    person, report = scene.stolen()
    other = scene.person()
    scene.clock.us += consumers.LIFE_US + HOUR
    scene.expire()
    assert scene.held() == {person}
    if mend == "corrected":
        scene.moved(person, "owner@example.com", "2", scene.team)
    else:
        scene.reinstate(report)
    scene.expire()
    assert scene.sent() == {person}
    # Nothing waits for ever: not for a report that ended long ago.
    scene.clock.us += consumers.LIFE_US - HOUR
    scene.expire()
    assert scene.sent() == {person}
    scene.clock.us += 2 * HOUR
    scene.expire()
    assert scene.sent() == ({person} if mend == "corrected" else set())
    assert other


def test_many_that_may_be_held_back_spare_no_others(lite, monkeypatch):
    monkeypatch.setattr(consumers, "PART", 2)
    person, report = lite.stolen()
    lite.queue(person, 5)
    other = lite.person()
    lite.clock.us += consumers.LIFE_US + HOUR
    assert lite.sent() == {other}
    lite.expire()
    assert lite.sent() == set()
    assert lite.held() == {person}
    lite.reinstate(report)
    assert lite.sent() == {person}
