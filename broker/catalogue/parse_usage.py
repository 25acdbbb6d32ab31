"""How the part of a catalogue's TOML file about usage is read: `[aggregates]`, `[[attribute]]`, `[[event]]`. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from broker import codes
from broker.catalogue.forbidden import is_technical_identifier, looks_technical
from broker.catalogue.model import Category
from broker.catalogue.place import Place, check_keys, label, name_of
from broker.catalogue.usage import TIMES, AggregateRules, Attribute, Event, Noise, Period
from broker.errors import Reason, SlussError
from broker.plain_text import is_plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import StrEnum

    from broker.catalogue.model import Field

_E = TypeVar("_E", bound="StrEnum")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", re.ASCII)
_LISTS: Final = {"countries": codes.COUNTRIES, "currencies": codes.CURRENCIES}
_PERSONAL: Final = frozenset({Category.IDENTITY, Category.CONTACT, Category.FINANCIAL, Category.TECHNICAL})
_ATTRIBUTE_KEYS: Final = {"name": str, "category": str, "list": str, "values": list, "en": str, "sv": str}
_EVENT_KEYS: Final = {
    "name": str,
    "category": str,
    "attributes": list,
    "en": str,
    "sv": str,
    "cells_per_person": int,
    "max_events": int,
    "max_seconds": int,
}
_RULE_KEYS: Final = {
    "min_persons": int,
    "epsilon_micro": int,
    "delta_nano": int,
    "slip_nano": int,
    "noise": str,
    "period": str,
    "budget_micro": int,
    "analysis_micro": int,
    "total_micro": int,
    "closing_days": int,
    "budget_delta_nano": int,
    "analysis_delta_nano": int,
    "total_delta_nano": int,
}
_RANGES: Final = {
    "min_persons": (2, 1_000_000),
    "epsilon_micro": (1_000, 5_000_000),
    "delta_nano": (1, 1_000),
    "slip_nano": (1, 1_000_000),
    "budget_micro": (1_000, 100_000_000),
    "analysis_micro": (1_000, 100_000_000),
    "total_micro": (1_000, 1_000_000_000),
    "closing_days": (1, 60),
    "budget_delta_nano": (0, 100_000),
    "analysis_delta_nano": (0, 100_000),
    "total_delta_nano": (0, 1_000_000),
    "cells_per_person": (1, 64),
    "max_events": (1, 1_000),
    "max_seconds": (0, 604_800),
}
_MOST_VALUES: Final = 512
_OPTIONAL: Final = frozenset(
    {"list", "values", "attributes", "budget_delta_nano", "analysis_delta_nano", "total_delta_nano"}
)


def rules(table: dict[str, Any]) -> AggregateRules:
    """What `[aggregates]` says.

    Raises:
        SlussError: MALFORMED with the key.
    """
    place = Place("aggregates")
    check_keys(table, _RULE_KEYS, _OPTIONAL, place)
    _in_range(table, place)
    noise, period = _among(table, "noise", Noise, place), _among(table, "period", Period, place)
    return AggregateRules(**{**table, "noise": noise, "period": period})


def attributes(
    tables: Sequence[dict[str, Any]], places: Sequence[Place], fields: Mapping[str, Field]
) -> dict[str, Attribute]:
    """The attributes by name.

    Raises:
        SlussError: MALFORMED with the place; TECHNICAL_IDENTIFIER for one that identifies a device.
    """
    found: dict[str, Attribute] = {}
    for table, place in zip(tables, places, strict=True):
        check_keys(table, _ATTRIBUTE_KEYS, _OPTIONAL, place)
        name = _name(table, place)
        if name in found or name in TIMES:
            raise place.refuse("name", f"{name} stands twice" if name in found else f"{name} is a dimension already")
        field = fields.get(name)
        if field is not None and field.category in _PERSONAL:
            raise place.refuse("name", f"{name} is a field of category {field.category}")
        found[name] = Attribute(
            name, _values(table, place), label(table["en"], "en", place), label(table["sv"], "sv", place)
        )
    return found


def events(
    tables: Sequence[dict[str, Any]], places: Sequence[Place], known: Mapping[str, Attribute]
) -> dict[str, Event]:
    """The events by name.

    Raises:
        SlussError: MALFORMED with the place; TECHNICAL_IDENTIFIER for an attribute that identifies a device.
    """
    found: dict[str, Event] = {}
    for table, place in zip(tables, places, strict=True):
        check_keys(table, _EVENT_KEYS, _OPTIONAL, place)
        name = _name(table, place)
        if name in found:
            raise place.refuse("name", f"{name} stands twice")
        _in_range(table, place)
        found[name] = Event(
            name=name,
            attributes=_attributes(table.get("attributes", []), known, place),
            label_en=label(table["en"], "en", place),
            label_sv=label(table["sv"], "sv", place),
            cells_per_person=table["cells_per_person"],
            max_events=table["max_events"],
            max_seconds=table["max_seconds"],
        )
    return found


def _name(table: dict[str, Any], place: Place) -> str:
    name = name_of(table["name"], "name", place)
    _not_technical(name, "name", place)
    if table["category"] == Category.TECHNICAL:
        raise _technical(name, "category", place)
    if table["category"] != Category.USAGE:
        raise place.refuse("category", "usage: nothing else is counted")
    return name


def _attributes(names: list[Any], known: Mapping[str, Attribute], place: Place) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise place.refuse("attributes", "a list of names")
        _not_technical(name, "attributes", place)
        if name not in known:
            raise place.refuse("attributes", "each must be an [[attribute]]")
    if len(set(names)) != len(names):
        raise place.refuse("attributes", "a name stands twice")
    return tuple(sorted(names))


def _values(table: dict[str, Any], place: Place) -> tuple[str, ...]:
    listed = table.get("list")
    if listed is not None and listed not in _LISTS:
        raise place.refuse("list", f"one of {', '.join(_LISTS)}")
    given = table.get("values", [])
    for value in given:
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise place.refuse("values", "letters, digits and _ . -, at most 40")
        if looks_technical(value):
            raise _technical(table["name"], "values", place)
    if len(set(given)) != len(given):
        raise place.refuse("values", "a value stands twice")
    found = sorted({*given, *_LISTS.get(listed or "", ())})
    if not 1 <= len(found) <= _MOST_VALUES:
        raise place.refuse("values", f"1 to {_MOST_VALUES} values, or a list: all that it can be is known beforehand")
    return tuple(found)


def _in_range(table: dict[str, Any], place: Place) -> None:
    for key, (least, most) in _RANGES.items():
        if key in table and not least <= table[key] <= most:
            raise place.refuse(key, f"{least} to {most}")


def _among(table: dict[str, Any], key: str, words: type[_E], place: Place) -> _E:
    try:
        return words(table[key])
    except ValueError:
        raise place.refuse(key, f"one of {', '.join(words)}") from None


def _not_technical(name: str, key: str, place: Place) -> None:
    if is_technical_identifier(name):
        raise _technical(name, key, place)


def _technical(name: str, key: str, place: Place) -> SlussError:
    shown = name if is_plain_text(name, 64) else "(not a name)"
    detail = f"catalogue, {place.what}: {shown} identifies a device, which is never counted by (policy, clause 8)"
    return SlussError(Reason.TECHNICAL_IDENTIFIER, detail, field=shown, line=str(place.line), key=key)
