"""Days and times on a command line: a day such as 2026-11-02, or a time; UTC, unless it names its offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from sluss_cli.problems import usage

DAY_OR_TIME: Final = "a day or a time, in UTC unless it says"
"""For helps."""
_SHAPE: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)


def first_moment(text: str, option: str) -> str:
    """The time, or the beginning of the day, in RFC 3339; empty for an empty text.

    Raises:
        Problem: USAGE, with the forms that there are.
    """
    return _written(_read(text, option)[0]) if text else ""


def last_moment(text: str, option: str) -> str:
    """The time, or the end of the day, or now while the day is not over; empty for an empty text.

    Raises:
        Problem: USAGE, with the forms that there are.
    """
    if not text:
        return ""
    moment, whole_day = _read(text, option)
    if whole_day:
        end = datetime.combine(moment, time(), UTC) + timedelta(days=1)
        moment = max(moment, min(end, datetime.now(UTC)))
    return _written(moment)


def _read(text: str, option: str) -> tuple[datetime, bool]:
    """The moment, and whether it is a day's beginning."""
    found = _SHAPE.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text.upper() if found else "")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC), found is not None and found["time"] is None
    except (ValueError, OverflowError):
        raise usage(
            f"{option} takes a day or a time such as 2026-11-02, 2026-11-02T10:15 (UTC), 2026-11-02T10:15:00+01:00"
        ) from None


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
