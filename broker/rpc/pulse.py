"""Wakes the streams that wait for news: one look at the head's count of rights for all of them together.

Everything that a stream could have to tell, or that could end it, moves that count in its own transaction, on whichever
broker: obligations, and the revocation of certificates.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S: Final = 0.2
LONGEST_S: Final = 5.0
"""After so long a stream looks for itself: a certificate may have run out, which moves nothing."""


class Pulse:
    """Looks while somebody waits. Used from one event loop.

    Args:
        look: gives the count; runs in a thread.
        every_s: seconds between looks.
    """

    def __init__(self, look: Callable[[], int], every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._waiting: dict[asyncio.Future[bool], int] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def moved(self, seen: int) -> bool:
        """Return once the count is not `seen` any more, or after a while; False when the process stops.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, when the count can't be read.
        """
        if self._closed:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[future] = seen
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat())
        try:
            async with asyncio.timeout(LONGEST_S):
                return await future
        except TimeoutError:
            return not self._closed
        finally:
            self._waiting.pop(future, None)

    def stop(self) -> None:
        """Let all who wait go: the process stops."""
        self._closed = True
        for future in self._all():
            future.set_result(False)

    async def _beat(self) -> None:
        while self._waiting and not self._closed:
            try:
                count = await asyncio.to_thread(self._look)
            except Exception as error:  # noqa: BLE001 - it is theirs who wait
                for future in self._all():
                    future.set_exception(error)
                return
            for future in self._all():
                if self._waiting[future] != count:
                    future.set_result(True)
            await asyncio.sleep(self._every_s)

    def _all(self) -> list[asyncio.Future[bool]]:
        return [future for future in self._waiting if not future.done()]
