"""PersonService over real connections with mutual TLS: every call, and every malformed one."""

from __future__ import annotations

import asyncio
import threading
import uuid
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sluss.v1 import choice_pb2, choice_pb2_grpc, person_pb2, person_pb2_grpc

from broker import pki
from broker.clock import system_clock
from broker.identity import parse_principal
from broker.ids import parse_person, person_text
from broker.pages import Cursors
from broker.persons.importing import Importer
from broker.rpc.choices import Choices
from broker.rpc.guard import Gate, handlers
from broker.rpc.persons import PART, Persons
from broker.rpc.threads import Threads
from broker.store import tables
from tests.unit.persons.world import CANARIES, DOMAIN, KINDS, World

CHOICES = choice_pb2.DESCRIPTOR.services_by_name["ChoiceService"]
SERVICE = person_pb2.DESCRIPTOR.services_by_name["PersonService"]
NOBODY = person_text(7)


class Network:
    """The persons' room behind a server, and a stub per kind of principal."""

    def __init__(self, world):
        self.world = world
        now = system_clock()
        self.ca = pki.make_ca(DOMAIN, now)
        self.pairs = {kind: self._pin(kind, now) for kind in KINDS}
        self.server_pair = pki.server_certificate(self.ca, ["localhost"], now)
        self.threads = Threads(4, 10.0)
        self.channels = []

    def _pin(self, kind, now):
        request = pki.make_request()
        pem = pki.issue(self.ca, request.csr, parse_principal(f"{kind}/wire"), DOMAIN, now)
        self.world.pin(f"{kind}/wire", pki.spki_sha256(pem))
        return request.key, pem

    async def start(self):
        pair = [(self.server_pair.key, self.server_pair.certificate)]
        credentials = grpc.ssl_server_credentials(pair, self.ca.certificate, require_client_auth=True)
        self.server = grpc.aio.server()
        servicer = Persons(self.world.desk, self.world.importer, self.threads, self.threads)
        gate = Gate(64, 64, authorise=self._authorise)
        choosing = Choices(self.world.desk, Cursors(bytes(32)), self.threads)
        served = handlers(SERVICE, servicer, gate=gate), handlers(CHOICES, choosing, gate=gate)
        self.server.add_generic_rpc_handlers(served)
        self.port = self.server.add_secure_port("localhost:0", credentials)
        await self.server.start()

    async def _authorise(self, caller):
        return await self.threads(self.world.desk.read, caller, lambda view: view.principal)

    def stub(self, kind="internal"):
        credentials = grpc.ssl_channel_credentials(self.ca.certificate, *self.pairs[kind])
        channel = grpc.aio.secure_channel(f"localhost:{self.port}", credentials)
        self.channels.append(channel)
        stubs = person_pb2_grpc.PersonServiceStub(channel), choice_pb2_grpc.ChoiceServiceStub(channel)
        return SimpleNamespace(**vars(stubs[0]), **vars(stubs[1]))

    def revoke(self, kind):
        table = tables.Certificate.__table__
        spki = pki.spki_sha256(self.pairs[kind][1])
        self.world.change_rights(table.update().where(table.c.spki == spki).values(revoked_at=1))

    async def stop(self):
        for channel in self.channels:
            await channel.close()
        await self.server.stop(None)
        self.threads.close()


@pytest.fixture
async def network(sqlite_engine):
    network = Network(World(sqlite_engine).found())
    await network.start()
    yield network
    await network.stop()
    network.world.check()


def values(of=CANARIES):
    return [person_pb2.FieldValue(field=field, value=value) for field, value in dict(of).items()]


def choice(purpose="offers", state=choice_pb2.CHOICE_STATE_OPTED_IN, medium="web"):
    return choice_pb2.ChoiceMade(purpose=purpose, state=state, medium=medium)


def registration(**other):
    given = {"request_id": str(uuid.uuid4()), "values": values(), "source": "registration", **other}
    return person_pb2.RegisterPersonRequest(**given)


def row(number, **more):
    return person_pb2.ImportRow(line=number, values=values({"customer_number": f"K-{number}", **more}))


async def refused(call):
    """The status code, reason and metadata; no canary may be in any of it, nor in the trailers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    told = f"{error.details()} {error.trailing_metadata()} {error.initial_metadata()}"
    assert not any(text in told for text in CANARIES.values())
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    return error.code().name, info.reason, dict(info.metadata)


async def drain(call):
    return [reply async for reply in call]


async def test_a_person_lives_through_every_call(network):
    stub = network.stub()
    done = await stub.RegisterPerson(registration(choices=[choice("partners", medium="phone")]))
    shown = await stub.GetPerson(person_pb2.GetPersonRequest(person_id=done.person_id))
    assert (shown.person_id, shown.etag) == (done.person_id, done.etag)
    assert [field.field for field in shown.fields] == sorted(CANARIES)
    assert {field.value for field in shown.fields} == {""}
    assert list(shown.choices) == [choice("partners", medium="phone")]
    changed = await stub.UpdatePerson(
        person_pb2.UpdatePersonRequest(
            person_id=done.person_id, values=values({"title": "Dr"}), remove=["phone"], source="web", etag=done.etag
        )
    )
    whole = await stub.GetPerson(person_pb2.GetPersonRequest(person_id=done.person_id, include_values=True))
    expected = {**CANARIES, "title": "Dr"}
    del expected["phone"]
    assert {field.field: field.value for field in whole.fields} == expected
    assert whole.etag == changed.etag != done.etag
    assert whole.created_at.endswith("Z")
    assert whole.created_at <= whole.updated_at
    found = await stub.LookUpPersons(person_pb2.LookUpPersonsRequest(email=CANARIES["email"].upper()))
    assert list(found.person_ids) == [done.person_id]
    chosen = await stub.RecordChoice(
        choice_pb2.RecordChoiceRequest(
            person_id=done.person_id, choice=choice(), source="web", request_id=str(uuid.uuid4())
        )
    )
    assert network.world.entries()[chosen.entry_index]["purpose"] == "offers"
    assert chosen.policy_version == "2026-01"


async def test_an_import_answers_each_batch_with_its_rows_in_order(network):
    stub = network.stub()
    batches = [
        person_pb2.ImportPersonsRequest(rows=[row(n) for n in range(600)], source="import:crm"),
        person_pb2.ImportPersonsRequest(
            rows=[row(599), row(3, title="Dr"), row(900, email="canary at home"), row(901)], source="import:crm"
        ),
    ]
    first, second = await drain(stub.ImportPersons(iter(batches)))
    assert [result.line for result in first.results] == list(range(600))
    assert {result.outcome for result in first.results} == {person_pb2.ImportResult.OUTCOME_CREATED}
    names = [person_pb2.ImportResult.Outcome.Name(result.outcome)[8:] for result in second.results]
    assert names == ["UNCHANGED", "UPDATED", "FAULTY", "CREATED"]
    assert second.results[0].person_id == first.results[599].person_id
    (fault,) = second.results[2].faults
    assert (fault.field, fault.reason, fault.masked) == ("email", "INVALID_VALUE", "c***")
    assert second.results[2].person_id == ""


async def test_a_revocation_ends_an_open_import_and_what_was_answered_stays(network):
    call = network.stub().ImportPersons()
    await call.write(person_pb2.ImportPersonsRequest(rows=[row(1)], source="import:crm"))
    reply = await call.read()
    assert reply.results[0].outcome == person_pb2.ImportResult.OUTCOME_CREATED
    network.revoke("internal")
    await call.write(person_pb2.ImportPersonsRequest(rows=[row(2)], source="import:crm"))
    code, reason, _ = await refused(call.read())
    assert (code, reason) == ("UNAUTHENTICATED", "CERTIFICATE_REVOKED")
    assert len(network.world.table("person")) == 1


async def test_a_cancelled_import_stops_within_a_part_of_a_batch(network, monkeypatch):
    parts, second, go = [], threading.Event(), threading.Event()
    run = Importer.run

    def held(self, who, parse, seen):
        parts.append(who)
        if len(parts) == 2:
            second.set()
            go.wait(10)
        return run(self, who, parse, seen)

    monkeypatch.setattr(Importer, "run", held)
    call = network.stub().ImportPersons()
    await call.write(person_pb2.ImportPersonsRequest(rows=[row(n) for n in range(1000)], source="import:crm"))
    assert await asyncio.to_thread(second.wait, 10)
    call.cancel()
    await asyncio.sleep(0.2)
    go.set()
    await asyncio.sleep(0.5)
    assert len(parts) == 2
    assert len(network.world.table("person")) == 2 * PART


REQUEST_ID = str(uuid.uuid4())
BAD = [
    ("RegisterPerson", registration(request_id=""), "INVALID_REQUEST", "request_id"),
    ("RegisterPerson", registration(request_id="not-a-uuid"), "INVALID_REQUEST", "request_id"),
    ("RegisterPerson", registration(request_id=REQUEST_ID.upper()), "INVALID_REQUEST", "request_id"),
    ("RegisterPerson", registration(values=[]), "INVALID_REQUEST", "values"),
    ("RegisterPerson", registration(values=values() * 50), "INVALID_REQUEST", "values"),
    ("RegisterPerson", registration(values=values() * 2), "INVALID_VALUE", "customer_number"),
    ("RegisterPerson", registration(values=values({"birth_date": "1.1.80"})), "INVALID_VALUE", "birth_date"),
    ("RegisterPerson", registration(values=values({"cvc": "123"})), "FIELD_FORBIDDEN", "cvc"),
    ("RegisterPerson", registration(source=""), "INVALID_REQUEST", "source"),
    ("RegisterPerson", registration(source=CANARIES["email"]), "INVALID_REQUEST", "source"),
    ("RegisterPerson", registration(choices=[choice("billing")]), "INVALID_REQUEST", "purpose"),
    ("RegisterPerson", registration(choices=[choice(state=0)]), "INVALID_REQUEST", "state"),
    ("RegisterPerson", registration(choices=[choice(state=9)]), "INVALID_REQUEST", "state"),
    ("RegisterPerson", registration(choices=[choice(medium=CANARIES["phone"])]), "INVALID_REQUEST", "medium"),
    ("RegisterPerson", registration(choices=[choice(), choice()]), "INVALID_REQUEST", "choices"),
    ("UpdatePerson", person_pb2.UpdatePersonRequest(), "INVALID_REQUEST", "person_id"),
    ("UpdatePerson", person_pb2.UpdatePersonRequest(person_id="P-1"), "INVALID_REQUEST", "person_id"),
    (
        "UpdatePerson",
        person_pb2.UpdatePersonRequest(person_id=NOBODY, remove=["title"] * 257),
        "INVALID_REQUEST",
        "remove",
    ),
    ("GetPerson", person_pb2.GetPersonRequest(), "INVALID_REQUEST", "person_id"),
    ("GetPerson", person_pb2.GetPersonRequest(person_id=NOBODY.lower()), "INVALID_REQUEST", "person_id"),
    ("GetPerson", person_pb2.GetPersonRequest(person_id=CANARIES["email"]), "INVALID_REQUEST", "person_id"),
    ("LookUpPersons", person_pb2.LookUpPersonsRequest(), "INVALID_REQUEST", "key"),
    ("LookUpPersons", person_pb2.LookUpPersonsRequest(email=CANARIES["phone"]), "INVALID_VALUE", "email"),
    ("LookUpPersons", person_pb2.LookUpPersonsRequest(phone="0701740605"), "INVALID_VALUE", "phone"),
    ("LookUpPersons", person_pb2.LookUpPersonsRequest(customer_number=""), "INVALID_VALUE", "customer_number"),
    ("GetHandles", person_pb2.GetHandlesRequest(contract_id="C-2026-0001"), "INVALID_REQUEST", "person_ids"),
    (
        "GetHandles",
        person_pb2.GetHandlesRequest(contract_id="C-2026-0001", person_ids=["x"]),
        "INVALID_REQUEST",
        "person_id",
    ),
    (
        "GetHandles",
        person_pb2.GetHandlesRequest(contract_id="C-2026-0001", person_ids=[NOBODY] * 10_001),
        "INVALID_REQUEST",
        "person_ids",
    ),
    (
        "GetHandles",
        person_pb2.GetHandlesRequest(contract_id="C-2026-0001", person_ids=[NOBODY] * 2),
        "INVALID_REQUEST",
        "person_ids",
    ),
    ("RecordChoice", choice_pb2.RecordChoiceRequest(), "INVALID_REQUEST", "request_id"),
    (
        "RecordChoice",
        choice_pb2.RecordChoiceRequest(request_id=REQUEST_ID, person_id=NOBODY, source="s"),
        "PURPOSE_UNKNOWN",
        None,
    ),
    (
        "RecordChoice",
        choice_pb2.RecordChoiceRequest(request_id=REQUEST_ID, person_id=NOBODY, choice=choice()),
        "INVALID_REQUEST",
        "source",
    ),
    ("ImportPersons", person_pb2.ImportPersonsRequest(source="import:crm"), "INVALID_REQUEST", "rows"),
    (
        "ImportPersons",
        person_pb2.ImportPersonsRequest(rows=[row(n) for n in range(1001)], source="import:crm"),
        "INVALID_REQUEST",
        "rows",
    ),
    ("ImportPersons", person_pb2.ImportPersonsRequest(rows=[row(1)]), "INVALID_REQUEST", "source"),
]


def call(stub, method, request):
    if method == "ImportPersons":
        return drain(stub.ImportPersons(iter([request])))
    return getattr(stub, method)(request)


@pytest.mark.parametrize(("method", "request_", "reason", "field"), BAD)
async def test_a_malformed_request_is_refused_by_name_and_stores_nothing(network, method, request_, reason, field):
    code, told, metadata = await refused(call(network.stub(), method, request_))
    assert told == reason
    assert metadata.get("field") == field
    assert code == ("PERMISSION_DENIED" if reason == "PURPOSE_UNKNOWN" else "INVALID_ARGUMENT")
    assert network.world.table("person") == network.world.table("request") == []


UNKNOWN = [
    ("UpdatePerson", person_pb2.UpdatePersonRequest(person_id=NOBODY, etag="1")),
    ("GetPerson", person_pb2.GetPersonRequest(person_id=NOBODY)),
    (
        "RecordChoice",
        choice_pb2.RecordChoiceRequest(request_id=REQUEST_ID, person_id=NOBODY, choice=choice(), source="s"),
    ),
]


@pytest.mark.parametrize(("method", "request_"), UNKNOWN)
async def test_a_person_who_is_not_on_record_is_not_found(network, method, request_):
    assert (await refused(call(network.stub(), method, request_)))[:2] == ("NOT_FOUND", "PERSON_UNKNOWN")


async def test_a_contract_that_does_not_exist_is_not_found(network):
    request = person_pb2.GetHandlesRequest(contract_id="C-2026-0001", person_ids=[NOBODY])
    assert (await refused(network.stub().GetHandles(request)))[:2] == ("NOT_FOUND", "CONTRACT_UNKNOWN")


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods])
async def test_a_subcontractor_may_call_none_of_it_and_learns_nothing_from_faults(network, method):
    empty = getattr(person_pb2, f"{method}Request")()
    answer = await refused(call(network.stub("subcontractor"), method, empty))
    assert answer[:2] == ("PERMISSION_DENIED", "ROLE_NOT_ALLOWED")
    assert [entry["reason"] for entry in network.world.entries("refusal")] == ["ROLE_NOT_ALLOWED"]


async def test_a_registration_can_be_sent_again_after_any_failure(network):
    stub, request = network.stub(), registration(choices=[choice()])
    first = await stub.RegisterPerson(request)
    again = await network.stub().RegisterPerson(request)
    assert again == first
    assert parse_person(first.person_id) == network.world.table("person")[0].id
    assert len(network.world.entries("choice")) == 1
