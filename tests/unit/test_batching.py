"""The queue before the spine: callers take turns, and who waited too long hears why."""

from __future__ import annotations

import asyncio
import threading

import pytest

from broker.asks import Ask, Named
from broker.batching import MAX_PERSONS, GroupCommit
from broker.errors import Reason, SlussError
from broker.identity import KINDS, Caller, Evidence


def ask(who, persons=1, number=0):
    caller = Caller(Evidence("", who.encode(), b""), "/m", KINDS)
    return Ask(caller, number.to_bytes(16, "big"), "C-2026-0001", "billing", ("email",), Named((bytes(16),) * persons))


class Spine:
    """Answers batches, each when it is let; keeps who was in each."""

    def __init__(self):
        self.batches = []
        self.may = threading.Semaphore(0)
        self.fails = False

    def run(self, asks):
        self.batches.append([each.caller.evidence.spki.decode() for each in asks])
        self.may.acquire()
        if self.fails:
            raise SlussError(Reason.LEDGER_UNAVAILABLE)
        return list(asks)

    def let(self, count=1_000):
        for _ in range(count):
            self.may.release()


@pytest.fixture
def spine():
    made = Spine()
    yield made
    made.let()


async def outcome(call):
    try:
        await call
    except SlussError as error:
        return str(error.reason)
    return "answered"


async def test_one_callers_queue_delays_another_by_one_of_its_requests_at_most(spine):
    queue = GroupCommit(spine.run, 10)
    loud = [asyncio.create_task(queue.submit(ask("loud", MAX_PERSONS, n))) for n in range(20)]
    await asyncio.sleep(0.05)
    quiet = [asyncio.create_task(queue.submit(ask("quiet", 1, n))) for n in range(3)]
    await asyncio.sleep(0)
    spine.let()
    await asyncio.gather(*loud, *quiet)
    flat = [who for batch in spine.batches for who in batch]
    assert flat.index("quiet") <= 2
    assert flat.index("quiet") + 2 * 2 >= max(n for n, who in enumerate(flat) if who == "quiet")
    queue.close()


async def test_small_requests_of_all_callers_share_a_batch_in_the_order_of_each(spine):
    queue = GroupCommit(spine.run, 10)
    first = asyncio.create_task(queue.submit(ask("a")))
    await asyncio.sleep(0.05)
    rest = [asyncio.create_task(queue.submit(ask(who, 1, n))) for who in "aaabbc" for n in (1,)]
    await asyncio.sleep(0)
    spine.let()
    await asyncio.gather(first, *rest)
    assert spine.batches == [["a"], ["a", "b", "c", "a", "b", "a"]]
    queue.close()


async def test_who_waits_too_long_while_others_are_answered_hears_of_overload_and_is_never_begun(spine):
    queue = GroupCommit(spine.run, 0.8)
    loud = [asyncio.create_task(outcome(queue.submit(ask("loud", MAX_PERSONS, n)))) for n in range(6)]
    for _ in range(6):
        await asyncio.sleep(0.15)
        spine.let(1)
    heard = await asyncio.gather(*loud)
    assert heard.count("answered") == len(spine.batches) < 6
    assert heard.count("OVERLOADED") == 6 - len(spine.batches)
    queue.close()


async def test_who_waits_behind_a_ledger_that_hangs_hears_of_the_ledger(spine):
    queue = GroupCommit(spine.run, 0.2)
    calls = [asyncio.create_task(outcome(queue.submit(ask("loud", MAX_PERSONS, n)))) for n in range(4)]
    assert set(await asyncio.gather(*calls)) == {"LEDGER_UNAVAILABLE"}
    assert len(spine.batches) == 1
    spine.let()
    queue.close()


async def test_who_waits_behind_batches_that_fail_hears_of_the_ledger(spine):
    queue, spine.fails = GroupCommit(spine.run, 0.4), True
    calls = [asyncio.create_task(outcome(queue.submit(ask("loud", MAX_PERSONS, n)))) for n in range(5)]
    for _ in range(5):
        await asyncio.sleep(0.15)
        spine.let(1)
    assert set(await asyncio.gather(*calls)) == {"LEDGER_UNAVAILABLE"}
    queue.close()
