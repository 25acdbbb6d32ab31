"""What is urgent: emergencies that nobody has answered for, deadlines that pass, and the order that follows."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sluss.v1 import legal_pb2 as pb

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
