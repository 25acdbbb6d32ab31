"""The outbox's stream on both stores, without the network: signs of life, revocation, two brokers on one store."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from sluss.v1 import outbox_pb2 as ob
from sqlalchemy import update

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.outbox import queue
from broker.pages import Cursors
from broker.rights import CERTIFICATE
from broker.rpc import outbox
from broker.rpc.threads import Threads
from tests.support.world import World


class Scene:
    """Two brokers on one store, each with its outbox service."""

    def __init__(self, engine, vault):
        self.world = World(engine, vault)
        self.other = World(engine, vault, keys=self.world.keys)
        self.mailer = self.world.actor("internal/mailer")
        self.privacy = self.world.actor("privacy/team")
        self.registration = self.world.actor("internal/registration")
        self.threads = Threads(4, 5.0)
        self.cursors = Cursors(bytes(32))

    def service(self, world=None):
        return outbox.Outbox((world or self.world).desk, self.cursors, self.threads, SECOND)

    def watch(self, world=None, **more):
        request = ob.WatchOutboxRequest(consumer="mail", **more)
        return aclosing(self.service(world).watch_outbox(self.mailer.caller(), request, 60.0))

    def register(self):
        return self.world.person(self.registration)

    def revoke(self):
        with self.world.ledger.transaction() as tx:
            here = CERTIFICATE.c.spki == self.mailer.evidence.spki
            tx.connection.execute(update(CERTIFICATE).where(here).values(revoked_at=tx.at))
            said = entry.certificate(
                tx.at, "revoked", self.mailer.name, self.mailer.evidence.spki, "operator/test", "stolen"
            )
            tx.append(said)
            tx.bump_rights()


@pytest.fixture
def scene(store_engine, vault):
    made = Scene(store_engine, vault)
    yield made
    made.threads.close()


async def item_of(stream):
    async for reply in stream:
        if reply.HasField("item"):
            return reply.item
    raise AssertionError("the stream ended")


def soon(work):
    return asyncio.run(asyncio.wait_for(work(), 30))


def test_what_one_broker_registers_the_watch_of_another_shows_in_order_of_commit(scene):
    async def work():
        async with scene.watch(scene.other) as stream:
            assert not (await anext(stream)).HasField("item")
            people = [await asyncio.to_thread(scene.register) for _ in range(3)]
            items = [await item_of(stream) for _ in people]
        assert [item.id for item in items] == sorted(item.id for item in items)
        request = ob.AcknowledgeOutboxRequest(
            consumer="mail", acknowledgements=[ob.OutboxAcknowledgement(id=item.id) for item in items[:2]]
        )
        answered = await scene.service().acknowledge_outbox(scene.mailer.caller(), request, 60.0)
        assert {each.state for each in answered.answers} == {ob.OUTBOX_STATE_DELIVERED}
        async with scene.watch() as stream:
            assert (await item_of(stream)).id == items[2].id
        listing = await scene.service().list_outbox(scene.privacy.caller(), ob.ListOutboxRequest(), 60.0)
        assert [each.id for each in listing.items] == [item.id for item in reversed(items)]
        assert listing.consumers[0].waiting == 1

    soon(work)


def test_a_quiet_stream_gives_signs_of_life(scene, monkeypatch):
    monkeypatch.setattr(outbox, "SIGN_S", 0.05)
    monkeypatch.setattr(outbox, "LOOK_S", 0.02)

    async def work():
        async with scene.watch() as stream:
            assert not any([(await anext(stream)).HasField("item") for _ in range(4)])

    soon(work)


def test_a_message_without_an_answer_is_sent_once_more_on_the_same_stream(scene, monkeypatch):
    monkeypatch.setattr(outbox, "AGAIN_S", 0.2)
    monkeypatch.setattr(outbox, "LOOK_S", 0.02)

    async def work():
        await asyncio.to_thread(scene.register)
        async with scene.watch() as stream:
            assert (await item_of(stream)).id == (await item_of(stream)).id

    soon(work)


def test_a_revoked_mailer_is_cut_off_while_its_stream_is_open(scene):
    async def work():
        async with scene.watch() as stream:
            await anext(stream)
            await asyncio.to_thread(scene.revoke)
            with pytest.raises(SlussError) as caught:
                await anext(stream)
        assert caught.value.reason is Reason.CERTIFICATE_REVOKED

    soon(work)


def test_a_message_that_does_not_open_stops_no_other(scene):
    async def work():
        broken = await asyncio.to_thread(scene.register)
        good = await asyncio.to_thread(scene.register)
        with scene.world.engine.begin() as connection:
            connection.execute(update(queue.ITEM).where(queue.ITEM.c.person == broken).values(body=b"\x00" * 64))
        async with scene.watch() as stream:
            item = await item_of(stream)
        assert item.confirmation.person_id == item.person_id
        assert good

    soon(work)


def test_a_message_of_another_part_is_queued_with_what_it_is_about(scene):
    person = scene.register()

    def work(change):
        return queue.queue(change, person, "request_received", {"request": "R-2026-0001"})

    number = scene.world.desk.change(scene.privacy.caller(), work)

    def fail(change):
        work(change)
        raise SlussError(Reason.PERSON_UNKNOWN)

    with pytest.raises(SlussError):
        scene.world.desk.change(scene.privacy.caller(), fail)

    async def watch():
        async with scene.watch(kinds=[ob.OUTBOX_KIND_REQUEST_RECEIVED]) as stream:
            item = await item_of(stream)
        assert (item.id, dict(item.references)) == (number, {"request": "R-2026-0001"})
        assert not item.HasField("confirmation")
        listing = await scene.service().list_outbox(scene.privacy.caller(), ob.ListOutboxRequest(), 60.0)
        assert [each.kind for each in listing.items].count(ob.OUTBOX_KIND_REQUEST_RECEIVED) == 1

    soon(watch)


@pytest.mark.parametrize(
    "references", [{"Request": "x"}, {"r": ""}, {"r": "x" * 201}, {str(n): "x" for n in range(17)}]
)
def test_references_are_short_names_and_texts(sqlite_engine, vault, references):
    world = World(sqlite_engine, vault)
    caller = world.actor("privacy/team").caller()
    with pytest.raises(SlussError) as caught:
        world.desk.change(caller, lambda change: queue.queue(change, 1, "credential_reset", references))
    assert caught.value.reason is Reason.INVALID_REQUEST
