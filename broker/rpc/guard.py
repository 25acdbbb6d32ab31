"""The only way to offer a service: every method of it goes through the steps below, and none can forget one.

    1. count the call; over the limit it is refused with RATE_EXCEEDED
    2. refuse a method without the `allowed` option
    3. take the certificate's evidence
    4. parse the request; a field that this broker does not know is refused, since it may be a restriction, but
       only to a caller who may call
    5. call the servicer, which authorises first
    6. send replies, from servicers that have authorised only
    7. turn a SlussError into a rich status, and anything else into INTERNAL with a reference: gRPC itself
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

import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from sluss.v1 import options_pb2

from broker.errors import Reason, SlussError
from broker.identity import KINDS, Caller, Evidence, evidence
from broker.rpc import status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

log = logging.getLogger(__name__)

STANDARD_SERVICES: Final = frozenset({"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"})
"""Exempt, by name, from the option: their protos are gRPC's own and can't carry it. Every kind of principal
may call them, and no one else: their servicers authorise like all others. They tell nothing about persons."""

NO_DEADLINE_S: Final = 3600.0
"""Seconds given to a call whose caller set no deadline."""


Authorise = Callable[[Caller], Awaitable[object]]


async def _refuse_everybody(caller: Caller) -> object:
    raise SlussError(Reason.METHOD_UNGUARDED, method=caller.method)


class Gate:
    """How many calls are in progress, over all services of a process; used from the event loop only.

    Attributes:
        limit: calls at a time.
        ledger_failed: called when a call fails since the ledger can't be written.
        authorise: decides about callers whose request can't be parsed; without it nobody may call.
    """

    def __init__(
        self,
        limit: int,
        ledger_failed: Callable[[], None] = lambda: None,
        authorise: Authorise = _refuse_everybody,
    ) -> None:
        self.limit = limit
        self.ledger_failed = ledger_failed
        self.authorise = authorise
        self.calls = 0

    def __enter__(self) -> None:
        if self.calls >= self.limit:
            raise SlussError(Reason.RATE_EXCEEDED, "too many calls at once", retry_after_s="1")
        self.calls += 1

    def __exit__(self, *_: object) -> None:
        self.calls -= 1


@dataclass(frozen=True, slots=True)
class _Method:
    """One RPC, as the descriptor gives it, and the servicer's method behind it."""

    name: str
    allowed: frozenset[str]
    request: type[Message]
    reply: type[Message]
    call: Callable[..., Any]
    gate: Gate

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
        try:
            return self.parse(data)
        except SlussError:
            await self.gate.authorise(caller)
            raise

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
    shared = gate or Gate(1024)
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
    async def unary(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        try:
            with method.gate:
                caller = method.caller(context)
                request = await method.read(caller, data)
                reply = await method.call(caller, request, _remaining(context))
                return method.release(caller, reply)
        except Exception as error:  # noqa: BLE001 - step 7: no text of it may leave
            failure = error
        raise await _abort(method, failure, context)

    return unary


def _stream(method: _Method) -> Callable[[Any, Any], Awaitable[None]]:
    async def stream(source: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        try:
            with method.gate:
                caller = method.caller(context)
                is_one = isinstance(source, bytes)
                request = await method.read(caller, source) if is_one else _read_each(method, caller, source)
                async with aclosing(method.call(caller, request, _remaining(context))) as replies:
                    async for reply in replies:
                        await context.write(method.release(caller, reply))
                return
        except Exception as error:  # noqa: BLE001 - step 7: no text of it may leave
            failure = error
        await _abort(method, failure, context)

    return stream


async def _read_each(method: _Method, caller: Caller, source: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for data in source:
        yield await method.read(caller, data)


async def _abort(method: _Method, failure: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> Exception:
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
    await context.abort_with_status(status.to_grpc(failure))
    return failure


def _evidence(context: grpc.aio.ServicerContext[Any, Any]) -> Evidence:
    return evidence({"x509_pem_cert": tuple(context.auth_context().get("x509_pem_cert", ()))})


def _remaining(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    seconds = context.time_remaining()
    return NO_DEADLINE_S if seconds is None else min(seconds, NO_DEADLINE_S)
