"""Mappings: which column of a file is which field; a reviewed TOML file, strictly read.

format = 1
input = "csv"                 # csv, jsonl, vcard
source = "crm-export-2026"    # recorded with every value (policy 1a)
key = "customer_number"       # the field that tells persons apart; a row without it is faulty
country = "SE"                # for telephone numbers without a country code, when the row has no country
encoding = "cp1252"           # only where the file has no byte order mark and is not UTF-8
delimiter = ";"               # only where it can't be told from the header
ignore = ["Notes"]            # columns dropped on purpose; any other unknown column is refused

[columns]
"E-post" = "email"
"Född" = { field = "birth_date", date = "DD.MM.YYYY" }
"Land" = { field = "address.country", words = { "Sverige" = "SE", "Norge" = "NO" } }
"Saldo" = { field = "invoice.amount", decimal = "," }

[constants]
language = "sv"
"""

from __future__ import annotations

import codecs
import re
import tomllib
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from broker.catalogue import is_security_code
from broker.codes import COUNTRIES
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Mapping as ReadOnly

    from broker.catalogue import Catalogue

FORMAT: Final = 1
INPUTS: Final = ("csv", "jsonl", "vcard")
DELIMITERS: Final = (",", ";", "\t", "|")
DATE_FORMATS: Final = (
    "YYYY-MM-DD",
    "YYYY/MM/DD",
    "YYYY.MM.DD",
    "YYYYMMDD",
    "DD.MM.YYYY",
    "DD/MM/YYYY",
    "DD-MM-YYYY",
    "MM/DD/YYYY",
)
_SOURCE = re.compile(r"[a-z][a-z0-9._:-]{0,63}", re.ASCII)
ENCODINGS: Final = ("utf-8", "utf-16", "cp1252", "iso8859-1", "iso8859-15", "cp1250", "cp1251")
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """How one column becomes a field.

    Attributes:
        field: the field's name.
        date: the order of day and month in the file, one of `DATE_FORMATS`; empty for ISO 8601.
        decimal: `,` when that is the file's decimal sign; then `.` and spaces are taken for grouping.
        words: what to put for a word, compared without case.
    """

    field: str
    date: str = ""
    decimal: str = ""
    words: ReadOnly[str, str] = attribute(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Mapping:
    """A file's mapping; see the head of this module for each entry. `notes` are comments by column."""

    input: str
    source: str
    key: str
    columns: ReadOnly[str, Column]
    constants: ReadOnly[str, str]
    ignore: tuple[str, ...] = ()
    country: str = ""
    encoding: str = ""
    delimiter: str = ""
    notes: ReadOnly[str, str] = attribute(default_factory=lambda: MappingProxyType({}))

    def with_source(self, source: str) -> Mapping:
        """The same mapping for another source."""
        return replace(self, source=source)

    def knows(self, column: str) -> bool:
        """Whether a column is mapped or dropped on purpose."""
        return column in self.columns or column in self.ignore or "*" in self.ignore


def _refuse(key: str, problem: str) -> NoReturn:
    raise SlussError(Reason.MALFORMED, f"mapping, {key}: {problem}", key=key)


def parse_mapping(toml_text: str, catalogue: Catalogue) -> Mapping:
    """Read a mapping file; whatever is not understood is refused by its key.

    Raises:
        SlussError: MALFORMED with `key`, UNSUPPORTED_VERSION, FIELD_UNKNOWN, FIELD_FORBIDDEN.
    """
    try:
        tree = tomllib.loads(toml_text)
    except (ValueError, RecursionError) as error:
        raise SlussError(Reason.MALFORMED, f"mapping: not TOML: {error}", key="") from None
    if tree.pop("format", None) != FORMAT:
        raise SlussError(Reason.UNSUPPORTED_VERSION, f"mapping: only format {FORMAT} is known")
    mapping = Mapping(
        input=_text(tree, "input"),
        source=_text(tree, "source"),
        key=_text(tree, "key"),
        columns=_columns(_table(tree, "columns")),
        constants=MappingProxyType(_table(tree, "constants")),
        ignore=_ignore(tree.pop("ignore", [])),
        country=_text(tree, "country"),
        encoding=_text(tree, "encoding"),
        delimiter=_text(tree, "delimiter"),
    )
    for name in tree:
        _refuse(name, "unknown key")
    return checked(mapping, catalogue)


def _table(tree: dict[str, Any], name: str) -> dict[str, Any]:
    table = tree.pop(name, {})
    if not isinstance(table, dict):
        _refuse(name, "a table is needed")
    return table


def _text(tree: dict[str, Any], name: str) -> str:
    text = tree.pop(name, "")
    if not isinstance(text, str):
        _refuse(name, "text is needed")
    return text


def _ignore(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        _refuse("ignore", "a list of column names is needed")
    return tuple(names)


def _columns(table: dict[str, Any]) -> ReadOnly[str, Column]:
    return MappingProxyType({name: _column(name, entry) for name, entry in table.items()})


def _column(name: str, entry: Any) -> Column:
    if isinstance(entry, str):
        return Column(entry)
    if not isinstance(entry, dict):
        _refuse(name, "a field's name, or a table with field")
    for key, value in entry.items():
        if key not in ("field", "date", "decimal", "words"):
            _refuse(f"{name}.{key}", "unknown key")
        if not isinstance(value, dict if key == "words" else str):
            _refuse(f"{name}.{key}", "of the wrong type")
    words = entry.get("words", {})
    if not all(isinstance(word, str) for word in words.values()):
        _refuse(f"{name}.words", "text is needed")
    folded = MappingProxyType({word.casefold(): value for word, value in words.items()})
    return Column(entry.get("field", ""), entry.get("date", ""), entry.get("decimal", ""), folded)


def checked(mapping: Mapping, catalogue: Catalogue) -> Mapping:
    """The mapping, when it fits the catalogue.

    Raises:
        SlussError: MALFORMED with `key`, FIELD_UNKNOWN, FIELD_FORBIDDEN.
    """
    _check_head(mapping)
    fields = [column.field for column in mapping.columns.values()] + list(mapping.constants)
    for name in fields:
        catalogue.field(name)
        if fields.count(name) > 1:
            _refuse(name, "two columns or constants for one field")
    if mapping.key not in fields or mapping.key in mapping.constants:
        _refuse("key", "must be the field of one of the columns")
    for name, column in mapping.columns.items():
        _check_column(name, column, mapping, catalogue)
    for name, text in mapping.constants.items():
        if not isinstance(text, str):
            _refuse(name, "a constant is text")
        catalogue.field(name).accept(text)
    return mapping


def _check_head(mapping: Mapping) -> None:
    if mapping.input not in INPUTS:
        _refuse("input", f"one of {', '.join(INPUTS)}")
    if not _SOURCE.fullmatch(mapping.source):
        _refuse("source", "1 to 64 of a-z, 0-9 and . _ : -, starting with a letter")
    if mapping.country and mapping.country not in COUNTRIES:
        _refuse("country", "an ISO 3166-1 alpha-2 code")
    if mapping.encoding and codec(mapping.encoding) not in ENCODINGS:
        _refuse("encoding", f"one of {', '.join(ENCODINGS)}")
    if mapping.delimiter and mapping.delimiter not in DELIMITERS:
        _refuse("delimiter", "comma, semicolon, tab or bar")
    if not mapping.columns:
        _refuse("columns", "at least one is needed")


def codec(encoding: str) -> str:
    """The one name of an encoding; empty for none."""
    try:
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return ""


def _check_column(name: str, column: Column, mapping: Mapping, catalogue: Catalogue) -> None:
    kind = catalogue.field(column.field).type
    if is_security_code(name):
        raise SlussError(Reason.FIELD_FORBIDDEN, "a card's security code may never be stored", field=column.field)
    if name in mapping.ignore:
        _refuse(name, "both mapped and ignored")
    if column.date and (column.date not in DATE_FORMATS or kind != "date"):
        _refuse(f"{name}.date", f"one of {', '.join(DATE_FORMATS)}, for a field of type date")
    if column.decimal and (column.decimal != "," or kind != "decimal"):
        _refuse(f"{name}.decimal", "only a comma, for a field of type decimal")


# --- writing --------------------------------------------------------------------------------------


def to_toml(mapping: Mapping) -> str:
    """The mapping as a file that `parse_mapping` reads back, with its notes as comments."""
    lines = [f"format = {FORMAT}"]
    head = ("input", "source", "key", "country", "encoding", "delimiter")
    lines += [f"{name} = {toml_text(getattr(mapping, name))}" for name in head if getattr(mapping, name)]
    lines.append("ignore = [")
    lines += [f"  {toml_text(name)},{_note(mapping, name)}" for name in mapping.ignore]
    lines += ["]", "", "[columns]"]
    lines += [f"{toml_key(name)} = {_entry(column)}{_note(mapping, name)}" for name, column in mapping.columns.items()]
    lines += ["", "[constants]"]
    lines += [f"{toml_key(name)} = {toml_text(text)}" for name, text in mapping.constants.items()]
    return "\n".join(lines) + "\n"


def _entry(column: Column) -> str:
    parts = [f"{key} = {toml_text(getattr(column, key))}" for key in ("date", "decimal") if getattr(column, key)]
    if column.words:
        words = ", ".join(f"{toml_key(word)} = {toml_text(value)}" for word, value in column.words.items())
        parts.append(f"words = {{ {words} }}")
    if not parts:
        return toml_text(column.field)
    return "{ " + ", ".join([f"field = {toml_text(column.field)}", *parts]) + " }"


def _note(mapping: Mapping, name: str) -> str:
    note = mapping.notes.get(name, "")
    return f"  # {note}" if note else ""


def toml_key(text: str) -> str:
    """A TOML key: bare where it can be."""
    return text if _BARE.fullmatch(text) else toml_text(text)


def toml_text(text: str) -> str:
    """A TOML basic string; everything that is not plainly visible is escaped."""
    out = []
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif character.isprintable():
            out.append(character)
        else:
            out.append(f"\\U{ord(character):08X}")
    return '"' + "".join(out) + '"'
