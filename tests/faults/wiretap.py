"""A hostile man in the middle: a gRPC server that passes calls on to a broker and alters or replaces its replies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from sluss.v1 import disclosure_pb2

CALL_S = 10
STREAMS = frozenset({"/sluss.v1.DisclosureService/DiscloseBulk"})


class Wiretap(grpc.GenericRpcHandler):
    """Speaks plain gRPC to the client, and as the client to the broker. A context manager.

    Attributes:
        alter: method and list of replies (one, or a stream's) -> replies that the client gets; None leaves them.
    """

    def __init__(self, upstream):
        self._upstream = upstream
        self.alter = None
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self,))
        self._endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        self.line = grpc.insecure_channel(self._endpoint)
        return self

    def __exit__(self, *_):
        self.line.close()
        self._server.stop(None).wait()

    def service(self, details):
        method = details.method
        if method in STREAMS:
            return grpc.unary_stream_rpc_method_handler(lambda data, context: self._stream(method, data, context))
        return grpc.unary_unary_rpc_method_handler(lambda data, context: self._unary(method, data, context))

    def _unary(self, method, data, context):
        try:
            replies = [self._upstream.unary_unary(method)(data, timeout=CALL_S)]
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        return (self.alter(method, replies) if self.alter else replies)[0]

    def _stream(self, method, data, context):
        try:
            replies = list(self._upstream.unary_stream(method)(data, timeout=CALL_S))
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        yield from self.alter(method, replies) if self.alter else replies


class Canned:
    """For `Wiretap.alter`: whatever was asked, the client gets these replies."""

    def __init__(self, *replies):
        self._replies = [reply.SerializeToString() for reply in replies]

    def __call__(self, _method, _replies):
        return self._replies


def flipped(data, place):
    """`data`, bytes or ASCII text, with one bit of one byte changed."""
    if isinstance(data, str):
        return flipped(data.encode(), place).decode()
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def with_flips(disclosure, every):
    """(what, copy) for each copy of a disclosure in which one bit is another one."""
    for name in ("entry", "epoch", "receipt"):
        for place in range(0, len(getattr(disclosure, name)), every):
            copy = disclosure_pb2.Disclosure.FromString(disclosure.SerializeToString())
            setattr(copy, name, flipped(getattr(disclosure, name), place))
            yield f"{name}[{place}]", copy
    for number, data in enumerate(disclosure.slices):
        for place in range(0, len(data), every):
            copy = disclosure_pb2.Disclosure.FromString(disclosure.SerializeToString())
            copy.slices[number] = flipped(data, place)
            yield f"slices[{number}][{place}]", copy
