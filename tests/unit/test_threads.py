"""The threads of calls that are no disclosures: bounded in number and time, and fair between callers."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from broker.errors import Reason, SlussError
from broker.identity import KINDS, Caller, Evidence
from broker.rpc.threads import Threads


def caller(who):
    return Caller(Evidence("", who.encode(), b""), "/m", KINDS)


async def outcome(call):
    try:
        await call
    except SlussError as error:
        return str(error.reason)
    return "answered"


async def test_what_work_gives_or_raises_reaches_its_caller():
    call = Threads(2, 1)
    assert await call(lambda who, number: (who.method, number), caller("a"), 7) == ("/m", 7)
    with pytest.raises(ZeroDivisionError):
        await call(lambda _who: 1 / 0, caller("a"))
    call.close()


async def test_one_callers_queue_delays_another_by_no_more_than_its_turn():
    call, done = Threads(2, 10), []

    def work(who):
        time.sleep(0.02)
        done.append(who.evidence.spki)

    loud = [asyncio.create_task(call(work, caller("loud"))) for _ in range(30)]
    await asyncio.sleep(0)
    await call(work, caller("quiet"))
    assert len(done) <= 6
    await asyncio.gather(*loud)
    call.close()


async def test_work_whose_turn_never_came_hears_of_overload_and_is_not_done_later():
    call, begun = Threads(1, 1.0), []

    def work(_who):
        begun.append(1)
        time.sleep(0.2)

    heard = await asyncio.gather(*(outcome(call(work, caller("loud"))) for _ in range(8)))
    assert heard.count("answered") == len(begun) < 8
    assert heard.count("OVERLOADED") == 8 - len(begun)
    await asyncio.sleep(0.5)
    assert heard.count("answered") == len(begun)
    call.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_work_behind_a_ledger_that_hangs_or_fails_hears_of_the_ledger(fails):
    call, let = Threads(1, 0.3), threading.Event()

    def work(_who):
        let.wait(0.1 if fails else 5)
        raise SlussError(Reason.LEDGER_UNAVAILABLE)

    heard = await asyncio.gather(*(outcome(call(work, caller("loud"))) for _ in range(6)))
    assert set(heard) == {"LEDGER_UNAVAILABLE"}
    let.set()
    call.close()


async def test_a_callers_cancelled_work_that_waits_is_not_begun():
    call, begun = Threads(1, 5), []

    def work(_who):
        begun.append(1)
        time.sleep(0.1)

    calls = [asyncio.create_task(call(work, caller("a"))) for _ in range(4)]
    await asyncio.sleep(0.02)
    for each in calls[1:]:
        each.cancel()
    await calls[0]
    await asyncio.sleep(0.2)
    assert len(begun) == 1
    call.close()
