"""The server over real mutual TLS: who gets in, what leaves, and what its health tells."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from broker import pki
from broker.rpc.guard import Gate, handlers
from broker.rpc.health import Health
from tests.integration.server_world import (
    ACME,
    CANARY,
    DOMAIN,
    ECHO,
    Ping,
    World,
    running,
    stream,
    unary,
)

HEALTH = "grpc.health.v1.Health"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def refused(call):
    """The reason and metadata of the refusal; checks that nothing secret travels with it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, 10)
    error = caught.value
    assert CANARY not in error.details()
    assert "canary" not in repr(error.trailing_metadata())
    assert "canary" not in str(error.debug_error_string())
    status = rpc_status.from_call(error)
    if status is None:
        return error.code().name, {}
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "sluss.v1"
    return info.reason, dict(info.metadata)


async def reason(call):
    return (await refused(call))[0]


async def health(channel, service="", **more):
    request = health_pb2.HealthCheckRequest(service=service)
    check = unary(channel, "Check", HEALTH, health_pb2.HealthCheckResponse)
    return health_pb2.HealthCheckResponse.ServingStatus.Name((await check(request, **more)).status)


async def eventually(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it looks at the server from outside
            await asyncio.sleep(0.02)


# --- who gets in ---------------------------------------------------------------------------------


async def test_a_pinned_principal_is_served_under_its_own_name(world):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        assert (await unary(channel, "SayBack")(Ping(text="hej"))).text == f"{ACME}: hej"
        assert app.started


async def test_without_a_certificate_nobody_connects(world):
    async with running(world) as (port, _, _), world.channel(port) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "UNAVAILABLE"


async def test_a_certificate_of_another_authority_does_not_connect(world):
    other = pki.make_ca(DOMAIN, world.now)
    who = world.identity(ca=other)
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "UNAVAILABLE"


async def test_an_expired_certificate_does_not_connect(world):
    day = 86_400_000_000
    world.ca = pki.make_ca(DOMAIN, world.now - 9 * day)
    world.home.ca_certificate.write_bytes(world.ca.certificate)
    world.renew_server()
    who = world.identity(now=world.now - 2 * day, days=1)
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "UNAVAILABLE"


async def test_a_server_certificate_admits_no_client(world):
    pair = pki.server_certificate(world.ca, ["localhost"], world.now)
    async with running(world) as (port, _, _), world.channel(port, pair) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) in {"UNAVAILABLE", "UNKNOWN_PRINCIPAL"}


async def test_the_right_authority_without_a_pin_is_nobody(world):
    who = world.identity(pinned=False)
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "UNKNOWN_PRINCIPAL"
        assert await reason(health(channel)) == "UNKNOWN_PRINCIPAL"


async def test_a_key_pinned_to_another_principal_is_a_mismatch(world):
    who = world.identity(pin="subcontractor/beta-mail")
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "CERTIFICATE_MISMATCH"


async def test_a_name_in_another_trust_domain_is_a_mismatch(world):
    who = world.identity(domain="example.org")
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        assert await reason(unary(channel, "SayBack")(Ping())) == "CERTIFICATE_MISMATCH"


async def test_a_revocation_cuts_off_an_open_channel_and_a_running_stream(world):
    who = world.identity()
    async with running(world) as (port, app, _), world.channel(port, who) as channel:
        say = unary(channel, "SayBack")
        assert (await say(Ping(text="before"))).text
        call = stream(channel)(Ping(count=1_000_000))
        assert (await call.read()).count == 0
        world.revoke(who)
        assert await refused(say(Ping())) == ("CERTIFICATE_REVOKED", {"principal": ACME})

        async def drain():
            while await call.read() is not grpc.aio.EOF:
                pass

        assert await reason(drain()) == "CERTIFICATE_REVOKED"
        assert app.echo.streamed < 1_000_000
        assert app.echo.closed == 1


async def test_the_wrong_kind_is_refused_by_name(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        found = await refused(unary(channel, "OperatorsOnly")(Ping()))
    assert found == (
        "ROLE_NOT_ALLOWED",
        {"kind": "subcontractor", "principal": ACME, "method": "/sluss.test.Echo/OperatorsOnly", "allowed": "operator"},
    )


async def test_a_method_without_the_option_is_refused_before_it_runs(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity("operator/a")) as channel:
        found = await refused(unary(channel, "Forgotten")(Ping()))
    assert found == ("METHOD_UNGUARDED", {"method": "/sluss.test.Echo/Forgotten"})


async def test_no_reply_leaves_a_servicer_that_never_authorised(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert await reason(unary(channel, "Careless")(Ping())) == "METHOD_UNGUARDED"


async def test_a_method_that_is_not_there_is_unimplemented(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert await reason(unary(channel, "Nothing")(Ping())) == "UNIMPLEMENTED"


# --- what leaves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["unforeseen", "group", "wrong type"])
async def test_the_text_of_an_unforeseen_exception_reaches_neither_caller_nor_log(world, text, caplog):
    caplog.set_level(logging.DEBUG)
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        name, metadata = await refused(unary(channel, "SayBack")(Ping(text=text)))
    assert name == "INTERNAL"
    assert metadata["reference"] in caplog.text
    assert CANARY not in caplog.text


async def test_the_text_of_an_exception_within_a_stream_stays_in_too(world, caplog):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        call = stream(channel)(Ping(text="unforeseen", count=9))
        got = []

        async def drain():
            async for reply in call:
                got.append(reply.count)  # noqa: PERF401 - what came before the failure counts

        name, metadata = await refused(drain())
    assert (name, got) == ("INTERNAL", [0, 1])
    assert metadata["reference"] in caplog.text
    assert CANARY not in caplog.text


async def test_a_known_refusal_travels_with_its_metadata(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        found = await refused(unary(channel, "SayBack")(Ping(text="refused")))
    assert found == ("PURPOSE_OUT_OF_SCOPE", {"purpose": "billing"})


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x1a\x01x", Ping(text="a").SerializeToString() + b"\x28\x01"],
)
async def test_a_request_that_is_not_wholly_understood_is_refused(world, data):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        call = channel.unary_unary("/sluss.test.Echo/SayBack")
        assert await reason(call(data)) == "INVALID_REQUEST"
        chat = channel.stream_stream("/sluss.test.Echo/Chat")(iter([data]))
        assert await reason(chat.read()) == "INVALID_REQUEST"
        assert not app.echo.deadlines


async def test_a_conversation_in_both_directions_is_authorised_for_each_message(world):
    who = world.identity()
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        chat = channel.stream_stream("/sluss.test.Echo/Chat", lambda m: m.SerializeToString(), Ping.FromString)()
        await chat.write(Ping(text="one"))
        assert (await chat.read()).text == f"{ACME}: one"
        world.revoke(who)
        await chat.write(Ping(text="two"))
        assert await reason(chat.read()) == "CERTIFICATE_REVOKED"


async def test_messages_beyond_the_limit_are_refused_both_ways(world):
    async with (
        running(world, max_message_bytes=10_000) as (port, app, _),
        world.channel(port, world.identity()) as channel,
    ):
        say = unary(channel, "SayBack")
        assert (await say(Ping(text="x" * 9000))).text
        assert await reason(say(Ping(text="x" * 10_001))) == "RESOURCE_EXHAUSTED"
        assert len(app.echo.deadlines) == 1
        assert await reason(say(Ping(text="big", count=20_000))) == "RESOURCE_EXHAUSTED"


async def test_too_many_calls_at_once_are_told_when_to_come_back(world):
    # The transport would hold back a third call on one connection: the second one meets the gate.
    who = world.identity()
    async with (
        running(world, max_calls=2) as (port, app, _),
        world.channel(port, who) as first,
        world.channel(port, who) as second,
    ):
        slow = [unary(first, "SayBack")(Ping(text="slow", count=60)) for _ in range(2)]

        async def both_in():
            return len(app.echo.deadlines) == 2

        await eventually(both_in)
        found = await refused(unary(second, "SayBack")(Ping()))
        assert found == ("RATE_EXCEEDED", {"retry_after_s": "1"})
        for call in slow:
            call.cancel()

        async def free():
            try:
                return await unary(second, "SayBack")(Ping())
            except grpc.aio.AioRpcError:
                return None

        await eventually(free)


async def test_the_deadline_reaches_the_servicer_and_ends_the_call(world):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        say = unary(channel, "SayBack")
        assert await reason(say(Ping(text="slow", count=30), timeout=0.3)) == "DEADLINE_EXCEEDED"
        await say(Ping())
    first, second = app.echo.deadlines
    assert 0 < first <= 0.3
    assert second == 3600


async def test_a_cancelled_stream_is_closed_within_a_message(world):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        call = stream(channel)(Ping(count=1_000_000))
        await call.read()
        call.cancel()

        async def closed():
            return app.echo.closed == 1

        await eventually(closed)
        streamed = app.echo.streamed
        await asyncio.sleep(0.1)
        assert app.echo.streamed == streamed < 1_000_000


def test_a_servicer_that_lacks_a_method_is_refused_at_start():
    class Half:
        async def say_back(self, caller, request, deadline_s): ...

    with pytest.raises(TypeError, match="count_up"):
        handlers(ECHO, Half(), gate=Gate(1, 1))


# --- health and reflection -----------------------------------------------------------------------


async def test_health_follows_the_ledger_and_comes_back(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity("legal/a")) as channel:
        assert await health(channel) == "SERVING"
        assert await health(channel, "sluss.test.Echo") == "SERVING"
        assert await reason(health(channel, "no.such.Service")) == "INVALID_REQUEST"
        (world.home.path / "broken").touch()

        async def turned(status):
            return await health(channel) == status

        await eventually(lambda: turned("NOT_SERVING"), 2)
        (world.home.path / "broken").unlink()
        await eventually(lambda: turned("SERVING"), 2)


async def test_a_call_that_can_not_write_turns_health_at_once(world):
    async with running(world, probe_s=1.0) as (port, _, _), world.channel(port, world.identity()) as channel:
        assert await reason(unary(channel, "SayBack")(Ping(text="ledger"))) == "LEDGER_UNAVAILABLE"
        assert await health(channel) == "NOT_SERVING"


async def test_a_ledger_that_hangs_turns_health_within_two_seconds(world):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        app.probe_takes = 4.0

        async def turned():
            return await health(channel) == "NOT_SERVING"

        await eventually(turned, 2.2)
        app.probe_takes = 0.0


async def test_health_answers_when_the_store_that_knows_the_pins_is_gone(world):
    async with running(world) as (port, app, _), world.channel(port, world.identity()) as channel:
        app.store_gone = True
        assert await health(channel) == "NOT_SERVING"
        assert await reason(unary(channel, "SayBack")(Ping())) == "LEDGER_UNAVAILABLE"


async def test_a_watcher_hears_of_changes_and_of_the_end(world):
    names = health_pb2.HealthCheckResponse.ServingStatus.Name
    heard = []
    async with running(world) as (port, _, server), world.channel(port, world.identity()) as channel:
        watch = stream(channel, "Watch", HEALTH, health_pb2.HealthCheckResponse)
        unknown = watch(health_pb2.HealthCheckRequest(service="x"))
        assert names((await unknown.read()).status) == "SERVICE_UNKNOWN"
        call = watch(health_pb2.HealthCheckRequest())

        async def hear():
            heard.append(names((await asyncio.wait_for(call.read(), 3)).status))

        await hear()
        (world.home.path / "broken").touch()
        await hear()
        (world.home.path / "broken").unlink()
        await hear()
        stopping = asyncio.create_task(server.stop())
        await hear()
        assert await call.read() is grpc.aio.EOF
        await asyncio.wait_for(stopping, 1)  # nobody waits for a watcher
    assert heard == ["SERVING", "NOT_SERVING", "SERVING", "NOT_SERVING"]


async def test_a_watcher_that_is_being_told_while_the_server_stops_hears_that_it_does():
    async def admit(_caller):
        pass

    health = Health(admit, ())
    health.set(serving=True)
    watch = health.watch(None, health_pb2.HealthCheckRequest(), 60)
    heard = [await anext(watch)]
    health.close()
    heard += [each async for each in watch]
    names = health_pb2.HealthCheckResponse.ServingStatus.Name
    assert [names(each.status) for each in heard] == ["SERVING", "NOT_SERVING"]


async def test_a_revoked_watcher_is_cut_off(world, monkeypatch):
    monkeypatch.setattr("broker.rpc.health.RECHECK_S", 0.1)
    who = world.identity()
    async with running(world) as (port, _, _), world.channel(port, who) as channel:
        call = stream(channel, "Watch", HEALTH, health_pb2.HealthCheckResponse)(health_pb2.HealthCheckRequest())
        await call.read()
        world.revoke(who)
        assert await reason(call.read()) == "CERTIFICATE_REVOKED"


async def test_health_lists_all_services(world):
    async with running(world) as (port, _, _), world.channel(port, world.identity()) as channel:
        listed = await unary(channel, "List", HEALTH, health_pb2.HealthListResponse)(health_pb2.HealthListRequest())
    assert {"", ECHO.full_name, HEALTH} <= set(listed.statuses)


async def test_reflection_lists_the_services_to_the_pinned_only(world):
    def call(channel):
        return channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            lambda m: m.SerializeToString(),
            reflection_pb2.ServerReflectionResponse.FromString,
        )()

    async with running(world) as (port, _, _):
        async with world.channel(port, world.identity("internal/a")) as channel:
            asking = call(channel)
            await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            answer = await asking.read()
            names = {service.name for service in answer.list_services_response.service}
            assert names == {ECHO.full_name, HEALTH, "grpc.reflection.v1alpha.ServerReflection"}
        async with world.channel(port, world.identity(pinned=False)) as channel:
            # Refused before it is read: writing would race with the refusal, and lose it to an error of the client's.
            assert await reason(call(channel).read()) == "UNKNOWN_PRINCIPAL"
