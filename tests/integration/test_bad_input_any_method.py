"""Every method of every service, from the descriptors: who may not call, and what is no request at all."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from sluss_client.profile import Profile

from broker import pki
from broker.errors import Code
from broker.identity import KINDS, Principal
from broker.operator import pins
from broker.operator.office import opened
from broker.rpc.guard import allowed_kinds
from tests.integration.bad_input import LEAKS, NUL, entries_since, first_answer, ledger_size, open_book, rich
from tests.support import postgres
from tests.support.broker import DOMAIN, BrokerProcess
from tests.support.services import modules

SERVICES = [
    *(found for module in modules(without=("legal",))
      for found in module.DESCRIPTOR.services_by_name.values()),
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
]  # fmt: skip
ALL = [method for service in SERVICES for method in service.methods]
OURS = [method for method in ALL if method.full_name.startswith("sluss.")]
LIST_ENTRIES = next(method for method in OURS if method.name == "ListEntries")
GET_CONTRACT = next(method for method in OURS if method.name == "GetContract")
MIB = 1 << 20
UNKNOWN_FIELD = b"\xfa\xff\xff\xff\x0f\x02hi"
GARBAGE = {
    "truncated": b"\x0a\xff",
    "no-utf-8": b"\x0a\x02\xff\xfe",
    "text": b"please let me in",
    "nested-groups": b"\x0b" * 100_000,
    "unknown-field": UNKNOWN_FIELD,
}


def name_of(method):
    return method.full_name


def each(methods):
    return pytest.mark.parametrize("method", methods, ids=name_of)


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker"), SLUSS_MAX_MESSAGE_BYTES=str(MIB)) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """A channel per kind of caller, and per kind of impostor."""
    broker = shared_broker
    names = {kind: f"{kind}/any-method" for kind in sorted(KINDS)}
    channels = {kind: broker.channel(name) for kind, name in names.items()}
    profile = Profile.load(broker.profile(names["operator"]))
    with opened(broker.home) as office:
        authority = office.authority()
        now = office.ledger.run(lambda tx: tx.at)
        impostors = {
            "nobody": None,
            "other authority": issue(pki.make_ca(DOMAIN, now), now),
            "server certificate": pki.server_certificate(authority, ["localhost"], now),
            "unpinned": issue(authority, now),
            "mismatched": issue(authority, now),
            "other domain": issue(authority, now, "example.org"),
            "revoked": issue(authority, now),
        }
        for kind, name in (("mismatched", "beta"), ("other domain", "mallory"), ("revoked", "mallory")):
            certificate = impostors[kind].certificate
            office.ledger.run(lambda tx, n=name, c=certificate: pins.pin(tx, Principal("operator", n), c))
        pins.revoke(office.ledger, pins.selected(certificate=impostors["revoked"].certificate), "stolen")
    for name, pair in impostors.items():
        channels[name] = impostor_channel(broker, profile, pair)
    yield SimpleNamespace(broker=broker, channels=channels, names=names, ledger=broker.ledger())
    for name in impostors:
        channels[name].close()


def issue(ca, now, domain=DOMAIN):
    request = pki.make_request()
    return pki.KeyPair(pki.issue(ca, request.csr, Principal("operator", "mallory"), domain, now), request.key)


def impostor_channel(broker, profile, pair):
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(profile.ca(), key, certificate)
    return grpc.secure_channel(broker.endpoint, credentials, [("grpc.use_local_subchannel_pool", 1)])


def path(method):
    return f"/{method.containing_service.full_name}/{method.name}"


def caller(channel, method):
    """A function of the request's bytes that calls the method and gives its first answer's bytes."""
    shapes = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    rpc = shapes[method.client_streaming, method.server_streaming](path(method))

    def call(data, **more):
        return first_answer(rpc, iter([data]) if method.client_streaming else data, **more)

    return call


def failing(call, data, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(data, **more)
    error = caught.value
    assert error.code() is not grpc.StatusCode.INTERNAL
    assert not [leak for leak in LEAKS if leak in f"{error.details()} {error.trailing_metadata()}"]
    return error


def a_good_kind(method):
    """A kind that may call, a subcontractor if possible: it is told the least."""
    return max(allowed_kinds(method))


# --- who may not call ------------------------------------------------------------------------------


@each(ALL)
@pytest.mark.parametrize("who", ["nobody", "other authority"])
def test_without_a_certificate_of_our_authority_nobody_connects(world, method, who):
    assert failing(caller(world.channels[who], method), b"").code() is grpc.StatusCode.UNAVAILABLE


@each(ALL)
def test_a_certificate_for_servers_admits_no_client(world, method):
    code = failing(caller(world.channels["server certificate"], method), b"").code()
    assert code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


IMPOSTORS = {
    "unpinned": ("UNKNOWN_PRINCIPAL", "unknown"),
    "mismatched": ("CERTIFICATE_MISMATCH", "unknown"),
    "other domain": ("CERTIFICATE_MISMATCH", "unknown"),
    "revoked": ("CERTIFICATE_REVOKED", "operator/mallory"),
}


@each(OURS)
@pytest.mark.parametrize("who", IMPOSTORS)
def test_an_impostor_is_refused_by_name_and_logged(world, method, who):
    reason, principal = IMPOSTORS[who]
    before = ledger_size(world.ledger)
    told = rich(failing(caller(world.channels[who], method), b""))
    assert (told.code, told.reason) == ("UNAUTHENTICATED", reason)
    (entry,) = entries_since(world.ledger, before)
    assert (entry["type"], entry["reason"], entry["method"]) == ("refusal", reason, path(method))
    assert entry["principal"] == principal


@each([method for method in ALL if method not in OURS])
@pytest.mark.parametrize("who", IMPOSTORS)
def test_an_impostor_learns_nothing_from_the_standard_services(world, method, who):
    told = rich(failing(caller(world.channels[who], method), b""))
    assert (told.code, told.reason) == ("UNAUTHENTICATED", IMPOSTORS[who][0])


WRONG_KINDS = [(method, kind) for method in OURS for kind in sorted(KINDS - allowed_kinds(method))]


@pytest.mark.parametrize(
    ("method", "kind"), WRONG_KINDS, ids=[f"{method.full_name}-{kind}" for method, kind in WRONG_KINDS]
)
def test_the_wrong_kind_is_refused_by_name_and_logged(world, method, kind):
    before = ledger_size(world.ledger)
    told = rich(failing(caller(world.channels[kind], method), b""))
    assert (told.code, told.reason) == ("PERMISSION_DENIED", "ROLE_NOT_ALLOWED")
    assert {"kind": kind, "method": path(method)}.items() <= told.metadata.items()
    (entry,) = entries_since(world.ledger, before)
    assert (entry["principal"], entry["reason"]) == (world.names[kind], "ROLE_NOT_ALLOWED")
    assert (entry["method"], entry["type"]) == (path(method), "refusal")


UNWANTED = [
    (method, who) for method in OURS for who in ("unpinned", "revoked", *sorted(KINDS - allowed_kinds(method))[:1])
]


@pytest.mark.parametrize(("method", "who"), UNWANTED, ids=[f"{method.full_name}-{who}" for method, who in UNWANTED])
def test_who_may_not_call_learns_that_before_its_request_is_looked_at(world, method, who):
    reason, _ = IMPOSTORS.get(who, ("ROLE_NOT_ALLOWED", ""))
    for data in (GARBAGE["truncated"], UNKNOWN_FIELD):
        assert rich(failing(caller(world.channels[who], method), data)).reason == reason


# --- what is no request ----------------------------------------------------------------------------


@each(ALL)
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_bytes_that_are_not_wholly_understood_are_refused_and_write_nothing(world, method, data):
    before = ledger_size(world.ledger)
    told = rich(failing(caller(world.channels[a_good_kind(method)], method), data))
    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert entries_since(world.ledger, before) == []


def submessages(descriptor):
    return [field for field in descriptor.fields if field.type == FieldDescriptor.TYPE_MESSAGE]


@each([method for method in OURS if submessages(method.input_type)])
def test_an_unknown_field_deep_within_is_refused_too(world, method):
    for field in submessages(method.input_type):
        data = bytes([*varint(field.number << 3 | 2), len(UNKNOWN_FIELD)]) + UNKNOWN_FIELD
        told = rich(failing(caller(world.channels[a_good_kind(method)], method), data))
        assert told.reason == "INVALID_REQUEST"


def varint(number):
    return [number] if number < 128 else [number & 127 | 128, *varint(number >> 7)]


MAY_BE_EMPTY = {
    "ExportChoices",
    "GetCheckpoint",
    "ListCanaries",
    "ListComplaints",
    "ListContracts",
    "ListEntries",
    "ListObligations",
    "ListOutbox",
    "ListPolicyVersions",
    "ListReports",
    "ListRequests",
    "ReportOverdue",
    "WatchObligations",
}


@each(OURS)
def test_an_empty_message_is_answered_or_refused_by_name(world, method):
    call = caller(world.channels[a_good_kind(method)], method)
    before = ledger_size(world.ledger)
    if method.name in MAY_BE_EMPTY:
        assert call(b"") is not None
    else:
        assert rich(failing(call, b"")).code in {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED"}
    assert {entry["type"] for entry in entries_since(world.ledger, before)} <= {"refusal"}


@each(ALL)
def test_a_message_beyond_the_limit_is_refused_before_it_is_read(world, method):
    before = ledger_size(world.ledger)
    error = failing(caller(world.channels[a_good_kind(method)], method), bytes(MIB + 1))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # What another test's call, given up by then, was refused for may come late.
    others = [path(each) for each in ALL if each is not method]
    late = entries_since(world.ledger, before)
    assert [each for each in late if each["type"] != "refusal" or each["method"] not in others] == []


@each(ALL)
@pytest.mark.parametrize("seconds", [-1.0, 1e-6])
def test_an_expired_deadline_ends_the_call_by_name_and_writes_at_most_its_refusal(world, method, seconds):
    # gRPC rounds a deadline up on its way: the broker may have been faster than a millisecond.
    before = ledger_size(world.ledger)
    try:
        caller(world.channels[a_good_kind(method)], method)(b"", timeout=seconds)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            rich(error)
            assert seconds > 0
    else:
        assert seconds > 0
    assert {entry["type"] for entry in entries_since(world.ledger, before)} <= {"refusal"}


def test_calls_that_are_given_up_leave_no_traceback(world):
    call = caller(world.channels["operator"], GET_CONTRACT)
    for milliseconds in range(1, 100):
        with pytest.raises(grpc.RpcError):
            call(b"", timeout=milliseconds / 20_000)
    call = caller(world.channels["operator"], LIST_ENTRIES)
    for _ in range(20):
        call(b"")  # the event loop turns, and tells what it has not told yet
    log = (world.broker.home / "serve.log").read_text()
    assert "Traceback" not in log, log[max(0, log.find("Traceback") - 500) :][:5000]
    assert "never retrieved" not in log


@each(OURS)
def test_a_method_by_nearly_its_name_is_not_there(world, method):
    channel = world.channels[a_good_kind(method)]
    for wrong in (path(method).lower(), path(method) + "2", path(method).replace("v1", "v2")):
        error = failing(lambda data, wrong=wrong: channel.unary_unary(wrong)(data, timeout=10), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# --- on both stores --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres_broker(postgres_server, tmp_path_factory):
    with (
        postgres.database(postgres_server) as url,
        BrokerProcess(tmp_path_factory.mktemp("broker") / "home", database=url) as running,
    ):
        yield running


def test_without_settings_the_limit_is_32_mib(postgres_broker):
    call = caller(postgres_broker.channel("legal/any-method"), LIST_ENTRIES)
    assert rich(failing(call, bytes(32 * MIB))).reason == "INVALID_REQUEST"
    assert failing(call, bytes(33 * MIB)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def poisoned(descriptor, depth=0):
    """Messages of a type with a NUL, which PostgreSQL stores in no text, in one field each."""
    for field in descriptor.fields:
        made = message_factory.GetMessageClass(descriptor)()
        if field.type == FieldDescriptor.TYPE_STRING:
            values = [f"a{NUL}b"]
        elif field.type == FieldDescriptor.TYPE_MESSAGE and depth < 3:
            values = list(poisoned(field.message_type, depth + 1))
        else:
            continue
        for value in values:
            made.ClearField(field.name)
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                getattr(made, field.name)[value.key] = value.value
            elif field.is_repeated:
                getattr(made, field.name).extend([value])
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                getattr(made, field.name).CopyFrom(value)
            else:
                setattr(made, field.name, value)
            yield message_factory.GetMessageClass(descriptor).FromString(made.SerializeToString())


@each(OURS)
def test_a_nul_in_any_text_is_refused_by_name_on_postgresql_too(postgres_broker, method):
    kinds = [a_good_kind(method), *({"operator", "subcontractor"} & allowed_kinds(method))]
    for kind in dict.fromkeys(kinds):
        call = caller(postgres_broker.channel(f"{kind}/any-method"), method)
        for request in poisoned(method.input_type):
            try:
                call(request.SerializeToString())
            except grpc.RpcError as error:
                told = rich(error)
                assert told.code not in {Code.INTERNAL, Code.UNAVAILABLE}, (request, told)


def test_the_broker_is_as_well_after_all_this_as_before(world):
    check = caller(world.channels["operator"], health_pb2.DESCRIPTOR.services_by_name["Health"].methods[0])
    assert health_pb2.HealthCheckResponse.FromString(check(b"")).status == health_pb2.HealthCheckResponse.SERVING
    assert " failed: " not in (world.broker.home / "serve.log").read_text()
