"""The asynchronous client against an in-memory broker."""

import asyncio

import grpc
import pytest
from sluss_client import AsyncSubcontractor, errors

from broker.errors import Reason, SlussError
from tests.unit.client.asking import FIELDS, PURPOSE, on_file, texts
from tests.unit.client.memory_broker import CONTRACT

# --- asyncio ------------------------------------------------------------------------------------------------


async def test_the_asynchronous_client_does_the_same(profile, broker, offered):
    async with AsyncSubcontractor.from_profile(profile.folder) as sluss:
        await sluss.register_key()
        results = await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 2, 1))
        assert [result.values["name"] for result in results] == ["Åsa 2", "Åsa 1"]
        assert await sluss.open_stored(results[0].sealed) == results[:1] + results[1:]
        chunks = [chunk async for chunk in sluss.bulk(CONTRACT, PURPOSE, FIELDS)]
        assert [chunk.done for chunk in chunks] == [256, 512, 600]
        assert (await sluss.accept_contract(CONTRACT)).entry_index == 7
        assert (await sluss.describe_scope(CONTRACT)).live
        assert (await sluss.dry_run(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))).granted_purpose == PURPOSE
        assert (await sluss.check_ledger()).size == len(broker.ledger.entries)
        await sluss.rotate_key()


async def test_many_calls_in_flight_settle_on_one_tree(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        calls = [sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, n)) for n in range(1, 61)]
        results = await asyncio.gather(*calls)
        assert [one.values["email"] for (one,) in results] == [f"p{n}@example.com" for n in range(1, 61)]
        assert sluss._core.heads.unsettled() == 0
    assert on_file(profile).size == len(broker.ledger.entries)


async def test_the_asynchronous_client_retries_and_resumes(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        broker.failures = [grpc.StatusCode.UNAVAILABLE]
        assert (await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1)))[0].available
        broker.break_after = 256
        assert [c.done async for c in sluss.bulk(CONTRACT, PURPOSE, FIELDS)] == [256, 512, 600]


async def test_the_asynchronous_client_finds_lies_and_refusals(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        broker.failures = [SlussError(Reason.PURPOSE_OUT_OF_SCOPE, purpose=PURPOSE)]
        with pytest.raises(errors.PermissionDenied) as caught:
            await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))
        assert caught.value.metadata == {"purpose": PURPOSE}
        broker.lies.append(lambda reply: reply.disclosures[0].ClearField("receipt"))
        with pytest.raises(errors.ReceiptInvalid):
            await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))
