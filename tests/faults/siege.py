"""What the attacks share: clients that ask without pause, a second broker process on a store, the ledger read back."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from dataclasses import replace

import grpc
from google.rpc import error_details_pb2, status_pb2
from sluss.v1 import choice_pb2_grpc, disclosure_pb2, disclosure_pb2_grpc
from sluss_client import Subcontractor
from sluss_client.channel import channel
from sluss_client.errors import SlussClientError
from sluss_client.profile import Profile

from broker.companions import ROOMS
from broker.ledger import entry
from broker.ledger.receipt import parse_receipt, verify_receipt
from broker.ledger.verify import verify_store
from broker.operator.office import opened
from tests.support.broker import READY_S, free_port
from tests.support.nursery import start

PATIENCE_S = 20
CALL_S = 10


class Twin:
    """A second `sluss serve` on the home, and so on the store, of a `BrokerProcess`. A context manager."""

    def __init__(self, broker):
        self.broker = broker
        self.endpoint = f"127.0.0.1:{free_port()}"
        self._lines = []

    def __enter__(self):
        self.log = (self.broker.home / "twin.log").open("ab")
        words = ["serve", "--home", self.broker.home, "--listen", self.endpoint]
        self.process = start(words, self.log, self.broker.environment)
        line = self.channel()
        grpc.channel_ready_future(line).result(READY_S)
        return self

    def __exit__(self, *_):
        for line in self._lines:
            line.close()
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.log.close()

    def profile(self, name="subcontractor/acme"):
        """The principal's own profile, for this endpoint."""
        return replace(Profile.load(self.broker.profile(name)), endpoint=self.endpoint)

    def channel(self, name="subcontractor/acme"):
        self._lines.append(channel(self.profile(name)))
        return self._lines[-1]

    def choices(self, name="internal/import"):
        return choice_pb2_grpc.ChoiceServiceStub(self.channel(name))

    def disclosures(self, name="subcontractor/acme"):
        return disclosure_pb2_grpc.DisclosureServiceStub(self.channel(name))

    def subcontractor(self, name="subcontractor/acme"):
        """The SDK's client; to be closed by the test."""
        return Subcontractor(self.profile(name))


class Siege:
    """Threads that repeat their work until told to stop. Each gives what it received, chunk by chunk.

    Attributes:
        got: disclosures as they came, in no order.
        failures: errors of calls, in no order. Anything else than an error of a call ends the test.
    """

    def __init__(self, *works):
        self.got, self.failures, self._broken = [], [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self._broken, self._broken[:3]

    def _repeat(self, work):
        while not self._stop.is_set():
            try:
                for disclosure in work():
                    self.got.append(disclosure)
                    if self._stop.is_set():
                        return
            except (SlussClientError, grpc.RpcError) as error:
                self.failures.append(error)
                time.sleep(0.01)
            except Exception as error:  # noqa: BLE001 - reported by __exit__, in the test's own thread
                self._broken.append(error)
                return

    def wait_for(self, more, what="got"):
        """Until `more` further disclosures (or failures) have come."""
        found = getattr(self, what)
        aim = len(found) + more
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < aim:
            assert time.monotonic() < deadline, f"{what}: {len(found)} of {aim}; {self.failures[-3:]}"
            assert not self._broken, self._broken[:3]
            time.sleep(0.005)


def request(contract, handles, purpose="billing", fields=("email",), **extra):
    """A request for slices."""
    extra.setdefault("request_id", str(uuid.uuid4()))
    return disclosure_pb2.DiscloseRequest(
        contract_id=contract, purpose=purpose, fields=fields, handles=handles, **extra
    )


def bulk_request(contract, purpose="billing", fields=("email",), **extra):
    """A request for everyone's slices, one person a message."""
    extra.setdefault("request_id", str(uuid.uuid4()))
    extra.setdefault("chunk_size", 1)
    extra.setdefault("everyone", True)
    return disclosure_pb2.DiscloseBulkRequest(contract_id=contract, purpose=purpose, fields=fields, **extra)


def raw_unary(stub, contract, handles, **asked):
    """Work for a siege: one call, without the SDK."""
    return lambda: stub.Disclose(request(contract, handles, **asked), timeout=CALL_S).disclosures


def raw_bulk(stub, contract, **asked):
    """Work for a siege: one stream, without the SDK."""

    def work():
        for message in stub.DiscloseBulk(bulk_request(contract, **asked), timeout=CALL_S):
            if message.HasField("disclosure"):
                yield message.disclosure

    return work


def sdk_unary(client, contract, handles, purpose="billing", fields=("email",), deadline_s=CALL_S):
    """Work for a siege: one call of the SDK, verified and opened."""

    def work():
        results = client.disclose(contract, purpose, fields, handles, deadline_s=deadline_s)
        return [disclosure_pb2.Disclosure.FromString(s) for s in {one.sealed for one in results if one.available}]

    return work


def sdk_bulk(client, contract, purpose="billing", fields=("email",), chunk_size=1):
    """Work for a siege: one stream of the SDK, verified and opened."""

    def work():
        for chunk in client.bulk(contract, purpose, fields, chunk_size=chunk_size):
            if chunk.sealed:
                yield disclosure_pb2.Disclosure.FromString(chunk.sealed)

    return work


def index_of(disclosure):
    """Where a disclosure's receipt says that its entry stands."""
    return parse_receipt(disclosure.receipt).index


def info(error):
    """The ErrorInfo of a failed call."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                    return error_details_pb2.ErrorInfo.FromString(detail.value)
    raise AssertionError(f"no ErrorInfo: {error.code()} {error.details()}")


def reasons(failures):
    """The reasons of failed calls: of the SDK's errors and of gRPC's; for an error of the SDK's own, its text."""
    return {
        info(error).reason if isinstance(error, grpc.RpcError) else getattr(error, "reason", repr(error))
        for error in failures
    }


def ledger_of(home):
    """Every entry's bytes, in order; the ledger itself verifies."""
    with opened(home) as office:
        report = verify_store(office.engine, office.signer.verifier, rooms=ROOMS)
        assert report.ok, report
        return [row.entry for row in office.ledger.entries(0, 1_000_000)]


def verifier_of(home):
    """The public keys of a home's ledger."""
    with opened(home) as office:
        return office.signer.verifier


def check_durable(home, got):
    """Every disclosure that left is in the ledger: its entry at the receipt's index, its slices by their digests."""
    entries, verifier = ledger_of(home), verifier_of(home)
    for disclosure in got:
        verify_receipt(disclosure.receipt, disclosure.entry, verifier)
        assert entries[index_of(disclosure)] == disclosure.entry
        check_exact(disclosure)
    return [entry.parse(data) for data in entries]


def check_exact(disclosure):
    """The entry names the very slices that came with it, in order."""
    named = [item["sha256"] for item in entry.parse(disclosure.entry)["slices"]]
    assert named == [entry.base64url(hashlib.sha256(data).digest()) for data in disclosure.slices]
