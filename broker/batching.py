"""Group commit: requests that are in flight together go through the spine as one batch.

While one batch runs on its thread, new requests gather; when it is done they are the next. Nobody waits for a timer,
and one request alone is a batch of one. Callers take turns: many requests of one delay those of another by one only.

A batch that takes longer than the time-out is given up for its callers: they hear LEDGER_UNAVAILABLE. Should it
commit after all, the ledger has entries of slices that never left. A request that waited for too long while other
batches went well is not begun any more: OVERLOADED, and the ledger is not to blame.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError
from broker.turns import BEGIN_BY, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.asks import Answer, Ask
    from broker.disclosure import Outcome

MAX_PERSONS = 2_048
"""Persons in a batch, beyond which further requests wait for the next one: bulk never delays others for long."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits, `since` then (seconds, the loop's clock) and `after` so many batches that went well."""

    ask: Ask
    future: asyncio.Future[Outcome]
    since: float
    after: int
    begun: bool = False


class GroupCommit:
    """The queue before the spine. Used from one event loop.

    Args:
        run: answers a batch, one outcome per request; on a thread of its own.
        timeout_s: seconds after which a request is given up; while a batch hangs for longer, new ones are too.
    """

    def __init__(self, run: Callable[[Sequence[Ask]], list[Outcome]], timeout_s: float) -> None:
        self._run = run
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sluss-spine")
        self._waiting: Turns[_Waiting] = Turns()
        self._pump: asyncio.Task[None] | None = None
        self._hung = False
        self._went_well = 0

    async def submit(self, ask: Ask) -> Answer:
        """The answer, once it is durable.

        Raises:
            SlussError: the refusal, LEDGER_UNAVAILABLE or OVERLOADED.
        """
        if self._hung:
            raise SlussError(Reason.LEDGER_UNAVAILABLE)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        waiting = _Waiting(ask, future, loop.time(), self._went_well)
        self._waiting.add(ask.caller.evidence.spki, waiting)
        # Counted from here: who waits for one batch that hangs must not wait for a second one.
        expiry = loop.call_later(self._timeout_s, self._give_up, waiting)
        if self._pump is None:
            self._pump = asyncio.create_task(self._drain())
        try:
            outcome = await future
        finally:
            expiry.cancel()
        if isinstance(outcome, SlussError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Let the running batch end; nothing new is taken."""
        self._hung = True
        self._thread.shutdown(wait=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch()
            if not batch:
                continue
            watch = loop.call_later(self._timeout_s, self._hang)
            try:
                outcomes = await loop.run_in_executor(self._thread, self._run, [each.ask for each in batch])
                self._went_well += 1
                self._settle(batch, outcomes)
            except SlussError as error:
                self._settle(batch, [error] * len(batch))
            except Exception as error:  # noqa: BLE001 - every caller must hear that its request failed
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(error)
            finally:
                watch.cancel()
                self._hung = False
        self._pump = None

    def _next_batch(self) -> list[_Waiting]:
        """The requests that waited, a caller's in its turn, without those whose callers have gone or that are late."""
        batch: list[_Waiting] = []
        persons = 0
        latest = asyncio.get_running_loop().time() - BEGIN_BY * self._timeout_s
        while self._waiting and (not batch or persons + self._waiting.first().ask.who.persons <= MAX_PERSONS):
            each = self._waiting.take()
            if each.since < latest:
                self._give_up(each)
            elif not each.future.done():
                each.begun = True
                batch.append(each)
                persons += each.ask.who.persons
        return batch

    @staticmethod
    def _settle(batch: list[_Waiting], outcomes: Sequence[Outcome]) -> None:
        for each, outcome in zip(batch, outcomes, strict=True):
            if not each.future.done():
                each.future.set_result(outcome)

    def _give_up(self, each: _Waiting) -> None:
        """Whose turn never came though batches went well heard of too many others, not of a ledger that fails."""
        if each.future.done():
            return
        if not each.begun and self._went_well > each.after:
            each.future.set_result(SlussError(Reason.OVERLOADED, retry_after_s="1"))
        else:
            each.future.set_result(SlussError(Reason.LEDGER_UNAVAILABLE))

    def _hang(self) -> None:
        self._hung = True
