"""A certificate that is revoked while its calls are in progress: each ends, wherever it stands, on every broker."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.integration.server_world import ACME, Ping, World, running, stream, unary

PATIENCE_S = 15
"""The broker promises a second; a busy machine gets more before the test gives up."""
ENDED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.CANCELLED)
"""A status behind messages that the caller does not take can't reach it: then the call is reset."""


def waiting(line):
    """A unary call that works for a minute."""
    return unary(line, "SayBack")(Ping(text="slow", count=60))


async def idle(line):
    """A stream whose caller takes one message, and for two seconds no more."""
    call = stream(line)(Ping(text="on", count=10**7))
    await call.read()
    await asyncio.sleep(2)
    while await call.read() is not grpc.aio.EOF:
        await asyncio.sleep(0)
    return await call.code()


async def silent(line):
    """A stream both ways whose caller sends nothing more."""
    call = line.stream_stream("/sluss.test.Echo/Chat", lambda m: m.SerializeToString(), Ping.FromString)()
    await call.write(Ping(text="hello"))
    await call.read()
    return await call.code()


async def code_of(call):
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code()


@pytest.mark.parametrize("begin", [waiting, idle, silent], ids=lambda begin: begin.__name__)
def test_a_call_in_progress_ends_when_its_certificate_is_revoked(tmp_path, begin):
    world = World(tmp_path)
    stolen, other = world.identity(ACME), world.identity("subcontractor/other")

    async def run():
        async with running(world) as (port, _, _):
            async with world.channel(port, stolen) as one, world.channel(port, other) as two:
                calls = [asyncio.ensure_future(code_of(begin(line))) for line in (one, two)]
                await asyncio.sleep(0.6)
                assert not calls[0].done()
                world.revoke(stolen)
                assert await asyncio.wait_for(calls[0], PATIENCE_S) in ENDED
                assert not calls[1].done(), "the calls of others go on"
                calls[1].cancel()

    asyncio.run(run())
