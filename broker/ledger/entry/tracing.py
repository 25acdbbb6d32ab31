"""Entries of canaries and of traces."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def canary(at: int, event: str, count: int, commitment: bytes, by: str, reason: str) -> bytes:
    """Canaries were planted or retired: how many, and a commitment to which (32 bytes).

    It names no contract: a subcontractor, or whoever is shown the ledger, must not learn where canaries are.
    """
    return make("canary", at, event=event, count=count, commitment=base64url(commitment), by=by, reason=reason)


def trace(at: int, values: int, recipients: int, by: str, reason: str) -> bytes:
    """A leaked list was traced: how many values it had, and how many recipients had received any of them."""
    return make("trace", at, values=values, recipients=recipients, by=by, reason=reason)
