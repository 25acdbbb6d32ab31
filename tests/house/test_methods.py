"""Every method in the package names who may call it; the reasons in the code are those on the wire."""

from __future__ import annotations

import json
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest
import sluss.v1
from google.protobuf.descriptor import FieldDescriptor
from sluss.v1 import error_reason_pb2, options_pb2

from broker.errors import CATALOGUE, Reason
from broker.rpc.guard import allowed_kinds

PROTOS = Path(__file__).resolve().parents[2] / "protos" / "sluss" / "v1"
MODULES = [
    import_module(f"sluss.v1.{found.name}")
    for found in pkgutil.iter_modules(sluss.v1.__path__)
    if found.name.endswith("_pb2")
]
METHODS = [
    method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
PREFIX = "ERROR_REASON_"
ENUM = re.compile(r"((?:^  //.*\n)+)^  ERROR_REASON_(\w+) = (\d+);", re.MULTILINE)


def reasons_in_proto():
    text = (PROTOS / "error_reason.proto").read_text()
    return {name: comment for comment, name, number in ENUM.findall(text) if number != "0"}


def test_every_proto_has_its_stub_here():
    stubs = {module.__name__.rpartition(".")[2].removesuffix("_pb2") for module in MODULES}
    assert stubs == {path.stem for path in PROTOS.glob("*.proto")}
    assert len(METHODS) > 20


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_names_the_kinds_that_may_call_it(method):
    listed = list(method.GetOptions().Extensions[options_pb2.allowed])
    assert listed, "without the option the guard refuses everybody"
    assert len(set(listed)) == len(listed)
    assert len(allowed_kinds(method)) == len(listed), "an unknown kind closes the method for all"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_request_and_response_belong_to_their_method(method):
    assert method.input_type.full_name == f"sluss.v1.{method.name}Request"
    assert method.output_type.full_name == f"sluss.v1.{method.name}Response"


def test_the_reasons_in_the_code_are_those_on_the_wire():
    wire = {value.name.removeprefix(PREFIX) for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values}
    assert wire - {"UNSPECIFIED"} == set(Reason.__members__)
    assert all(member.value == name for name, member in Reason.__members__.items())
    assert set(CATALOGUE) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_names_its_code_and_has_an_example(reason):
    comment = reasons_in_proto()[reason.value]
    assert re.match(rf"  // {CATALOGUE[reason].code.value}\b", comment), "the comment starts with the code"
    example = re.search(r"Example: `(.*)`", comment)
    assert example, "no example of ErrorInfo.metadata"
    metadata = json.loads(example[1])
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())


def test_no_message_carries_a_float():
    floats = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}
    found = [
        field.full_name
        for module in MODULES
        for message in module.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if field.type in floats
    ]
    assert found == []


def test_page_of_the_wire_api_names_every_method_with_those_who_may_call_it():
    page = (PROTOS.parents[1] / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", page, re.MULTILINE))
    listed = {name: set(kinds.split(", ")) for name, kinds in rows.items()}
    assert listed == {
        f"{method.containing_service.name}.{method.name}": set(allowed_kinds(method)) for method in METHODS
    }
