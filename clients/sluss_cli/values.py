"""Values of fields on a command line or in a file: `email=maria@example.com`, one per line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sluss.v1 import choice_pb2
from sluss.v1 import person_pb2 as pb

from sluss_cli.given_file import read_text_or_input
from sluss_cli.problems import usage

if TYPE_CHECKING:
    from collections.abc import Iterable

LINE = 4096
"""Bytes that are read of a line of standard input: more than any value has."""
CHOICES = {"in": choice_pb2.CHOICE_STATE_OPTED_IN, "out": choice_pb2.CHOICE_STATE_OPTED_OUT}


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


def parse_choice(chosen: str, state: str, medium: str) -> choice_pb2.ChoiceMade:
    """A choice from `in` or `out`, and a purpose: `offers`, or `offers=email,sms` for some channels only."""
    purpose, equals, channels = chosen.partition("=")
    if state not in CHOICES:
        raise usage("a choice is `in` or `out`", purpose=purpose)
    if equals and not channels:
        raise usage("after the purpose, name the channels, such as offers=email,sms", purpose=purpose)
    return choice_pb2.ChoiceMade(
        purpose=purpose, state=CHOICES[state], medium=medium, channels=parse_channels(channels)
    )


def parse_channels(text: str) -> list[str]:
    """The channels of a list such as `email,sms` or `email sms`; none for an empty text."""
    return text.replace(",", " ").split()


def state_text(state: choice_pb2.ChoiceState.ValueType) -> str:
    """`in` or `out`."""
    return next((word for word, number in CHOICES.items() if number == state), f"state {state}")


def one_value(value: str) -> str:
    """A value from the command line, or the first line of standard input for `-`."""
    return sys.stdin.buffer.readline(LINE).decode("utf-8").strip() if value == "-" else value


def is_utf8(text: str) -> bool:
    """Whether a message can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
