"""Values of fields on a command line or in a file: `email=maria@example.com`, one per line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sluss.v1 import person_pb2 as pb

from sluss_cli.given_file import read_text_or_input
from sluss_cli.problems import usage

if TYPE_CHECKING:
    from collections.abc import Iterable

LINE = 4096
"""Bytes that are read of a line of standard input: more than any value has."""
_CHOICES = {"in": pb.CHOICE_STATE_OPTED_IN, "out": pb.CHOICE_STATE_OPTED_OUT}


def read_lines(source: str) -> list[str]:
    """The lines of a file or of standard input, without blank lines and `#` comments.

    Raises:
        Problem: USAGE: there are none, or the file is not one to read.
    """
    lines = (line.strip() for line in read_text_or_input(source).splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise usage("nothing is in the file", file=source)
    return found


def parse_values(items: Iterable[str]) -> list[pb.FieldValue]:
    """Fields and values.

    Raises:
        Problem: USAGE, naming the item by its number and never by its content.
    """
    values: dict[str, str] = {}
    for number, item in enumerate(items, 1):
        field, equals, value = item.partition("=")
        field = field.strip()
        if not equals or not field or not value.strip():
            raise usage(f"value {number} is not FIELD=VALUE")
        if field in values:
            raise usage("a field is given twice", field=field)
        values[field] = value.strip()
    return [pb.FieldValue(field=field, value=value) for field, value in values.items()]


def parse_choice(purpose: str, state: str, channel: str) -> pb.ChoiceMade:
    """A choice from `in` or `out`."""
    if state not in _CHOICES:
        raise usage("a choice is `in` or `out`", purpose=purpose)
    return pb.ChoiceMade(purpose=purpose, state=_CHOICES[state], channel=channel)


def one_value(value: str) -> str:
    """A value from the command line, or the first line of standard input for `-`."""
    return sys.stdin.buffer.readline(LINE).decode("utf-8").strip() if value == "-" else value
