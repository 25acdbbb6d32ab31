"""A contract's terms as a TOML file: read strictly, every mistake named by its place in the file."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from sluss.v1 import contract_pb2 as pb

from sluss_cli.problems import Problem, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = """\
# The terms of a contract. `sluss contract propose FILE.toml` sends them; the subcontractor signs them.

subcontractor = "subcontractor/acme-pay"      # the name in the recipient's certificate
recipient_name = "Acme Payments AB"           # as a person reads it in an accounting of disclosures
recipient_address = "Storgatan 1, 111 22 Stockholm, Sweden"
valid_from = 2026-01-01                       # first day, UTC
valid_until = 2030-12-31                      # last day, UTC
reference = "DPA-2026-17"                     # where the signed paper is to be found

[[grants]]
purpose = "billing"                           # covers billing.collection and the other descendants
population = "everyone"                       # or: population.persons = ["P-..."]
retention_days = 30                           # the recipient deletes after this many days
volume = { day = 10000, month = 100000 }      # persons per window: hour, day, month
[grants.fields]                               # field = the form in which it leaves
name.display = "full"
email = "full"
phone = "full"
payment.card_number = "last4"

[[grants]]
purpose = "service.delivery"
retention_days = 7
volume = { day = 500 }
[grants.population.where]                     # every condition must hold; the values never leave
address.country = ["SE", "NO"]
[grants.fields]
name.given = "first"
phone = "full"
"""

_TOP = {
    "subcontractor",
    "recipient_name",
    "recipient_address",
    "valid_from",
    "valid_until",
    "reference",
    "grants",
}
_GRANT = {"purpose", "population", "retention_days", "volume", "fields"}
_WINDOWS = ("hour", "day", "month")
_MAX_NESTING = 8

_T = TypeVar("_T")


def parse_contract(text: str) -> pb.ContractTerms:
    """The terms from a TOML text.

    Raises:
        Problem: USAGE, naming the line (TOML syntax) or the place (`grants[2].volume.week`) and what is
            expected.
    """
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of which TOMLDecodeError is one, a number of 5,000 digits another
        raise usage(f"the contract is not TOML: {error}") from None
    _known(top, _TOP, "")
    grants = _get(top, "grants", "", list)
    if not grants:
        raise _wrong("grants", "at least one [[grants]] is needed")
    return pb.ContractTerms(
        subcontractor=_text(top, "subcontractor"),
        recipient_name=_text(top, "recipient_name"),
        recipient_address=_text(top, "recipient_address"),
        valid_from=_day(top, "valid_from"),
        valid_until=_day(top, "valid_until"),
        reference=_text(top, "reference", required=False),
        grants=[_grant(each, f"grants[{number}]") for number, each in enumerate(grants, 1)],
    )


def _grant(value: object, at: str) -> pb.Grant:
    grant = _table(value, at)
    _known(grant, _GRANT, at)
    fields = _flat(_get(grant, "fields", at, dict), f"{at}.fields")
    return pb.Grant(
        purpose=_text(grant, "purpose", at),
        fields=[_field(name, transform, at) for name, transform in sorted(fields.items())],
        population=_population(_get(grant, "population", at, object), f"{at}.population"),
        retention_days=_count(_get(grant, "retention_days", at, int), f"{at}.retention_days", 3650),
        volumes=_volumes(_get(grant, "volume", at, dict), f"{at}.volume"),
    )


def _field(name: str, transform: object, at: str) -> pb.FieldGrant:
    if not isinstance(transform, str) or not transform:
        raise _wrong(f"{at}.fields.{name}", 'the transform is a text such as "full" or "last4"')
    return pb.FieldGrant(field=name, transform=transform)


def _population(value: object, at: str) -> pb.Population:
    if value == "everyone":
        return pb.Population(everyone=True)
    if isinstance(value, dict) and value.keys() == {"persons"}:
        return pb.Population(persons=pb.PersonList(person_ids=_texts(value["persons"], f"{at}.persons")))
    if isinstance(value, dict) and value.keys() == {"where"}:
        conditions = _flat(_table(value["where"], f"{at}.where"), f"{at}.where")
        predicates = [
            pb.Predicate(field=name, values=_texts(values, f"{at}.where.{name}"))
            for name, values in sorted(conditions.items())
        ]
        return pb.Population(predicates=pb.PredicateList(predicates=predicates))
    raise _wrong(at, '"everyone", { persons = ["P-..."] } or { where = { field = ["value"] } }')


def _volumes(windows: Mapping[str, object], at: str) -> list[pb.Volume]:
    _known(windows, set(_WINDOWS), at)
    if not windows:
        raise _wrong(at, "at least one of hour, day, month")
    return [
        pb.Volume(window=window, persons=_count(windows[window], f"{at}.{window}", 10**9))
        for window in _WINDOWS
        if window in windows
    ]


def _flat(table: Mapping[str, object], at: str, prefix: str = "", depth: int = 0) -> dict[str, object]:
    """`name.display = 1` reads as a table in a table; field names are the dotted paths."""
    if depth > _MAX_NESTING:
        raise _wrong(at, "nested too deeply")
    flat: dict[str, object] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found = _flat(value, at, f"{name}.", depth + 1) if isinstance(value, dict) else {name: value}
        if flat.keys() & found.keys():
            raise _wrong(f"{at}.{name}", "named twice")
        flat |= found
    if not flat:
        raise _wrong(at + ("." + prefix.rstrip(".") if prefix else ""), "at least one field is needed")
    return flat


def _known(table: Mapping[str, object], allowed: set[str], at: str) -> None:
    for key in table:
        if key not in allowed:
            raise _wrong(f"{at}.{key}".lstrip("."), f"unknown; expected one of {', '.join(sorted(allowed))}")


def _get(table: Mapping[str, Any], key: str, at: str, kind: type[_T]) -> _T:
    place = f"{at}.{key}".lstrip(".")
    if key not in table:
        raise _wrong(place, "missing")
    value = table[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong(place, f"must be {_KINDS[kind]}")
    return value


_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
    object: "given",
}


def _text(table: Mapping[str, Any], key: str, at: str = "", *, required: bool = True) -> str:
    if not required and key not in table:
        return ""
    value = _get(table, key, at, str)
    if required and not value.strip():
        raise _wrong(f"{at}.{key}".lstrip("."), "must not be empty")
    return value


def _texts(value: object, at: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise _wrong(at, "must be a list of texts, at least one")
    return value


def _table(value: object, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(at, "must be a table")
    return value


def _count(value: object, at: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _wrong(at, f"must be a whole number from 1 to {most}")
    return value


def _day(top: Mapping[str, Any], key: str) -> str:
    value = _get(top, key, "", object)
    if isinstance(value, dt.datetime):
        raise _wrong(key, "a day such as 2026-01-31, without a time")
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        return dt.date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise _wrong(key, "a day such as 2026-01-31") from None


def _wrong(place: str, why: str) -> Problem:
    return usage(f"the contract's `{place}`: {why}", place=place)
