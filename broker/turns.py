"""Who is next: what waits, by caller. Each caller in turn gives one, so nobody's queue is anybody else's wait."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

BEGIN_BY = 0.5
"""The share of a time-out within which what waits must be begun; the rest is for doing it. What is begun and takes
longer than that says something of the ledger; what is not, of the queue."""


class Turns(Generic[T]):
    """A queue that is fair between callers and in order within each. Used from one thread."""

    def __init__(self) -> None:
        self._queues: dict[bytes, deque[T]] = {}
        self._order: deque[bytes] = deque()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._order)

    def add(self, caller: bytes, item: T) -> None:
        """Behind what this caller already has waiting."""
        queue = self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = deque()
            self._order.append(caller)
        queue.append(item)

    def first(self) -> T:
        """What is next, without taking it.

        Raises:
            IndexError: nothing waits.
        """
        return self._queues[self._order[0]][0]

    def take(self) -> T:
        """What is next; its caller goes behind the others.

        Raises:
            IndexError: nothing waits.
        """
        caller = self._order.popleft()
        queue = self._queues[caller]
        item = queue.popleft()
        if queue:
            self._order.append(caller)
        else:
            del self._queues[caller]
        return item
