"""JSON Lines: one object per line; what is nested becomes a dotted column, `address.city`.

Numbers keep their own digits. Lists, NaN and a name that stands twice are faults of their row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from broker.catalogue import is_security_code
from broker.intake.faults import Record, is_text
from broker.intake.lines import MAX_LINE, Lines, too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH: Final = 4


class _Problem(Exception):  # noqa: N818 - never leaves this module
    """Why a line is not a row."""


class JsonlSource:
    """A JSON Lines file's records. Names like a card's security code are dropped, from the raw text too."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.header = lines.mark

    def __iter__(self) -> Iterator[Record]:
        while True:
            number = self._lines.line
            line = next(self._lines, None)
            if line is None:
                return
            if line.strip():
                yield _record(number, line)


def _record(number: int, line: str) -> Record:
    if too_long(line):
        return Record(number, {}, "", f"too_long: a row of more than {MAX_LINE} characters")
    try:
        tree = _parse(line)
        columns = dict(_flat(tree, "", _DEPTH))
    except _Problem as problem:
        return Record(number, {}, "" if is_security_code(line) else line, str(problem))
    dropped = [name for name in columns if is_security_code(name)]
    if dropped:
        kept = {name: text for name, text in columns.items() if name not in dropped}
        return Record(number, kept, json.dumps(kept, ensure_ascii=False) + "\n")
    return Record(number, columns, line)


def _parse(line: str) -> dict[str, Any]:
    try:
        tree = json.loads(line, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise _Problem("not_json: not one JSON object on the line") from None
    if not isinstance(tree, dict):
        raise _Problem("not_json: not one JSON object on the line")
    return tree


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise _Problem("duplicate_name: a name stands twice")
    if not all(map(is_text, tree)):
        raise _Problem("not_text: a name that is no text")
    return tree


def _constant(_name: str) -> NoReturn:
    raise _Problem("not_json: NaN and Infinity are no JSON")


def _flat(tree: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    if not depth:
        raise _Problem(f"too_deep: more than {_DEPTH} objects within each other")
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.", depth - 1)
        elif isinstance(value, bool):
            yield prefix + name, "true" if value else "false"
        elif isinstance(value, str):
            if value:
                yield prefix + name, value
        elif value is not None:
            raise _Problem("list: a value is a list")
