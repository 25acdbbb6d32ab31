"""Entries that rights stand on, choices among them, and the genesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.clock import rfc3339
from broker.ledger.entry.form import base64url, make

if TYPE_CHECKING:
    from collections.abc import Sequence


def contract(
    at: int,
    event: str,
    contract: str,
    version: int,
    subcontractor: str,
    by: str,
    reason: str,
    terms_sha256: bytes,
    signature: bytes = b"",
) -> bytes:
    """A step of a contract: proposed, accepted, suspended, resumed, amended or terminated.

    `signature` is the subcontractor's over the canonical terms; only an acceptance has one.
    """
    return make(
        "contract",
        at,
        event=event,
        contract=contract,
        version=version,
        subcontractor=subcontractor,
        by=by,
        reason=reason,
        terms_sha256=base64url(terms_sha256),
        signature=base64url(signature),
    )


def key(at: int, event: str, subcontractor: str, key_id: bytes, suite: int, by: str, reason: str) -> bytes:
    """A recipient's encryption key was registered, or rotated: it took the place of the one before.

    `key_id` is the SHA-256 of the public key.
    """
    return make(
        "key",
        at,
        event=event,
        subcontractor=subcontractor,
        key=base64url(key_id),
        suite=suite,
        by=by,
        reason=reason,
    )


def certificate(at: int, event: str, principal: str, spki: bytes, by: str, reason: str) -> bytes:
    """A certificate was pinned or revoked; `spki` is the SHA-256 of its SubjectPublicKeyInfo."""
    return make("certificate", at, event=event, principal=principal, spki=base64url(spki), by=by, reason=reason)


class Chosen(NamedTuple):
    """What a choice's entry says of the choice.

    Attributes:
        purpose: the purpose's code.
        state: `in` or `out`.
        channels: the contact channels that it is about, in order; none means all.
        medium: how it was made.
        source: where it was recorded.
        evidence: what proves it, or empty.
        at: when the person chose, in microseconds since 1970 UTC.
    """

    purpose: str
    state: str
    channels: Sequence[str]
    medium: str
    source: str
    evidence: str
    at: int


def choice(at: int, person_commitment: bytes, chosen: Chosen, policy: str, by: str) -> bytes:
    """A person's choice; the person appears as a 32-byte commitment only."""
    return make(
        "choice",
        at,
        person=base64url(person_commitment),
        purpose=chosen.purpose,
        state=chosen.state,
        channels=list(chosen.channels),
        medium=chosen.medium,
        source=chosen.source,
        evidence=chosen.evidence,
        chosen_at=rfc3339(chosen.at),
        policy=policy,
        by=by,
    )


def catalogue(at: int, sha256: bytes, by: str) -> bytes:
    """A field catalogue came into force; `sha256` is that of its file."""
    return make("catalogue", at, sha256=base64url(sha256), by=by)


def key_ring(at: int, event: str, ring: str, version: int, by: str) -> bytes:
    """A ring of the keys at rest got a version, or lost one for good: no backup opens with it any more."""
    return make("key_ring", at, event=event, ring=ring, version=version, by=by)


def genesis(at: int, origin: str, ed25519_key: bytes, mldsa44_key: bytes) -> bytes:
    """The first entry: whose ledger this is and by which public keys (raw, 32 and 1312 bytes) it signs."""
    return make("genesis", at, origin=origin, ed25519=base64url(ed25519_key), mldsa44=base64url(mldsa44_key))
