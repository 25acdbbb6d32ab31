"""From a file's record to a row of validated fields: dates, decimals, words and numbers put in form."""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Final

from broker.codes import CALLING_CODES
from broker.errors import SlussError
from broker.intake.faults import Fault, Record, Row
from broker.values import mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.catalogue import Catalogue, Field
    from broker.intake.mapping import Column, Mapping

_COUNTRY: Final = "address.country"
_DIGITS = re.compile(r"[^0-9]", re.ASCII)
_DAY_PARTS: Final = {"YYYY": r"(?P<y>[0-9]{4})", "MM": r"(?P<m>[0-9]{1,2})", "DD": r"(?P<d>[0-9]{1,2})"}


def international(text: str, country: str) -> str:
    """A telephone number with its country code; unchanged when it has one or the country is unknown.

    Args:
        text: as written, national (`070-174 06 05`) or international.
        country: ISO 3166-1 alpha-2, or empty.
    """
    text = text.strip()
    if text.startswith(("+", "00", "tel:")) or country not in CALLING_CODES:
        return text
    code, trunk = CALLING_CODES[country]
    digits = _DIGITS.sub("", text.replace("(0)", "0"))
    # Russian area codes begin with the trunk prefix 8 too, so there the length decides.
    if trunk and digits.startswith(trunk) and (trunk[0] == "0" or len(digits) == 11):  # noqa: PLR2004 - 8 and 10 digits
        digits = digits[len(trunk) :]
    return text if re.search(r"[^0-9 ()./-]", text) else f"+{code}{digits}"


def day_reader(date_format: str) -> Callable[[str], str]:
    """A function that turns a date in this order into ISO 8601, and all else into what its type refuses."""
    pattern = re.escape(date_format)
    for part, group in _DAY_PARTS.items():
        pattern = pattern.replace(part, group if date_format != "YYYYMMDD" else group.replace("1,2", "2"))
    regex = re.compile(pattern, re.ASCII)

    def read(text: str) -> str:
        match = regex.fullmatch(text.strip())
        # An order that does not fit must not be mistaken for another one that does.
        return f"{match['y']}-{match['m']:0>2}-{match['d']:0>2}" if match else "not in the mapping's date format"

    return read


def _decimal_comma(text: str) -> str:
    return re.sub(r"[.\s\u00a0\u202f']", "", text).replace(",", ".")


class _Plan:
    """How one column's text becomes one field's value."""

    def __init__(self, field: Field, column: Column) -> None:
        self.field = field
        self.phone = field.type == "phone"
        self._words = column.words
        self._prepare: Callable[[str], str] | None = None
        if column.date:
            self._prepare = day_reader(column.date)
        elif column.decimal:
            self._prepare = _decimal_comma

    def value(self, text: str, country: str) -> str:
        """The normal form; raises SlussError."""
        if self._words:
            text = self._words.get(text.strip().casefold(), text)
        if self._prepare is not None:
            text = self._prepare(text)
        elif self.phone:
            text = international(text, country)
        return self.field.accept(text)


class Converter:
    """Turns records into rows under one mapping; keeps 16 to 32 bytes per row, to see a key twice.

    Args:
        mapping: a checked mapping.
        catalogue: the fields.
    """

    def __init__(self, mapping: Mapping, catalogue: Catalogue) -> None:
        self._mapping = mapping
        self._plans = {name: _Plan(catalogue.field(column.field), column) for name, column in mapping.columns.items()}
        self._constants = {name: catalogue.field(name).accept(text) for name, text in mapping.constants.items()}
        self._country_column = next((name for name, column in mapping.columns.items() if column.field == _COUNTRY), "")
        self._default_country = mapping.country or self._constants.get(_COUNTRY, "")
        self._keys = KeySet()

    def row(self, record: Record) -> Row:
        """The row of one record; with a fault it has no values."""
        if record.problem:
            return Row(record.line, {}, (Fault(record.line, "", record.problem),), record.raw)
        values = dict(self._constants)
        faults: list[Fault] = []
        country = self._country(record)
        for name, text in record.columns.items():
            plan = self._plans.get(name)
            if plan is not None:
                try:
                    values[plan.field.name] = plan.value(text, country)
                except SlussError as error:
                    faults.append(_fault(record.line, plan.field.name, error, text))
            elif not self._mapping.knows(name):
                faults.append(Fault(record.line, "", "unknown_column: neither mapped nor ignored", mask(name)))
        faults += self._key_faults(record.line, values, faults)
        return Row(record.line, {}, tuple(faults), record.raw) if faults else Row(record.line, values)

    def _country(self, record: Record) -> str:
        """The row's own country when it has a valid one, else the mapping's."""
        text = record.columns.get(self._country_column, "")
        if not text:
            return self._default_country
        try:
            return self._plans[self._country_column].value(text, "")
        except SlussError:
            return ""

    def _key_faults(self, line: int, values: dict[str, str], faults: list[Fault]) -> list[Fault]:
        """A key is needed and stands once; a faulty row does not use it up: its correction comes later."""
        field = self._mapping.key
        key = values.get(field, "")
        if not key:
            known = any(fault.field == field for fault in faults)
            return [] if known else [Fault(line, field, "missing_key: every row needs it")]
        if faults:
            return []
        if not self._keys.add(key):
            return [Fault(line, field, "duplicate_key: an earlier row has the same", mask(key))]
        return []


def _fault(line: int, field: str, error: SlussError, text: str) -> Fault:
    why, sentence = error.metadata.get("why", "refused"), error.detail.removeprefix(f"{field}: ")
    return Fault(line, field, f"{why}: {sentence}", mask(text))


class KeySet:
    """A set of keys by 64-bit digest in an open-addressing table: 16 to 32 bytes a key, whatever its length.

    Python's own salted hash (SipHash) is the digest. At 10 million keys, the odds that one key is taken for
    another are about 1 in 10^12; such a row is reported, not lost.
    """

    def __init__(self) -> None:
        self._count, self._slots = 0, array("Q", bytes(8 << 10))

    def __len__(self) -> int:
        return self._count

    def add(self, key: str) -> bool:
        """Add a key; False when it was there."""
        if self._count * 2 >= len(self._slots):
            self._grow()
        return self._insert(hash(key) & 0xFFFFFFFFFFFFFFFF or 1)

    def _insert(self, digest: int) -> bool:
        slots, size = self._slots, len(self._slots)
        place = digest & (size - 1)
        while slots[place]:
            if slots[place] == digest:
                return False
            place = (place + 1) & (size - 1)
        slots[place] = digest
        self._count += 1
        return True

    def _grow(self) -> None:
        old, self._count = self._slots, 0
        self._slots = array("Q", bytes(16 * len(old)))
        for digest in old:
            if digest:
                self._insert(digest)
