"""Policy versions and persons: who accepted one and who was told of it, proven; and what goes with an erasure."""

from __future__ import annotations

import itertools
import uuid

import pytest
from sqlalchemy import select, update

from broker.clock import SECOND
from broker.companions import ROOMS
from broker.compromise import reports
from broker.compromise.reports import NewReport
from broker.erasure.erasing import erase
from broker.errors import Reason
from broker.ledger.verify import verify_store
from broker.outbox import consumers
from broker.outbox.queue import ITEM
from broker.outbox.queue import forget as forget_messages
from broker.policies import acceptances, notices
from broker.policies.model import CONTINUED_USE
from broker.rights import Rights
from broker.store.engine import writing
from broker.store.queries import PERSON
from tests.support.policies import HOUR, START, Scene, reason, scope_of
from tests.support.world import World


@pytest.fixture
def scene(store_engine, vault):
    return Scene(store_engine, vault)


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(sqlite_engine, vault)


# --- acceptance ------------------------------------------------------------------------------------


def test_a_person_without_the_acceptance_that_a_purpose_asks_for_is_unavailable(scene):
    (person, handle), (other, theirs) = scene.person(), scene.person()
    assert scene.available(handle)
    scene.publish("2026-02", START + HOUR)
    scene.publish("2026-03", START + 2 * HOUR)
    scene.require("billing", "2026-02")
    assert not scene.available(handle)
    scene.accept(person, "2026-01")
    assert not scene.available(handle)
    done = scene.accept(person, "2026-02")
    assert scene.available(handle)
    assert not scene.available(theirs)
    scene.accept(other, "2026-03")
    assert scene.available(theirs)
    # An older one, recorded later, takes nothing away.
    assert scene.accept(person, "2026-01").newest == done.newest == "2026-02"
    assert scene.available(handle)


def test_what_one_broker_recorded_holds_on_every_other_from_the_moment_it_returned(scene):
    person, handle = scene.person()
    scene.require("billing", "2026-01")
    other = World(scene.world.engine, scene.world.vault, clock=scene.clock, keys=scene.world.keys)

    def available():
        (outcome,) = other.spine.run([scene.world.ask(scene.acme, scene.contract, [handle])])
        return bool(outcome.sealed)

    assert not available()
    scene.accept(person, "2026-01")
    assert available()
    scene.publish("2026-02")
    scene.require("billing", "2026-02")
    assert not available()


def test_a_registration_can_bring_the_acceptance(scene):
    scene.require("billing", "2026-01")
    assert scene.available(scene.person(accepted="2026-01")[1])
    assert not scene.available(scene.person()[1])
    assert [each["source"] for each in scene.world.entries(type="acceptance")] == ["registration"]
    assert reason(scene.person, accepted="2031-01") is Reason.POLICY_UNKNOWN


@pytest.mark.parametrize(("asks", "wanted"), [("billing", "billing.collection"), ("billing.collection", "billing")])
def test_what_any_purpose_on_the_line_asks_for_counts(sqlite_engine, vault, asks, wanted):
    scene = Scene(sqlite_engine, vault, purpose=wanted)
    person, handle = scene.person()
    scene.require(asks, "2026-01")
    told = scene.world.desk.read(scene.acme.caller(), lambda view: scope_of(view, scene.contract))
    assert {each.purpose.code for each in told.purposes if each.accepted_since == "2026-01"} >= {wanted}
    assert not scene.available(handle)
    scene.accept(person, "2026-01")
    assert scene.available(handle)


def test_an_acceptance_is_recorded_once_and_shown_with_its_evidence(scene):
    person, _ = scene.person()
    request_id = uuid.uuid4().bytes
    first = scene.accept(person, "2026-01", evidence="form 12, box ticked by Zwolfcanary", request_id=request_id)
    again = scene.accept(person, "2026-01", evidence="form 12, box ticked by Zwolfcanary", request_id=request_id)
    assert first == again
    assert reason(scene.accept, person, "2026-01", request_id=request_id) is Reason.REQUEST_ID_REUSED
    (line,) = scene.history(person)
    assert (line.version, line.source, line.entry) == ("2026-01", "web", first.entry)
    assert line.evidence == "form 12, box ticked by Zwolfcanary"
    assert scene.history(person, scene.world.actor("legal/anna"))[0].evidence == ""
    said = scene.world.entries(type="acceptance")
    assert len(said) == 1
    assert "Zwolfcanary" not in str(said)
    with scene.world.engine.connect() as connection:
        assert b"Zwolfcanary" not in connection.execute(select(acceptances.ACCEPTANCE.c.evidence)).scalar_one()


def test_while_a_person_s_password_is_stolen_no_acceptance_comes_through_an_internal_service(scene):
    (person, handle), (other, _) = scene.person(), scene.person()
    scene.publish("2026-02")
    scene.require("billing", "2026-02")
    request_id = uuid.uuid4().bytes
    before = scene.accept(person, "2026-01", request_id=request_id)
    stolen = NewReport("person", b"", "", person, START, None, None, "by phone")
    report = scene.world.desk.change(
        scene.privacy.caller(), lambda change: reports.report(change, stolen, uuid.uuid4().bytes)[0]
    )
    scene.tell(person, "2026-02")
    for source in ("web", CONTINUED_USE):
        assert reason(scene.accept, person, "2026-02", source) is Reason.CREDENTIAL_LOCKED
    assert not scene.available(handle)
    # What was accepted before is answered again, another's is taken, and so is what the privacy team hands in.
    assert scene.accept(person, "2026-01", request_id=request_id) == before
    scene.accept(other, "2026-02")
    scene.accept(person, "2026-02", by=scene.privacy)
    assert scene.available(handle)
    scene.publish("2026-03")
    scene.world.desk.change(scene.privacy.caller(), lambda change: reports.reinstate(change, report.id, "1", "new"))
    assert scene.accept(person, "2026-03").newest == "2026-03"


def test_nothing_is_accepted_that_is_not_there(lite):
    person, _ = lite.person()
    assert reason(lite.accept, person, "2031-01") is Reason.POLICY_UNKNOWN
    assert reason(lite.accept, person, "") is Reason.INVALID_REQUEST
    assert reason(lite.accept, person, "2026-01", "No Source") is Reason.INVALID_REQUEST
    assert reason(lite.accept, 4711, "2026-01") is Reason.PERSON_UNKNOWN


def test_going_on_to_use_the_service_accepts_only_what_is_in_force_and_was_told(lite):
    person, _ = lite.person()
    lite.publish("2026-02", START + HOUR)
    lite.tell(person, "2026-02")
    assert reason(lite.accept, person, "2026-02", "continued_use") is Reason.NOTICE_MISSING
    assert reason(lite.accept, person, "2026-01", "continued_use") is Reason.NOTICE_MISSING
    lite.clock.us = START + HOUR
    assert lite.accept(person, "2026-02", "continued_use").newest == "2026-02"
    other, _ = lite.person()
    assert reason(lite.accept, other, "2026-02", "continued_use") is Reason.NOTICE_MISSING


def test_no_row_accepts_for_a_person(scene):
    (person, handle), (other, theirs) = scene.person(), scene.person()
    scene.publish("2026-02")
    scene.require("billing", "2026-02")
    scene.accept(person, "2026-01")
    scene.accept(other, "2026-02")
    with scene.world.engine.connect() as connection:
        good = dict(connection.execute(select(PERSON.c.id, PERSON.c.accepted)).all())
    forged = ["2026-02", "2026-02:", "2026-02:" + "0" * 64, "2026-02:å", good[other], "2026-02:" + good[person][8:], ""]
    for text in forged:
        scene.write(update(PERSON).where(PERSON.c.id == person).values(accepted=text))
        assert not scene.available(handle), text
    assert scene.available(theirs)


def test_a_line_of_the_history_that_the_ledger_does_not_have_is_refused(lite):
    person, _ = lite.person()
    lite.publish("2026-02")
    lite.accept(person, "2026-01")
    lite.write(update(acceptances.ACCEPTANCE).values(version="2026-02"))
    assert reason(lite.history, person) is Reason.LEDGER_INCONSISTENT


@pytest.mark.parametrize(
    ("order", "needed"), list(itertools.product([("a", "b", "c"), ("c", "a", "b")], ["a", "b", "c"]))
)
def test_the_rule_is_that_of_a_simple_model(sqlite_engine, vault, order, needed):
    """Versions take effect in order of time, whatever they are called and whenever they were published."""
    scene = Scene(sqlite_engine, vault)
    for number, version in reversed(list(enumerate(order, 1))):
        scene.publish(version, START + number * HOUR)
    scene.require("billing", needed)
    for accepted in itertools.permutations(order, 2):
        person, handle = scene.person()
        for version in accepted:
            scene.accept(person, version)
        assert scene.available(handle) == (max(map(order.index, accepted)) >= order.index(needed))


# --- telling everybody ------------------------------------------------------------------------------


def messages(scene, kind="policy_changed"):
    with scene.world.engine.connect() as connection:
        return connection.execute(select(ITEM.c.person).where(ITEM.c.kind == kind).order_by(ITEM.c.id)).scalars().all()


def go_on(scene):
    rights = Rights(scene.world.vault)
    while scene.world.ledger.run(lambda tx: notices.go_on(tx, rights.at(tx.connection))):
        pass


def test_everybody_on_record_is_told_once_and_who_comes_later_with_the_registration(scene, monkeypatch):
    monkeypatch.setattr(notices, "PART", 2)
    before = [scene.person()[0] for _ in range(5)]
    scene.publish("2026-02", START + HOUR, notify=True)
    after = scene.person()[0]
    go_on(scene)
    scene.publish("2026-02", START + HOUR, notify=True)
    go_on(scene)
    assert sorted(messages(scene)) == sorted([*before, after])
    scene.clock.us = START + HOUR
    scene.person()
    assert len(messages(scene)) == 6


def test_what_was_delivered_counts_as_told(lite):
    person, _ = lite.person()
    caller = lite.registration.caller()
    lite.world.desk.change(caller, lambda c: consumers.enlist(c, "mail", (), skip_earlier=False))
    lite.publish("2026-02", notify=True)
    go_on(lite)
    assert reason(lite.accept, person, "2026-02", "continued_use") is Reason.NOTICE_MISSING
    with lite.world.engine.connect() as connection:
        item = connection.execute(select(ITEM.c.id).where(ITEM.c.kind == "policy_changed")).scalar_one()
    lite.world.desk.change(caller, lambda c: consumers.acknowledge(c, "mail", [(item, None)], SECOND))
    lite.accept(person, "2026-02", "continued_use")
    told = lite.world.desk.read(caller, lambda view: notices.told(view.connection, person))
    assert [version for version, _ in told] == ["2026-02"]


# --- what goes with an erasure, and with time ---------------------------------------------------------


def test_nothing_is_left_of_a_person_who_is_forgotten(scene):
    person, handle = scene.person(accepted="2026-01")
    scene.tell(person, "2026-01")
    stays, _ = scene.person(accepted="2026-01")
    with writing(scene.world.engine) as connection:
        acceptances.forget(connection, person)
        forget_messages(connection, person)
        left = [
            connection.execute(select(table.c.person).where(table.c.person == person)).all()
            for table in (acceptances.ACCEPTANCE, notices.NOTICE, ITEM)
        ]
        assert left == [[], [], []]
        assert connection.execute(select(PERSON.c.accepted).where(PERSON.c.id == person)).scalar_one() is None
        assert connection.execute(select(ITEM.c.person)).scalars().all() == [stays]
    scene.require("billing", "2026-01")
    assert not scene.available(handle)


def test_an_erasure_takes_acceptances_notices_and_messages_with_it(scene):
    person, _ = scene.person(accepted="2026-01")
    scene.accept(person, "2026-01", evidence="signed in the shop")
    scene.tell(person, "2026-01")
    scene.world.desk.change(scene.privacy.caller(), lambda change: erase(change, person, "R-2026-0001"))
    with scene.world.engine.connect() as connection:
        for table in (acceptances.ACCEPTANCE, notices.NOTICE, ITEM):
            assert connection.execute(select(table.c.person).where(table.c.person == person)).all() == []
        assert connection.execute(select(PERSON.c.accepted).where(PERSON.c.id == person)).scalar_one() is None
    assert verify_store(scene.world.engine, scene.world.keys.signer().verifier, rooms=ROOMS).ok
    assert reason(scene.history, person) is Reason.PERSON_UNKNOWN


def test_what_nobody_delivers_in_time_is_given_up_and_its_contents_destroyed(lite):
    person, _ = lite.person()
    caller = lite.registration.caller()
    lite.world.desk.change(caller, lambda c: consumers.enlist(c, "mail", (), skip_earlier=False))

    def state():
        with lite.world.engine.connect() as connection:
            items = connection.execute(select(ITEM.c.settled_at > 0, ITEM.c.body != b"")).all()
            said = connection.execute(select(consumers.DELIVERY.c.state, consumers.DELIVERY.c.reason)).all()
        return [tuple(map(bool, item)) for item in items], [tuple(each) for each in said]

    def expire():
        lite.world.ledger.run(lambda tx: consumers.expire(tx.connection, tx.at))

    expire()
    assert state() == ([(False, True)], [])
    lite.clock.us += consumers.LIFE_US + HOUR
    expire()
    assert state() == ([(True, False)], [("dead", "expired")])
    lite.clock.us += consumers.KEPT_US + HOUR
    expire()
    assert state() == ([], [])
    assert person
