"""What a legal hold is, and which of a person's holds are in force by the ledger. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from broker.clock import start_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOLD_ID: Final = re.compile(r"H-\d{4}-\d{4,9}")
NEVER: Final = 0
"""The moment at which a hold without a last day ends, and one that nobody has lifted was lifted."""
LAST_DAY: Final = date(9999, 12, 30)


class HoldState(StrEnum):
    """Where a hold stands."""

    IN_FORCE = "in_force"
    ENDED = "ended"
    LIFTED = "lifted"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold. Times are microseconds since 1970 UTC; `until` is its last day, empty if it has none."""

    id: str
    person: int
    reason: str
    until: str
    placed_by: str
    placed_at: int
    entry: int
    lifted_by: str = ""
    lifted_at: int = NEVER
    lift_reason: str = ""

    def state(self, now_us: int) -> HoldState:
        """Where it stands at a moment."""
        if self.lifted_at:
            return HoldState.LIFTED
        return HoldState.ENDED if is_over(ends_at(self.until), now_us) else HoldState.IN_FORCE


def ends_at(until: str) -> int:
    """The moment at which a hold with this last day ends: the end of that day, UTC."""
    if not until:
        return NEVER
    return start_of(date.fromisoformat(until) + timedelta(days=1))


def is_over(end_us: int, now_us: int) -> bool:
    """Whether a hold that ends at `end_us` has ended."""
    return end_us != NEVER and now_us >= end_us


def in_force(said: Iterable[Mapping[str, Any]], now_us: int) -> set[str]:
    """The ids of the holds that are in force, by a person's `hold` entries in the order of the ledger."""
    standing: dict[str, int] = {}
    for entry in said:
        if entry["event"] == "placed":
            standing[entry["hold"]] = ends_at(entry["until"])
        else:
            standing.pop(entry["hold"], None)
    return {hold for hold, end in standing.items() if not is_over(end, now_us)}
