"""The inbox: cases with their deadlines, what is urgent first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.urgency import PENDING, days_left, is_overdue, is_unanswered, urgency
from sluss_legal.web.alarms import every_case
from sluss_legal.web.intake import ground_of
from sluss_legal.words import STATES

if TYPE_CHECKING:
    from starlette.responses import Response

    from sluss_legal.web.page import Page

OPEN = [*PENDING, pb.CASE_STATE_RELEASED]
PAGE_SIZE = 50
MAX_DIGITS = 9


def inbox(page: Page) -> Response:
    """A page of cases; open ones unless others are asked for. All that fit are sorted, not only those of one page."""
    states, handler, ground = page.asked("states") or "open", page.asked("handler"), page.asked("ground")
    after = page.asked("after")
    start = int(after) if after.isascii() and after.isdigit() and len(after) <= MAX_DIGITS else 0
    request = pb.ListCasesRequest(states=_states(states), handler=handler, ground=ground_of(ground))
    found = sorted(every_case(page.line.legal, request), key=urgency)
    cases = found[start : start + PAGE_SIZE]
    return page.render(
        "parts/inbox_rows.html" if page.fragment else "inbox.html",
        cases=cases,
        urgent={case.case_id for case in cases if is_unanswered(case)},
        late={case.case_id for case in cases if is_overdue(case)},
        left={case.case_id: days_left(case) for case in cases},
        states=states,
        handler=handler,
        ground=ground,
        after=str(start + PAGE_SIZE) if start + PAGE_SIZE < len(found) else "",
    )


def _states(chosen: str) -> list[pb.CaseState.ValueType]:
    if chosen == "all":
        return []
    return [state for state in STATES if str(state) == chosen] or OPEN
