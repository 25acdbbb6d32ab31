"""Entries of what becomes of a person's record. A person appears as a 32-byte commitment only."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def erasure(at: int, person_commitment: bytes, ties: int, cause: str, by: str) -> bytes:
    """A person was erased (POLICY 3): keys, values, choices, and what tied the person to the ledger.

    Args:
        at: when.
        person_commitment: 32 bytes; what links it to the person was destroyed with it.
        ties: how many entries spoke of the person, this one included.
        cause: the request or complaint that it was done for.
        by: who.
    """
    return make("erasure", at, person=base64url(person_commitment), ties=ties, cause=cause, by=by)
