"""How a catalogue's TOML file is read: whatever is not understood is refused with its line and key. Pure."""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from broker import values
from broker.catalogue import parse_usage
from broker.catalogue.forbidden import is_security_code
from broker.catalogue.model import (
    MAX_TEXT,
    VERSION,
    Catalogue,
    Category,
    Field,
    Kind,
    Policy,
    Purpose,
)
from broker.catalogue.place import Place, check_keys, label, name_of
from broker.channels import CHANNELS
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
_CATEGORIES: Final = tuple(category.value for category in Category)
_KINDS: Final = tuple(kind.value for kind in Kind)
_INDEX_TYPES: Final = {"email": "email", "phone": "phone", "customer_number": "text"}
_DPV = re.compile(r"https://w3id\.org/dpv(/[a-z0-9/-]+)?#[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_HEADER = re.compile(r"^\s*\[\[\s*(field|purpose|attribute|event)\s*\]\]", re.MULTILINE)

_FIELD_KEYS: Final = {
    "name": str,
    "category": str,
    "type": str,
    "en": str,
    "sv": str,
    "index": str,
    "max_length": int,
    "words": list,
    "forbidden": bool,
    "channels": list,
}
_CHOSEN: Final = frozenset({Kind.SECONDARY_OWN, Kind.SECONDARY_THIRD_PARTY})
_ACCEPTABLE: Final = (Kind.PRIMARY, Kind.SECONDARY_OWN, Kind.SECONDARY_THIRD_PARTY)
_PURPOSE_KEYS: Final = {
    "code": str,
    "kind": str,
    "dpv": str,
    "en": str,
    "sv": str,
    "payment": bool,
    "accepted_since": str,
    "channel": str,
}
_POLICY_KEYS: Final = {"version": str, "effective": str}
_USAGE_TABLES: Final[dict[str, type]] = {"aggregates": dict, "attribute": list, "event": list}
_OPTIONAL: Final = frozenset(
    {"index", "max_length", "words", "forbidden", "payment", "accepted_since", "channel", "channels"}
)


def parse_catalogue(toml_text: str) -> Catalogue:
    """Read a catalogue file; whatever is not understood is refused with its line and key.

    Raises:
        SlussError: MALFORMED with `line` (0 when it concerns the whole file) and `key`; UNSUPPORTED_VERSION;
            FIELD_FORBIDDEN for a field that looks like a card's security code.
    """
    try:
        tree = tomllib.loads(toml_text)
    except (ValueError, RecursionError) as error:
        raise SlussError(Reason.MALFORMED, f"catalogue: not TOML: {error}", line="0", key="") from None
    _check_top(tree)
    lines = _table_lines(toml_text)
    policy = _policy(tree["policy"])
    fields = _fields(tree["field"], lines["field"])
    purposes = _purposes(tree["purpose"], lines["purpose"])
    digest = hashlib.sha256(toml_text.encode("utf-8", "surrogatepass")).digest()
    return Catalogue(
        MappingProxyType(fields), MappingProxyType(purposes), policy, digest, **_usage(tree, lines, fields)
    )


@cache
def default_catalogue_text() -> str:
    """The catalogue file shipped with the broker, for a conferencing company under the policy."""
    return resources.files("broker").joinpath("data/catalogue.toml").read_text("utf-8")


@cache
def default_catalogue() -> Catalogue:
    """The shipped catalogue, parsed once."""
    return parse_catalogue(default_catalogue_text())


def _check_top(tree: dict[str, Any]) -> None:
    place = Place("top level")
    if "format" not in tree:
        raise place.refuse("format", "missing")
    if tree["format"] != FORMAT or isinstance(tree["format"], bool):
        raise SlussError(Reason.UNSUPPORTED_VERSION, f"catalogue: only format {FORMAT} is known")
    for key in tree:
        if key not in ("format", "policy", "field", "purpose", *_USAGE_TABLES):
            raise place.refuse(key, "unknown key")
    if not isinstance(tree.get("policy"), dict):
        raise place.refuse("policy", "a table is needed")
    for key in ("field", "purpose"):
        tables = tree.get(key)
        if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
            raise place.refuse(key, f"at least one [[{key}]] table is needed")

    _check_usage(tree, place)


def _check_usage(tree: dict[str, Any], place: Place) -> None:
    for key, kind in _USAGE_TABLES.items():
        given = tree.get(key, kind())
        tables = given if isinstance(given, list) else []
        if type(given) is not kind or not all(isinstance(table, dict) for table in tables):
            raise place.refuse(key, "a table is needed")
    if "aggregates" not in tree and tree.get("event"):
        raise place.refuse("aggregates", "a table is needed where there are events")


def _usage(tree: dict[str, Any], lines: dict[str, list[int]], fields: Mapping[str, Field]) -> dict[str, Any]:
    """What may be counted; a catalogue without events has none of it."""
    given = {kind: tree.get(kind, []) for kind in ("attribute", "event")}
    places = {kind: _places(kind, len(tables), lines[kind]) for kind, tables in given.items()}
    attributes = parse_usage.attributes(given["attribute"], places["attribute"], fields)
    return {
        "rules": parse_usage.rules(tree["aggregates"]) if "aggregates" in tree else None,
        "attributes": MappingProxyType(attributes),
        "events": MappingProxyType(parse_usage.events(given["event"], places["event"], attributes)),
    }


def _table_lines(text: str) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {"field": [], "purpose": [], "attribute": [], "event": []}
    for match in _HEADER.finditer(text):
        lines[match[1]].append(text.count("\n", 0, match.start(1)) + 1)
    return lines


def _places(what: str, count: int, lines: list[int]) -> list[Place]:
    """One place per table; without lines where headers in strings or inline tables would make them wrong."""
    known = lines if len(lines) == count else [0] * count
    return [Place(f"{what} {number}", line) for number, line in enumerate(known, 1)]


def _policy(table: dict[str, Any]) -> Policy:
    place = Place("policy")
    check_keys(table, _POLICY_KEYS, _OPTIONAL, place)
    if not VERSION.fullmatch(table["version"]):
        raise place.refuse("version", "letters, digits and . _ -, at most 32")
    try:
        effective = values.validate("datetime", table["effective"])
    except SlussError as error:
        raise place.refuse("effective", error.detail) from None
    return Policy(table["version"], effective)


def _fields(tables: list[dict[str, Any]], lines: list[int]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for table, place in zip(tables, _places("field", len(tables), lines), strict=True):
        field = _field(table, place)
        if field.name in fields:
            raise place.refuse("name", f"{field.name} stands twice")
        if field.index == "customer_number" and any(f.index == field.index for f in fields.values()):
            raise place.refuse("index", "only one field can be the customer number")
        fields[field.name] = field
    return fields


def _field(table: dict[str, Any], place: Place) -> Field:
    check_keys(table, _FIELD_KEYS, _OPTIONAL, place)
    name, kind, index = name_of(table["name"], "name", place), table["type"], table.get("index", "")
    forbidden = table.get("forbidden", False)
    if is_security_code(name) and not forbidden:
        detail = f"catalogue, {place.what}: {name} looks like a card's security code, which may never be stored"
        raise SlussError(Reason.FIELD_FORBIDDEN, detail, field=name, line=str(place.line), key="name")
    if table["category"] not in _CATEGORIES:
        raise place.refuse("category", f"unknown; one of {', '.join(_CATEGORIES)}")
    if kind not in values.TYPES:
        raise place.refuse("type", f"unknown; one of {', '.join(values.TYPES)}")
    if index and _INDEX_TYPES.get(index) != kind:
        raise place.refuse("index", "email, phone or customer_number, on a field of type email, phone or text")
    if not 1 <= table.get("max_length", MAX_TEXT) <= MAX_TEXT:
        raise place.refuse("max_length", f"1 to {MAX_TEXT}")
    return Field(
        name=name,
        category=Category(table["category"]),
        type=kind,
        label_en=label(table["en"], "en", place),
        label_sv=label(table["sv"], "sv", place),
        index=index,
        max_length=table.get("max_length", MAX_TEXT),
        words=_words(table.get("words", []), kind, place),
        forbidden=forbidden,
        channels=_channels(table.get("channels", []), table["category"], place),
    )


def _channels(channels: list[Any], category: str, place: Place) -> tuple[str, ...]:
    if channels and category != Category.CONTACT:
        raise place.refuse("channels", "only a contact field lets others reach the person")
    if any(channel not in CHANNELS for channel in channels) or len(set(channels)) != len(channels):
        raise place.refuse("channels", f"each one of {', '.join(CHANNELS)}, once")
    return tuple(sorted(channels))


def _words(words: list[Any], kind: str, place: Place) -> tuple[str, ...]:
    if (kind == "enum") is not bool(words):
        raise place.refuse("words", "a field of type enum has words, and no other")
    for word in words:
        if not isinstance(word, str) or not _is_word(word):
            raise place.refuse("words", "lower-case letters, digits and _ . -")
    if len(set(words)) != len(words):
        raise place.refuse("words", "a word stands twice")
    return tuple(words)


def _is_word(word: str) -> bool:
    try:
        return values.validate("enum", word) == word
    except SlussError:
        return False


def _purposes(tables: list[dict[str, Any]], lines: list[int]) -> dict[str, Purpose]:
    purposes: dict[str, Purpose] = {}
    places: dict[str, Place] = {}
    for table, place in zip(tables, _places("purpose", len(tables), lines), strict=True):
        purpose = _purpose(table, place)
        if purpose.code in purposes:
            raise place.refuse("code", f"{purpose.code} stands twice")
        purposes[purpose.code], places[purpose.code] = purpose, place
    for code, purpose in purposes.items():
        _check_parent(purpose, purposes, places[code])
    return purposes


def _purpose(table: dict[str, Any], place: Place) -> Purpose:
    check_keys(table, _PURPOSE_KEYS, _OPTIONAL, place)
    code = name_of(table["code"], "code", place)
    if table["kind"] not in _KINDS:
        raise place.refuse("kind", f"unknown; one of {', '.join(_KINDS)}")
    if not _DPV.fullmatch(table["dpv"]):
        raise place.refuse("dpv", "an IRI of the W3C Data Privacy Vocabulary (https://w3id.org/dpv#...)")
    if table.get("payment", False) and table["kind"] != Kind.PRIMARY:
        raise place.refuse("payment", "only a primary purpose can be for payment (policy, clause 4)")
    channel = table.get("channel", "")
    if channel and channel not in CHANNELS:
        raise place.refuse("channel", f"one of {', '.join(CHANNELS)}")
    if channel and table["kind"] not in _CHOSEN:
        raise place.refuse("channel", "only a secondary purpose is a person's choice (policy, clause 2)")
    _check_accepted_since(table, place)
    return Purpose(
        code=code,
        kind=Kind(table["kind"]),
        dpv=table["dpv"],
        label_en=label(table["en"], "en", place),
        label_sv=label(table["sv"], "sv", place),
        payment=table.get("payment", False),
        channel=channel,
        accepted_since=table.get("accepted_since", ""),
    )


def _check_accepted_since(table: dict[str, Any], place: Place) -> None:
    if "accepted_since" not in table:
        return
    if not VERSION.fullmatch(table["accepted_since"]):
        raise place.refuse("accepted_since", "a policy version: letters, digits and . _ -, at most 32")
    if table["kind"] not in _ACCEPTABLE:
        raise place.refuse("accepted_since", "only for what goes out under a contract: no legal or anonymous purpose")


def _check_parent(purpose: Purpose, purposes: Mapping[str, Purpose], place: Place) -> None:
    """A grant covers descendants, so a purpose may not hide below one of another class."""
    if not purpose.parent:
        return
    parent = purposes.get(purpose.parent)
    if parent is None:
        raise place.refuse("code", f"{purpose.code} has no purpose {purpose.parent} above it")
    if parent.kind is not purpose.kind:
        raise place.refuse("kind", f"{purpose.code} is below {parent.code}, which is {parent.kind}")
    if parent.channel and parent.channel != purpose.channel:
        raise place.refuse("channel", f"{purpose.code} is below {parent.code}, which is for {parent.channel}")
