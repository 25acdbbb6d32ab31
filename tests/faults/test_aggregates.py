"""Anonymous counts under attack: two brokers racing, kill -9, a person erased meanwhile, a million events."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from sluss.v1 import aggregate_pb2 as pb
from sluss.v1 import aggregate_pb2_grpc, ledger_pb2
from sqlalchemy import func, select

from broker.aggregates import answering, counting, recording
from broker.aggregates.answering import Ask, Questions
from broker.aggregates.question import FREE
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.rights import Rights
from broker.store.driver import change as write
from broker.store.engine import reading, writing
from tests.faults.siege import Twin, info
from tests.integration.test_aggregates_service import (
    EVENT,
    FIRST,
    LAST,
    PURPOSE,
    counted,
    fill,
    question,
    registered,
    sign,
    stub,
    used,
)
from tests.integration.test_aggregates_service import record as record_usage
from tests.support.broker import BrokerProcess
from tests.support.world import World
from tests.unit.aggregates.world import ASKED, CATALOGUE

COST = 250_000
KEPT = 25
"""Months of usage events."""
COUNTRIES = CATALOGUE.attributes["country"].values


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def pair(request, tmp_path_factory):
    """Two broker processes on one store, with events: (broker, its twin)."""
    with ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            from tests.support import postgres  # noqa: PLC0415 - needs its wheel only here

            server = stack.enter_context(postgres.server_url())
            url = stack.enter_context(postgres.empty_database(server))
        home = tmp_path_factory.mktemp("pair") / "home"
        broker = stack.enter_context(BrokerProcess(home, database=url))
        twin = stack.enter_context(Twin(broker))
        fill(broker)
        yield broker, twin


def both(pair):
    broker, twin = pair
    return stub(broker), aggregate_pb2_grpc.AggregateServiceStub(twin.channel())


def asked_by(service, request):
    """The answer, or the reason of a refusal; busy brokers are asked again."""
    while True:
        try:
            return service.QueryAggregate(request, timeout=30)
        except grpc.RpcError as error:
            reason = info(error).reason
            if reason not in ("LEDGER_UNAVAILABLE", "OVERLOADED"):
                return reason


def aggregates(broker, contract):
    """The contract's aggregate entries."""
    request = ledger_pb2.ListEntriesRequest(contract_id=contract, type="aggregate", page_size=500)
    return [json.loads(found.entry) for found in broker.ledger().ListEntries(request, timeout=10).entries]


def at_once(works):
    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(lambda work: work(), works))


def test_equal_questions_to_two_brokers_at_once_are_one_answer_and_one_spending(pair):
    broker = pair[0]
    contract = sign(broker, counted())
    for country in COUNTRIES[:3]:
        request = question(contract, filters=[pb.AggregateFilter(dimension="country", values=[country])])
        found = at_once([lambda s=s, r=request: asked_by(s, r) for s in both(pair) * 3])
        assert len({reply.answer for reply in found}) == 1
        assert len({reply.entry for reply in found}) == 1
        assert sorted(reply.spent_micro for reply in found) == [0, 0, 0, 0, 0, COST]
    assert len(aggregates(broker, contract)) == 3


@pytest.mark.parametrize("scarce", ["epsilon", "delta"])
def test_a_budget_is_exact_however_many_brokers_are_asked_at_once(pair, scarce):
    broker = pair[0]
    delta = scarce == "delta"
    contract = sign(broker, counted(delta=4) if delta else counted(budget=4 * COST + 1))
    requests = [
        question(
            contract,
            filters=[pb.AggregateFilter(dimension="country", values=[country])],
            noise=pb.NOISE_GAUSSIAN if delta else pb.NOISE_LAPLACE,
        )
        for country in COUNTRIES[10:20]
    ]
    services = both(pair) * 5
    found = at_once([lambda s=s, r=r: asked_by(s, r) for s, r in zip(services, requests, strict=True)])
    assert sum(reply == "BUDGET_EXCEEDED" for reply in found) == 6
    spent = [said["spent_micro"] for said in aggregates(broker, contract)]
    assert spent == [COST * n for n in range(1, 5)]
    left = both(pair)[1].GetBudget(pb.GetBudgetRequest(contract_id=contract), timeout=10).budget
    assert (left.spent_micro, left.spent_delta_nano) == (4 * COST, 4 * delta)
    assert [said["spent_delta_nano"] for said in aggregates(broker, contract)] == [n * delta for n in range(1, 5)]


def test_a_broker_killed_between_spending_and_reply_gives_the_kept_answer(broker, campaign):
    fill(broker)
    contract = sign(broker, counted())
    for place in range(10 if campaign else 3):
        request = question(contract, filters=[pb.AggregateFilter(dimension="country", values=[COUNTRIES[place]])])
        before = len(aggregates(broker, contract))
        asking = threading.Thread(target=lambda r=request: swallowed(broker, r))
        ledger = broker.ledger()
        asking.start()
        wanted = ledger_pb2.ListEntriesRequest(contract_id=contract, type="aggregate", page_size=500)
        while len(ledger.ListEntries(wanted, timeout=10).entries) == before and asking.is_alive():
            pass
        broker.kill()
        asking.join()
        broker.start()
        reply = stub(broker).QueryAggregate(request, timeout=30)
        assert len(aggregates(broker, contract)) == before + 1
        assert reply.spent_micro == 0, "it was spent before the broker died"
        assert reply.budget.spent_micro == COST * (before + 1)
        said = json.loads(reply.entry)
        assert said["spent_micro"] == reply.budget.spent_micro


def swallowed(broker, request):
    try:
        return stub(broker).QueryAggregate(request, timeout=30)
    except grpc.RpcError:
        return None


def test_a_broker_killed_at_any_moment_gives_one_answer_and_spends_once(broker, campaign):
    """Before the draw, between draw and commit, after it: whoever saw an answer sees the same one for good."""
    people = registered(broker, 20)
    assert record_usage(broker, [used(person) for person in people]).recorded == len(people)
    contract = sign(broker, counted())
    dice = random.Random(9)
    for place in range(16 if campaign else 3):
        request = question(contract, filters=[pb.AggregateFilter(dimension="country", values=[COUNTRIES[place]])])
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(swallowed, broker, request)
            time.sleep(dice.random() * (0.3 if place else 2))
            broker.kill()
            seen = seen.result()
        broker.start()
        reply = stub(broker).QueryAggregate(request, timeout=30)
        assert seen is None or (seen.answer, seen.entry) == (reply.answer, reply.entry)
        assert [said["spent_micro"] for said in aggregates(broker, contract)] == [COST * n for n in range(1, place + 2)]
        assert reply.budget.spent_micro == COST * (place + 1)


# --- in the store: both of them --------------------------------------------------------------------------


@pytest.fixture
def world(store_engine, vault):
    return World(store_engine, vault)


@pytest.fixture
def internal(world):
    return world.actor("internal/counting")


def ask(**changes):
    return Ask("", PURPOSE, type(ASKED)(**{**plain(), **changes}))


def plain():
    return {
        "event": EVENT,
        "measures": ("persons",),
        "group_by": ("advertisement",),
        "filters": (),
        "first_day": FIRST,
        "last_day": LAST,
    }


def record(world, internal, persons, **attributes):
    named = {"advertisement": "spring_trial", "country": "SE", **attributes}
    noon = (recording.day_number(FIRST) * 86_400 + 43_200) * 1_000_000
    events = [recording.Used(person, EVENT, noon, 30, named, uuid.uuid4().hex) for person in persons]
    return world.desk.change(internal.caller(), lambda c: recording.record(c, uuid.uuid4().bytes, events, 25))


def rows(world, person=None):
    """Stored events; of one tag."""
    query = select(func.count()).select_from(recording.EVENT)
    if person is not None:
        query = query.where(recording.EVENT.c.person == person)
    with reading(world.engine) as connection:
        return connection.execute(query).scalar_one()


def tag(world, internal, person):
    return world.desk.change(internal.caller(), lambda c: recording.tags_of(c, {person})[person])


def never():
    """Nobody has gone."""


def erase(world, internal, person):
    return world.desk.change(internal.caller(), lambda c: erasing.erase(c, person, "R-2026-0001"))


def test_usage_of_an_erased_person_goes_and_its_tag_can_not_be_made_again(world, internal):
    gone, kept = world.person(internal), world.person(internal)
    record(world, internal, [gone, gone, kept])
    tags = {person: tag(world, internal, person) for person in (gone, kept)}
    assert not {gone, kept} & set(tags.values()), "rows do not name persons"
    assert [rows(world, tags[person]) for person in (gone, kept)] == [2, 1]
    erase(world, internal, gone)
    assert [rows(world, tags[person]) for person in (gone, kept)] == [0, 1]
    assert world.desk.change(internal.caller(), lambda c: recording.tags_of(c, {gone})) == {}
    assert record(world, internal, [gone]).faults[0].reason == "PERSON_UNKNOWN"


def test_what_is_held_of_a_person_is_told_by_day(world, internal):
    asking, other = world.person(internal), world.person(internal)
    record(world, internal, [asking, asking, other])
    record(world, internal, [asking], country="NO")
    found = world.desk.read(internal.caller(), lambda view: recording.held(view, asking))
    told = [(each.event, each.day, each.attributes["country"], each.events, each.seconds) for each in found]
    assert told == [(EVENT, FIRST, "NO", 1, 30), (EVENT, FIRST, "SE", 2, 60)]
    erase(world, internal, asking)
    assert world.desk.read(internal.caller(), lambda view: recording.held(view, asking)) == []


def test_a_person_erased_while_it_is_counted_is_counted_anew(world, internal, monkeypatch):
    people = [world.person(internal) for _ in range(3)]
    record(world, internal, people)
    totals = []

    def count_then_erase(engine, asked, stop):
        found = counting.count(engine, asked, stop)
        totals.append(sum(found["persons"]))
        if len(totals) == 1:
            erase(world, internal, people[0])
        return found

    monkeypatch.setattr(answering, "count", count_then_erase)
    reply = Questions(world.engine, world.ledger, world.desk, KEPT).answer(internal.caller(), ask, never)
    assert totals == [3, 2]
    said = entry.parse(reply.entry)
    assert (said["type"], said["spent_micro"]) == ("aggregate", COST)


def test_what_is_told_of_a_question_stays_when_its_persons_are_erased(world, internal):
    people = [world.person(internal) for _ in range(2)]
    record(world, internal, people)
    questions = Questions(world.engine, world.ledger, world.desk, KEPT)
    before = questions.answer(internal.caller(), ask, never)
    erase(world, internal, people[0])
    after = questions.answer(internal.caller(), ask, never)
    assert (after.answer.data, after.index, after.spent) == (before.answer.data, before.index, FREE)


def test_no_tag_person_or_exact_total_stands_in_an_answer_or_its_entry(world, internal):
    person = world.person(internal)
    record(world, internal, [person])
    reply = Questions(world.engine, world.ledger, world.desk, KEPT).answer(internal.caller(), ask, never)
    for secret in (person, tag(world, internal, person)):
        assert str(secret).encode() not in reply.answer.data + reply.entry


def test_events_beyond_their_time_are_deleted(world, internal):
    person = world.person(internal)
    record(world, internal, [person] * 3)
    day = recording.day_number(FIRST)
    with writing(world.engine) as connection:
        assert recording.expire(connection, day) == 0
        assert recording.expire(connection, day + 1) == 3
    assert rows(world) == 0


def test_a_question_that_nobody_waits_for_is_not_settled(world, internal):
    def gone():
        raise SlussError(Reason.OVERLOADED)

    record(world, internal, [world.person(internal)])
    with pytest.raises(SlussError):
        Questions(world.engine, world.ledger, world.desk, KEPT).answer(internal.caller(), ask, gone)
    with reading(world.engine) as connection:
        assert Rights(world.vault).at(connection).catalogue.rules.total_micro
        assert connection.execute(select(func.count()).select_from(answering.RELEASE)).scalar_one() == 0


def test_a_million_events_are_counted_in_slices(world, internal, campaign):
    """A short form with 40,000; each statement stays within the store's time limit, or the question fails."""
    record(world, internal, [world.person(internal)], country="NO")
    events, people = (1_000_000, 50_000) if campaign else (40_000, 2_000)
    day, step = recording.day_number(FIRST), counting.TAGS // people
    for start in range(0, events, 20_000):
        with writing(world.engine) as connection:
            made = [
                ((n % people) * step + 1, n + 1, 1, day + n // people % 20, 10) for n in range(start, start + 20_000)
            ]
            write(connection, recording._INSERT, made)
    reply = Questions(world.engine, world.ledger, world.desk, KEPT).answer(
        internal.caller(), lambda: ask(measures=("mean_seconds",)), never
    )
    (shown,) = [cell for cell in reply.answer.cells if cell.values]
    most = min(events // people, 5)
    assert abs(shown.values["persons"] - people) < 400
    assert abs(shown.values["events"] - most * people) < 2_000
