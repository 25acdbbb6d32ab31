"""One process that serves: mutual TLS, the guarded services, health, and what runs beside the calls.

    app.services() -> guard.handlers -> grpc.aio.Server

The certificate files are read again when they change, for the next connection. Clients are asked to connect
anew after `max_connection_age_s`. Beside the calls run: a probe, whose failure turns health to NOT_SERVING;
the publication of a cosigned checkpoint, at most once a second; the removal of what has expired; and the end
of calls whose callers may no longer call. The
processes that share one port, and signals, are workers.py's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from broker.certificates import Certificates
from broker.errors import Reason, SlussError
from broker.rpc.guard import WATCHES, WATCHES_PER_CALLER, Gate, handlers
from broker.rpc.health import Health, Reflection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from broker.identity import Caller, Principal
    from broker.settings import Address, Settings

log = logging.getLogger(__name__)

HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION: Final = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
HANDSHAKE_MS: Final = 3_000
"""A connection that has not shown its certificate by then is closed: whoever opens one must not hold it for nothing."""

PING_MS: Final = 60_000
LOOK_S: Final = 0.3
"""Seconds between two looks at whether rights have changed: calls of a revoked certificate end within one second."""

EXPIRY_S: Final = 30.0
"""Seconds after which calls in progress are looked at though no right has changed: certificates expire by the clock."""

PROBE_LIMIT_S: Final = 1.7
"""Seconds; a probe that takes longer has failed."""


class PublishedLedger(Protocol):
    """The ledger, as far as the server drives it."""

    def publish(self) -> object:
        """Publishes a cosigned checkpoint if the ledger has grown. Blocks.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """


class App(Protocol):
    """What a process serves: made and closed in it (broker/app.py)."""

    @property
    def ledger(self) -> PublishedLedger:
        """The ledger."""

    def services(self) -> Sequence[tuple[ServiceDescriptor, object]]:
        """The services with their servicers (rpc/guard.py says what those are)."""

    def authorise(self, caller: Caller) -> Principal:
        """Who calls, on the pins as they stand now; for health and reflection. Blocks.

        Raises:
            SlussError: as `identity.authorise`; LEDGER_UNAVAILABLE if the pins can't be read.
        """

    def probe(self) -> None:
        """Tries whether the ledger can be written: a write that is durable and changes nothing. Blocks.

        Raises:
            SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
        """

    def rights(self) -> int:
        """The count of changes to rights, as it stands now. Blocks.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """

    def refused(self, callers: Sequence[Caller]) -> Sequence[tuple[Caller, SlussError]]:
        """Those who may no longer call what they are calling, with the reason; each is in the ledger. Blocks.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """

    def maintain(self) -> None:
        """Removes expired requests and epochs, and folds refusals. Blocks.

        Raises:
            SlussError: LEDGER_UNAVAILABLE.
        """

    def start(self) -> Awaitable[None] | None:
        """Called once, in the event loop, before the first call."""

    def close(self) -> Awaitable[None] | None:
        """Called once, in the event loop, after the last call."""


class Server:
    """One process's server.

    Args:
        settings: the settings.
        app: what it serves.
        leader: this process also publishes and maintains; one of the workers does.
        shared: other processes listen on the same port.
    """

    def __init__(self, settings: Settings, app: App, *, leader: bool = True, shared: bool = False) -> None:
        self._settings = settings
        self._app = app
        self._leader = leader
        self._stopped = False
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="sluss-server")
        # Of its own: a probe that waited behind callers would tell of them, not of the ledger.
        self._beside = ThreadPoolExecutor(4, thread_name_prefix="sluss-beside")
        # Likewise: neither a probe nor a publication that hangs delays the end of a stolen credential's calls.
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="sluss-looking")
        self._certificates = Certificates(settings.folder)
        self._tasks: list[asyncio.Task[None]] = []
        services = app.services()
        names = [service.full_name for service, _ in services]
        # Those whose streams last until the caller goes: they end them, so that nobody waits for that.
        self._watched: list[Any] = [servicer for _, servicer in services if hasattr(servicer, "stop")]
        self.health = Health(self._authorise, [*names, HEALTH.full_name, REFLECTION.full_name])
        self._looked: tuple[int, float] | None = None
        self._gate = gate = Gate(
            settings.max_calls,
            settings.max_calls_per_caller,
            idle_s=settings.stream_idle_s,
            ledger_failed=lambda: self.health.set(serving=False),
            authorise=self._authorise,
        )
        self._grpc = grpc.aio.server(
            options=_options(settings, shared=shared), maximum_concurrent_rpcs=2 * settings.max_calls + WATCHES
        )
        reflection = Reflection(self._authorise, [*names, HEALTH.full_name, REFLECTION.full_name])
        offered = [*services, (HEALTH, self.health), (REFLECTION, reflection)]
        self._grpc.add_generic_rpc_handlers(
            tuple(handlers(service, servicer, gate=gate) for service, servicer in offered)
        )

    async def start(self, address: Address) -> int:
        """Listens on `address`; returns the port.

        Raises:
            SlussError: INVALID_REQUEST if the address can't be had.
        """
        credentials = self._certificates.credentials()
        try:
            port = self._grpc.add_secure_port(str(address), credentials)
        except RuntimeError:
            raise SlussError(Reason.INVALID_REQUEST, f"can't listen on {address}") from None
        await _settle(self._app.start())
        await self._probe()
        await self._grpc.start()
        self._every(self._settings.probe_s, self._probe)
        self._every(LOOK_S, self._cut_off)
        if self._leader:
            self._every(self._settings.publish_s, self._in_thread(self._app.ledger.publish))
            self._every(self._settings.maintain_s, self._in_thread(self._app.maintain))
        return port

    async def stop(self) -> None:
        """Takes no more calls, lets those in progress finish within `drain_s`, and closes the app. Once."""
        if self._stopped:
            return
        self._stopped = True
        self.health.close()
        for servicer in self._watched:
            servicer.stop()
        await self._grpc.stop(self._settings.drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._leader:
            await _attempt(self._in_thread(self._app.ledger.publish))
        await _settle(self._app.close())
        for threads in (self._threads, self._beside, self._looking):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _authorise(self, caller: Caller) -> Principal:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._app.authorise, caller)

    async def _cut_off(self) -> None:
        """End the calls in progress of those who may no longer call: one read, unless rights have changed."""
        undecided = self._gate.undecided()
        if not undecided and not self._gate.callers():
            self._looked = None
            return
        loop = asyncio.get_running_loop()
        rights = await loop.run_in_executor(self._looking, self._app.rights)
        # Taken after the count: a call that began since is looked at as well, at least once.
        callers = self._gate.callers()
        known = self._looked
        if known is not None and known[0] == rights and loop.time() < known[1] + EXPIRY_S:
            return
        for caller, why in await loop.run_in_executor(self._looking, self._app.refused, callers):
            ended = self._gate.cut_off(caller, why)
            log.warning("%d calls of %s ended: %s", ended, caller.method, why.reason)
        self._looked = None if undecided or self._gate.undecided() else (rights, loop.time())

    async def _probe(self) -> None:
        """Sets health by whether the ledger can be written. A hanging probe is waited for, not repeated."""
        probe = asyncio.ensure_future(_attempt(self._in_thread(self._try_ledger)))
        done, _ = await asyncio.wait({probe}, timeout=PROBE_LIMIT_S)
        if not done:
            self.health.set(serving=False)
        self.health.set(serving=await probe)

    def _try_ledger(self) -> None:
        """The app's probe; other transactions that were committed while it waited tell as much."""
        try:
            self._app.probe()
        except SlussError as error:
            if error.reason is not Reason.OVERLOADED:
                raise

    def _in_thread(self, work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
        return lambda: asyncio.get_running_loop().run_in_executor(self._beside, work)

    def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                await _attempt(work)

        self._tasks.append(asyncio.create_task(repeat()))


async def _attempt(work: Callable[[], Awaitable[object]]) -> bool:
    """Does what runs beside the calls; whether it worked. The kind of failure is logged, never its text."""
    try:
        await work()
    except SlussError as error:
        log.warning("beside the calls: %s", error.reason)
        return False
    except Exception as error:  # noqa: BLE001 - the server outlives what runs beside it
        log.error("beside the calls: %s", type(error).__name__)  # noqa: TRY400 - a traceback may hold data
        return False
    return True


async def _settle(result: Awaitable[None] | None) -> None:
    if inspect.isawaitable(result):
        await result


def _options(settings: Settings, *, shared: bool) -> list[tuple[str, Any]]:
    """Channel options (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_connection_age_ms", round(settings.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(settings.connection_grace_s * 1000)),
        ("grpc.max_concurrent_streams", min(settings.max_calls, settings.max_calls_per_caller) + WATCHES_PER_CALLER),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
