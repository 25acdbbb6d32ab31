"""A first mapping for a file, by headers in five languages and by what columns hold. A person reviews it.

What is not recognised is ignored with a comment, never sent to a field that it might not be.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from broker.catalogue import is_security_code
from broker.codes import COUNTRIES
from broker.errors import Reason, SlussError
from broker.intake.convert import day_reader
from broker.intake.mapping import DATE_FORMATS, Column, Mapping, checked
from broker.intake.words import COUNTRY_WORDS, HEADERS
from broker.values import validate

if TYPE_CHECKING:
    from collections.abc import Mapping as ReadOnly
    from collections.abc import Sequence

    from broker.catalogue import Catalogue

_TELLING: Final = (
    ("email", "email"),
    ("payment.iban", "iban"),
    ("payment.card_number", "card_number"),
    ("technical.last_ip", "ip"),
)
NUMBER: Final = "customer_number"
"""The field without which the broker stores no row of a file."""
_KEYS: Final = (NUMBER, "account.id", "email")
_EXTRAS = "EMAIL.2 TEL.2 TEL.cell.2 N.additional N.suffix ORG.unit CATEGORIES KIND NOTE PHOTO PRODID REV URL"
_VCARD_EXTRAS: Final = tuple(_EXTRAS.split())
_ENOUGH: Final = 0.8


def plain(header: str) -> str:
    """A header without case, accents and separators: `Födelse-datum` -> `fodelsedatum`."""
    folded = unicodedata.normalize("NFKD", header.casefold().replace("ß", "ss").replace("ø", "o"))
    return "".join(c for c in folded if c.isalnum())


@dataclass
class _Guess:
    """What has been settled so far."""

    columns: dict[str, Column] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    ignore: list[str] = field(default_factory=list)

    @property
    def fields(self) -> set[str]:
        return {column.field for column in self.columns.values()}

    def drop(self, name: str, note: str) -> None:
        self.ignore.append(name)
        self.notes[name] = note


def guess(
    header: Sequence[str],
    rows: Sequence[ReadOnly[str, str]],
    catalogue: Catalogue,
    *,
    input: str = "csv",  # noqa: A002 - the mapping's own word
    source: str = "import",
    country: str = "",
    encoding: str = "",
) -> Mapping:
    """A mapping for a file with these columns.

    Args:
        header: the column names.
        rows: some of the first rows, text by column name.
        catalogue: the fields that there are.
        input: `csv`, `jsonl` or `vcard`.
        source: recorded with every value.
        country: for telephone numbers without a country code, where the operator knows it.
        encoding: to declare, from `detect`.

    Raises:
        SlussError: MALFORMED when no column can tell persons apart.
    """
    settled = _Guess()
    for name in header:
        _by_header(name, rows, catalogue, settled)
    for name in header:
        if name not in settled.columns and name not in settled.ignore:
            _by_content(name, rows, catalogue, settled)
    if input == "vcard":
        for name in _VCARD_EXTRAS:
            if name not in settled.columns and name not in settled.ignore:
                settled.drop(name, "common in vCards: dropped unless you map it")
    key = next((key for key in _KEYS if key in settled.fields), "")
    if not key:
        raise SlussError(Reason.MALFORMED, "no column tells persons apart: none looks like a customer number")
    mapping = Mapping(
        input=input,
        source=source,
        key=key,
        columns=MappingProxyType(settled.columns),
        constants=MappingProxyType({}),
        ignore=tuple(settled.ignore),
        country=country,
        encoding=encoding,
        notes=MappingProxyType(settled.notes),
    )
    return checked(mapping, catalogue)


def warnings(mapping: Mapping, rows: Sequence[ReadOnly[str, str]]) -> list[str]:
    """What a person must know before importing with a guessed mapping: whose customer number is missing.

    Args:
        mapping: from `guess`.
        rows: those that it was guessed from.
    """
    column = next((name for name, column in mapping.columns.items() if column.field == NUMBER), "")
    vcard = mapping.input == "vcard"
    if not column:
        what = "none of the first cards has a UID" if vcard else "no column looks like one"
        why = f"The broker tells persons apart by it and stores no row without one: map the right column to {NUMBER}"
        return [f"No customer number: {what}. {why} and make that the key, or every row will be faulty."]
    lacking = sum(not row.get(column) for row in rows)
    if not lacking:
        return []
    kind = "cards" if vcard else "rows"
    return [f"{lacking} of the first {len(rows)} {kind} have no {column}, the customer number: they will be faulty."]


def _by_header(name: str, rows: Sequence[ReadOnly[str, str]], catalogue: Catalogue, settled: _Guess) -> None:
    if is_security_code(name):
        settled.drop(name, "a card's security code, which may never be stored")
        return
    found = field_named(name, catalogue)
    if found in settled.fields:
        settled.drop(name, f"another column is {found} already")
    elif found:
        _settle(name, found, rows, catalogue, settled)


def field_named(name: str, catalogue: Catalogue) -> str:
    """The field that a header names: its own name, its label in either language, or a known word."""
    wanted = plain(name)
    for known in catalogue.fields.values():
        if not known.forbidden and wanted in (
            plain(known.name),
            plain(known.label_en),
            plain(known.label_sv),
        ):
            return known.name
    found = HEADERS.get(wanted, "")
    return found if found in catalogue.fields else ""


def _settle(name: str, found: str, rows: Sequence[ReadOnly[str, str]], catalogue: Catalogue, settled: _Guess) -> None:
    texts = [row[name] for row in rows if row.get(name)]
    kind = catalogue.field(found).type
    column, note = Column(found), ""
    if kind == "date":
        order, note = _date_format(texts)
        column = Column(found, date=order)
    elif kind == "decimal" and any(re.search(r",[0-9]{1,2}$", text.strip()) for text in texts):
        column, note = Column(found, decimal=","), "decimal comma"
    elif kind == "country":
        column = Column(found, words=MappingProxyType(_country_words(texts)))
    settled.columns[name] = column
    if note:
        settled.notes[name] = note


def _by_content(name: str, rows: Sequence[ReadOnly[str, str]], catalogue: Catalogue, settled: _Guess) -> None:
    texts = [row[name] for row in rows if row.get(name)]
    for found, kind in _TELLING:
        if found in catalogue.fields and found not in settled.fields and _mostly(texts, kind):
            settled.columns[name] = Column(found)
            settled.notes[name] = "guessed by what the column holds: please check"
            return
    settled.drop(name, "not recognised: dropped unless you map it")


def _mostly(texts: Sequence[str], kind: str) -> bool:
    """Whether enough of a column is of one type, by types that nothing else is mistaken for."""
    return bool(texts) and sum(_is(kind, text) for text in texts) >= _ENOUGH * len(texts)


def _is(kind: str, text: str) -> bool:
    try:
        validate(kind, text)
    except SlussError:
        return False
    return True


def _date_format(texts: Sequence[str]) -> tuple[str, str]:
    """The order that reads every sample, and a comment where two orders do."""
    fitting = [order for order in DATE_FORMATS if texts and all(_reads(order, text) for text in texts)]
    if not fitting or "YYYY-MM-DD" in fitting or "YYYYMMDD" in fitting:
        return "", ""
    note = f"could also be {', '.join(fitting[1:])}: please check" if len(fitting) > 1 else ""
    return fitting[0], note


def _reads(order: str, text: str) -> bool:
    return _is("date", day_reader(order)(text))


def _country_words(texts: Sequence[str]) -> dict[str, str]:
    """Translations for a column that names countries; all that are known, since samples show only some."""
    if all(text.strip().upper() in COUNTRIES for text in texts):
        return {}
    return dict(COUNTRY_WORDS)
