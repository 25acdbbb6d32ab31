"""How the synchronous client calls: on the line in use, and again if the broker says that it may."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import grpc

from sluss_client.errors import from_rpc_error
from sluss_client.retry import DEADLINE_S, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluss_client.lines import Line, Lines

_Q = TypeVar("_Q")
_R = TypeVar("_R")


class Calls:
    """Calls over the lines of a client. Safe to use from several threads."""

    def __init__(self, lines: Lines[grpc.Channel]) -> None:
        self._lines = lines

    @contextmanager
    def _line(self) -> Iterator[Line[grpc.Channel]]:
        """The line for one call; old ones that this call was the last on are closed after it."""
        line = self._lines.take()
        try:
            yield line
        finally:
            for over in self._lines.leave(line):
                over.close()

    def _retried(
        self,
        method: Callable[[Line[grpc.Channel]], grpc.UnaryUnaryMultiCallable[_Q, _R]],
        request: _Q,
        deadline_s: float = DEADLINE_S,
    ) -> _R:
        """A call that may be made again: a read, or a write under a request id."""
        retry = Retry(deadline_s)
        while True:
            try:
                with self._line() as line:
                    return method(line)(request, timeout=retry.attempt_s)
            except grpc.RpcError as error:
                delay = retry.wait_s(from_rpc_error(error))
            time.sleep(delay)
