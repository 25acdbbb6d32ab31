"""complaints/rules.py against a reference model, over every state, step and circumstance."""

from __future__ import annotations

from itertools import product

import pytest

from broker.complaints.rules import OUTCOMES, State, Step, take
from broker.errors import Reason, SlussError


def model(state, step, outcome, remedies, undone, own):
    """What the policy says, in words of its own: the state after it, or the reason of the refusal."""
    if state == "closed":
        return Reason.FILE_WRONG_STATE
    if step in ("extended", "decided") and state == "decided":
        return Reason.FILE_WRONG_STATE
    if step == "linked" and state == "decided":
        return "decided" if outcome in ("upheld", "partly") else Reason.FILE_WRONG_STATE
    if step in ("remedied", "closed") and state != "decided":
        return Reason.FILE_WRONG_STATE
    if step == "decided":
        return Reason.SECOND_PERSON_NEEDED if own else "decided"
    if step == "remedied":
        return "decided" if outcome in ("upheld", "partly") else Reason.FILE_WRONG_STATE
    if step == "closed":
        owing = outcome in ("upheld", "partly") and not remedies
        return Reason.FILE_WRONG_STATE if undone or owing else "closed"
    if step == "assigned" or state == "decided":
        return state
    return "investigating"


CASES = list(product(State, Step, ["", *sorted(OUTCOMES)], ((0, 0), (2, 0), (2, 2)), (False, True)))


@pytest.mark.parametrize("step", Step)
def test_every_step_does_what_the_model_says(step):
    for state, other, outcome, (remedies, undone), own in CASES:
        if other is not step:
            continue
        authors = {"legal/anna"} if own else {"legal/bo"}
        try:
            made = {"outcome": outcome, "remedies": remedies, "undone": undone}
            found = take("K-2026-0001", state, step, **made, authors=authors, by="legal/anna")
        except SlussError as error:
            found = error.reason
        expected = model(state.value, step.value, outcome, remedies, undone, own)
        assert found == expected, (state, step, outcome, remedies, undone, own)
