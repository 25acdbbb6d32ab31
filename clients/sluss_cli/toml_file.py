"""Files of people in TOML: read strictly, every mistake named by its place in the file (`grants[2].volume.week`).

Everything here raises `Problem`, USAGE.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from sluss.v1 import contract_pb2 as pb

from sluss_cli.problems import Problem, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_NESTING = 8

_T = TypeVar("_T")


def read_toml(text: str) -> dict[str, Any]:
    """The file as a table."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of which TOMLDecodeError is one, a number of 5,000 digits another
        raise usage(f"the file is not TOML: {error}") from None


def flat_fields(table: Mapping[str, object], at: str, prefix: str = "", depth: int = 0) -> dict[str, object]:
    """`name.display = 1` reads as a table in a table; field names are the dotted paths."""
    if depth > _MAX_NESTING:
        raise wrong(at, "nested too deeply")
    flat: dict[str, object] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found = flat_fields(value, at, f"{name}.", depth + 1) if isinstance(value, dict) else {name: value}
        if flat.keys() & found.keys():
            raise wrong(f"{at}.{name}", "named twice")
        flat |= found
    if not flat:
        raise wrong(at + ("." + prefix.rstrip(".") if prefix else ""), "at least one field is needed")
    return flat


def known_members(table: Mapping[str, object], allowed: set[str], at: str) -> None:
    """Refuses a member that is not expected."""
    for key in table:
        if key not in allowed:
            raise wrong(f"{at}.{key}".lstrip("."), f"unknown; expected one of {', '.join(sorted(allowed))}")


def member(table: Mapping[str, Any], key: str, at: str, kind: type[_T]) -> _T:
    """A member of one type."""
    place = f"{at}.{key}".lstrip(".")
    if key not in table:
        raise wrong(place, "missing")
    value = table[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong(place, f"must be {_KINDS[kind]}")
    return value


_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
    object: "given",
}


def text_of(table: Mapping[str, Any], key: str, at: str = "", *, required: bool = True) -> str:
    """A text; empty if it is not required and absent."""
    if not required and key not in table:
        return ""
    value = member(table, key, at, str)
    if required and not value.strip():
        raise wrong(f"{at}.{key}".lstrip("."), "must not be empty")
    return value


def texts_of(value: object, at: str) -> list[str]:
    """A list of texts, at least one."""
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise wrong(at, "must be a list of texts, at least one")
    return value


def table_of(value: object, at: str) -> Mapping[str, Any]:
    """A table."""
    if not isinstance(value, dict):
        raise wrong(at, "must be a table")
    return value


def count_of(value: object, at: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise wrong(at, f"must be a whole number from 1 to {most}")
    return value


def day_of(table: Mapping[str, Any], key: str, at: str = "", *, required: bool = True) -> str:
    """A day, as a TOML date or as a text; empty if it is not required and absent."""
    if not required and key not in table:
        return ""
    value, place = member(table, key, at, object), f"{at}.{key}".lstrip(".")
    if isinstance(value, dt.datetime):
        raise wrong(place, "a day such as 2026-01-31, without a time")
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        return dt.date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise wrong(place, "a day such as 2026-01-31") from None


def wrong(place: str, why: str) -> Problem:
    """What is wrong in the file, and where."""
    return usage(f"the file's `{place}`: {why}", place=place)


def field_grant(name: str, transform: object, at: str) -> pb.FieldGrant:
    """A field and the form in which it leaves."""
    if not isinstance(transform, str) or not transform:
        raise wrong(f"{at}.fields.{name}", 'the transform is a text such as "full" or "last4"')
    return pb.FieldGrant(field=name, transform=transform)


def population_of(value: object, at: str) -> pb.Population:
    """Everyone, listed persons, or those for whom every condition holds."""
    if value == "everyone":
        return pb.Population(everyone=True)
    if isinstance(value, dict) and value.keys() == {"persons"}:
        return pb.Population(persons=pb.PersonList(person_ids=texts_of(value["persons"], f"{at}.persons")))
    if isinstance(value, dict) and value.keys() == {"where"}:
        conditions = flat_fields(table_of(value["where"], f"{at}.where"), f"{at}.where")
        predicates = [
            pb.Predicate(field=name, values=texts_of(values, f"{at}.where.{name}"))
            for name, values in sorted(conditions.items())
        ]
        return pb.Population(predicates=pb.PredicateList(predicates=predicates))
    raise wrong(at, '"everyone", { persons = ["P-..."] } or { where = { field = ["value"] } }')
