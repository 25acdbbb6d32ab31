"""gRPC's standard health and reflection services, behind the guard: for pinned principals only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from broker.errors import Code, Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

    from broker.identity import Caller, Principal

RECHECK_S: Final = 5.0
"""Seconds after which a watcher without news is authorised again; a revoked one is cut off then."""

_Status = health_pb2.HealthCheckResponse
_UNKNOWN: Final = _Status(status=_Status.SERVICE_UNKNOWN)


class Health:
    """`grpc.health.v1.Health`: SERVING while the ledger can be written, else NOT_SERVING.

    Args:
        authorise: decides on a caller; the first step of every call.
        services: full names of the services that are asked for by name; the empty name is the whole server.
    """

    def __init__(self, authorise: Callable[[Caller], Awaitable[Principal]], services: Iterable[str]) -> None:
        self._authorise = authorise
        self._services = frozenset({"", *services})
        self._changed = asyncio.Event()
        self._closed = False
        self.serving = False

    def set(self, *, serving: bool) -> None:
        """Tells watchers at once. Once closed, the status stays NOT_SERVING."""
        if serving != self.serving and not self._closed:
            self.serving = serving
            self._changed.set()
            self._changed = asyncio.Event()

    def close(self) -> None:
        """NOT_SERVING for good, and the end of all watches: the server stops."""
        self.set(serving=False)
        self._closed = True
        self._changed.set()

    async def check(
        self, caller: Caller, request: health_pb2.HealthCheckRequest, deadline_s: float
    ) -> health_pb2.HealthCheckResponse:
        """The status now.

        Raises:
            SlussError: as `authorise`; INVALID_REQUEST for a service that is not here.
        """
        del deadline_s
        await self._admit(caller)
        if request.service not in self._services:
            raise SlussError(Reason.INVALID_REQUEST, "no such service", field="service")
        return self._status()

    async def list(
        self, caller: Caller, request: health_pb2.HealthListRequest, deadline_s: float
    ) -> health_pb2.HealthListResponse:
        """The status of every service now.

        Raises:
            SlussError: as `authorise`.
        """
        del request, deadline_s
        await self._admit(caller)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, self._status()))

    async def watch(
        self, caller: Caller, request: health_pb2.HealthCheckRequest, deadline_s: float
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and whenever it changes, until the caller or the server goes.

        Raises:
            SlussError: as `authorise`, at any time.
        """
        del deadline_s
        sent = None
        while True:
            # Before the status is taken: whoever has just been sent another one hears that the server stops, too.
            changed, closed = self._changed, self._closed
            await self._admit(caller)
            status = self._status() if request.service in self._services else _UNKNOWN
            if status != sent:
                yield status
                sent = status
            if closed:
                return
            await _wait(changed, RECHECK_S)

    async def _admit(self, caller: Caller) -> None:
        """Authorises the caller, if the store can say who is pinned.

        If it can't, that is the answer, NOT_SERVING, and whoever has a certificate of the authority may have
        it.
        """
        try:
            await self._authorise(caller)
        except SlussError as error:
            if error.code != Code.UNAVAILABLE or error.reason is Reason.OVERLOADED:
                raise
            self.set(serving=False)
            caller.authorised = True

    def _status(self) -> health_pb2.HealthCheckResponse:
        return _Status(status=_Status.SERVING if self.serving else _Status.NOT_SERVING)


class Reflection:
    """`grpc.reflection.v1alpha.ServerReflection`: the protos of the services that are offered."""

    def __init__(self, authorise: Callable[[Caller], Awaitable[Principal]], services: Iterable[str]) -> None:
        self._authorise = authorise
        self._inner = reflection.aio.ReflectionServicer(service_names=services)

    async def server_reflection_info(
        self, caller: Caller, requests: AsyncIterator[ServerReflectionRequest], deadline_s: float
    ) -> AsyncIterator[ServerReflectionResponse]:
        """Answers each request.

        Raises:
            SlussError: as `authorise`, before each answer.
        """
        del deadline_s
        await self._authorise(caller)
        async for answer in self._inner.ServerReflectionInfo(requests, None):
            await self._authorise(caller)
            yield answer


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
