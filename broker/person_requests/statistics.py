"""How many requests of persons came in within a period, and what became of them."""

from __future__ import annotations

import statistics as numbers
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from broker.clock import day_of, start_of
from broker.person_requests import rules
from broker.person_requests.model import CORRECTION, Kind, State
from broker.person_requests.rows import EVENT, REQUEST, list_requests, timeline
from broker.timelines import ENTRY

if TYPE_CHECKING:
    from broker.desk import View
    from broker.person_requests.rows import Held

PAGE = 200


@dataclass(slots=True)
class Count:
    """Requests of one kind; `late` ended after their deadline, however; `days` from receipt until they were done."""

    received: int = 0
    done: int = 0
    refused: int = 0
    withdrawn: int = 0
    open: int = 0
    overdue: int = 0
    extended: int = 0
    late: int = 0
    days: list[int] = field(default_factory=list)

    @property
    def median_days(self) -> int:
        """Days until half of those that are done were."""
        return round(numbers.median(self.days)) if self.days else 0


def statistics(view: View, first: date, last: date) -> dict[Kind, Count]:
    """The counts by kind of the requests that somebody made and that came in from `first` to `last`, both included."""
    found = {kind: Count() for kind in Kind}
    begin, before = _opened_since(view, first), 0
    while True:
        page, before = list_requests(view, [], 0, before, PAGE, only_open=False, only_overdue=False)
        for held in page:
            if held.number < begin:
                return found
            if not first <= held.facts.received <= last or held.facts.channel == CORRECTION:
                continue
            count = found[held.facts.kind]
            count.received += 1
            count.done += held.state is State.DONE
            count.refused += held.state is State.REFUSED
            count.withdrawn += held.state is State.WITHDRAWN
            count.open += held.state not in rules.FINAL
            count.overdue += rules.overdue(held.facts, held.state, day_of(view.now_us))
            count.extended += held.facts.months > 0
            ended = _ended(view, held)
            count.late += ended is not None and rules.late(held.facts, ended)
            if held.facts.completed is not None:
                count.days.append((held.facts.completed - held.facts.received).days)
        if not before:
            return found


def _opened_since(view: View, first: date) -> int:
    """The number of the first request that was opened on or after a day: none that came in then is older."""
    low = 1
    high = 1 + (view.connection.execute(select(func.max(REQUEST.c.number))).scalar_one() or 0)
    while low < high:
        middle = (low + high) // 2
        entries = select(func.min(EVENT.c.entry)).join(REQUEST, REQUEST.c.id == EVENT.c.request)
        opened = select(ENTRY.c.at).where(ENTRY.c.id == entries.where(REQUEST.c.number == middle).scalar_subquery())
        at = view.connection.execute(opened).scalar_one_or_none()
        if at is None or at >= start_of(first):
            high = middle
        else:
            low = middle + 1
    return low


def _ended(view: View, held: Held) -> date | None:
    """The day on which a request was answered or taken back; None for one that is open."""
    if held.facts.completed is not None or held.state not in rules.FINAL:
        return held.facts.completed
    if not held.facts.tell:
        return held.moved
    # Its recipients may have been told since.
    ends = {str(rules.Step.REFUSE), str(rules.Step.WITHDRAW)}
    return next((date.fromisoformat(each.at[:10]) for each in timeline(view, held) if each.event in ends), held.moved)
