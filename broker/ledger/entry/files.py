"""Entries of complaints (POLICY 5) and of compromise reports (POLICY 4). Neither names a person."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def complaint(at: int, event: str, case: str, state: str, by: str, *, body: bytes, text: bytes) -> bytes:
    """What happened to a complaint; `body` and `text` are commitments to what is kept of it and was written then."""
    return make("complaint", at, event=event, case=case, state=state, by=by, body=base64url(body), text=base64url(text))


def compromise(
    at: int, event: str, case: str, state: str, by: str, *, principal: str, body: bytes, text: bytes
) -> bytes:
    """What happened to a compromise report; `principal` is whose credential it is, empty for a person's."""
    return make(
        "compromise",
        at,
        event=event,
        case=case,
        state=state,
        by=by,
        principal=principal,
        body=base64url(body),
        text=base64url(text),
    )
