"""A message as JSON for programs: with the names of the proto, with what is empty, and with numbers as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LONG: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
"""What protobuf's own JSON writes as text, for readers that know no whole numbers beyond 2**53."""


def plain(message: Message) -> dict[str, Any]:
    """The message; no count and no index of a ledger comes near 2**53."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _numbers(found, message.DESCRIPTOR)


def _numbers(found: dict[str, Any], described: Any) -> dict[str, Any]:
    for field in described.fields:
        if field.name not in found or (field.message_type and field.message_type.GetOptions().map_entry):
            continue
        value = found[field.name]
        if field.cpp_type in _LONG:
            found[field.name] = [int(each) for each in value] if isinstance(value, list) else int(value)
        elif field.message_type:
            for each in value if isinstance(value, list) else [value]:
                _numbers(each, field.message_type)
    return found
