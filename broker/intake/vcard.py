"""vCard 3.0 (RFC 2426) and 4.0 (RFC 6350) as columns: `FN`, `N.family`, `EMAIL`, `TEL.cell`, `ADR.city` ...

A property that stands several times gives `EMAIL`, `EMAIL.2`, `EMAIL.3`, the preferred one first. vCard 2.1
and its quoted-printable text are refused by name: their encodings can't be told reliably.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.catalogue import is_security_code
from broker.intake.faults import Record
from broker.intake.lines import MAX_LINE, MAX_LINES, Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PARTS: Final = {
    "N": ("family", "given", "additional", "prefix", "suffix"),
    "ADR": ("pobox", "extended", "street", "city", "region", "postal_code", "country"),
    "ORG": ("", "unit"),
}
_CONTROL: Final = frozenset({"BEGIN", "END", "VERSION"})
_PROPERTY = re.compile(r'(?:[A-Za-z0-9-]+\.)?([A-Za-z0-9-]+)((?:;(?:"[^"]*"|[^":;])*)*):(.*)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMPONENT = re.compile(r"((?:\\.|[^;])*)(?:;|$)", re.DOTALL)
_TOO_LONG: Final = f"too_long: a card of more than {MAX_LINE} characters or {MAX_LINES} lines"
_UNPREFERRED: Final = 101


class _Problem(Exception):  # noqa: N818 - never leaves this module
    """Why a card is not a row."""


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    types: frozenset[str]
    rank: int
    text: str


class VcardSource:
    """A vCard file's records, one per card; what stands between cards is a fault."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.header = lines.mark

    def __iter__(self) -> Iterator[Record]:
        while True:
            number = self._lines.line
            line = next(self._lines, None)
            if line is None:
                return
            if _begins(line):
                yield self._card(number, line)
            elif line.strip():
                yield Record(number, {}, self._rest([line]), "not_a_card: outside of any card")

    def _card(self, number: int, first: str) -> Record:
        taken = [first]
        size = len(first)
        for line in self._lines:
            if _begins(line):
                self._lines.again([line])
                break
            taken.append(line)
            size += len(line)
            if line.strip().upper() == "END:VCARD":
                return _record(number, taken)
            if size >= MAX_LINE or len(taken) > MAX_LINES:
                return Record(number, {}, self._rest(taken), _TOO_LONG)
        return Record(number, {}, "".join(taken), "not_a_card: the card has no end")

    def _rest(self, taken: list[str]) -> str:
        """Read on to the next card; the raw text of all that, or nothing when it is too much to keep."""
        size = sum(map(len, taken))
        for line in self._lines:
            if _begins(line):
                self._lines.again([line])
                break
            size += len(line)
            if size < MAX_LINE:
                taken.append(line)
        return "".join(taken) if size < MAX_LINE else ""


def _begins(line: str) -> bool:
    return line.strip().upper() == "BEGIN:VCARD"


def _record(number: int, taken: list[str]) -> Record:
    raw = "".join(taken)
    try:
        properties = [_property(line) for line in _unfold(taken[1:-1])]
        _check_version(properties)
        return Record(number, dict(_columns(properties)), raw)
    except _Problem as problem:
        return Record(number, {}, raw, str(problem))


def _unfold(lines: Iterable[str]) -> Iterator[str]:
    """Join the lines that start with a space or a tab to the ones before them (RFC 6350, 3.2)."""
    whole = ""
    for line in lines:
        text = line.rstrip("\r\n")
        if text.startswith((" ", "\t")):
            whole += text[1:]
            continue
        if whole:
            yield whole
        whole = text
    if whole:
        yield whole


def _property(line: str) -> _Property:
    match = _PROPERTY.fullmatch(line)
    if match is None:
        raise _Problem("not_a_property: a line without a name and a colon")
    name, words, text = match[1].upper(), [word.strip() for word in match[2].upper().split(";")[1:]], match[3]
    if is_security_code(name):
        raise _Problem("forbidden: a card's security code may never be stored")
    if any(word.removeprefix("ENCODING=") in ("QUOTED-PRINTABLE", "QP") for word in words):
        raise _Problem("quoted_printable: vCard 2.1 text; export as 3.0 or 4.0")
    types = frozenset(kind for word in words for kind in word.removeprefix("TYPE=").strip('"').split(","))
    return _Property(name, types, _rank(types), text)


def _rank(types: frozenset[str]) -> int:
    """RFC 6350, 5.3: PREF=1 comes first; vCard 3.0 says TYPE=PREF."""
    if "PREF" in types:
        return 1
    ranks = [word.removeprefix("PREF=").strip('"') for word in types if word.startswith("PREF=")]
    return int(ranks[0]) if ranks and ranks[0].isdecimal() and len(ranks[0]) <= 3 else _UNPREFERRED  # noqa: PLR2004 - 1 to 100


def _check_version(properties: list[_Property]) -> None:
    versions = {found.text.strip() for found in properties if found.name == "VERSION"}
    if versions == {"2.1"}:
        raise _Problem("version: vCard 2.1; export as 3.0 or 4.0")
    if versions not in ({"3.0"}, {"4.0"}):
        raise _Problem("version: neither vCard 3.0 nor 4.0")


def _columns(properties: list[_Property]) -> Iterator[tuple[str, str]]:
    counts: dict[str, int] = {}
    for found in sorted(properties, key=lambda found: found.rank):
        if found.name in _CONTROL:
            continue
        column = "TEL.cell" if found.name == "TEL" and "CELL" in found.types else found.name
        counts[column] = counts.get(column, 0) + 1
        if counts[column] > 1:
            column = f"{column}.{counts[column]}"
        yield from _cells(column, found)


def _cells(column: str, found: _Property) -> Iterator[tuple[str, str]]:
    parts = _PARTS.get(found.name)
    if parts is None:
        text = _plain(found.text)
        if text:
            yield column, _uri(found.name, text)
        return
    for part, text in zip(parts, _split(found.text), strict=False):
        if _plain(text):
            yield f"{column}.{part}" if part else column, _plain(text)


def _split(text: str) -> list[str]:
    """Components between semicolons that no backslash precedes."""
    return _COMPONENT.findall(text)


def _plain(text: str) -> str:
    """Escapes undone; a line end within a value becomes a comma, as addresses are written on one line."""
    return _ESCAPE.sub(lambda match: ", " if match[1] in "nN" else match[1], text).strip()


def _uri(name: str, text: str) -> str:
    """Text without the URI scheme, parameters or time of day that vCard 4.0 may write."""
    if name == "EMAIL":
        return text.removeprefix("mailto:")
    if name == "TEL":
        return text.partition(";")[0]
    if name == "BDAY":
        return text.partition("T")[0]
    return text
