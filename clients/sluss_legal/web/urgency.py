"""What is urgent: emergencies that nobody has answered for, deadlines that pass, and the order that follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.web.lines import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from sluss.v1 import legal_pb2_grpc

PENDING = (
    pb.CASE_STATE_RECEIVED,
    pb.CASE_STATE_UNDER_REVIEW,
    pb.CASE_STATE_INFORMATION_ASKED,
    pb.CASE_STATE_CHALLENGED,
    pb.CASE_STATE_APPROVED,
)
"""The states of a case that waits for its answer."""
SOON_DAYS = 3
"""From so many days before its deadline on, a case is marked."""
_PAGE = 200
_MOST_PAGES = 100
"""Fetches, each of up to `_PAGE` cases."""


@dataclass(frozen=True)
class Alarms:
    """What stands out on every page.

    Attributes:
        emergencies: releases without a second person that nobody has answered for.
        overdue: cases past their deadline, the oldest deadline first.
        known: False if the broker could not be asked.
    """

    emergencies: list[pb.Case]
    overdue: list[pb.Case]
    known: bool = True


def today() -> date:
    """Today, UTC."""
    return datetime.now(UTC).date()


def is_unanswered(case: pb.Case) -> bool:
    """Whether an emergency release waits for its second person."""
    return case.HasField("emergency") and not case.emergency.answered_by


def is_overdue(case: pb.Case) -> bool:
    """Whether its deadline has passed without an answer."""
    return case.state in PENDING and bool(case.deadline) and case.deadline < today().isoformat()


def days_left(case: pb.Case) -> int | None:
    """Days to a deadline that is near; None if it is far or has passed, or the case has its answer."""
    if case.state not in PENDING or not case.deadline:
        return None
    left = (date.fromisoformat(case.deadline) - today()).days
    return left if 0 <= left <= SOON_DAYS else None


def urgency(case: pb.Case) -> tuple[bool, bool, str]:
    """Sorts emergencies without an answer first, then what waits by deadline, then what has its answer."""
    return not is_unanswered(case), case.state not in PENDING, case.deadline


def every_case(legal: legal_pb2_grpc.LegalServiceStub, request: pb.ListCasesRequest) -> list[pb.Case]:
    """All cases that fit, over all pages: the oldest, which the broker lists last, are the most urgent."""
    asked = pb.ListCasesRequest()
    asked.CopyFrom(request)
    asked.page_size = _PAGE
    cases: list[pb.Case] = []
    for _ in range(_MOST_PAGES):
        reply = legal.ListCases(asked, timeout=DEADLINE_S)
        cases.extend(reply.cases)
        asked.page_token = reply.next_page_token
        if not asked.page_token:
            break
    return cases


def alarms(legal: legal_pb2_grpc.LegalServiceStub) -> Alarms:
    """What stands out now."""
    waiting = every_case(legal, _of(PENDING))
    # Only what protects somebody is released in an emergency.
    released = every_case(legal, _of([pb.CASE_STATE_RELEASED, pb.CASE_STATE_CLOSED], pb.GROUND_PROTECTION))
    return Alarms(
        emergencies=[case for case in released if is_unanswered(case)],
        overdue=sorted((case for case in waiting if is_overdue(case)), key=urgency),
    )


def _of(
    states: Collection[pb.CaseState.ValueType], ground: pb.Ground.ValueType = pb.GROUND_UNSPECIFIED
) -> pb.ListCasesRequest:
    return pb.ListCasesRequest(states=states, ground=ground)
