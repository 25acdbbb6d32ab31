"""Promise 5: unmistakable values go through every RPC, also where they don't belong; then they are searched for."""

from __future__ import annotations

import base64
import itertools
import json
import uuid
from pathlib import Path

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from sluss.v1 import (
    person_pb2,
    trace_pb2,
    trace_pb2_grpc,
)
from sqlalchemy import text

from broker.ledger.export import export
from broker.operator.office import opened
from broker.rpc.guard import allowed_kinds
from broker.store.engine import reading
from tests.faults.siege import CALL_S, ledger_of, request
from tests.support.broker import BrokerProcess, grant
from tests.support.nursery import start_anew
from tests.support.services import modules

CANARIES = {
    "name.given": "Kanariella",
    "name.family": "Fjäderstråle",
    "name.display": "Kanariella Fjäderstråle",
    "email": "Kanariella.Z7@example.com",
    "phone": "+46701740605",
    "customer_number": "KUND-Kanarie-77",
    "address.street": "Kanariegränden 77",
    "birth_date": "1971-07-17",
    "payment.iban": "SE4550000000058398257466",
    "payment.card_number": "4929420573595709",
}
LIKE_A_CODE = "kanariella_z7"
MISPLACED = ("Kanariella Fjäderstråle", "kanariella.z7@example.com", LIKE_A_CODE, "SE4550000000058398257466")
"""Written by mistake where an id, a code or a token belongs."""

FREE_TEXT = {"reason", "reference", "recipient_name", "recipient_address"}
"""What the company writes about a contract, in its own words."""

FILES = (*modules(without=("legal",)), health_pb2, reflection_pb2)
WHO = ("subcontractor/acme", "internal/import", "legal/anna", "privacy/team", "operator/admin")


def poisoned(descriptor, text, fixed):
    """A message in which every string and every bytes field holds the text, but for those in `fixed`."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        value = _poison(field, text, fixed)
        if value is None:
            continue
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[value.key] = value.value
        elif field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.message_type:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def _poison(field, text, fixed):
    if field.name in fixed:
        return fixed[field.name]
    if field.type == FieldDescriptor.TYPE_STRING:
        return "an attack" if field.name in FREE_TEXT else text
    if field.type == FieldDescriptor.TYPE_BYTES:
        return text.encode()[:16].ljust(16, b"!")
    if field.message_type and not field.message_type.full_name.startswith("google."):
        return poisoned(field.message_type, text, fixed)
    if field.enum_type:
        return field.enum_type.values[-1].number
    return None


def methods():
    """(full name, descriptor) of every RPC that the broker offers."""
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


class Post:
    """Calls any method as anybody; keeps all that comes back with errors."""

    def __init__(self, broker):
        self._lines = {name: broker.channel(name) for name in WHO}
        self.told, self.called = [], set()

    def call(self, who, name, method, message):
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        given = iter([message.SerializeToString()]) if method.client_streaming else message.SerializeToString()
        self.called.add(name)
        call = None
        try:
            if kind == "unary_unary":
                _, call = self._lines[who].unary_unary(name).with_call(given, timeout=CALL_S)
            else:
                limit = 0.05 if "/Watch" in name else CALL_S
                call = getattr(self._lines[who], kind)(name)(given, timeout=limit)
                list(call)
        except grpc.RpcError as error:
            call = error
            self.told.append(str(error.details()).encode() + str(error.debug_error_string()).encode())
        for key, value in (*call.initial_metadata(), *call.trailing_metadata()):
            self.told.append(key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()))


def in_clear(data, values=None):
    """The canaries that stand in the data, in any of their usual spellings."""
    lowered = data.lower()
    return sorted({value for value in values or spelled() if spelling_in(value, lowered)})


def spelled():
    return {*CANARIES.values(), *MISPLACED, CANARIES["phone"][1:], "Kanariella", "Kanarie", "58398257466"}


def spelling_in(value, lowered):
    raw = value.encode()
    forms = {raw, raw.hex().encode(), value.encode("utf-16-le"), json.dumps(value).strip('"').encode()}
    forms |= {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
    return any(form.lower() in lowered for form in forms)


def _trace(broker):
    """All the values, as if they had leaked: each is found to have been received."""
    leaked = trace_pb2.LeakedRow(
        values=[person_pb2.FieldValue(field=name, value=value) for name, value in CANARIES.items()]
    )
    asked = trace_pb2.TraceLeakRequest(header=trace_pb2.TraceHeader(reason="an attack"), rows=[leaked])
    told = list(trace_pb2_grpc.TraceServiceStub(broker.channel("privacy/team")).TraceLeak(iter([asked]), timeout=20))
    assert told[0].summary.received == 1
    received = trace_pb2.TracedValue.STATUS_RECEIVED
    assert {value.status for value in told[1].rows.rows[0].values} == {received}


@pytest.fixture(scope="module")
def aviary(tmp_path_factory):
    """A broker through which the canaries have flown: (broker, what its errors and metadata said)."""
    folder = tmp_path_factory.mktemp("aviary")
    noisy = {
        "PYTHONFAULTHANDLER": "1",
        "PYTHONASYNCIODEBUG": "1",
        "GRPC_VERBOSITY": "info",
        "SLUSS_REFUSAL_ENTRIES": "10000",
    }
    with BrokerProcess(folder / "home", environment=noisy, begin=start_anew) as broker:
        fields = [f"{name}=full" for name in CANARIES]
        contract, client = broker.live_contract(grant("billing.payment", fields))
        person = broker.register(**{name.replace(".", "__"): value for name, value in CANARIES.items()})
        (handle,) = broker.handles(contract, person)
        (opened_,) = client.disclose(contract, "billing.payment", list(CANARIES), [handle])
        assert opened_.values["payment.iban"] == CANARIES["payment.iban"]
        list(client.bulk(contract, "billing.payment", list(CANARIES), [handle]))
        persons = broker.persons()
        assert persons.LookUpPersons(person_pb2.LookUpPersonsRequest(email=CANARIES["email"])).person_ids == [person]
        shown = persons.GetPerson(person_pb2.GetPersonRequest(person_id=person, include_values=True))
        assert CANARIES["phone"] in {field.value for field in shown.fields}
        _trace(broker)
        post = Post(broker)
        valid = {"contract_id": contract, "person_id": person}
        for text, who, (name, method) in itertools.product(MISPLACED, WHO, methods()):
            if who.split("/")[0] in allowed_kinds(method):
                post.call(who, name, method, poisoned(method.input_type, text, {}))
                known = {"request_id": str(uuid.uuid4()), **valid}
                post.call(who, name, method, poisoned(method.input_type, text, known))
            elif text == LIKE_A_CODE:
                post.call(who, name, method, poisoned(method.input_type, text, valid))
        yield broker, post


def test_every_rpc_was_tried(aviary):
    _, post = aviary
    assert post.called == {name for name, _ in methods()}
    assert len(post.told) > 100


def test_no_canary_in_what_errors_and_metadata_say(aviary):
    _, post = aviary
    # Who mistypes a purpose or a field is told which: what looks like a code goes back to its sender, and only there.
    strangers = [told.replace(LIKE_A_CODE.encode(), b"") for told in post.told]
    found = [(canary, told[:200]) for told in strangers for canary in in_clear(told)]
    assert found == []


def test_no_canary_in_the_ledger_nor_in_its_export(aviary, tmp_path):
    broker, _ = aviary
    found = [(canary, data) for data in ledger_of(broker.home) for canary in in_clear(data)]
    assert found == []
    with opened(broker.home) as office:
        export(office.engine, tmp_path / "export", office.signer.verifier)
    written = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    assert written
    assert [path.name for path in written if in_clear(path.read_bytes())] == []


def test_no_canary_in_the_clear_in_any_file_of_the_home_log_and_wal_included(aviary):
    broker, _ = aviary
    # SQLite takes its log away with the last connection: this one keeps it there.
    with opened(broker.home) as office, reading(office.engine) as connection:
        connection.execute(text("SELECT size FROM head"))
        broker.register(email="nobody@example.com")
        files = [path for path in broker.home.rglob("*") if path.is_file()]
        assert {"sluss.db", "sluss.db-wal", "serve.log"} <= {path.name for path in files}
        assert [(path.name, in_clear(path.read_bytes())) for path in files if in_clear(path.read_bytes())] == []


def test_no_canary_in_the_process_table_and_no_core_file(aviary):
    broker, _ = aviary
    process = Path("/proc") / str(broker.process.pid)
    assert in_clear(process.joinpath("environ").read_bytes() + process.joinpath("cmdline").read_bytes()) == []
    (limit,) = [line for line in process.joinpath("limits").read_text().splitlines() if "core file" in line]
    assert limit.split()[4:6] == ["0", "0"]


def test_the_search_would_find_a_canary():
    told = request("C-2026-0001", [b"Kanariella Z7 !!"], purpose="kanariella_z7").SerializeToString()
    assert in_clear(told) == ["Kanarie", "Kanariella", "kanariella_z7"]
    encoded = base64.b64encode(CANARIES["payment.iban"].encode())
    assert CANARIES["payment.iban"] in in_clear(b"x" + encoded)
