"""A watch goes on when its stream ends: a broker that stops, or wants its clients to connect anew, comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import grpc
from sluss_client.errors import SlussClientError, TransportError, from_rpc_error
from sluss_client.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluss_cli.output import Output


class Watch(Protocol):
    """What is watched over all the streams that it takes."""

    @property
    def is_done(self) -> bool:
        """Whether all has come that was wanted."""
        ...

    def replies(self, timeout_s: float | None) -> Iterator[object]:
        """The replies of one stream, each dealt with once the next is asked for."""
        ...


class Again:
    """How long a watch may last still, and when it gives up.

    Args:
        output: where it is said that the watch goes on.
        seconds: how long it may last; 0 for ever.
    """

    def __init__(self, output: Output, seconds: float) -> None:
        self._output = output
        self._end = time.monotonic() + seconds if seconds else None
        self._retry: Retry | None = None
        self._silent = False

    def follow(self, watch: Watch, *breaks: type[Exception]) -> None:
        """Begin stream after stream until the watch is done or its time is over.

        Args:
            watch: what is watched.
            breaks: errors after which a stream may be begun anew.

        Raises:
            SlussClientError: the broker says no; it has never said anything; or it has been away for a minute.
        """
        while not self.is_over:
            error: Exception | None = None
            try:
                for _ in watch.replies(self._left_s):
                    self._heard()
            except breaks as broken:
                error = broken
            if watch.is_done:
                return
            if not self.is_over:
                self._pause(error)

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self._left_s == 0.0

    @property
    def _left_s(self) -> float | None:
        """Seconds for the next stream; None for as many as it takes."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def _heard(self) -> None:
        """A message has come."""
        if self._retry is None:
            self._retry = Retry()
        self._retry.progressed()
        self._silent = False

    def _pause(self, error: Exception | None) -> None:
        """Wait until a stream that ended, with an error or without, is begun anew."""
        said = _of(error)
        if self._retry is None:
            raise said from None
        wait_s = self._retry.wait_s(said)
        if not self._silent:
            self._output.note("The stream has ended: watching again.")
        self._silent = True
        time.sleep(wait_s if self._left_s is None else min(wait_s, self._left_s))


def _of(error: Exception | None) -> SlussClientError:
    if isinstance(error, SlussClientError):
        return error
    if isinstance(error, grpc.RpcError):
        return from_rpc_error(error)
    return TransportError("the broker has ended the stream")
