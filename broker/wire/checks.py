"""Checks of texts, dates and lists in requests, each with the field's name in its refusal (INVALID_REQUEST)."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from broker.clock import day_of, start_of
from broker.errors import SlussError, invalid
from broker.ids import parse_person
from broker.plain_text import Unfit, is_plain_text, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TEXT: Final = 2_000
MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


def period(first: str, last: str, now_us: int, *, open_ended: bool) -> tuple[int, int]:
    """The microseconds from the start of a day to the end of another (not included), UTC.

    Args:
        first: the first day; empty for the beginning, if `open_ended`.
        last: the last day; empty for today, if `open_ended`.
        now_us: now.
        open_ended: whether either may be empty.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    begin = 0 if open_ended and not first else start_of(day(first, "first_day"))
    final = day_of(now_us) if open_ended and not last else day(last, "last_day")
    end = start_of(final + timedelta(days=1)) if final < date.max else 1 << 62
    if end <= begin:
        raise invalid("last_day", "before the first day")
    return begin, end


def persons(texts: Sequence[str], field: str, most: int) -> tuple[int, ...]:
    """1 to `most` different persons, in the order given."""
    if not 1 <= len(texts) <= most:
        raise invalid(field, f"1 to {most:,} persons")
    try:
        persons = tuple(parse_person(text) for text in texts)
    except SlussError as error:
        raise invalid(field, error.detail) from None
    if len(set(persons)) != len(persons):
        raise invalid(field, "a person stands there twice")
    return persons


def text(given: str, field: str, most: int = MAX_TEXT) -> str:
    """A text of 1 to `most` printable characters."""
    if not is_plain_text(given, most):
        raise invalid(field, f"1 to {most:,} printable characters")
    return given


def words(given: str, field: str, most: int = MAX_TEXT) -> str:
    """What somebody wrote, as a letter or a web form has it: 1 to `most` printable characters, in lines.

    Blanks around a line say nothing and are left out, and a tab is one.
    """
    try:
        lines = [plain(line, most) if line else "" for line in map(_line, given.replace("\r\n", "\n").split("\n"))]
    except Unfit:
        lines = []
    found = "\n".join(lines).strip("\n")
    if not 1 <= len(found) <= most:
        raise invalid(field, f"1 to {most:,} printable characters, in lines")
    return found


def optional_words(given: str, field: str) -> str:
    """What somebody wrote, or nothing."""
    return words(given, field) if given else ""


def _line(given: str) -> str:
    return given.replace("\t", " ").strip(" ")


def optional(given: str, field: str) -> str:
    """A text, or none."""
    return text(given, field) if given else ""


def media_type(given: str, field: str) -> str:
    """A type and a subtype (RFC 6838, section 4.2), without parameters."""
    if not MEDIA_TYPE.fullmatch(given):
        raise invalid(field, "such as application/pdf")
    return given


def among(text: str, words: frozenset[str], field: str) -> str:
    """One of a few words."""
    if text not in words:
        raise invalid(field, f"one of {', '.join(sorted(words))}")
    return text


def day(text: str, field: str) -> date:
    """A date as `YYYY-MM-DD`."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise invalid(field, "YYYY-MM-DD is needed")
    return parsed


def days(first_day: str, last_day: str) -> tuple[date, date]:
    """The first and the last day of what is counted."""
    first, last = day(first_day, "first_day"), day(last_day, "last_day")
    if last < first:
        raise invalid("last_day", "before the first day")
    return first, last


def past(text: str, field: str, now_us: int) -> date:
    """A date that is not in the future (UTC)."""
    found = day(text, field)
    if found > day_of(now_us):
        raise invalid(field, "in the future")
    return found
