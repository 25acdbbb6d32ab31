"""Entries of legal cases and releases (POLICY 6)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from broker.ledger.entry.form import base64url, digest_texts, make, slice_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.ledger.entry.form import Slice

SEALED_LABEL = b"sluss/v1 sealed entry\x00"


def case(
    at: int,
    event: str,
    case: str,
    ground: str,
    country: str,
    state: str,
    by: str,
    *,
    body: bytes,
    text: bytes,
    document: bytes = b"",
) -> bytes:
    """A step of a legal case (POLICY 6). What was written stays out: `body` and `text` are commitments to it.

    Args:
        at: when.
        event: one of `CASE_EVENTS`.
        case: the case's id.
        ground: one of `GROUNDS`.
        country: the requester's, ISO 3166-1 alpha-2.
        state: the state after it.
        by: who.
        body: HMAC of what the case is about after it, 32 bytes.
        text: HMAC of the reason or note, 32 bytes.
        document: SHA-256 of a document that was added, or empty.
    """
    return make(
        "case",
        at,
        event=event,
        case=case,
        ground=ground,
        country=country,
        state=state,
        by=by,
        body=base64url(body),
        text=base64url(text),
        document=base64url(document),
    )


def release(
    at: int,
    terms: Mapping[str, Any],
    slices: Sequence[Slice],
    unavailable: int,
    *,
    ground: str,
    by: str,
    second_person: str,
    emergency: bool,
) -> bytes:
    """A release on a legal ground: as `disclosure`, with the ground, who released and who approved.

    In an emergency nobody had approved, and `second_person` is empty.
    """
    return make(
        "release",
        at,
        slices=slice_list(slices),
        terms=terms,
        unavailable=unavailable,
        ground=ground,
        by=by,
        second_person=second_person,
        emergency=emergency,
    )


def release_elsewhere(
    at: int,
    case: str,
    ground: str,
    by: str,
    fields: Sequence[str],
    persons: Sequence[bytes],
    medium: str,
    released_on: str,
) -> bytes:
    """A release that was made outside the broker, on `released_on` (a date), recorded after the fact."""
    return make(
        "release_elsewhere",
        at,
        case=case,
        ground=ground,
        by=by,
        fields=list(fields),
        persons=digest_texts(persons),
        medium=medium,
        released_on=released_on,
    )


def sealed(at: int, commitment: bytes) -> bytes:
    """An entry that is hidden for a time: a commitment to the entry that it is (`sealed_commitment`)."""
    return make("sealed", at, commitment=base64url(commitment))


def sealed_commitment(salt: bytes, entry: bytes) -> bytes:
    """What a sealed entry says of the entry that it hides; `salt` is 32 random bytes."""
    return hashlib.sha256(SEALED_LABEL + salt + entry).digest()
