"""Entries of what becomes of a person's record. A person appears as a 32-byte commitment only."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def erasure(at: int, person_commitment: bytes, ties: int, cause: str, by: str) -> bytes:
    """A person was erased (POLICY 3): keys, values, choices, and what tied the person to the ledger.

    Args:
        at: when.
        person_commitment: 32 bytes; what links it to the person was destroyed with it.
        ties: how many entries spoke of the person, this one included, sealed ones not.
        cause: the request or complaint that it was done for.
        by: who.
    """
    return make("erasure", at, person=base64url(person_commitment), ties=ties, cause=cause, by=by)


def hold(at: int, event: str, hold: str, person_commitment: bytes, text: bytes, until: str, by: str) -> bytes:
    """A legal hold was placed or lifted: while it lasts, the person can't be erased.

    Args:
        at: when.
        event: `placed` or `lifted`.
        hold: its id.
        person_commitment: 32 bytes.
        text: commitment to the reason (32 bytes).
        until: its last day, `YYYY-MM-DD`; empty if it has none, and when it is lifted.
        by: who.
    """
    person, text_ = base64url(person_commitment), base64url(text)
    return make("hold", at, event=event, hold=hold, person=person, text=text_, until=until, by=by)
