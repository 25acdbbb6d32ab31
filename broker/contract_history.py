"""Where a contract stands, from its entries in the ledger alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.contracts import State, Step, next_state
from broker.ledger.standing import differs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVENTS = {
    Step.ACCEPT: "accepted",
    Step.AMEND: "amended",
    Step.SUSPEND: "suspended",
    Step.RESUME: "resumed",
    Step.TERMINATE: "terminated",
}
"""How entries name what was done."""
_STEPS = {event: step for step, event in EVENTS.items()}


@dataclass(frozen=True, slots=True)
class ContractStanding:
    """What the ledger says of a contract; `version` 0, `terms_sha256` and `signature` "" before its acceptance."""

    subcontractor: str
    state: State
    version: int = 0
    terms_sha256: str = ""
    signature: str = ""


def replay(contract: str, entries: Iterable[Mapping[str, Any]]) -> ContractStanding:
    """The standing after a contract's entries, oldest first.

    Raises:
        SlussError: LEDGER_INCONSISTENT if they don't begin with the proposal; CONTRACT_WRONG_STATE for a step that
            was not possible.
    """
    now: ContractStanding | None = None
    for said in entries:
        if now is None:
            if said["event"] != "proposed":
                raise differs("contract", contract=contract)
            now = ContractStanding(said["subcontractor"], State.PROPOSED)
            continue
        step = _STEPS.get(said["event"])
        if step is None or said["subcontractor"] != now.subcontractor:
            raise differs("contract", contract=contract)
        state = next_state(contract, now.state, step)
        if step is Step.ACCEPT:
            now = ContractStanding(now.subcontractor, state, said["version"], said["terms_sha256"], said["signature"])
        else:
            now = ContractStanding(now.subcontractor, state, now.version, now.terms_sha256, now.signature)
    if now is None:
        raise differs("contract", contract=contract)
    return now
