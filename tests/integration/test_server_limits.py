"""What one caller with a good certificate can take of the server: attacked over real mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from broker import server
from broker.rpc import guard
from tests.integration.server_world import ACME, Ping, World, running, stream, unary
from tests.integration.test_server import HEALTH, eventually, health, reason, refused

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
FLOOD = 40


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def parsed(monkeypatch):
    """The sizes of the requests that were parsed, while they still are."""
    sizes, parse = [], guard._Method.parse

    def noted(method, data):
        sizes.append(len(data))
        return parse(method, data)

    monkeypatch.setattr(guard._Method, "parse", noted)
    return sizes


# --- large requests --------------------------------------------------------------------------------


def large(size=guard.LARGE + 1):
    """A request of one field, of a number that is known to nobody."""
    return b"\xfa\x3f" + _VarintBytes(size) + bytes(size)


async def test_a_large_request_of_somebody_unknown_is_never_parsed(world, parsed):
    who = world.identity(pinned=False)
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(channel.unary_unary("/sluss.test.Echo/SayBack")(large())) == "UNKNOWN_PRINCIPAL"
        chat = channel.stream_stream("/sluss.test.Echo/Chat")(iter([large()]))
        assert await reason(chat.read()) == "UNKNOWN_PRINCIPAL"
    assert parsed == []


async def test_a_large_request_for_a_method_of_others_is_never_parsed(world, parsed):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert await reason(channel.unary_unary("/sluss.test.Echo/OperatorsOnly")(large())) == "ROLE_NOT_ALLOWED"
    assert parsed == []


async def test_a_request_larger_than_its_method_takes_is_refused_by_its_size_and_never_parsed(world, parsed):
    data = Ping(text="x" * (1 << 20)).SerializeToString()
    async with running(world) as (port, app, _):
        async with world.channel(port, world.identity()) as channel:
            say = channel.unary_unary("/sluss.test.Echo/SayBack")
            assert await refused(say(data)) == ("INVALID_REQUEST", {"limit_bytes": "1048576"})
            chat = channel.stream_stream("/sluss.test.Echo/Chat")(iter([data]))
            assert await refused(chat.read()) == ("INVALID_REQUEST", {"limit_bytes": "1048576"})
        async with world.channel(port, world.identity("operator/x", pinned=False)) as channel:
            say = channel.unary_unary("/sluss.test.Echo/SayBack")
            assert await reason(say(data)) == "UNKNOWN_PRINCIPAL"
        assert not app.echo.deadlines
    assert parsed == []


async def test_a_large_request_within_its_methods_limit_is_answered(world):
    text = "x" * (guard.MAX_REQUEST - 100)
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert (await unary(channel, "SayBack")(Ping(text=text))).text == f"{ACME}: {text}"


async def test_a_large_request_with_unknown_fields_is_refused_to_those_who_may_call(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert await reason(channel.unary_unary("/sluss.test.Echo/SayBack")(large())) == "INVALID_REQUEST"


# --- places ----------------------------------------------------------------------------------------


async def flood(calls):
    """Reads once from each call; what it hears, in order: `open`, or the reason of the refusal."""

    async def hear(call):
        try:
            return "open" if await asyncio.wait_for(call.read(), 10) is not grpc.aio.EOF else "end"
        except grpc.aio.AioRpcError as error:
            return error.code().name

    return await asyncio.gather(*(hear(call) for call in calls))


def watches(channel, count):
    watch = stream(channel, "Watch", HEALTH, health_pb2.HealthCheckResponse)
    return [watch(health_pb2.HealthCheckRequest()) for _ in range(count)]


def asked_for_services(channel, count):
    """Reflection streams that ask once and stay open."""
    ask = channel.stream_stream(REFLECTION, lambda m: m.SerializeToString(), bytes)
    return [ask() for _ in range(count)]


async def opened(calls):
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    for call in calls:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(request)
    return calls


async def test_watches_and_reflection_of_one_caller_take_no_place_of_a_call(world):
    mallory, honest = world.identity("subcontractor/mallory"), world.identity("operator/honest")
    async with running(world, max_calls=4) as (port, _, _), contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(world.channel(port, mallory)) for _ in range(FLOOD // 4)]
        calls = [call for line in lines for call in watches(line, 2) + await opened(asked_for_services(line, 2))]
        heard = await flood(calls)
        assert heard.count("open") == guard.WATCHES_PER_CALLER
        fifth = watches(lines[0], 1)[0]
        assert await refused(fifth.read()) == ("RATE_EXCEEDED", {"retry_after_s": "1"})
        async with world.channel(port, honest) as channel:
            said = await asyncio.gather(*(unary(channel, "SayBack")(Ping(text="hej")) for _ in range(4)))
            assert {reply.text for reply in said} == {"operator/honest: hej"}
            assert await flood(watches(channel, 1)) == ["open"]
            assert await health(channel) == "SERVING"
        assert await health(lines[0]) == "SERVING"  # asked, not watched: a call like any other


async def test_the_calls_of_one_caller_over_many_connections_leave_places_for_others(world):
    mallory, honest = world.identity("subcontractor/mallory"), world.identity("operator/honest")
    async with (
        running(world, max_calls=16, max_calls_per_caller=4) as (port, app, _),
        contextlib.AsyncExitStack() as stack,
    ):
        lines = [await stack.enter_async_context(world.channel(port, mallory)) for _ in range(5)]
        slow = [unary(line, "SayBack")(Ping(text="slow", count=60)) for line in lines for _ in range(4)]

        async def in_or_refused():
            return sum(call.done() for call in slow) == 16 and len(app.echo.deadlines) == 4

        await eventually(in_or_refused)
        heard = [await refused(call) for call in slow if call.done()]
        assert heard == [("RATE_EXCEEDED", {"retry_after_s": "1"})] * 16
        async with world.channel(port, honest) as channel:
            assert (await unary(channel, "SayBack")(Ping(text="hej"))).text == "operator/honest: hej"
        for call in slow:
            call.cancel()


# --- streams that stand still ------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1])
async def test_a_conversation_whose_caller_falls_silent_is_ended(world, before):
    async with (
        running(world, stream_idle_s=0.3) as (port, _, _),
        world.channel(port, world.identity()) as channel,
    ):
        chat = channel.stream_stream("/sluss.test.Echo/Chat", lambda m: m.SerializeToString(), Ping.FromString)()
        for _ in range(before):
            await chat.write(Ping(text="one"))
            assert (await chat.read()).text
        assert await refused(chat.read()) == ("STREAM_IDLE", {"idle_s": "0.3"})


async def test_a_conversation_that_goes_on_is_not_ended(world):
    async with (
        running(world, stream_idle_s=0.5) as (port, _, _),
        world.channel(port, world.identity()) as channel,
    ):
        chat = channel.stream_stream("/sluss.test.Echo/Chat", lambda m: m.SerializeToString(), Ping.FromString)()
        for _ in range(4):
            await asyncio.sleep(0.25)
            await chat.write(Ping(text="one"))
            assert (await chat.read()).text


async def test_a_reflection_stream_that_asks_nothing_is_ended(world):
    async with (
        running(world, stream_idle_s=0.3) as (port, _, _),
        world.channel(port, world.identity()) as channel,
    ):
        (call,) = await opened(asked_for_services(channel, 1))
        await call.read()
        assert await reason(call.read()) == "STREAM_IDLE"


async def test_a_watch_that_has_no_news_stays_open(world):
    async with (
        running(world, stream_idle_s=0.2) as (port, _, _),
        world.channel(port, world.identity()) as channel,
    ):
        (call,) = watches(channel, 1)
        await call.read()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.read(), 0.8)


async def test_a_stream_whose_caller_takes_nothing_is_ended_and_its_place_free(world, monkeypatch):
    monkeypatch.setattr(guard, "ABORT_S", 0.2)
    who = world.identity()
    # A caller without a window for more than a few messages, that reads none of them.
    narrow = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with (
        running(world, stream_idle_s=0.5, max_calls=1) as (port, app, _),
        world.channel(port, who, options=narrow) as channel,
    ):
        call = stream(channel)(Ping(count=1_000_000))
        await call.read()

        async def ended():
            return app.echo.closed == 1

        await eventually(ended, 10)
        assert app.echo.streamed < 1_000_000

        async def free():
            async with world.channel(port, who) as other:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return await unary(other, "SayBack")(Ping())
            return None

        await eventually(free)


# --- connections -------------------------------------------------------------------------------------


async def test_a_connection_that_does_not_shake_hands_is_closed(world, monkeypatch):
    assert server.HANDSHAKE_MS <= 3_000
    monkeypatch.setattr(server, "HANDSHAKE_MS", 300)
    async with running(world) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert 0.1 < time.monotonic() - begun < 3
        writer.close()


async def test_connections_beyond_the_limit_are_closed_and_those_below_are_served(world):
    async with running(world, max_connections=3) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert (await unary(channel, "SayBack")(Ping(text="hej"))).text
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        turned_away = [asyncio.wait_for(reader.read(), 1) for reader, _ in lines]
        ended = await asyncio.gather(*turned_away, return_exceptions=True)
        assert sum(not isinstance(found, TimeoutError) for found in ended) >= 4
        assert (await unary(channel, "SayBack")(Ping(text="hej"))).text
        for _, writer in lines:
            writer.close()
