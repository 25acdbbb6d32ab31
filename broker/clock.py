"""Times: integer microseconds since 1970 UTC inside, RFC 3339 with six decimals and `Z` in JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from broker.errors import Reason, SlussError

Clock = Callable[[], int]
"""Gives the time now, in microseconds since 1970 UTC."""

SECOND = 1_000_000
"""Microseconds in a second."""

DAY = 86_400 * SECOND
"""Microseconds in a day."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: every time here is UTC, and naive is faster
_LAST = 253_402_300_799_999_999
_MICROSECOND = timedelta(microseconds=1)
_LENGTH = len("2026-11-23T22:33:57.123456Z")
_WRONG = "a time is not written as 2026-11-23T22:33:57.123456Z"


def system_clock() -> int:
    """The machine's time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def day_of(us: int) -> date:
    """The day of a moment in microseconds since 1970 UTC, by UTC."""
    return datetime.fromtimestamp(us // SECOND, UTC).date()


def start_of(day: date) -> int:
    """The first moment of a day (UTC), in microseconds since 1970 UTC."""
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) * SECOND


def rfc3339(us: int) -> str:
    """Write microseconds since 1970 UTC as `2026-11-23T22:33:57.123456Z` (RFC 3339, section 5.6).

    Raises:
        SlussError: MALFORMED, outside the years 1970 to 9999.
    """
    if not 0 <= us <= _LAST:
        raise SlussError(Reason.MALFORMED, "a time lies outside the years 1970 to 9999")
    return (_EPOCH + timedelta(microseconds=us)).isoformat("T", "microseconds") + "Z"


def micros(text: str) -> int:
    """Read `2026-11-23T22:33:57.123456Z` as microseconds since 1970 UTC; no other spelling is accepted.

    Raises:
        SlussError: MALFORMED.
    """
    rest = text[17:]
    digits = rest[:2] + rest[3:9]  # seconds and microseconds, which together count microseconds
    plain = len(text) == _LENGTH and digits.isascii() and digits.isdigit() and digits < "6"
    if not plain or rest[2] != "." or rest[9] != "Z":
        raise SlussError(Reason.MALFORMED, _WRONG)
    return _minute(text[:17]) + int(digits)


@lru_cache(maxsize=4096)
def _minute(text: str) -> int:
    """Microseconds at the start of a minute, `2026-11-23T22:33:`, which many entries share."""
    try:
        us = (datetime.fromisoformat(text + "00") - _EPOCH) // _MICROSECOND
        good = rfc3339(us)[:17] == text
    except (ValueError, TypeError, SlussError):
        good = False
    if not good:
        raise SlussError(Reason.MALFORMED, _WRONG)
    return us
