"""A certificate that is revoked while its calls are in progress: each ends, wherever it stands, on every broker."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace

import grpc
import pytest
from sluss.v1 import compromise_pb2, compromise_pb2_grpc, disclosure_pb2, disclosure_pb2_grpc, ledger_pb2
from sluss_client.channel import channel
from sluss_client.profile import Profile

from broker.ledger import entry
from tests.integration.server_world import ACME, Ping, World, running, stream, unary
from tests.support.broker import BrokerProcess, beside
from tests.support.postgres import database, server_url

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
        pass
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
        async with (
            running(world) as (port, _, _),
            world.channel(port, stolen) as one,
            world.channel(port, other) as two,
        ):
            calls = [asyncio.ensure_future(code_of(begin(line))) for line in (one, two)]
            await asyncio.sleep(0.6)
            assert not calls[0].done()
            world.revoke(stolen)
            assert await asyncio.wait_for(calls[0], PATIENCE_S) in ENDED
            assert not calls[1].done(), "the calls of others go on"
            calls[1].cancel()

    asyncio.run(run())


class Asking(threading.Thread):
    """Asks for everybody, again and again, until it is refused or told to end; `codes` are the refusals."""

    def __init__(self, profile, contract):
        super().__init__()
        self.begun, self.ended, self.codes = threading.Event(), threading.Event(), []
        self._profile, self._contract = profile, contract

    def run(self):
        line = channel(self._profile)
        stub = disclosure_pb2_grpc.DisclosureServiceStub(line)
        try:
            while not self.ended.is_set():
                request = disclosure_pb2.DiscloseBulkRequest(
                    request_id=str(uuid.uuid4()),
                    contract_id=self._contract,
                    purpose="billing",
                    fields=["email"],
                    everyone=True,
                )
                for _ in stub.DiscloseBulk(request, timeout=30):
                    self.begun.set()
                    time.sleep(0.05)
        except grpc.RpcError as error:
            self.codes.append(error.code())
        finally:
            line.close()


def test_a_report_ends_a_bulk_stream_and_nothing_leaves_after_it(tmp_path):
    with (
        server_url() as server,
        database(server) as url,
        BrokerProcess(tmp_path / "one", url) as one,
        ExitStack() as stack,
    ):
        contract, _ = one.live_contract()
        for number in range(3):
            one.register(email=f"m{number}@example.com")
        # The stream runs on a broker of its own over the same store; the report is made to the other one.
        profile = replace(Profile.load(one.profile("subcontractor/acme")), endpoint=stack.enter_context(beside(one)))
        asking = Asking(profile, contract)
        asking.start()
        assert asking.begun.wait(PATIENCE_S)
        stub = compromise_pb2_grpc.CompromiseServiceStub(one.channel("privacy/team"))
        report = stub.ReportCompromise(
            compromise_pb2.ReportCompromiseRequest(
                request_id=str(uuid.uuid4()),
                principal="subcontractor/acme",
                suspect_from="2026-01-01T00:00:00.000000Z",
                how="the laptop was stolen",
            ),
            timeout=10,
        )
        asking.join(PATIENCE_S)
        asking.ended.set()
        assert not asking.is_alive()
        assert asking.codes == [grpc.StatusCode.UNAUTHENTICATED]
        assert report.report.revoked == 1
        assert report.report.key_retired
        suspects = stub.ListSuspectDisclosures(
            compromise_pb2.ListSuspectDisclosuresRequest(report_id=report.report.report_id), timeout=10
        )
        found = [entry.parse(each.entry)["type"] for each in suspects.entries]
        assert "disclosure" in found
        listed = one.ledger().ListEntries(ledger_pb2.ListEntriesRequest(start=report.entry_index + 1), timeout=10)
        assert not [each for each in listed.entries if entry.parse(each.entry)["type"] == "disclosure"]
        facts = stub.GetFactsSheet(compromise_pb2.GetFactsSheetRequest(report_id=report.report.report_id), timeout=10)
        assert facts.persons == 3
        assert facts.categories == ["contact"]
        assert facts.recipients == ["subcontractor/acme"]
