"""Where in a catalogue's file something stands, and the checks that name it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker import values
from broker.catalogue.model import MAX_NAME, NAME
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a table stands, for errors: `field 3 (line 21)`."""

    what: str
    line: int = 0

    def refuse(self, key: str, problem: str) -> SlussError:
        """The refusal of a key."""
        where = f"{self.what} (line {self.line})" if self.line else self.what
        return SlussError(Reason.MALFORMED, f"catalogue, {where}, {key}: {problem}", line=str(self.line), key=key)


def check_keys(table: dict[str, Any], keys: Mapping[str, type], optional: Container[str], place: Place) -> None:
    """Each key is known and of its type, and none is missing.

    Raises:
        SlussError: MALFORMED.
    """
    for key, value in table.items():
        expected = keys.get(key)
        if expected is None:
            raise place.refuse(key, "unknown key")
        if type(value) is not expected:
            raise place.refuse(key, f"must be of type {expected.__name__}")
        if value == "" and key != "index":
            raise place.refuse(key, "empty")
    for key in keys:
        if key not in table and key not in optional:
            raise place.refuse(key, "missing")


def name_of(text: str, key: str, place: Place) -> str:
    """A name in its shape.

    Raises:
        SlussError: MALFORMED.
    """
    if not NAME.fullmatch(text) or len(text) > MAX_NAME:
        raise place.refuse(key, f"dotted lower-case names, at most {MAX_NAME} characters")
    return text


def label(text: str, key: str, place: Place) -> str:
    """What people are shown.

    Raises:
        SlussError: MALFORMED.
    """
    try:
        return values.validate("text", text, max_length=120)
    except SlussError as error:
        raise place.refuse(key, error.detail) from None
