"""What stands out on every page, from all cases and not only from those of the broker's first page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal.urgency import PENDING, is_overdue, is_unanswered, urgency
from sluss_legal.web.lines import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from sluss.v1 import legal_pb2_grpc

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
