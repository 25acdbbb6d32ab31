"""Reports of persons' passwords, and of credentials of subcontractors: what stays cut off, and what a retry repeats."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from broker import case_files
from broker.compromise import locks, reports
from broker.compromise.reports import MAX_IDLE, ROOM, NewReport
from broker.errors import Reason, SlussError
from broker.person_requests import holdings
from broker.sealing import RecipientPrivateKey
from tests.support.policies import HOUR, Clock
from tests.support.world import World

BEGIN = 1_767_225_600_000_000
"""2026-01-01, in microseconds."""


class Scene:
    """A broker with a privacy team and an internal service."""

    def __init__(self, engine, vault):
        self.clock = Clock()
        self.world = World(engine, vault, clock=self.clock)
        self.team, self.inside = (self.world.actor(name) for name in ("privacy/team", "internal/import"))

    def person(self):
        return self.world.person(self.inside)

    def report(self, person, by=None, request_id=None, **changed):
        new = replace(NewReport("person", b"", "", person, BEGIN, None, None, "by phone"), **changed)
        asked = request_id or uuid.uuid4().bytes
        return self.change(lambda change: reports.report(change, new, asked)[0], by)

    def reinstate(self, report):
        held = self.load(report)
        return self.change(lambda change: reports.reinstate(change, report.id, str(held.etag), "a new one")[0])

    def load(self, report):
        return self.change(lambda change: case_files.load(change, ROOM, report.id))

    def change(self, work, by=None):
        return self.world.desk.change((by or self.team).caller(), work)

    def locked_by(self, person):
        return self.change(lambda change: locks.locked_by(change.connection, person))

    def refused(self, call, *given, **named):
        with pytest.raises(SlussError) as caught:
            call(*given, **named)
        return caught.value.reason


@pytest.fixture
def scene(store_engine, vault):
    return Scene(store_engine, vault)


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(sqlite_engine, vault)


# --- locks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_person_stays_locked_until_each_report_is_reinstated(scene, order):
    person, other = scene.person(), scene.person()
    made = [scene.report(person) for _ in range(3)]
    theirs = scene.report(other)
    for number in order:
        locked = scene.locked_by(person)
        assert scene.load(next(each for each in made if each.id == locked)).body["locked"]
        assert scene.refused(scene.change, lambda change: locks.require_unlocked(change, person), scene.inside) is (
            Reason.CREDENTIAL_LOCKED
        )
        scene.reinstate(made[number])
        shown = scene.change(lambda change: holdings.compromises(change, person))
        assert [each["locked"] for each in shown] == [scene.load(each).body["locked"] for each in made]
    assert scene.locked_by(person) == ""
    scene.change(lambda change: locks.require_unlocked(change, person), scene.inside)
    assert scene.locked_by(other) == theirs.id


# --- retries ---------------------------------------------------------------------------------------


def test_a_report_that_is_sent_again_is_the_first_and_one_that_says_anything_else_is_refused(lite):
    one, other = lite.person(), lite.person()
    said = {"suspect_until": BEGIN + 2, "noticed_at": BEGIN + 3}
    same, bare = uuid.uuid4().bytes, uuid.uuid4().bytes
    first = lite.report(one, request_id=same, **said)
    assert lite.report(one, request_id=same, **said).body == first.body
    # Times that were left out are those of the first call.
    assert lite.report(one, request_id=bare).body == lite.report(one, request_id=bare).body
    for changed in (
        {"suspect_from": BEGIN + 1}, {"suspect_until": BEGIN + 9}, {"suspect_until": None}, {"noticed_at": BEGIN + 9},
        {"noticed_at": None}, {"how": "by letter"}, {"person": other},
    ):  # fmt: skip
        given = {"person": one, **said, **changed}
        assert lite.refused(lite.report, given.pop("person"), request_id=same, **given) is Reason.REQUEST_ID_REUSED


# --- how many --------------------------------------------------------------------------------------


def test_a_subcontractor_reports_without_end_only_what_still_cuts_something_off(scene):
    acme, other = (scene.world.actor(f"subcontractor/{name}") for name in ("acme", "other"))
    for each in (acme, other):
        scene.world.register_key(each, RecipientPrivateKey.generate())
    name = acme.name

    def report(by=acme, principal=name, request_id=None):
        return scene.report(0, by, request_id, subject="key", principal=principal)

    asked = uuid.uuid4().bytes
    first = report(request_id=asked)
    assert first.body["key_retired"]
    assert not any(report().body["key_retired"] for _ in range(MAX_IDLE - 1))
    size = len(scene.world.entries())
    with pytest.raises(SlussError) as caught:
        report()
    assert caught.value.reason is Reason.RATE_EXCEEDED
    wait_s = int(caught.value.metadata["retry_after_s"])
    assert 23 * 3_600 < wait_s <= 24 * 3_600
    assert len(scene.world.entries()) == size
    # The first is still answered again; others report, and so does the privacy team; a key in force is retired at once.
    assert report(request_id=asked).id == first.id
    assert report(other, other.name).body["key_retired"]
    assert not report(scene.team).body["key_retired"]
    scene.world.register_key(acme, RecipientPrivateKey.generate())
    assert report().body["key_retired"]
    assert scene.refused(report) is Reason.RATE_EXCEEDED
    scene.clock.us += 24 * HOUR
    assert not report().body["key_retired"]
