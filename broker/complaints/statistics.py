"""Complaints in numbers: by month, kind and outcome, how many are overdue or were late, and how long they took.

Names nobody. Overdue is what is not closed after its deadline, late what was decided after it: a late answer still
counts when everything is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING, Final

from broker import case_files
from broker.case_files import FILE
from broker.clock import day_of, start_of
from broker.complaints.handling import received_on
from broker.complaints.rules import ROOM, State

if TYPE_CHECKING:
    from datetime import date

    from broker.case_files import File
    from broker.desk import View

STEP: Final = 200


@dataclass(frozen=True, slots=True)
class Count:
    """One line; `median_days` are days from receipt until the complaint was closed, 0 if none was."""

    month: str
    kind: str
    outcome: str
    count: int
    overdue: int
    median_days: int
    late: int
    closed: int


def statistics(view: View, first: date, last: date) -> list[Count]:
    """The lines of the complaints that came in on these days, both included, in order."""
    groups: dict[tuple[str, str, str], list[File]] = {}
    where = [FILE.c.opened_at >= start_of(first)]  # none is opened before it comes in
    before = 0
    while True:
        found, before = case_files.page(view, ROOM, where, before, STEP)
        for file in found:
            received = received_on(file)
            if first <= received <= last:
                key = (f"{received:%Y-%m}", file.body["kind"], file.body["outcome"])
                groups.setdefault(key, []).append(file)
        if not before:
            return [_count(key, files, view.now_us) for key, files in sorted(groups.items())]


def overdue(file: File, now_us: int) -> bool:
    """Whether it should have been answered by now."""
    return file.state != State.CLOSED and file.due_at < now_us


def late(file: File) -> bool:
    """Whether it was decided after its deadline, which can't move any more then."""
    decided: int = file.body.get("decided_at", file.body.get("closed_at", 0))
    return file.due_at < decided


def _count(key: tuple[str, str, str], files: list[File], now_us: int) -> Count:
    ended = [file for file in files if "closed_at" in file.body]
    days = [(day_of(file.body["closed_at"]) - received_on(file)).days for file in ended]
    passed = sum(overdue(file, now_us) for file in files)
    return Count(*key, len(files), passed, median_low(days) if days else 0, sum(map(late, files)), len(ended))
