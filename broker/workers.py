"""The processes that serve: one, or several that share a port; started, watched and stopped together.

The kernel spreads connections, not calls, over the workers (SO_REUSEPORT). They are spawned, never forked:
gRPC has threads. When one dies they all stop, and whoever supervises the broker starts it again. A worker
whose parent is gone stops by itself. No process leaves a core file: there may be personal data in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from broker import occupied
from broker.errors import Reason, SlussError
from broker.server import App, Server
from broker.settings import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from multiprocessing.connection import Connection

    from broker.settings import Settings

log = logging.getLogger(__name__)

PR_SET_DUMPABLE: Final = 4
START_S: Final = 60.0
"""Seconds that workers may take to listen."""

STOP_S: Final = 5.0
"""Seconds beyond `drain_s` after which a worker that does not stop is killed."""


def serve(settings: Settings, build: Callable[[Settings], App]) -> int:
    """Serves until SIGTERM or SIGINT; prints `listening on host:port` when every worker listens.

    Args:
        settings: the settings.
        build: makes the app, in each worker; importable by name, since workers are spawned.

    Returns:
        0 after a graceful stop; 1 if a worker died.

    Raises:
        SlussError: it could not start.
    """
    forbid_core_files()
    raise_file_limit()
    log_to_stderr()
    if settings.workers == 1:
        if settings.one_core:
            keep_to_one_core(os.getpid())
        return run(_serve_alone(settings, build))
    return run(_serve_together(settings, build))


def run(main: Coroutine[Any, Any, int]) -> int:
    """Runs the coroutine, on uvloop if it is there."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def forbid_core_files() -> None:
    """No core file of this process, nor a dump piped to a crash reporter, nor a debugger without root."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """As many open files as this process may have: a connection is one, and the usual limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and takes less.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_to_one_core(number: int) -> None:
    """Keeps this process to one of its cores, chosen by `number`.

    Only one of its threads runs Python at a time; on one core they hand over without moving what they share from
    cache to cache. `make bench` shows what it is worth: unary calls are about half as many again.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


async def _serve_alone(settings: Settings, build: Callable[[Settings], App]) -> int:
    stop = _stop_event()
    address = settings.address
    with occupied.shared(settings.folder):
        server = Server(settings, build(settings))
        port = await server.start(address)
        _calm_collector()
        with _announced(settings, address.host, port):
            await stop.wait()
            await server.stop()
    return 0


def _calm_collector() -> None:
    """What the imports made stays for good: the collector need not walk it, nor run at every burst of calls.

    `make bench` shows it in the tail: it halves the 99th percentile of unary calls.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve_together(settings: Settings, build: Callable[[Settings], App]) -> int:
    stop = _stop_event()
    with _reserved(settings.address) as address:
        workers = [_Worker(settings, build, index, address) for index in range(settings.workers)]
        try:
            await _first(stop, asyncio.gather(*(worker.listening for worker in workers)), seconds=START_S)
            if stop.is_set():
                return 0
            with _announced(settings, address.host, address.port):
                await _first(stop, *(worker.ended for worker in workers))
                return 0 if stop.is_set() else 1
        finally:
            await asyncio.gather(*(worker.stop(settings.drain_s + STOP_S) for worker in workers))


class _Worker:
    """A worker process as its parent sees it. The pipe between them tells each of the other's end.

    Attributes:
        listening: done when it listens; fails with the reason if it can't.
        ended: done when it is gone.
    """

    def __init__(self, settings: Settings, build: Callable[[Settings], App], index: int, address: Address) -> None:
        context = multiprocessing.get_context("spawn")
        loop = asyncio.get_running_loop()
        self.listening: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work,
            args=(settings, build, address, theirs),
            kwargs={"index": index},
            name=f"sluss-worker-{index}",
        )
        self._process.start()
        theirs.close()
        loop.add_reader(self._pipe.fileno(), self._heard)

    async def stop(self, seconds: float) -> None:
        """Lets it drain, and kills it if that takes longer than `seconds`."""
        self._let_go()
        await asyncio.to_thread(self._process.join, seconds)
        if self._process.is_alive():
            log.error("worker %s does not stop and is killed", self._process.pid)
            self._process.kill()
            await asyncio.to_thread(self._process.join)
        self._process.close()

    def _heard(self) -> None:
        """It listens, it can't, or it is gone."""
        try:
            problem: tuple[str, str] | None = self._pipe.recv()
        except (EOFError, OSError):
            problem = (Reason.INTERNAL.value, "a worker died")
            self._let_go()
        if self.listening.done():
            return
        if problem:
            self.listening.set_exception(SlussError(Reason(problem[0]), problem[1]))
        else:
            self.listening.set_result(None)

    def _let_go(self) -> None:
        if not self._pipe.closed:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._pipe.close()
        if not self.ended.done():
            self.ended.set_result(None)


def _work(
    settings: Settings,
    build: Callable[[Settings], App],
    address: Address,
    parent: Connection,
    *,
    index: int,
) -> None:
    """The main function of a worker process; the first one leads."""
    forbid_core_files()
    raise_file_limit()
    log_to_stderr()
    if settings.one_core:
        keep_to_one_core(os.getppid() + index)
    run(_serve_shared(settings, build, address, parent, leader=index == 0))


async def _serve_shared(
    settings: Settings,
    build: Callable[[Settings], App],
    address: Address,
    parent: Connection,
    *,
    leader: bool,
) -> int:
    """Serves until the parent closes its end of the pipe, by intent or by dying."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(parent.fileno(), stop.set)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all; the parent decides
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(occupied.shared(settings.folder))
            server = Server(settings, build(settings), leader=leader, shared=True)
            await server.start(address)
            _calm_collector()
        except SlussError as error:
            _tell(parent, (error.reason.value, error.detail))
            return 1
        _tell(parent, None)
        await stop.wait()
        await server.stop()
    return 0


def _tell(parent: Connection, problem: tuple[str, str] | None) -> None:
    """Reason and detail of what kept the worker from listening; None if it listens. The parent may be gone."""
    with contextlib.suppress(OSError):
        parent.send(problem)


async def _first(stop: asyncio.Event, *awaited: asyncio.Future[Any], seconds: float | None = None) -> None:
    """Waits for the first of them, or for `stop`.

    Raises:
        SlussError: what the first one failed with, or that none came in time.
    """
    stopped = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait({*awaited, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    if not done:
        raise SlussError(Reason.INVALID_REQUEST, "the workers do not come up")
    for future in done - {stopped}:
        future.result()


def _stop_event() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@contextlib.contextmanager
def _reserved(address: Address) -> Iterator[Address]:
    """Holds a port that workers can share: chosen, if `address` says 0; never one on which others listen.

    Raises:
        SlussError: INVALID_REQUEST if the address can't be had.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            chosen = probe.getsockname()
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(chosen)
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"can't listen on {address}") from None
    with holder:
        yield Address(address.host, chosen[1])


@contextlib.contextmanager
def _announced(settings: Settings, host: str, port: int) -> Iterator[None]:
    """Says on stdout and in the home folder where the broker listens."""
    path = settings.folder.port
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(f"{port}\n")
    print(f"listening on {Address(host, port)}", flush=True)  # noqa: T201 - programs wait for this line
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def log_to_stderr() -> None:
    """One line per event; never a traceback's values."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The driver's warnings hold the server's text; store/failures.py says what matters.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
