"""ErasureService: protos to holds, holds to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import erasure_pb2 as pb

from broker.clock import day_of, rfc3339
from broker.erasure.hold_rules import LAST_DAY, HoldState
from broker.errors import invalid
from broker.ids import person_text
from broker.wire import checks

if TYPE_CHECKING:
    from datetime import date

    from broker.erasure.hold_rules import Hold

STATES: Final = {
    HoldState.IN_FORCE: pb.HOLD_STATE_IN_FORCE,
    HoldState.ENDED: pb.HOLD_STATE_ENDED,
    HoldState.LIFTED: pb.HOLD_STATE_LIFTED,
}


def until(text: str, now_us: int) -> date | None:
    """The last day of a new hold, today or later; None if it has none.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not text:
        return None
    found = checks.day(text, "until")
    if found < day_of(now_us):
        raise invalid("until", "in the past")
    if found > LAST_DAY:
        raise invalid("until", f"at most {LAST_DAY.isoformat()}")
    return found


def hold(found: Hold, now_us: int) -> pb.Hold:
    """The message of a hold."""
    return pb.Hold(
        hold_id=found.id,
        person_id=person_text(found.person),
        state=STATES[found.state(now_us)],
        reason=found.reason,
        until=found.until,
        placed_by=found.placed_by,
        placed_at=rfc3339(found.placed_at),
        entry_index=found.entry,
        lifted_by=found.lifted_by,
        lifted_at=rfc3339(found.lifted_at) if found.lifted_at else "",
        lift_reason=found.lift_reason,
    )
