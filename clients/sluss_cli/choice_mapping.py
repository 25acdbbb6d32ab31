"""Mappings of preference lists: which column says what, and which word means what; a reviewed TOML file, strictly read.

format = 1
zone = "Europe/Stockholm"     # of times that say none, and of days
country = "SE"                # of telephone numbers without a country code
encoding = "cp1252"           # only where the file has no byte order mark and is not UTF-8
ignore = ["Anteckning"]       # columns dropped on purpose; any other unknown column is refused

[columns]
Kundnummer = "customer_number"
"Ändamål" = { column = "purpose", words = { Nyheter = "offers.news" } }
Kanal = { column = "channels", words = { "e-post" = "email", alla = "" } }
Samtycke = { column = "state", words = { ja = "in", nej = "out", "vet ej" = "" } }   # "" is no choice: left out
Datum = { column = "chosen_at", date = "DD.MM.YYYY" }
SMS = { column = "state", channels = "sms", words = { ja = "in", nej = "out" } }    # a column for each channel, or
"Enkäter" = { column = "state", purpose = "surveys", words = { ja = "in", nej = "out" } }   # for each purpose

[constants]
source = "preference-centre"
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from dataclasses import field as attribute
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from broker.channels import CHANNELS
from broker.codes import CALLING_CODES
from broker.contracts import CODE
from broker.intake.mapping import DATE_FORMATS, DELIMITERS, ENCODINGS, codec, toml_key, toml_text
from sluss_cli.problems import usage
from sluss_cli.toml_file import known_members, member, read_toml, table_of, text_of, wrong
from sluss_cli.values import CHOICES, parse_channels

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
KEYS: Final = {"person": "person_id", "customer_number": "customer_number", "email": "email", "phone": "phone"}
"""A column that names persons -> the field of the message."""
COLUMNS: Final = ("purpose", "channels", "state", "medium", "source", "evidence", "chosen_at")
TOLD: Final = ("policy_version",)
"""Columns of an export that an import passes over: the broker finds them by when the person chose."""
CONSTANTS: Final = ("purpose", "channels", "state", "medium", "source", "evidence")
UNKNOWN: Final = "?"
"""What a guess writes where a person has to say it."""
_HEAD: Final = ("zone", "country", "encoding", "delimiter")
_WORDED: Final = ("purpose", "channels", "state")
_WORD: Final = re.compile(r"[a-z][a-z0-9._:-]{0,63}", re.ASCII)
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True)
class Column:
    """What one column of a file says.

    Attributes:
        column: what it is, one of `KEYS` and `COLUMNS`.
        words: what stands for a word of the file, compared without case; without any, the cell itself.
        date: the order of day and month under `chosen_at`, one of `DATE_FORMATS`; empty for ISO 8601.
        purpose: of a `state`: what its choices are about, whatever else the row says.
        channels: of a `state`: the channels that they are for, likewise.
    """

    column: str
    words: Mapping[str, str] = attribute(default_factory=lambda: MappingProxyType({}))
    date: str = ""
    purpose: str = ""
    channels: str = ""


@dataclass(frozen=True)
class ListMapping:
    """A list's mapping; see the head of this module for each entry. `notes` are comments by column or entry."""

    columns: Mapping[str, Column]
    constants: Mapping[str, str] = attribute(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()
    zone: str = ""
    country: str = ""
    encoding: str = ""
    delimiter: str = ""
    notes: Mapping[str, str] = attribute(default_factory=lambda: MappingProxyType({}))

    def headers(self, column: str) -> list[str]:
        """The headers of a column; several only of `state`."""
        return [header for header, each in self.columns.items() if each.column == column]


def own_mapping(names: list[str]) -> ListMapping:
    """The mapping of a file whose columns have the names that this command knows.

    Raises:
        Problem: USAGE, naming the places of the others: in a file without a header a person's data stands there.
    """
    unknown = [str(place) for place, name in enumerate(names, 1) if name not in (*KEYS, *COLUMNS, *TOLD)]
    if unknown:
        raise usage(
            f"column {', '.join(unknown[:10])}: none of {', '.join((*KEYS, *COLUMNS))}. Print a mapping with --guess,"
            " review it, and give it with --mapping. A file without a header needs --key"
        )
    if not set(KEYS) & set(names):
        raise usage(f"no column names persons: one of {', '.join(KEYS)} is needed")
    return ListMapping({name: Column(name) for name in names if name not in TOLD}, ignore=TOLD)


def check_header(mapping: ListMapping, names: list[str]) -> None:
    """Refuses a file that the mapping does not fit, before its first row.

    Raises:
        Problem: USAGE; columns that the mapping does not know are told by their places.
    """
    missing = [name for name in mapping.columns if name not in names]
    if missing:
        raise usage(f"the file has no column {', '.join(sorted(missing)[:5])}, which the mapping names")
    unknown = [str(place) for place, name in enumerate(names, 1) if name not in (*mapping.columns, *mapping.ignore)]
    if unknown:
        raise usage(f"column {', '.join(unknown[:10])} of the file is neither mapped nor ignored")


def parse_list_mapping(text: str) -> ListMapping:
    """Reads a mapping file; whatever is not understood is refused by its place.

    Raises:
        Problem: USAGE.
    """
    top = read_toml(text)
    known_members(top, {"format", "ignore", "columns", "constants", *_HEAD}, "")
    if member(top, "format", "", int) != FORMAT:
        raise wrong("format", f"only {FORMAT} is known")
    ignore = top.get("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(each, str) for each in ignore):
        raise wrong("ignore", "a list of column names")
    columns = {name: _column(name, value) for name, value in member(top, "columns", "", dict).items()}
    mapping = ListMapping(
        MappingProxyType(columns),
        MappingProxyType(_constants(top.get("constants", {}))),
        tuple(ignore),
        zone=text_of(top, "zone", required=False),
        country=text_of(top, "country", required=False),
        encoding=text_of(top, "encoding", required=False),
        delimiter=text_of(top, "delimiter", required=False),
    )
    _check_head(mapping)
    _check_columns(mapping)
    return mapping


def check_zone(zone: str) -> str:
    """The zone; USAGE if there is none of this name."""
    if zone:
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, KeyError):
            raise usage("the time zone is none that is known here: one such as Europe/Stockholm, or UTC") from None
    return zone


def _column(header: str, value: object) -> Column:
    at = f"columns.{header}"
    if isinstance(value, str):
        value = {"column": value}
    table = table_of(value, at)
    known_members(table, {"column", "words", "date", "purpose", "channels"}, at)
    column = text_of(table, "column", at)
    if column not in (*KEYS, *COLUMNS):
        raise wrong(at, f"one of {', '.join((*KEYS, *COLUMNS))}")
    own = {name: text_of(table, name, at, required=False) for name in ("date", "purpose", "channels")}
    if own["date"] and (column != "chosen_at" or own["date"] not in DATE_FORMATS):
        raise wrong(f"{at}.date", f"one of {', '.join(DATE_FORMATS)}, for chosen_at")
    for name in ("purpose", "channels"):
        if own[name] and column != "state":
            raise wrong(f"{at}.{name}", "only a `state` is for a purpose or channels of its own")
        if own[name]:
            _check_value(name, own[name], f"{at}.{name}")
    words = _words(column, table_of(table.get("words", {}), f"{at}.words"), f"{at}.words")
    return Column(column, MappingProxyType(words), **own)


def _words(column: str, words: Mapping[str, Any], at: str) -> dict[str, str]:
    if words and column not in _WORDED:
        raise wrong(at, f"only for {', '.join(_WORDED)}")
    for word, meant in words.items():
        if not isinstance(meant, str):
            raise wrong(f"{at}.{word}", "must be a text")
        if meant or column == "purpose":
            _check_value(column, meant, f"{at}.{word}")
    return {word.strip().casefold(): meant for word, meant in words.items()}


def _constants(value: object) -> dict[str, str]:
    table = table_of(value, "constants")
    known_members(table, set(CONSTANTS), "constants")
    for name, text in table.items():
        if not isinstance(text, str):
            raise wrong(f"constants.{name}", "must be a text")
        _check_value(name, text, f"constants.{name}")
    return dict(table)


def _check_value(name: str, text: str, at: str) -> None:
    """What a purpose, a list of channels, a state or another constant is written as."""
    if text == UNKNOWN:
        raise wrong(at, "say what it is in place of the question mark")
    if name == "state" and text not in CHOICES:
        raise wrong(at, "`in`, `out`, or nothing for no choice")
    if name == "purpose" and not CODE.fullmatch(text):
        raise wrong(at, "a purpose such as offers.email")
    if name == "channels" and not (set(parse_channels(text)) <= set(CHANNELS) and text.strip()):
        raise wrong(at, f"channels of {', '.join(CHANNELS)}, such as email,sms")
    if name in ("medium", "source") and not _WORD.fullmatch(text):
        raise wrong(at, "1 to 64 of a-z, 0-9 and . _ : -, starting with a letter")
    if name == "evidence" and not _TEXT.fullmatch(text):
        raise wrong(at, "a text of at most 200 characters")


def _check_head(mapping: ListMapping) -> None:
    if mapping.zone == UNKNOWN:
        raise wrong("zone", "say what it is in place of the question mark")
    check_zone(mapping.zone)
    if mapping.country and mapping.country not in CALLING_CODES:
        raise wrong("country", "a code of two letters such as SE")
    if mapping.encoding and codec(mapping.encoding) not in ENCODINGS:
        raise wrong("encoding", f"one of {', '.join(ENCODINGS)}")
    if mapping.delimiter and mapping.delimiter not in DELIMITERS:
        raise wrong("delimiter", "comma, semicolon, tab or bar")


def _check_columns(mapping: ListMapping) -> None:
    counts = Counter(each.column for each in mapping.columns.values())
    twice = [name for name, count in counts.items() if count > 1 and name != "state"]
    if twice:
        raise wrong("columns", f"two columns are {twice[0]}")
    if not set(KEYS) & counts.keys():
        raise wrong("columns", f"one names persons: {', '.join(KEYS)}")
    states = [mapping.columns[header] for header in mapping.headers("state")]
    if len(states) > 1 and len({(each.purpose, each.channels) for each in states}) < len(states):
        raise wrong("columns", "several columns are `state`: say of each its purpose or its channels")
    both = [name for name in mapping.ignore if name in mapping.columns]
    if both:
        raise wrong(f"columns.{both[0]}", "both mapped and ignored")


def to_toml(mapping: ListMapping) -> str:
    """The mapping as a file that `parse_list_mapping` reads back, with its notes as comments."""
    lines = [f"format = {FORMAT}"]
    head = {name: text for name in _HEAD if (text := getattr(mapping, name))}
    lines += [f"{name} = {toml_text(text)}{_note(mapping, name)}" for name, text in head.items()]
    lines.append("ignore = [")
    lines += [f"  {toml_text(name)},{_note(mapping, name)}" for name in mapping.ignore]
    lines += ["]", "", "[columns]"]
    lines += [f"{toml_key(name)} = {_entry(each)}{_note(mapping, name)}" for name, each in mapping.columns.items()]
    lines += ["", "[constants]"]
    lines += [
        f"{name} = {toml_text(text)}{_note(mapping, f'constants.{name}')}" for name, text in mapping.constants.items()
    ]
    return "\n".join(lines) + "\n"


def _entry(column: Column) -> str:
    own: dict[str, Any] = {name: getattr(column, name) for name in ("date", "purpose", "channels")}
    parts = [f"{name} = {toml_text(text)}" for name, text in own.items() if text]
    if column.words:
        words = ", ".join(f"{toml_key(word)} = {toml_text(meant)}" for word, meant in column.words.items())
        parts.append(f"words = {{ {words} }}")
    if not parts:
        return toml_text(column.column)
    return "{ " + ", ".join([f"column = {toml_text(column.column)}", *parts]) + " }"


def _note(mapping: ListMapping, name: str) -> str:
    note = mapping.notes.get(name, "")
    return f"  # {note}" if note else ""
