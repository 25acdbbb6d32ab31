"""The load: a process of its own with raw asyncio stubs, told by lines of JSON what to do next.

    {"do": "unary", "target": "broker" | "echo", "seconds": 1.5, "in_flight": 64} -> calls, seconds, p99_ms
    {"do": "bulk"}                                                               -> persons, seconds

The first line says whom to call and about what. Both targets get the same requests, built and read alike, so that
the load costs the same on either side. Replies are parsed and not opened.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import uuid
from dataclasses import replace
from itertools import cycle
from time import perf_counter

from sluss.v1 import disclosure_pb2 as pb
from sluss.v1 import disclosure_pb2_grpc
from sluss_client.channel import aio_channel
from sluss_client.profile import Profile

from broker import workers
from tests.benchmarks.echo_server import METHOD
from tests.benchmarks.measure import percentile

TIMEOUT_S = 60


class Load:
    """Calls a broker and an echo."""

    def __init__(self, profile, echo, contract, purpose, fields, handles):
        known = Profile.load(profile)
        broker = aio_channel(known)
        self._stub = disclosure_pb2_grpc.DisclosureServiceStub(broker)
        echoing = aio_channel(replace(known, endpoint=echo)).unary_unary(
            METHOD,
            request_serializer=pb.DiscloseRequest.SerializeToString,
            response_deserializer=pb.DiscloseResponse.FromString,
        )
        self._calls = {"broker": self._stub.Disclose, "echo": echoing}
        self._asked = {"contract_id": contract, "purpose": purpose, "fields": fields}
        drawn = [bytes.fromhex(handle) for handle in handles]
        random.Random(1).shuffle(drawn)
        self._handles = cycle(drawn)

    async def unary(self, target, seconds, in_flight):
        """Keeps `in_flight` calls going for `seconds`."""
        call, took = self._calls[target], []
        begun = perf_counter()

        async def caller():
            while (at := perf_counter()) < begun + seconds:
                request = pb.DiscloseRequest(request_id=str(uuid.uuid4()), handles=[next(self._handles)], **self._asked)
                reply = await call(request, timeout=TIMEOUT_S)
                took.append(perf_counter() - at)
                if not reply.disclosures[0].receipt:
                    raise AssertionError(target)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return {"calls": len(took), "seconds": perf_counter() - begun, "p99_ms": 1000 * percentile(took, 0.99)}

    async def bulk(self):
        """Takes in everybody once."""
        request = pb.DiscloseBulkRequest(request_id=str(uuid.uuid4()), everyone=True, **self._asked)
        begun, persons = perf_counter(), 0
        async for message in self._stub.DiscloseBulk(request, timeout=TIMEOUT_S):
            if not message.disclosure.receipt:
                raise AssertionError("a chunk without a receipt")
            persons += len(message.disclosure.slices)
        return {"persons": persons, "seconds": perf_counter() - begun}


async def _work():
    loop = asyncio.get_running_loop()
    load = Load(**json.loads(await loop.run_in_executor(None, sys.stdin.readline)))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        told = json.loads(line)
        answer = await getattr(load, told.pop("do"))(**told)
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer to a line
    return 0


if __name__ == "__main__":
    workers.run(_work())
