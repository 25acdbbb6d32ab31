"""rpc/guard.py without a connection: options, names, places. tests/integration/test_server.py does the rest."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from sluss.v1 import disclosure_pb2, options_pb2, person_pb2

from broker.bulk import MAX_HANDLES
from broker.errors import Reason, SlussError
from broker.identity import KINDS, Caller, Evidence
from broker.refusals import MAX_FIELDS
from broker.rpc.guard import STANDARD_SERVICES, Places, allowed_kinds, handlers, max_request, snake_case
from broker.settings import Settings


def method_with(kinds, *, service="Probe", package="sluss.guardtest", streams=(False, False)):
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, options_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="probe.proto", package=package, syntax="proto3")
    file.dependency.append("sluss/v1/options.proto")
    file.message_type.add(name="Nothing")
    message = f".{package}.Nothing"
    method = file.service.add(name=service).method.add(name="Do", input_type=message, output_type=message)
    method.client_streaming, method.server_streaming = streams
    method.options.Extensions[options_pb2.allowed].extend(kinds)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{package}.{service}").methods_by_name["Do"]


def test_the_kinds_are_those_of_the_option():
    methods = person_pb2.DESCRIPTOR.services_by_name["PersonService"].methods_by_name
    assert allowed_kinds(methods["RegisterPerson"]) == {"internal"}
    assert allowed_kinds(methods["LookUpPersons"]) == {"internal", "privacy", "legal"}


def test_a_method_without_the_option_is_for_nobody():
    assert allowed_kinds(method_with([])) == frozenset()


def test_the_unspecified_kind_closes_the_method_for_all():
    kinds = [options_pb2.PRINCIPAL_KIND_OPERATOR, options_pb2.PRINCIPAL_KIND_UNSPECIFIED]
    assert allowed_kinds(method_with(kinds)) == frozenset()


def test_a_number_that_no_kind_has_admits_nobody():
    assert allowed_kinds(method_with([77])) == frozenset()
    assert allowed_kinds(method_with([77, options_pb2.PRINCIPAL_KIND_OPERATOR])) == {"operator"}


def test_only_the_standard_services_are_exempt_and_only_by_full_name():
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    reflection = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
    assert {health.full_name, reflection.full_name} == STANDARD_SERVICES
    for service in (health, reflection):
        assert {allowed_kinds(method) for method in service.methods} == {KINDS}
    assert allowed_kinds(method_with([], service="Health", package="sluss.health.v1")) == frozenset()


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("GetPerson", "get_person"),
        ("LookUpPersons", "look_up_persons"),
        ("DiscloseBulk", "disclose_bulk"),
        ("Check", "check"),
        ("ServerReflectionInfo", "server_reflection_info"),
    ],
)
def test_methods_are_called_by_their_names_in_snake_case(name, snake):
    assert snake_case(name) == snake


def test_a_shape_that_the_guard_does_not_know_is_refused_at_start():
    method = method_with([options_pb2.PRINCIPAL_KIND_OPERATOR], streams=(True, False))

    class Servicer:
        async def do(self, caller, requests, deadline_s): ...

    with pytest.raises(TypeError, match=r"/sluss\.guardtest\.Probe/Do is of a shape"):
        handlers(method.containing_service, Servicer())


def caller(key):
    return Caller(Evidence("spiffe://example.com/operator/a", key, b""), "/m", KINDS)


def test_places_are_given_back_however_calls_end():
    places = Places(1, 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.one(caller(b"a")):
            raise ZeroDivisionError
    with places.one(caller(b"a")), pytest.raises(SlussError) as error, places.one(caller(b"b")):
        pass
    assert error.value.reason == Reason.RATE_EXCEEDED
    assert places.taken == 0


def test_a_caller_that_has_its_places_takes_none_of_the_others():
    places = Places(3, 2)
    with places.one(caller(b"a")), places.one(caller(b"a")):
        with pytest.raises(SlussError) as error, places.one(caller(b"a")):
            pass
        assert (error.value.reason, error.value.detail) == (
            Reason.RATE_EXCEEDED,
            "too many calls of this caller at once",
        )
        with places.one(caller(b"b")):
            pass


def test_a_method_takes_a_mebibyte_unless_its_option_says_otherwise():
    disclosure = disclosure_pb2.DESCRIPTOR.services_by_name["DisclosureService"].methods_by_name
    persons = person_pb2.DESCRIPTOR.services_by_name["PersonService"].methods_by_name
    assert max_request(disclosure["Disclose"]) == 1 << 20
    assert max_request(disclosure["DiscloseBulk"]) == 2 << 20
    assert max_request(persons["ImportPersons"]) == Settings.model_fields["max_message_bytes"].metadata[1].le


def test_as_many_handles_as_a_bulk_may_name_fit_into_its_request():
    everything = disclosure_pb2.DiscloseBulkRequest(
        request_id="3f6c1c5e-6f0e-4d1c-9c1b-0d9f2f3f9e55",
        contract_id="C-2026-0001",
        purpose="p" * 200,
        fields=["f" * 100] * MAX_FIELDS,
        handles=disclosure_pb2.HandleList(handles=[bytes(16)] * MAX_HANDLES),
        resume_after="x" * 10_000,
    )
    assert everything.ByteSize() < 2 << 20
