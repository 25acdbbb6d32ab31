"""Entries of policy versions and their acceptances."""

from __future__ import annotations

from broker.clock import rfc3339
from broker.ledger.entry.form import base64url, make


def policy(at: int, version: str, effective: int, sha256: bytes, by: str) -> bytes:
    """A policy version was set to apply from `effective` on; `sha256` is that of its texts."""
    return make("policy", at, version=version, effective=rfc3339(effective), sha256=base64url(sha256), by=by)


def acceptance(at: int, person_commitment: bytes, version: str, source: str, evidence: bytes, by: str) -> bytes:
    """A person accepted a policy version; `evidence` is a commitment to what shows it, or empty."""
    return make(
        "acceptance",
        at,
        person=base64url(person_commitment),
        version=version,
        source=source,
        evidence=base64url(evidence),
        by=by,
    )
