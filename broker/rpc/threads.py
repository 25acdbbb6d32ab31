"""Blocking work off the event loop, bounded in number and in time; callers take turns."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from broker.errors import Reason, SlussError
from broker.turns import BEGIN_BY, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.identity import Caller

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job:
    """Work that waits, `since` then (seconds, the loop's clock) and `after` so many jobs that went well, or runs."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    since: float
    after: int
    begun: bool = False


class Threads:
    """A pool for the calls that are no disclosures. Used from one event loop.

    Args:
        size: threads.
        timeout_s: seconds after which a caller hears LEDGER_UNAVAILABLE (DESIGN promise 1: within 2 s).
    """

    def __init__(self, size: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="sluss-call")
        self._free = size
        self._closed = False
        self._timeout_s = timeout_s
        self._waiting: Turns[_Job] = Turns()
        self._went_well = 0

    async def __call__(
        self, work: Callable[Concatenate[Caller, P], T], caller: Caller, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `work` gives.

        Raises:
            SlussError: LEDGER_UNAVAILABLE when it takes too long; OVERLOADED when its turn did not come in that time
                though others' work went well, and then it is not begun any more; whatever `work` raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(lambda: work(caller, *args, **kwargs), future, loop.time(), self._went_well)
        # Looked at even if the caller has gone: asyncio would log the text of an exception that nobody took.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.add(caller.evidence.spki, job)
        self._begin()
        try:
            return await asyncio.wait_for(future, self._timeout_s)
        except TimeoutError:
            raise self._too_late(job) from None

    def close(self) -> None:
        """Wait for what runs; take nothing new."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _too_late(self, job: _Job) -> SlussError:
        if not job.begun and self._went_well > job.after:
            return SlussError(Reason.OVERLOADED, retry_after_s="1")
        return SlussError(Reason.LEDGER_UNAVAILABLE)

    def _begin(self) -> None:
        """Starts what is next while threads are free, without jobs that are late or whose callers have gone."""
        loop = asyncio.get_running_loop()
        while self._free > 0 and self._waiting and not self._closed:
            job = self._waiting.take()
            if job.future.done():
                continue
            if job.since < loop.time() - BEGIN_BY * self._timeout_s:
                job.future.set_exception(self._too_late(job))
            else:
                job.begun = True
                self._free -= 1
                running = loop.run_in_executor(self._pool, job.work)
                running.add_done_callback(partial(self._ended, job))

    def _ended(self, job: _Job, done: asyncio.Future[Any]) -> None:
        """Passes on what the work gave, and begins the next."""
        self._free += 1
        error = None if done.cancelled() else done.exception()
        if not (isinstance(error, SlussError) and error.reason is Reason.LEDGER_UNAVAILABLE):
            self._went_well += 1
        if done.cancelled():
            job.future.cancel()
        elif not job.future.done():
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(done.result())
        self._begin()
