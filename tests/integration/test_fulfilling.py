"""`fulfil` when something goes wrong between two of its steps: others answer, replies are lost, the broker is away."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sluss.v1 import contract_pb2
from sluss.v1 import obligation_pb2 as pb
from sluss_client import AsyncSubcontractor, NeedTime, Subcontractor
from sluss_client import fulfilling as loop
from sluss_client import obligations as duty
from sluss_client.errors import InvalidArgument, InvalidRequest, TransportError
from sluss_client.obligations import Duties

from broker.clock import SECOND, system_clock
from broker.ledger.standing import Standing
from broker.obligations import rows
from broker.obligations.rules import BROKER
from broker.operator.office import opened
from tests.integration.test_obligations_broker import of_kind, received, rectify, service
from tests.support.broker import BrokerProcess

WAIT_S = 30


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


class Recipient:
    """A recipient that owes one correction, and what a broken line or a busy broker does to its client."""

    def __init__(self, broker):
        self.broker = broker
        self.name = f"subcontractor/r-{uuid.uuid4().hex[:8]}"
        self.contract, self.other = broker.live_contract(subcontractor=self.name)
        self.profile = broker.profile(self.name)
        person, _ = received(broker, self.other, self.contract)
        rectify(broker, person, email="right@example.com")
        (self.owed,) = of_kind(self.other, "correct")

    def now(self):
        return self.other.obligation(self.owed.id)

    def decide(self, until, *, grant):
        request = pb.AnswerDelayRequest(
            obligation_id=self.owed.id, grant=grant, reason="it has been decided", until=until.isoformat()
        )
        service(self.broker, "privacy/team").AnswerDelay(request, timeout=10)


@pytest.fixture
def recipient(shared_broker):
    return Recipient(shared_broker)


class Clock:
    """Seconds and days that a test moves on."""

    def __init__(self):
        self.now, self.today = 1_000.0, datetime.now(UTC).date()

    def pass_by(self, days=0, seconds=duty.LONGEST_RETRY_S + 1):
        self.now += days * 86_400 + seconds
        self.today += timedelta(days=days)


def waiting(recipient, clock, correct):
    """The duties of a program that has just seen what it owes."""
    duties = Duties(None, correct, None, today=lambda: clock.today, clock=lambda: clock.now)
    assert duties.take(recipient.now())
    return duties


def until_it_is(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_another_has_answered_while_it_was_on_its_way_ends_no_loop(recipient):
    class LateReader(Subcontractor):
        """The stream's message waited in a buffer; meanwhile somebody else has answered."""

        def watch_obligations(self, **_):
            recipient.other.attest(recipient.owed, "never_held_any_more")
            yield recipient.owed, ""
            yield None, ""

    called = []
    with LateReader.from_profile(recipient.profile) as client:
        assert client.fulfil(on_correct=called.append, once=True) == 0
    assert called == []


def test_what_another_has_answered_in_other_words_is_not_done_again_and_again(recipient):
    clock, called = Clock(), []

    def correct(obligation):
        called.append(obligation.id)
        recipient.other.attest(recipient.owed, "never_held_any_more")
        return "deleted"

    duties = waiting(recipient, clock, correct)
    for _ in range(3):
        loop._do(recipient.other, duties)
        clock.pass_by()
    assert called == [recipient.owed.id]
    assert duties.fulfilled == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_attestation_without_a_reply_counts_and_is_not_done_twice(recipient, asynchronous):
    clock, called = Clock(), []
    lost = [TransportError("UNAVAILABLE")]

    def lose():
        if lost:
            raise lost.pop()

    class LosesTheReply(Subcontractor):
        def attest(self, *given):
            super().attest(*given)
            lose()

    class LosesTheReplyAsync(AsyncSubcontractor):
        async def attest(self, *given):
            await super().attest(*given)
            lose()

    def correct(obligation):
        called.append(obligation.id)
        return "deleted"

    async def correct_async(obligation):
        return correct(obligation)

    async def run():
        async with LosesTheReplyAsync.from_profile(recipient.profile) as client:
            duties = waiting(recipient, clock, correct_async)
            with pytest.raises(TransportError):
                await loop._do_async(client, duties)
            await loop._do_async(client, duties)
            return duties

    if asynchronous:
        duties = asyncio.run(run())
    else:
        duties = waiting(recipient, clock, correct)
        with LosesTheReply.from_profile(recipient.profile) as client:
            with pytest.raises(TransportError):
                loop._do(client, duties)
            loop._do(client, duties)
    assert (called, duties.fulfilled) == ([recipient.owed.id], 1)


@pytest.mark.parametrize("grant", [False, True])
def test_a_delay_puts_it_off_until_the_company_has_decided(recipient, grant):
    clock, called = Clock(), []
    until = recipient.owed.due + timedelta(days=3)

    def correct(_obligation):
        called.append(clock.today)
        if clock.today < until and (grant or len(called) == 1):
            raise NeedTime(until, "the archive is being moved")
        return "deleted"

    duties = waiting(recipient, clock, correct)
    loop._do(recipient.other, duties)
    asked = recipient.now()
    assert asked.message.delay_asked == until.isoformat()
    # The stream tells of it, and nobody has decided.
    duties.take(asked)
    loop._do(recipient.other, duties)
    assert len(called) == 1
    recipient.decide(until, grant=grant)
    duties.take(recipient.now())
    loop._do(recipient.other, duties)
    if grant:
        assert recipient.now().due == until
        assert len(called) == 1
        clock.pass_by(days=(until - clock.today).days)
        loop._do(recipient.other, duties)
    assert len(called) == 2
    assert recipient.now().state == "answered"


def test_time_that_we_have_is_not_asked_for(recipient):
    clock, called = Clock(), []

    def correct(obligation):
        called.append(clock.today)
        if len(called) == 1:
            raise NeedTime(obligation.due, "the archive is being moved")
        return "deleted"

    duties = waiting(recipient, clock, correct)
    loop._do(recipient.other, duties)
    clock.pass_by()
    loop._do(recipient.other, duties)
    assert (len(called), recipient.now().message.delay_asked) == (1, "")
    clock.pass_by(days=(recipient.owed.due - clock.today).days)
    loop._do(recipient.other, duties)
    assert (len(called), recipient.now().state) == (2, "answered")


def test_what_is_tried_again_is_what_is_owed_now(recipient):
    clock, told = Clock(), []

    def correct(obligation):
        told.append(obligation.instruction)
        if len(told) == 1:
            raise OSError("disk full")

    duties = waiting(recipient, clock, correct)
    loop._do(recipient.other, duties)
    over = contract_pb2.TerminateContractRequest(contract_id=recipient.contract, reason="over")
    recipient.broker.contracts().TerminateContract(over, timeout=10)
    clock.pass_by()
    loop._do(recipient.other, duties)
    assert told == ["fetch_and_replace", "delete_fields"]
    assert recipient.now().message.outcome == "deleted"


def closed(recipient):
    """Two people have closed the obligation: the contract is over and nobody answered."""
    with opened(recipient.broker.home) as office:

        def unanswered(tx):
            rows.log(tx, rows.load(tx.connection, recipient.owed.id, Standing()), "unanswered", BROKER)

        office.ledger.run(unanswered)
    over = contract_pb2.TerminateContractRequest(contract_id=recipient.contract, reason="over")
    recipient.broker.contracts().TerminateContract(over, timeout=10)
    for name in ("privacy/team", "legal/anna"):
        request = pb.CloseUnansweredRequest(obligation_id=recipient.owed.id, reason="nobody answers")
        service(recipient.broker, name).CloseUnanswered(request, timeout=10)
    assert recipient.now().state == "not_confirmed"


def test_what_people_have_closed_meanwhile_is_still_done_and_answered(recipient):
    clock, handles = Clock(), []

    def correct(obligation):
        handles.append(obligation.handle)
        if len(handles) == 1:
            raise OSError("disk full")
        return "deleted"

    duties = waiting(recipient, clock, correct)
    loop._do(recipient.other, duties)
    closed(recipient)
    clock.pass_by()
    loop._do(recipient.other, duties)
    assert handles == [recipient.owed.handle] * 2
    assert (recipient.now().state, duties.fulfilled) == ("answered", 1)


def test_a_callback_that_returns_what_is_no_outcome_is_told_at_once(recipient):
    with pytest.raises(InvalidRequest, match="corrected, deleted, never_held_any_more"):
        recipient.other.fulfil(on_correct=lambda _: "done", once=True)
    assert recipient.now().state == "acknowledged"


def test_a_callback_that_has_not_run_is_never_attested(recipient):
    async def never_awaited(_obligation):
        raise AssertionError

    def never_begun(_obligation):
        yield

    for callback in (never_awaited, never_begun):
        with pytest.raises(InvalidRequest, match="has not run"):
            recipient.other.fulfil(on_correct=callback, once=True)
    assert recipient.now().state == "acknowledged"


def test_a_plain_callback_is_as_good_in_asyncio(recipient):
    called = []

    def correct(obligation):
        called.append(obligation.id)
        return "deleted"

    async def run():
        async with AsyncSubcontractor.from_profile(recipient.profile) as client:
            return await client.fulfil(on_correct=correct, once=True)

    assert asyncio.run(run()) == 1
    assert called == [recipient.owed.id]


def test_the_brokers_no_is_logged_with_its_reason_and_our_own_failure_without_its_text(recipient, caplog):
    clock = Clock()

    def too_late(obligation):
        raise NeedTime(obligation.due + timedelta(days=400), "the archive is being moved")

    def failing(_obligation):
        raise OSError("anna@example.com is not there")

    for correct, told in ((too_late, "INVALID_REQUEST: until"), (failing, "OSError")):
        loop._do(recipient.other, waiting(recipient, clock, correct))
        assert told in caplog.messages[-1]
    assert "anna" not in caplog.text


def test_a_program_whose_clock_is_ahead_is_told_so_and_attests_nothing(recipient, monkeypatch):
    monkeypatch.setattr(duty, "system_clock", lambda: system_clock() + 3600 * SECOND)
    with pytest.raises(InvalidArgument, match="clock"):
        recipient.other.fulfil(on_correct=lambda _: "deleted", once=True)
    assert recipient.now().state == "open"


def test_an_id_that_is_given_a_second_time_is_another_obligation(recipient):
    duties = waiting(recipient, Clock(), print)
    duties.done(recipient.owed)
    assert not duties.take(recipient.owed)
    assert duties.take(replace(recipient.owed, owed=bytes(32)))


class Watching:
    """`fulfil` for good on a thread."""

    def __init__(self, client, **callbacks):
        self.stop, self.counts = threading.Event(), []
        self._thread = threading.Thread(
            target=lambda: self.counts.append(client.fulfil(stop=self.stop, **callbacks)), daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self._thread.join(WAIT_S)


def test_an_acknowledgement_that_did_not_get_through_is_made_again(recipient):
    lost = [TransportError("UNAVAILABLE")]

    class LosesOne(Subcontractor):
        def acknowledge(self, obligation):
            if lost:
                raise lost.pop()
            return super().acknowledge(obligation)

    (dated,) = of_kind(recipient.other, "delete_by")
    with LosesOne.from_profile(recipient.profile) as client, Watching(client, on_delete=print) as watching:
        until_it_is(lambda: recipient.other.obligation(dated.id).state == "acknowledged")
    assert (lost, watching.counts) == ([], [0])


def test_a_broker_that_needs_longer_than_a_look_is_heard(recipient):
    class Busy(Subcontractor):
        """It says nothing within the first second of a stream."""

        def watch_obligations(self, *, resume="", timeout_s=None):
            return super().watch_obligations(resume=resume, timeout_s=timeout_s) if timeout_s >= 2 else iter(())

    with Busy.from_profile(recipient.profile) as client, Watching(client, on_correct=lambda _: "deleted") as watching:
        until_it_is(lambda: recipient.now().state == "answered")
    assert watching.counts == [1]


def refuses(broker):
    broker.kill()


def says_nothing(broker):
    """Takes connections and answers none."""
    broker.kill()
    broker.silent = socket.create_server(("127.0.0.1", broker.port))


@pytest.mark.parametrize("away", [refuses, says_nothing])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_program_that_is_called_at_times_ends_when_the_broker_is_away(tmp_path, monkeypatch, away, asynchronous):
    monkeypatch.setattr(loop, "DEADLINE_S", 0.6)
    monkeypatch.setattr(duty, "LOOK_S", 0.5)
    monkeypatch.setattr(duty, "PATIENCE_S", 0.5)
    with BrokerProcess(tmp_path / "home") as broker:
        profile = broker.profile("subcontractor/acme")
        away(broker)

        async def run_async():
            async with AsyncSubcontractor.from_profile(profile) as client:
                await client.fulfil(on_erase=print, once=True)

        def run():
            broker.subcontractor().fulfil(on_erase=print, once=True)

        with pytest.raises(TransportError):
            asyncio.run(run_async()) if asynchronous else run()
        if away is says_nothing:
            broker.silent.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_program_that_is_called_at_times_ends_when_its_answers_are_not_taken(recipient, monkeypatch, asynchronous):
    monkeypatch.setattr(loop, "DEADLINE_S", 1.0)
    called = []

    class Untaken(Subcontractor):
        """Reading goes, and writing does not: the broker's disk is full."""

        def attest(self, *_):
            raise TransportError("LEDGER_UNAVAILABLE")

    class UntakenAsync(AsyncSubcontractor):
        async def attest(self, *_):
            raise TransportError("LEDGER_UNAVAILABLE")

    async def correct(obligation):
        called.append(obligation.id)

    async def run_async():
        async with UntakenAsync.from_profile(recipient.profile) as client:
            await client.fulfil(on_correct=correct, once=True)

    def run():
        with Untaken.from_profile(recipient.profile) as client:
            client.fulfil(on_correct=lambda each: called.append(each.id), once=True)

    with pytest.raises(TransportError):
        asyncio.run(run_async()) if asynchronous else run()
    assert called
    assert recipient.now().state == "acknowledged"
