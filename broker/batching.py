"""Group commit: requests that are in flight together go through the spine as one batch.

While one batch runs on its thread, new requests gather; when it is done they are the next. Nobody waits for a timer,
and one request alone is a batch of one. A batch that takes longer than the time-out is given up for its callers:
they hear LEDGER_UNAVAILABLE. Should it commit after all, the ledger has entries of slices that never left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.asks import Answer, Ask
    from broker.disclosure import Outcome

MAX_PERSONS = 2_048
"""Persons in a batch, beyond which further requests wait for the next one: bulk never delays others for long."""


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
        self._waiting: deque[tuple[Ask, asyncio.Future[Outcome]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._hung = False

    async def submit(self, ask: Ask) -> Answer:
        """The answer, once it is durable.

        Raises:
            SlussError: the refusal, or LEDGER_UNAVAILABLE.
        """
        if self._hung:
            raise SlussError(Reason.LEDGER_UNAVAILABLE)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((ask, future))
        # Counted from here: who waits for one batch that hangs must not wait for a second one.
        expiry = loop.call_later(self._timeout_s, _expire, future)
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
                outcomes = await loop.run_in_executor(self._thread, self._run, [ask for ask, _ in batch])
                self._settle(batch, outcomes)
            except SlussError as error:
                self._settle(batch, [error] * len(batch))
            except Exception as error:  # noqa: BLE001 - every caller must hear that its request failed
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            finally:
                watch.cancel()
                self._hung = False
        self._pump = None

    def _next_batch(self) -> list[tuple[Ask, asyncio.Future[Outcome]]]:
        """The requests that waited, without those whose callers have gone."""
        batch: list[tuple[Ask, asyncio.Future[Outcome]]] = []
        persons = 0
        while self._waiting and (not batch or persons + self._waiting[0][0].who.persons <= MAX_PERSONS):
            ask, future = self._waiting.popleft()
            if not future.done():
                batch.append((ask, future))
                persons += ask.who.persons
        return batch

    @staticmethod
    def _settle(batch: list[tuple[Ask, asyncio.Future[Outcome]]], outcomes: Sequence[Outcome]) -> None:
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    def _hang(self) -> None:
        self._hung = True


def _expire(future: asyncio.Future[Outcome]) -> None:
    if not future.done():
        future.set_result(SlussError(Reason.LEDGER_UNAVAILABLE))
