"""Entries of what recipients owe (POLICY 3; GDPR Art. 19). They name the recipient, and nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.entry.form import base64url, make

if TYPE_CHECKING:
    from collections.abc import Sequence


def obligation(
    at: int,
    event: str,
    obligation: str,
    kind: str,
    contract: str,
    recipient: str,
    by: str,
    *,
    owed: bytes,
    due: str,
    fields: Sequence[str],
    outcome: str = "",
    reason: str = "",
    through: int = 0,
    time: str = "",
    until: str = "",
    key: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """What happened to an obligation.

    Args:
        at: when.
        event: one of `OBLIGATION_EVENTS`.
        obligation: its id.
        kind: one of `OBLIGATION_KINDS`.
        contract: the contract under which the data were disclosed.
        recipient: who owes.
        by: who did it; `broker` for what it does by itself.
        owed: SHA-256 of what is owed, person and salt included; both are destroyed in time.
        due: the day until which it is owed, after the event.
        fields: the fields concerned, ascending; none for `delete_by`.
        outcome: one of `OBLIGATION_OUTCOMES`, what the recipient attests.
        reason: checked for personal data.
        through: the last entry whose disclosures the event covers; 0 if it covers none.
        time: when the recipient says that it did it; empty if it says none.
        until: the day asked for or granted; empty if there is none.
        key: SubjectPublicKeyInfo (DER) of the certificate that signed; empty if nobody did.
        signature: the recipient's, over `broker.obligations.statement`.
    """
    return make(
        "obligation",
        at,
        event=event,
        obligation=obligation,
        kind=kind,
        contract=contract,
        recipient=recipient,
        by=by,
        owed=base64url(owed),
        due=due,
        fields=list(fields),
        outcome=outcome,
        reason=reason,
        through=through,
        time=time,
        until=until,
        key=base64url(key),
        signature=base64url(signature),
    )


def owed(at: int, case: str, kind: str, obligations: Sequence[str], by: str) -> bytes:
    """Which obligations were made for one cause: all of them, or none at all.

    Args:
        at: when.
        case: the id of the person's request or complaint.
        kind: `correct` or `erase`.
        obligations: their ids.
        by: who.
    """
    return make("owed", at, case=case, kind=kind, obligations=list(obligations), by=by)
