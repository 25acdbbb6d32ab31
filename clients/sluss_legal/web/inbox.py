"""The inbox: cases with their deadlines, what is urgent first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.web.intake import ground_of
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, is_overdue, is_unanswered
from sluss_legal.words import STATES

if TYPE_CHECKING:
    from starlette.responses import Response

OPEN = [state for state in STATES if state not in {pb.CASE_STATE_REJECTED, pb.CASE_STATE_CLOSED}]


def inbox(page: Page) -> Response:
    """A page of cases; open ones unless others are asked for."""
    states, handler, ground = page.asked("states") or "open", page.asked("handler"), page.asked("ground")
    request = pb.ListCasesRequest(
        states=_states(states),
        handler=handler,
        ground=ground_of(ground),
        page_token=page.asked("after"),
    )
    reply = page.line.legal.ListCases(request, timeout=DEADLINE_S)
    cases = sorted(reply.cases, key=_urgency)
    return page.render(
        "parts/inbox_rows.html" if page.fragment else "inbox.html",
        cases=cases,
        urgent={case.case_id for case in cases if is_unanswered(case)},
        late={case.case_id for case in cases if is_overdue(case)},
        states=states,
        handler=handler,
        ground=ground,
        after=reply.next_page_token,
    )


def _states(chosen: str) -> list[pb.CaseState.ValueType]:
    if chosen == "all":
        return []
    return [state for state in STATES if str(state) == chosen] or OPEN


def _urgency(case: pb.Case) -> tuple[bool, bool, str]:
    """Emergencies without an answer, then by deadline; what is done comes last."""
    return not is_unanswered(case), case.state in {pb.CASE_STATE_REJECTED, pb.CASE_STATE_CLOSED}, case.deadline
