"""When to try again, and after how long. Pure but for the clock and the dice that are handed in.

Only what can't do harm is tried again: a read, or a call under one request id, which the broker answers
with the same bytes and no second entry. Four things are reasons to: no answer, an answer that is too late,
a broker that names a time to come back, and a stream that was ended since its caller took too long over a message.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.errors import Reason
from sluss_client.errors import Aborted, BrokerUnavailable, ResourceExhausted, SlussClientError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_S = 0.1
LONGEST_S = 10.0
ATTEMPT_S = 20.0
"""Seconds that a single attempt of a unary call may take."""

DEADLINE_S = 60.0
"""Seconds that a call may take with all its attempts, unless the caller says otherwise."""


@dataclass
class Retry:
    """The attempts of one call.

    Attributes:
        deadline_s: seconds for all attempts together.
        clock: seconds, monotonic.
        dice: uniform in [0, 1).
    """

    deadline_s: float = DEADLINE_S
    clock: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = random.random
    _attempts: int = 0
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.deadline_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._end - self.clock())

    @property
    def attempt_s(self) -> float:
        """Seconds for the next attempt."""
        return min(ATTEMPT_S, self.left_s)

    def progressed(self) -> None:
        """A stream has delivered: its next failure counts as the first, its deadline starts anew."""
        self._attempts = 0
        self._end = self.clock() + self.deadline_s

    def wait_s(self, error: SlussClientError) -> float:
        """Seconds until the next attempt: what the broker asks for, and full jitter that doubles.

        Raises:
            SlussClientError: `error` itself, when trying again is not safe, not useful or too late.
        """
        asked = _asked_s(error)
        if asked is None:
            raise error
        self._attempts += 1
        jitter = self.dice() * min(LONGEST_S, FIRST_S * 2.0**self._attempts)
        if asked + jitter >= self.left_s:
            raise error
        return asked + jitter


def _asked_s(error: SlussClientError) -> float | None:
    """The seconds that the broker asks to wait, 0 if it leaves them to us, None if trying again is no use."""
    if isinstance(error, BrokerUnavailable):
        return error.retry_after_s or 0.0
    # The broker's no to a stream whose caller took too long over a message, and not to the next one.
    if isinstance(error, TransportError) or (isinstance(error, Aborted) and error.reason == Reason.STREAM_IDLE):
        return 0.0
    return error.retry_after_s if isinstance(error, ResourceExhausted) else None
