"""The rules of complaints (POLICY 5). Pure: no store, no clock, no keys.

A complaint is closed only with an outcome, if it was upheld only with a remedy, and only once nothing of one is waited
for. Who approved or released what a complaint is about does not decide it: nobody judges an act of their own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ROOM: Final = "complaint"
"""What complaints are called among the files, and in the ledger."""
KINDS: Final = frozenset({"disclosure", "choice", "access", "accuracy", "security", "retention", "other"})
CHANNELS: Final = frozenset({"web", "app", "email", "post", "phone", "in_person", "authority", "other"})
"""How one came in: as a person's request does, or by way of the authority."""
OUTCOMES: Final = frozenset({"upheld", "partly", "not_upheld", "withdrawn"})
RECIPIENTS_TOLD: Final = "recipients_told"
"""That people have told the recipients of legal releases of an erasure, or why that can't be."""
REMEDIES: Final = frozenset({"suspend_contract", "erase_data", RECIPIENTS_TOLD, "correct", "apologise", "other"})
REMEDIED: Final = frozenset({"upheld", "partly"})
"""Outcomes after which something is to be remedied."""
DEADLINE_DAYS: Final = 30
FURTHEST_DAYS: Final = 366
"""How far ahead a later deadline may lie: a slip of the year can't be taken back, and whoever complained is told."""


class State(StrEnum):
    """Where a complaint stands."""

    RECEIVED = "received"
    INVESTIGATING = "investigating"
    DECIDED = "decided"
    CLOSED = "closed"


class Step(StrEnum):
    """What is done with one; the value is the ledger's word for it."""

    NOTE = "noted"
    LINK = "linked"
    ASSIGN = "assigned"
    EXTEND = "extended"
    DECIDE = "decided"
    REMEDY = "remedied"
    CLOSE = "closed"


_OPEN: Final = {State.RECEIVED: State.INVESTIGATING, State.INVESTIGATING: State.INVESTIGATING}
_STILL: Final = {State.DECIDED: State.DECIDED}
TABLE: Final[Mapping[Step, Mapping[State, State]]] = {
    Step.NOTE: {**_OPEN, **_STILL},
    Step.LINK: {**_OPEN, **_STILL},
    Step.ASSIGN: {State.RECEIVED: State.RECEIVED, State.INVESTIGATING: State.INVESTIGATING, **_STILL},
    Step.EXTEND: _OPEN,
    Step.DECIDE: {State.RECEIVED: State.DECIDED, State.INVESTIGATING: State.DECIDED},
    Step.REMEDY: _STILL,
    Step.CLOSE: {State.DECIDED: State.CLOSED},
}
"""From which state each step leads where."""


def take(
    complaint: str,
    state: State,
    step: Step,
    *,
    outcome: str,
    remedies: int,
    undone: int,
    authors: Collection[str],
    by: str,
) -> State:
    """The state after a step.

    Args:
        complaint: its id.
        state: as it stands.
        step: what is to be done.
        outcome: the one it has, empty for none.
        remedies: how many it has.
        undone: those of them of which something is waited for.
        authors: who approved or released what it is about.
        by: who takes the step.

    Raises:
        SlussError: FILE_WRONG_STATE; SECOND_PERSON_NEEDED.
    """
    after = TABLE[step].get(state)
    if after is None:
        raise wrong(complaint, state, step, f"a complaint that is {state} can't be {step}")
    if step is Step.DECIDE and by in authors:
        raise SlussError(
            Reason.SECOND_PERSON_NEEDED, "who approved or released what it is about can't decide it", case=complaint
        )
    if outcome not in REMEDIED and (step is Step.REMEDY or (step is Step.LINK and state is State.DECIDED)):
        raise wrong(complaint, state, step, "there is nothing to remedy: it was not upheld")
    if step is Step.CLOSE and outcome in REMEDIED and not remedies:
        raise wrong(complaint, state, step, "it was upheld, and no remedy is noted: apologise or other, at the least")
    if step is Step.CLOSE and undone:
        raise wrong(complaint, state, step, "a remedy is not done yet: it has to be scrubbed, or answered for")
    return after


def wrong(complaint: str, state: State, step: Step, why: str) -> SlussError:
    """The refusal of a step that a complaint can't take as it stands."""
    return SlussError(Reason.FILE_WRONG_STATE, why, case=complaint, state=state, step=step)
