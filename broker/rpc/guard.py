"""The only way to offer a service: every method of it goes through the steps below, and none can forget one.

    1. refuse a method without the `allowed` option
    2. take the certificate's evidence
    3. count the call; over the process's limit, or the caller's own, it is refused with RATE_EXCEEDED
    4. parse the request; a field that this broker does not know is refused, since it may be a restriction, but
       only to a caller who may call. A large request is not even parsed before the caller is authorised, and one
       that is larger than its method takes is never parsed
    5. call the servicer, which authorises first
    6. send replies, from servicers that have authorised only
    7. end calls whose caller may no longer call, wherever they stand: `Gate.cut_off`, which the server calls
       whenever rights have changed
    8. turn a SlussError into a rich status, and anything else into INTERNAL with a reference: gRPC itself
       would send the exception's text to the caller

A servicer is an object with one method per RPC, in snake_case, that never sees gRPC's context:

    async def get_person(self, caller: Caller, request: GetPersonRequest, deadline_s: float)
        -> GetPersonResponse
    def disclose_bulk(self, caller, request, deadline_s) -> AsyncIterator[DiscloseBulkResponse]
    def import_persons(self, caller, requests: AsyncIterator[...], deadline_s) -> AsyncIterator[...]

`deadline_s` is the seconds that the caller still waits; gRPC cancels the call when they are over. A stream
that is cancelled is closed (`aclose`) at once, at the message where it stands.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from sluss.v1 import options_pb2

from broker.errors import Reason, SlussError
from broker.identity import KINDS, Caller, Evidence, evidence
from broker.rpc import status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

log = logging.getLogger(__name__)
T = TypeVar("T")

STANDARD_SERVICES: Final = frozenset({"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"})
"""Exempt, by name, from the option: their protos are gRPC's own and can't carry it. Every kind of principal
may call them, and no one else: their servicers authorise like all others. They tell nothing about persons."""

NO_DEADLINE_S: Final = 3600.0
"""Seconds given to a call whose caller set no deadline."""

LARGE: Final = 64 << 10
"""Bytes of a request that is worth an authorisation of its own before it is parsed. Parsing takes up to 10 ms a MiB
and holds Python's lock, on whichever thread: what bounds it is the size."""

MAX_REQUEST: Final = 1 << 20
"""Bytes of a request to a method without the `max_request_bytes` option."""

ABORT_S: Final = 5.0
"""Seconds that a status may take to be on its way."""

CUT_S: Final = 0.2
"""Likewise, of a call whose caller may no longer call: a credential that was stolen is not waited for."""

WATCHES: Final = 256
WATCHES_PER_CALLER: Final = 4
"""Open streams of the standard services: they last, so they are counted apart and take no call's place."""

REVOKED: Final = frozenset({Reason.CERTIFICATE_REVOKED, Reason.UNKNOWN_PRINCIPAL, Reason.CERTIFICATE_MISMATCH})
"""Why a caller who was let pass may no longer call."""

Authorise = Callable[[Caller], Awaitable[object]]


async def _refuse_everybody(caller: Caller) -> object:
    raise SlussError(Reason.METHOD_UNGUARDED, method=caller.method)


class Places:
    """How many calls are in progress, in all and by caller; used from the event loop only.

    A caller is a key, not a name: a revoked key can't use up what its principal's new key may have.

    Attributes:
        limit: calls at a time.
        per_caller: calls of one key at a time.
    """

    def __init__(self, limit: int, per_caller: int) -> None:
        self.limit = limit
        self.per_caller = per_caller
        self.taken = 0
        self._by_caller: dict[bytes, int] = {}

    @contextmanager
    def one(self, caller: Caller) -> Iterator[None]:
        """A place for a call while it lasts.

        Raises:
            SlussError: RATE_EXCEEDED: none is left, or none for this caller.
        """
        key = caller.evidence.spki
        own = self._by_caller.get(key, 0)
        if own >= self.per_caller:
            raise SlussError(Reason.RATE_EXCEEDED, "too many calls of this caller at once", retry_after_s="1")
        if self.taken >= self.limit:
            raise SlussError(Reason.RATE_EXCEEDED, "too many calls at once", retry_after_s="1")
        self.taken += 1
        self._by_caller[key] = own + 1
        try:
            yield
        finally:
            self.taken -= 1
            self._by_caller[key] -= 1
            if not self._by_caller[key]:
                del self._by_caller[key]


class Open:
    """A call in progress: the task that serves it, and why it was cut off, if it was. Event loop only."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.failure: SlussError | None = None
        self._task = asyncio.current_task()
        self._cuts = 0

    def cut(self, failure: SlussError) -> None:
        """End the call: whatever it waits for is cancelled, and no reply of it leaves any more."""
        self.failure = failure
        if self._task is not None:
            self._cuts += 1
            self._task.cancel()

    def require(self) -> None:
        """Refuse to go on with a call that was cut off, if its cancellation was swallowed on the way.

        Raises:
            SlussError: why it was cut off.
        """
        if self.failure is not None:
            raise self.failure

    def take(self) -> SlussError | None:
        """Why the call was cut off; takes the cancellations back, so that its status can still be sent."""
        for _ in range(self._cuts):
            if self._task is not None:
                self._task.uncancel()
        self._cuts = 0
        return self.failure


class Gate:
    """What all services of a process share.

    Attributes:
        calls: the places of calls.
        watches: the places of the standard services' streams.
        idle_s: seconds that a stream waits for its caller to send, or to take, a message.
        ledger_failed: called when a call fails since the ledger can't be written.
        authorise: decides about callers whose request is large or can't be parsed; without it nobody may call.
    """

    def __init__(
        self,
        limit: int,
        per_caller: int,
        *,
        idle_s: float = 60.0,
        ledger_failed: Callable[[], None] = lambda: None,
        authorise: Authorise = _refuse_everybody,
    ) -> None:
        self.calls = Places(limit, per_caller)
        self.watches = Places(WATCHES, WATCHES_PER_CALLER)
        self.idle_s = idle_s
        self.ledger_failed = ledger_failed
        self.authorise = authorise
        self._open: set[Open] = set()

    @contextmanager
    def opened(self, caller: Caller) -> Iterator[Open]:
        """A call while it is in progress. It is known here before its servicer authorises.

        So whoever was authorised before a revocation is found by the look that follows it.
        """
        call = Open(caller)
        self._open.add(call)
        try:
            yield call
        finally:
            self._open.discard(call)

    def callers(self) -> list[Caller]:
        """Who was let pass and has calls in progress, each key and method once, as copies.

        Whoever is not authorised yet is refused, if need be, by the servicer, and logged once.
        """
        passed = (call.caller for call in self._open if call.caller.authorised)
        found = {(caller.evidence.spki, caller.method): caller for caller in passed}
        return [Caller(each.evidence, each.method, each.allowed) for each in found.values()]

    def undecided(self) -> bool:
        """Whether there are calls that nobody has authorised yet: the rights they pass on may be older than a look."""
        return any(not call.caller.authorised for call in self._open)

    def cut_off(self, caller: Caller, failure: SlussError) -> int:
        """End the calls of a key to a method, with a status; gives how many."""
        wanted = (caller.evidence.spki, caller.method)
        ended = [call for call in self._open if (call.caller.evidence.spki, call.caller.method) == wanted]
        for call in ended:
            call.cut(failure)
        return len(ended)


@dataclass(frozen=True, slots=True)
class _Method:
    """One RPC, as the descriptor gives it, and the servicer's method behind it."""

    name: str
    allowed: frozenset[str]
    request: type[Message]
    reply: type[Message]
    call: Callable[..., Any]
    gate: Gate
    places: Places
    max_request: int

    def caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Who calls.

        Raises:
            SlussError: METHOD_UNGUARDED, UNKNOWN_PRINCIPAL.
        """
        if not self.allowed:
            raise SlussError(Reason.METHOD_UNGUARDED, method=self.name)
        return Caller(_evidence(context), self.name, self.allowed)

    def parse(self, data: bytes) -> Message:
        """The request.

        Raises:
            SlussError: INVALID_REQUEST: not a message of this type, or one with unknown fields.
        """
        try:
            message = self.request.FromString(data)
        except DecodeError:
            raise SlussError(Reason.INVALID_REQUEST, "the request can't be parsed") from None
        size = message.ByteSize()
        message.DiscardUnknownFields()
        if message.ByteSize() != size:
            raise SlussError(Reason.INVALID_REQUEST, "the request has fields that this broker does not know")
        return message

    async def read(self, caller: Caller, data: bytes) -> Message:
        """The request; what is wrong with it is told to those only who may call (DESIGN 10).

        Raises:
            SlussError: of authorisation, INVALID_REQUEST.
        """
        if len(data) > min(LARGE, self.max_request):
            await self.gate.authorise(caller)
            self._check_size(len(data))
            return self.parse(data)
        try:
            return self.parse(data)
        except SlussError:
            await self.gate.authorise(caller)
            raise

    def _check_size(self, size: int) -> None:
        if size > self.max_request:
            told = f"the request has {size:,} bytes: this method takes at most {self.max_request:,}"
            raise SlussError(Reason.INVALID_REQUEST, told, limit_bytes=str(self.max_request))

    async def in_time(self, step: Awaitable[T], what: str) -> T:
        """A stream's next step, if the caller does its part of it in time.

        Raises:
            SlussError: STREAM_IDLE.
        """
        try:
            async with asyncio.timeout(self.gate.idle_s):
                return await step
        except TimeoutError:
            told = f"no message was {what} for {self.gate.idle_s:g} s"
            raise SlussError(Reason.STREAM_IDLE, told, idle_s=f"{self.gate.idle_s:g}") from None

    def release(self, caller: Caller, reply: Message) -> bytes:
        """The reply's bytes, if it may leave.

        Raises:
            SlussError: METHOD_UNGUARDED: the servicer never authorised the caller.
            TypeError: the reply is not what the proto says.
        """
        if not caller.authorised:
            raise SlussError(Reason.METHOD_UNGUARDED, method=self.name)
        if not isinstance(reply, self.reply):
            raise TypeError(type(reply).__name__)
        return reply.SerializeToString()


def handlers(service: ServiceDescriptor, servicer: object, *, gate: Gate | None = None) -> grpc.GenericRpcHandler:
    """A service for `grpc.aio.Server.add_generic_rpc_handlers`, every method of it guarded.

    Args:
        service: from the generated module: `DESCRIPTOR.services_by_name[...]`.
        servicer: has all methods; see the module's docstring.
        gate: shared by all services of a process.

    Raises:
        TypeError: the servicer lacks a method.
    """
    shared = gate or Gate(1024, 1024)
    methods = {method.name: _handler(method, servicer, shared) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def allowed_kinds(method: MethodDescriptor) -> frozenset[str]:
    """The kinds of principal that may call the method: its option, or all for the standard services.

    Empty for a method without the option, or one that lists the unspecified kind.
    """
    if method.containing_service.full_name in STANDARD_SERVICES:
        return KINDS
    names = {
        options_pb2.PrincipalKind.Name(kind).removeprefix("PRINCIPAL_KIND_").lower()
        for kind in method.GetOptions().Extensions[options_pb2.allowed]
        if kind in options_pb2.PrincipalKind.values()
    }
    return frozenset(names) if names <= KINDS else frozenset()


def max_request(method: MethodDescriptor) -> int:
    """The largest request that the method takes, in bytes: its option, or `MAX_REQUEST`."""
    return int(method.GetOptions().Extensions[options_pb2.max_request_bytes]) or MAX_REQUEST


def snake_case(name: str) -> str:
    """`LookUpPersons` -> `look_up_persons`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _handler(method: MethodDescriptor, servicer: object, gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    service = method.containing_service.full_name
    call = getattr(servicer, snake_case(method.name), None)
    if not callable(call):
        raise TypeError(f"{type(servicer).__name__} has no method {snake_case(method.name)} for {service}")
    guarded = _Method(
        name=f"/{service}/{method.name}",
        allowed=allowed_kinds(method),
        request=message_factory.GetMessageClass(method.input_type),
        reply=message_factory.GetMessageClass(method.output_type),
        call=call,
        gate=gate,
        places=gate.watches if method.server_streaming and service in STANDARD_SERVICES else gate.calls,
        max_request=max_request(method),
    )
    # gRPC gets no (de)serialisers: it would send the text of their exceptions to the caller.
    match method.client_streaming, method.server_streaming:
        case False, False:
            return grpc.unary_unary_rpc_method_handler(_unary(guarded))
        case False, True:
            return grpc.unary_stream_rpc_method_handler(_stream(guarded))
        case True, True:
            return grpc.stream_stream_rpc_method_handler(_stream(guarded))
    raise TypeError(f"{guarded.name} is of a shape that the guard does not know")


def _unary(method: _Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def serve(data: bytes, context: grpc.aio.ServicerContext[Any, Any], caller: Caller, call: Open) -> bytes:
        with method.places.one(caller):
            request = await method.read(caller, data)
            reply = await method.call(caller, request, _remaining(context))
            call.require()
            return method.release(caller, reply)

    async def unary(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        caller: Caller | None = None
        try:
            caller = method.caller(context)
            with method.gate.opened(caller) as call:
                try:
                    return await serve(data, context, caller, call)
                except asyncio.CancelledError:
                    cut = call.take()
                    if cut is None:
                        raise
                    failure: Exception = cut
        except Exception as error:  # noqa: BLE001 - step 8: no text of it may leave
            failure = error
        raise await _abort(method, failure, context, caller)

    return unary


def _stream(method: _Method) -> Callable[[Any, Any], Awaitable[None]]:
    async def serve(source: Any, context: grpc.aio.ServicerContext[Any, Any], caller: Caller, call: Open) -> None:
        with method.places.one(caller):
            is_one = isinstance(source, bytes)
            request = await method.read(caller, source) if is_one else _read_each(method, caller, source)
            async with aclosing(method.call(caller, request, _remaining(context))) as replies:
                async for reply in replies:
                    call.require()
                    await _write(method, context, method.release(caller, reply))
            call.require()

    async def stream(source: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        caller: Caller | None = None
        try:
            caller = method.caller(context)
            with method.gate.opened(caller) as call:
                try:
                    await serve(source, context, caller, call)
                except asyncio.CancelledError:
                    cut = call.take()
                    if cut is None:
                        raise
                    failure: Exception = cut
                else:
                    return
        except Exception as error:  # noqa: BLE001 - step 8: no text of it may leave
            failure = error
        await _abort(method, failure, context, caller)

    return stream


async def _read_each(method: _Method, caller: Caller, source: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    messages = aiter(source)
    while True:
        try:
            data = await method.in_time(anext(messages), "sent")
        except StopAsyncIteration:
            return
        yield await method.read(caller, data)


async def _write(method: _Method, context: grpc.aio.ServicerContext[Any, Any], data: bytes) -> None:
    """Sends a message; a call that is over before it could leave ends like one that is cancelled.

    Raises:
        SlussError: STREAM_IDLE.
    """
    try:
        await method.in_time(context.write(data), "taken")
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


async def _abort(
    method: _Method, failure: Exception, context: grpc.aio.ServicerContext[Any, Any], caller: Caller | None
) -> Exception:
    """Ends the call with the failure's status. gRPC's abort raises; the return is for the type checker."""
    if not isinstance(failure, SlussError) or (
        failure.reason is Reason.INTERNAL and "reference" not in failure.metadata
    ):
        reference = secrets.token_hex(4)
        told = failure.detail if isinstance(failure, SlussError) else type(failure).__name__
        log.error("%s failed: %s, reference %s", method.name, told, reference)
        failure = SlussError(Reason.INTERNAL, reference=reference)
    elif failure.reason == Reason.LEDGER_UNAVAILABLE:
        method.gate.ledger_failed()
    # Whoever was let pass and may no longer call is not waited for; who never was is told in peace.
    is_over = caller is not None and caller.authorised and failure.reason in REVOKED
    try:
        async with asyncio.timeout(CUT_S if is_over else ABORT_S):
            await context.abort_with_status(status.to_grpc(failure))
    except (TimeoutError, grpc.aio.InternalError):
        # The status waits behind messages that the caller does not take, or the call is over: gRPC resets what is
        # cancelled.
        raise asyncio.CancelledError from None
    return failure


def _evidence(context: grpc.aio.ServicerContext[Any, Any]) -> Evidence:
    return evidence({"x509_pem_cert": tuple(context.auth_context().get("x509_pem_cert", ()))})


def _remaining(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    seconds = context.time_remaining()
    return NO_DEADLINE_S if seconds is None else min(seconds, NO_DEADLINE_S)
