"""Blocking work off the event loop, bounded in number and in time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool for the calls that are no disclosures.

    Args:
        size: threads.
        timeout_s: seconds after which a caller hears LEDGER_UNAVAILABLE (DESIGN promise 1: within 2 s).
    """

    def __init__(self, size: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="sluss-call")
        self._timeout_s = timeout_s

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives.

        Raises:
            SlussError: LEDGER_UNAVAILABLE when it takes too long; whatever `work` raises.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))
        # Looked at even if the caller has gone: asyncio would log the text of an exception that nobody took.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._timeout_s)
        except TimeoutError:
            raise SlussError(Reason.LEDGER_UNAVAILABLE) from None

    def close(self) -> None:
        """Wait for what runs; take nothing new."""
        self._pool.shutdown(wait=True, cancel_futures=True)
