"""Entries of persons' requests (POLICY 3)."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def person_request(
    at: int,
    event: str,
    request: str,
    kind: str,
    state: str,
    deadline: str,
    ground: str,
    by: str,
    *,
    facts: bytes,
    body: bytes = b"",
    text: bytes = b"",
    document: bytes = b"",
) -> bytes:
    """Something happened to a person's request. It names nobody.

    Args:
        at: when.
        event: one of `PERSON_REQUEST_EVENTS`.
        request: its id.
        kind: what is asked for.
        state: where it stands now.
        deadline: the day by which it must be answered now.
        ground: why it was refused, or empty.
        by: who.
        facts: SHA-256 of its facts.
        body: HMAC of its words under its own secret; empty once those are destroyed.
        text: HMAC of what was written; likewise.
        document: SHA-256 of the export that leaves, which holds a secret salt; or empty.
    """
    return make(
        "person_request",
        at,
        event=event,
        case=request,
        kind=kind,
        state=state,
        deadline=deadline,
        ground=ground,
        by=by,
        facts=base64url(facts),
        body=base64url(body),
        text=base64url(text),
        document=base64url(document),
    )
