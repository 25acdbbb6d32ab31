"""What the gRPC benchmarks share: `sluss serve` with the demo's population, an echo beside it, the load's process."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from time import perf_counter

from sluss.v1 import disclosure_pb2, person_pb2
from sluss_cli.sender import Sender, sendable

from broker.demo.population import persons
from tests.support.broker import BrokerProcess, grant
from tests.support.nursery import start_anew

PURPOSE = "billing"
FIELDS = ("birth_date", "email", "name.family", "name.given", "phone")
ROOT = Path(__file__).parents[2]
SAMPLE = 101
"""Replies of which the middle one, by size, is what the echo gives."""


class Stage:
    """A broker with persons, a live contract over 5 fields as they are, and processes to compare it with."""

    def __init__(self, folder: Path, stack, count: int):
        self._folder = folder
        self._stack = stack
        self.count = count
        self.people = list(persons(count))
        environment = {"SLUSS_ONE_CORE": "true"}
        self.broker = stack.enter_context(BrokerProcess(folder / "home", environment=environment, begin=start_anew))
        self.pid = self.broker.process.pid
        self.import_s = self._import()
        granted = grant(PURPOSE, tuple(f"{field}=full" for field in FIELDS), persons=10**9)
        self.contract, self.client = self.broker.live_contract(granted)
        self.chunks = self._bulk()
        self.load = self._start_load()

    def tell(self, **what):
        """Let the load's process do something; its answer."""
        self.load.stdin.write(json.dumps(what) + "\n")
        self.load.stdin.flush()
        answer = self.load.stdout.readline()
        if not answer:
            raise RuntimeError("the load's process has ended")
        return json.loads(answer)

    def _import(self):
        rows = [sendable(number, values, None) for number, values in enumerate(self.people, 1)]
        sender = Sender(self.broker.persons().ImportPersons, source="import", dry_run=False)
        begun = perf_counter()
        sent = sender.send(rows, lambda _row, result: print(result, file=sys.stderr), lambda _done: None)  # noqa: T201 - a fault
        took = perf_counter() - begun
        if sent.of(person_pb2.ImportResult.OUTCOME_CREATED) != self.count:
            raise AssertionError(sent.outcomes)
        return took

    def _bulk(self):
        """All chunks of a whole bulk; every value is opened and compared, so that what is timed later is right."""
        opened = {}
        for chunk in self.client.bulk(self.contract, PURPOSE, FIELDS):
            for person in chunk.persons:
                opened[person.values["email"]] = dict(person.values)
        asked = {person["email"]: {field: person[field] for field in FIELDS} for person in self.people}
        if opened != asked:
            raise AssertionError("the bulk does not give what was imported")
        request = disclosure_pb2.DiscloseBulkRequest(
            request_id=str(uuid.uuid4()), contract_id=self.contract, purpose=PURPOSE, fields=FIELDS, everyone=True
        )
        return [message.disclosure for message in self.broker.disclosures().DiscloseBulk(request, timeout=60)]

    def _start_load(self):
        handles = [made[1:17] for chunk in self.chunks for made in chunk.slices]
        reply = self._folder / "reply"
        reply.write_bytes(self._typical_reply(handles[:SAMPLE]))
        echo = self.echo = self._spawn("echo_server", str(self.broker.home), str(reply))
        load = self._spawn("client")
        setup = {
            "profile": str(self.broker.profile("subcontractor/acme")),
            "echo": f"127.0.0.1:{int(echo.stdout.readline())}",
            "contract": self.contract,
            "purpose": PURPOSE,
            "fields": FIELDS,
            "handles": [handle.hex() for handle in handles],
        }
        load.stdin.write(json.dumps(setup) + "\n")
        return load

    def _typical_reply(self, handles):
        replies = []
        for handle in handles:
            request = disclosure_pb2.DiscloseRequest(
                request_id=str(uuid.uuid4()),
                contract_id=self.contract,
                purpose=PURPOSE,
                fields=FIELDS,
                handles=[handle],
            )
            replies.append(self.broker.disclosures().Disclose(request, timeout=10).SerializeToString())
        return sorted(replies, key=len)[len(replies) // 2]

    def _spawn(self, module, *words):
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, process)
        return process


def _end(process):
    process.terminate()
    process.wait(20)
    process.stdin.close()
    process.stdout.close()
