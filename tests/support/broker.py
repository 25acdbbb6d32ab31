"""A real broker process over mutual TLS, its home folder, and clients for it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

from sluss.v1 import (
    choice_pb2_grpc,
    contract_pb2,
    contract_pb2_grpc,
    disclosure_pb2_grpc,
    ledger_pb2_grpc,
    outbox_pb2_grpc,
    person_pb2,
    person_pb2_grpc,
    policy_pb2_grpc,
)
from sluss_client import Subcontractor
from sluss_client.channel import channel
from sluss_client.profile import Profile

from broker.identity import parse_principal
from broker.operator.founding import Charter, found
from broker.operator.issuing import issue_profile
from broker.operator.office import opened
from tests.support.nursery import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.nursery import Forked

DOMAIN = "example.com"
ORIGIN = "example.com/sluss"
READY_S = 20
PROFILES = ("operator/admin", "internal/import", "legal/anna", "privacy/team", "subcontractor/acme")


_ports = itertools.cycle(range(10_000, 32_000))
next(itertools.islice(_ports, os.getpid() * 367 % 22_000, None))


def free_port():
    """A port that nobody listens on now, and that this process was not given before.

    Not one that the kernel would hand out: brokers share a port that is taken (SO_REUSEPORT) without a word, and a
    broker of another test process may start on it before ours does. Each process begins at a place of its own.
    """
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class BrokerProcess:
    """`sluss serve` on a home folder of its own. A context manager; `kill` is SIGKILL.

    `begin` starts the process: from the nursery, or `start_anew` where it matters how it began.
    """

    def __init__(
        self, home: Path, database: str = "", environment: dict[str, str] | None = None, begin: Callable = start
    ):
        self.home = home
        self.begin = begin
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.environment = environment or {}
        self.process: subprocess.Popen | Forked | None = None
        self.log = None
        self._channels = []
        self._stack = contextlib.ExitStack()
        found(
            Charter(
                home=home,
                trust_domain=DOMAIN,
                origin=ORIGIN,
                listen=self.endpoint,
                database=database,
                profiles=tuple(parse_principal(name) for name in PROFILES),
            )
        )

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Start and wait until it listens."""
        if self.log is not None:
            self.log.close()
        self.log = (self.home / "serve.log").open("ab")
        environment = {"SLUSS_ONE_CORE": "false", **self.environment}
        self.process = self.begin(["serve", "--home", self.home], self.log, environment)
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the broker did not start: " + (self.home / "serve.log").read_text()[-2000:])

    def kill(self):
        """End it without warning, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """End it gracefully."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def close(self):
        for line in self._channels:
            line.close()
        self._stack.close()
        self.stop()
        self.log.close()

    def profile(self, name):
        """The profile folder of a principal; issued if it has none."""
        folder = self.home / "profiles" / name.replace("/", "-")
        if not folder.exists():
            with opened(self.home) as office:
                issue_profile(office, parse_principal(name), folder, endpoint=self.endpoint, days=30)
        return folder

    def channel(self, name):
        """A gRPC channel as a principal."""
        line = channel(Profile.load(self.profile(name)))
        self._channels.append(line)
        return line

    def subcontractor(self, name="subcontractor/acme"):
        """The SDK's client as a subcontractor."""
        return self._stack.enter_context(Subcontractor.from_profile(self.profile(name)))

    def contracts(self, name="operator/admin"):
        return contract_pb2_grpc.ContractServiceStub(self.channel(name))

    def persons(self, name="internal/import"):
        return person_pb2_grpc.PersonServiceStub(self.channel(name))

    def choices(self, name="internal/import"):
        return choice_pb2_grpc.ChoiceServiceStub(self.channel(name))

    def disclosures(self, name="subcontractor/acme"):
        return disclosure_pb2_grpc.DisclosureServiceStub(self.channel(name))

    def ledger(self, name="legal/anna"):
        return ledger_pb2_grpc.LedgerServiceStub(self.channel(name))

    def policies(self, name="privacy/team"):
        return policy_pb2_grpc.PolicyServiceStub(self.channel(name))

    def outbox(self, name="internal/import"):
        return outbox_pb2_grpc.OutboxServiceStub(self.channel(name))

    def propose(self, *grants, subcontractor="subcontractor/acme"):
        """A proposed contract; gives its id."""
        terms = contract_pb2.ContractTerms(
            subcontractor=subcontractor,
            recipient_name="Acme Pay AB",
            recipient_address="Storgatan 1, 111 22 Stockholm, SE",
            valid_from="2020-01-01",
            valid_until="2099-12-31",
            grants=grants or (grant(),),
            reference="archive 4711",
        )
        request = contract_pb2.ProposeContractRequest(terms=terms, request_id=str(uuid.uuid4()))
        return self.contracts().ProposeContract(request, timeout=10).contract.contract_id

    def live_contract(self, *grants, subcontractor="subcontractor/acme"):
        """A live contract with a registered key; gives its id and the client."""
        contract = self.propose(*grants, subcontractor=subcontractor)
        client = self.subcontractor(subcontractor)
        client.accept_contract(contract)
        client.register_key()
        return contract, client

    def register(self, **values):
        """A registered person; gives the id. Names of fields with `__` for dots."""
        given = {name.replace("__", "."): value for name, value in values.items()}
        given.setdefault("customer_number", f"K-{uuid.uuid4().hex[:12]}")
        request = person_pb2.RegisterPersonRequest(
            request_id=str(uuid.uuid4()),
            values=[person_pb2.FieldValue(field=name, value=value) for name, value in given.items()],
            source="registration",
        )
        return self.persons().RegisterPerson(request, timeout=10).person_id

    def imported(self, count, **values):
        """So many new persons with e-mail addresses, in one call; gives their ids. Names as for `register`."""
        given = {name.replace("__", "."): value for name, value in values.items()}
        batch = uuid.uuid4().hex[:12]
        rows = [
            person_pb2.ImportRow(
                line=n + 1,
                values=[
                    person_pb2.FieldValue(field=name, value=value)
                    for name, value in {
                        "customer_number": f"I-{batch}-{n}", "email": f"i{n}@example.com", **given
                    }.items()
                ],
            )
            for n in range(count)
        ]  # fmt: skip
        batches = (
            person_pb2.ImportPersonsRequest(source="registration", rows=rows[start : start + 500])
            for start in range(0, count, 500)
        )
        answers = self.persons().ImportPersons(batches, timeout=60)
        return [result.person_id for answer in answers for result in answer.results]

    def handles(self, contract, *people):
        """The handles of persons under a contract."""
        request = person_pb2.GetHandlesRequest(contract_id=contract, person_ids=people)
        return list(self.persons().GetHandles(request, timeout=10).handles)


@contextlib.contextmanager
def beside(broker):
    """Another broker, of two workers, over the same store; gives its endpoint."""
    port = free_port()
    command = [sys.executable, "-m", "sluss_cli", "serve", "--home", str(broker.home)]
    process = subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{port}", "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "SLUSS_ONE_CORE": "false"},
    )
    try:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def grant(purpose="billing", fields=("email=full", "payment.iban=last4", "name.given=full"), persons=10**6, **extra):
    """A grant over everyone."""
    granted = [contract_pb2.FieldGrant(field=f.split("=")[0], transform=f.split("=")[1]) for f in fields]
    return contract_pb2.Grant(
        purpose=purpose,
        fields=granted,
        population=extra.pop("population", contract_pb2.Population(everyone=True)),
        retention_days=30,
        volumes=[contract_pb2.Volume(window="day", persons=persons)],
        **extra,
    )
