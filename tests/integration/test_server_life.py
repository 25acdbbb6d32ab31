"""The life of a server: certificates that are renewed, connections that get old, how it stops, what runs beside it."""

from __future__ import annotations

import asyncio
import ssl

import grpc
import pytest

from broker import pki
from tests.integration.server_world import (
    CANARY,
    EchoApp,
    Ping,
    World,
    running,
    unary,
)
from tests.integration.test_server import eventually, reason


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_a_renewed_server_certificate_is_used_without_a_restart(world):
    who = world.identity()
    async with running(world) as (port, _, _):
        first = await peer_serial(world, port, who)
        async with world.channel(port, who) as old:
            assert (await unary(old, "SayBack")(Ping(text="1"))).text
            pair = world.renew_server()
            assert await peer_serial(world, port, who) == pki.describe(pair.certificate).serial != first
            assert (await unary(old, "SayBack")(Ping(text="2"))).text
        async with world.channel(port, who) as new:
            assert (await unary(new, "SayBack")(Ping(text="3"))).text


async def test_a_half_renewed_certificate_leaves_the_old_one_in_use(world):
    who = world.identity()
    async with running(world) as (port, _, _):
        first = await peer_serial(world, port, who)
        stranger = pki.server_certificate(world.ca, ["localhost", "127.0.0.1"], world.now)
        world.home.server_certificate.write_bytes(stranger.certificate)
        assert await peer_serial(world, port, who) == first
        world.home.server_certificate.write_bytes(b"nonsense")
        assert await peer_serial(world, port, who) == first
        world.home.server_certificate.unlink()
        assert await peer_serial(world, port, who) == first
        pair = world.renew_server()
        assert await peer_serial(world, port, who) == pki.describe(pair.certificate).serial


async def peer_serial(world, port, who, *, version=None):
    """The serial number of the certificate that the server shows."""
    context = ssl.create_default_context(cadata=world.ca.certificate.decode())
    context.set_alpn_protocols(["h2"])
    if version:
        context.minimum_version = context.maximum_version = version
    bundle = world.home.path / "client.pem"
    bundle.write_bytes(who.certificate + who.key)
    context.load_cert_chain(bundle)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return pki.describe(ssl.DER_cert_to_PEM_cert(der).encode()).serial


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(world, version):
    async with running(world) as (port, _, _):
        assert await peer_serial(world, port, world.identity(), version=version)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_tls_1_1_is_not_spoken(world):
    async with running(world) as (port, _, _):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer_serial(world, port, world.identity(), version=ssl.TLSVersion.TLSv1_1)


async def test_a_connection_is_renewed_when_it_gets_old(world):
    who = world.identity()
    aged = running(world, max_connection_age_s=0.2, connection_grace_s=0.2)
    async with aged as (port, _, _), world.channel(port, who) as channel:
        assert (await unary(channel, "SayBack")(Ping(text="1"))).text
        assert channel.get_state() == grpc.ChannelConnectivity.READY
        await asyncio.sleep(0.6)
        assert channel.get_state() != grpc.ChannelConnectivity.READY


async def test_a_graceful_stop_lets_calls_finish_and_takes_no_new_ones(world):
    who = world.identity()
    async with running(world, drain_s=5.0) as (port, app, server), world.channel(port, who) as channel:
        slow = unary(channel, "SayBack")(Ping(text="slow", count=1))
        await asyncio.wait_for(app.echo.entered.wait(), 5)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.2)
        async with world.channel(port, who) as late:
            assert await reason(unary(late, "SayBack")(Ping(), timeout=3)) in {
                "UNAVAILABLE",
                "DEADLINE_EXCEEDED",
            }
        assert (await slow).text.endswith("slow")
        await stopping
    assert app.closed


async def test_a_stop_does_not_wait_for_ever(world):
    async with (
        running(world, drain_s=0.3) as (port, app, server),
        world.channel(port, world.identity()) as channel,
    ):
        slow = unary(channel, "SayBack")(Ping(text="slow", count=60))
        await asyncio.wait_for(app.echo.entered.wait(), 5)
        async with asyncio.timeout(3):
            await server.stop()
        assert await reason(slow) in {"UNAVAILABLE", "CANCELLED"}


async def test_checkpoints_are_published_and_old_things_removed_beside_the_calls(world):
    async with running(world, maintain_s=0.1) as (_, app, _):

        async def done():
            return app.published >= 2 and app.maintained >= 2

        await eventually(done)


async def test_what_fails_beside_the_calls_does_not_stop_it(world, caplog):
    class Failing(EchoApp):
        def publish(self):
            self.published += 1
            raise RuntimeError(CANARY)

    app = Failing(world.settings())
    async with running(world, app=app) as (_, _, _):

        async def twice():
            return app.published >= 2

        await eventually(twice)
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


async def test_an_address_that_is_taken_is_refused_by_name(world):
    async with running(world) as (port, _, _):
        with pytest.raises(Exception, match=f"can't listen on 127.0.0.1:{port}"):
            async with running(world, listen=f"127.0.0.1:{port}"):
                pass
