"""Messages to an address that a thief may have set: what is judged, and that they stop no other and are not lost."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import delete, update

from broker import case_files
from broker.clock import SECOND
from broker.compromise import reports
from broker.compromise.reports import NewReport
from broker.ids import parse_person, person_text
from broker.outbox import consumers, holding, listing
from broker.outbox.kinds import Kind
from broker.outbox.queue import Message, queue_all
from broker.persons import update as correcting
from broker.persons.model import Correction
from broker.rpc import outbox
from tests.support.policies import HOUR, Clock
from tests.support.world import World

ABOUT = {"complaint": "K-2026-0001", "due": "2026-12-01"}


class Scene:
    """A broker with a mailer that takes everything."""

    def __init__(self, engine, vault):
        self.clock = Clock()
        self.world = World(engine, vault, clock=self.clock)
        self.team, self.inside = (self.world.actor(name) for name in ("privacy/team", "internal/import"))
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
        found, _ = self.read(lambda view: outbox._looked(view, "mail", {}, 100))
        return {parse_person(reply.item.person_id) for _, _, reply in found if reply is not None}

    def held(self):
        """To whom messages are listed as held back."""
        return {each.person for each in self.read(lambda view: listing.page(view, (), 0, 200))[0] if each.held_back}


@pytest.fixture
def scene(store_engine, vault):
    return Scene(store_engine, vault)


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(sqlite_engine, vault)


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
