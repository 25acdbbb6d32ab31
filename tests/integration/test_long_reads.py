"""What grows with the years or with a breach is read apart from the short calls, and no further back than it has to."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from datetime import date, timedelta

import pytest
from sluss.v1 import complaint_pb2, compromise_pb2, person_request_pb2
from sqlalchemy import event, select

from broker.clock import DAY, SECOND, day_of, system_clock
from broker.compromise import reports, window
from broker.compromise.concerned import concerned
from broker.compromise.reports import NewReport
from broker.desk import View
from broker.ledger import entry
from broker.outbox import consumers, kinds
from broker.outbox.kinds import Failure
from broker.outbox.queue import DELIVERY, ITEM, Message, queue_all
from broker.person_requests import rows, statistics, tracking
from broker.person_requests.model import Kind
from broker.person_requests.tracking import Opening
from broker.policies import notices
from broker.rpc.complaints import Complaints
from broker.rpc.compromises import Compromises
from broker.rpc.person_requests import PersonRequests
from broker.store.engine import reading
from tests.support.world import World


class Clock:
    """The system's, set forward by a test."""

    def __init__(self):
        self.ahead_us = 0

    def __call__(self):
        return system_clock() + self.ahead_us


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def world(store_engine, vault, clock):
    return World(store_engine, vault, clock)


async def long(work, caller, *args):
    return work(caller, *args)


async def short(*_args):
    raise AssertionError("among the calls that end within two seconds")


def test_statistics_and_the_facts_of_a_breach_are_no_short_calls(world):
    team = world.actor("privacy/team")
    days = {"first_day": "2026-01-01", "last_day": "2026-12-31"}
    acme = world.actor("subcontractor/acme")
    new = NewReport("principal", b"", acme.name, 0, 1, None, None, "a laptop was stolen")
    file, _ = world.desk.change(team.caller(), lambda change: reports.report(change, new, uuid.uuid4().bytes))
    for servicer, method, request in (
        (
            PersonRequests(world.desk, world.ledger, "origin", None, short, long, lambda: None),
            "get_request_statistics",
            person_request_pb2.GetRequestStatisticsRequest(**days),
        ),
        (
            Complaints(world.desk, world.agreed, None, short, long, lambda: None),
            "get_complaint_statistics",
            complaint_pb2.GetComplaintStatisticsRequest(**days),
        ),
        (
            Compromises(world.desk, None, short, long),
            "get_facts_sheet",
            compromise_pb2.GetFactsSheetRequest(report_id=file.id),
        ),
    ):
        assert asyncio.run(getattr(servicer, method)(team.caller(), request, 1.0)) is not None


def reported(world, team, principal, **times):
    new = NewReport("principal", b"", principal.name, 0, times.get("begin", 1), times.get("end"), None, "a theft")
    return world.desk.change(team.caller(), lambda change: reports.report(change, new, uuid.uuid4().bytes))[0]


def test_a_window_has_the_entries_of_its_time_though_clocks_differ(world, clock):
    team, acme = world.actor("privacy/team"), world.actor("subcontractor/acme")
    start = system_clock() + 10 * DAY
    offsets = [SECOND * each for each in (0, 3, -4, 5, 7_200, 7_195, 7_203, 20_000, 20_000, 19_991, 30_000)]
    for offset in offsets:
        world.ledger.run(lambda tx, at=start + offset: tx.append(entry.sealed(at, bytes(32))))
    clock.ahead_us = 20 * DAY
    edges = sorted({start + offset + by for offset in offsets for by in (-1, 0, 1)})
    for begin, end in itertools.combinations(edges[::3] + edges[-2:], 2):
        file = reported(world, team, acme, begin=begin, end=end)
        with reading(world.engine) as connection:
            view = View(connection, None, None, 0)
            found = connection.execute(select(window.ENTRY.c.at).where(window.in_window(view, file))).scalars().all()
        assert sorted(found) == sorted(start + each for each in offsets if begin <= start + each <= end)


@pytest.mark.parametrize("name", ["subcontractor/acme", "legal/team", "privacy/other"])
def test_neither_the_ledger_nor_all_ties_are_read_for_a_breach(sqlite_engine, vault, name):
    world = World(sqlite_engine, vault)
    team, stolen = world.actor("privacy/team"), world.actor(name)
    if name.startswith("subcontractor"):
        contract, person = (
            world.contract(stolen, world.actor("operator/olle")),
            world.person(world.actor("internal/desk")),
        )
        world.disclose(stolen, contract, [world.handle(contract, person)])
    file = reported(world, team, stolen)
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(sqlite_engine, "before_cursor_execute", note)
    world.desk.read(team.caller(), lambda view: (window.facts(view, file), concerned(view, file, 0, 10)))
    event.remove(sqlite_engine, "before_cursor_execute", note)
    with reading(sqlite_engine) as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps = [row[3] for row in plan if " ledger_entry " in row[3] or " ledger_person " in row[3]]
            # Behind one place of the ledger is all the rest of it.
            assert not [step for step in steps if step.startswith("SCAN") or step.endswith("(rowid>?)")], statement


MANY = 300


@pytest.mark.parametrize("failure", [None, Failure.TEMPORARY])
def test_many_messages_are_answered_and_given_up_in_few_statements(world, clock, failure):
    mailer, registration = world.actor("internal/mailer"), world.actor("internal/registration")
    people = [world.person(registration) for _ in range(3)]
    for name in ("mail", "gone"):
        world.desk.change(mailer.caller(), lambda c, name=name: consumers.enlist(c, name, (), skip_earlier=True))
    asked = []
    event.listen(world.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))

    def queued(change):
        told = {"version": "2026-01"}
        messages = [Message(people[n % 3], kinds.Kind.POLICY_CHANGED, told) for n in range(MANY)]
        last = queue_all(change.connection, messages, change.now_us)
        return list(range(last - MANY + 1, last + 1))

    def answer():
        given = [(item, failure) for item in (*items, items[0])]
        asked.clear()
        done = world.desk.change(mailer.caller(), lambda c: consumers.acknowledge(c, "mail", given, SECOND))
        return {each.state for each in done}

    def states():
        with world.engine.connect() as connection:
            return {(row.consumer, row.state, row.attempts) for row in connection.execute(select(DELIVERY))}

    items = world.desk.change(mailer.caller(), queued)
    said, times = ("delivered", 1) if failure is None else ("failed", 2)
    for _ in range(times):
        assert answer() == {said}
        assert len(asked) < MANY / 4
        clock.ahead_us += 60 * SECOND
    attempts = 2 if failure else 0
    assert states() == {("mail", said, attempts)}
    clock.ahead_us += consumers.LIFE_US
    asked.clear()
    world.ledger.run(lambda tx: consumers.expire(tx.connection, tx.at))
    assert len(asked) < MANY / 4
    assert states() == {("gone", "dead", 0), ("mail", "dead" if failure else said, attempts)}
    with world.engine.connect() as connection:
        assert not connection.execute(select(ITEM).where(ITEM.c.settled_at == 0, ITEM.c.id.in_(items))).all()
        told = connection.execute(select(notices.NOTICE.c.person)).scalars().all()
    assert sorted(told) == ([] if failure else sorted(people))


def test_statistics_of_a_period_read_no_request_that_was_opened_before_it(world, clock, monkeypatch):
    team = world.actor("privacy/team")

    def opened(received=None):
        asked = Opening(Kind.OBJECTION, "email", received, 0, "no more letters", "Anna", "en")
        return world.desk.change(team.caller(), lambda c: tracking.open_request(c, asked, uuid.uuid4().bytes))[0]

    def counted(first, last):
        read.clear()
        found = world.desk.read(team.caller(), lambda view: statistics.statistics(view, first, last))
        return found[Kind.OBJECTION].received, len(read)

    monkeypatch.setattr(statistics, "PAGE", 1)
    # Noon of tomorrow: no midnight within the test.
    clock.ahead_us = DAY - system_clock() % DAY + DAY // 2
    start, read, held = day_of(clock()), [], rows._held
    monkeypatch.setattr(rows, "_held", lambda view, row: read.append(row.id) or held(view, row))
    for _ in range(4):
        opened()
    clock.ahead_us += 100 * DAY
    opened(received=start)
    for _ in range(2):
        opened()
    later = start + timedelta(days=100)
    assert counted(later, later) == (2, 4)  # the three of then, and the one at which it stops
    assert counted(start, start) == (5, 7)
    assert counted(start, later) == (7, 7)
    assert counted(date(2020, 1, 1), date(2020, 1, 31)) == (0, 7)
    assert counted(later + timedelta(days=1), later + timedelta(days=9)) == (0, 1)
