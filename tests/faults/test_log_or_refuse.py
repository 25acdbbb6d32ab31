"""Promises 1 and 3: what left is in the ledger, exactly; and when the ledger can't be written, nothing leaves."""

from __future__ import annotations

import time
import uuid

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sluss.v1 import person_pb2

from broker.ledger import entry
from broker.operator.office import opened
from broker.operator.pins import revoke, selected
from tests.faults.outages import OwnPostgres, full_disk, locked_file, removed_file, replaced_file
from tests.faults.siege import (
    CALL_S,
    Siege,
    check_durable,
    info,
    ledger_of,
    raw_bulk,
    raw_unary,
    reasons,
    request,
    sdk_bulk,
    sdk_unary,
)
from tests.support import postgres
from tests.support.broker import BrokerProcess, grant

WITHIN_S = 2.0
WAY_S = 0.5
"""What a call's own way, there and back, may take on a machine that is busy with other tests."""
RECOVERY_S = 10
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def scene(broker, count=5):
    contract, _ = broker.live_contract(grant("billing", ("email=full",)))
    people = [broker.register(email=f"{uuid.uuid4().hex}@example.com") for _ in range(count)]
    return contract, broker.handles(contract, *people)


def attackers(broker, contract, handles):
    """Eight clients: SDK and bare stubs, unary and bulk."""
    works = [sdk_unary(broker.subcontractor(), contract, handles) for _ in range(3)]
    works += [raw_unary(broker.disclosures(), contract, handles) for _ in range(3)]
    return [*works, sdk_bulk(broker.subcontractor(), contract), raw_bulk(broker.disclosures(), contract)]


def test_whatever_a_client_received_is_in_the_ledger_after_kill_9(broker, campaign):
    contract, handles = scene(broker)
    with Siege(*attackers(broker, contract, handles)) as siege:
        for _ in range(20 if campaign else 2):
            siege.wait_for(40)
            broker.kill()
            broker.start()
        siege.wait_for(40)
    check_durable(broker.home, siege.got)


def health(broker):
    stub = health_pb2_grpc.HealthStub(broker.channel("operator/admin"))
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S).status


def becomes(broker, wanted, within_s):
    deadline = time.monotonic() + within_s
    while (found := health(broker)) != wanted:
        assert time.monotonic() < deadline, f"health stays {found}"
        time.sleep(0.1)


def refused_in_time(*calls):
    """All the calls, made at once, fail as unavailable, in time."""
    start = time.monotonic()
    for future in [call.future(message, timeout=CALL_S) for call, message in calls]:
        error = future.exception()
        took = time.monotonic() - start
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert info(error).reason == "LEDGER_UNAVAILABLE"
        assert took < WITHIN_S + WAY_S, took


def siege_an_outage(broker, outage):
    """Take the store away under load: all is refused in time, health tells; give it back: all goes on by itself."""
    contract, handles = scene(broker)
    stub = broker.disclosures()
    persons = broker.persons()
    registration = person_pb2.RegisterPersonRequest(
        request_id=str(uuid.uuid4()),
        source="registration",
        values=[person_pb2.FieldValue(field="customer_number", value=f"K-{uuid.uuid4().hex[:9]}")],
    )
    works = [raw_unary(broker.disclosures(), contract, handles), raw_bulk(broker.disclosures(), contract)]
    with Siege(*works) as siege:
        siege.wait_for(10)
        with outage(broker):
            refused_in_time((stub.Disclose, request(contract, handles)))
            becomes(broker, NOT_SERVING, WITHIN_S)
            gone = len(siege.got)
            refused_in_time(
                (stub.Disclose, request(contract, handles)),
                (stub.Disclose, request(contract, handles, purpose="offers")),
                (persons.RegisterPerson, registration),
            )
            assert len(siege.got) == gone
        becomes(broker, SERVING, RECOVERY_S)
        siege.wait_for(10)
        persons.RegisterPerson(registration, timeout=CALL_S)
    check_durable(broker.home, siege.got)


@pytest.mark.parametrize("outage", [full_disk, removed_file, replaced_file, locked_file])
def test_without_a_writable_sqlite_file_nothing_leaves_and_it_recovers_by_itself(shared_broker, outage):
    siege_an_outage(shared_broker, outage)


def test_with_a_hanging_postgresql_nothing_leaves_and_it_recovers_by_itself(tmp_path):
    with OwnPostgres() as server, BrokerProcess(tmp_path / "home", database=server.url) as broker:
        siege_an_outage(broker, server.hung)


def test_connections_cut_by_postgresql_in_any_statement_lose_nothing_that_left(postgres_server, tmp_path, campaign):
    with postgres.empty_database(postgres_server) as url, BrokerProcess(tmp_path / "home", database=url) as broker:
        contract, handles = scene(broker)
        with Siege(*attackers(broker, contract, handles)) as siege:
            for _ in range(50 if campaign else 4):
                siege.wait_for(8)
                cut_connections(url)
            siege.wait_for(10)
        check_durable(broker.home, siege.got)
    assert reasons(siege.failures) <= {"LEDGER_UNAVAILABLE"}


def cut_connections(url):
    """End every connection of the broker's, wherever it is: before, in or after its commit."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    postgres._run(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


def test_a_refusal_is_in_the_ledger_under_the_name_of_who_was_refused(shared_broker):
    contract, handles = scene(shared_broker)
    name = f"subcontractor/r{uuid.uuid4().hex[:8]}"
    revoked = shared_broker.disclosures(name)
    with opened(shared_broker.home) as office:
        revoke(office.ledger, selected(principal=name), "stolen")
    before = len(ledger_of(shared_broker.home))
    asked = [
        (shared_broker.disclosures("legal/anna"), "legal/anna", "ROLE_NOT_ALLOWED"),
        (revoked, name, "CERTIFICATE_REVOKED"),
        (shared_broker.disclosures("subcontractor/other"), "subcontractor/other", "NOT_YOUR_CONTRACT"),
    ]
    for stub, _, reason in asked:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Disclose(request(contract, handles), timeout=CALL_S)
        assert info(caught.value).reason == reason
    refused = [entry.parse(data) for data in ledger_of(shared_broker.home)[before:] if b'"refusal"' in data]
    assert [(found["principal"], found["reason"]) for found in refused] == [(who, why) for _, who, why in asked]
