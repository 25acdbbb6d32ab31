"""Days and moments: whether a text is a day, and how people are shown one."""

from __future__ import annotations

from datetime import date, datetime


def is_day(text: str) -> bool:
    """Whether it is a day of the calendar, `YYYY-MM-DD`."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def moment(text: str) -> str:
    """A time of the wire to the minute, `2026-11-25 18:40` (UTC); anything else as it is."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}" if "T" in text else text
    except ValueError:
        return text
