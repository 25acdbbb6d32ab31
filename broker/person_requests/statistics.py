"""How many requests of persons came in within a period, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.person_requests import rules
from broker.person_requests.model import Kind, State
from broker.person_requests.rows import list_requests, today

if TYPE_CHECKING:
    from datetime import date

    from broker.desk import View

PAGE = 200


@dataclass(slots=True)
class Count:
    """Requests of one kind."""

    received: int = 0
    done: int = 0
    refused: int = 0
    withdrawn: int = 0
    open: int = 0
    overdue: int = 0
    extended: int = 0


def statistics(view: View, first: date, last: date) -> dict[Kind, Count]:
    """The counts by kind of the requests received from `first` to `last`, both included."""
    found = {kind: Count() for kind in Kind}
    before = 0
    while True:
        page, before = list_requests(view, [], 0, before, PAGE, only_open=False, only_overdue=False)
        for held in page:
            if not first <= held.facts.received <= last:
                continue
            count = found[held.facts.kind]
            count.received += 1
            count.done += held.state is State.DONE
            count.refused += held.state is State.REFUSED
            count.withdrawn += held.state is State.WITHDRAWN
            count.open += held.state not in rules.FINAL
            count.overdue += rules.overdue(held.facts, held.state, today(view.now_us))
            count.extended += held.facts.months > 0
        if not before:
            return found
