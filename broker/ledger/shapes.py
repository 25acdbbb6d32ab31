"""Which members and words each type of entry has: the tables behind `entry.parse`, as FORMAT.md shows them."""

from __future__ import annotations

SHAPES: dict[str, dict[str, type]] = {
    "disclosure": {"at": str, "slices": list, "terms": dict, "type": str, "unavailable": int, "v": int},
    "refusal": {
        "at": str,
        "contract": str,
        "fields": list,
        "method": str,
        "persons": int,
        "principal": str,
        "purpose": str,
        "reason": str,
        "type": str,
        "v": int,
    },
    "refusals": {
        "at": str,
        "counts": dict,
        "principal": str,
        "since": str,
        "type": str,
        "until": str,
        "v": int,
    },
    "contract": {
        "at": str,
        "by": str,
        "contract": str,
        "event": str,
        "reason": str,
        "signature": str,
        "subcontractor": str,
        "terms_sha256": str,
        "type": str,
        "v": int,
        "version": int,
    },
    "key": {
        "at": str,
        "by": str,
        "event": str,
        "key": str,
        "reason": str,
        "subcontractor": str,
        "suite": int,
        "type": str,
        "v": int,
    },
    "certificate": {
        "at": str,
        "by": str,
        "event": str,
        "principal": str,
        "reason": str,
        "spki": str,
        "type": str,
        "v": int,
    },
    "choice": {
        "at": str,
        "by": str,
        "channels": list,
        "chosen_at": str,
        "evidence": str,
        "medium": str,
        "person": str,
        "policy": str,
        "purpose": str,
        "source": str,
        "state": str,
        "type": str,
        "v": int,
    },
    "catalogue": {"at": str, "by": str, "sha256": str, "type": str, "v": int},
    "policy": {
        "at": str,
        "by": str,
        "effective": str,
        "sha256": str,
        "type": str,
        "v": int,
        "version": str,
    },
    "acceptance": {
        "at": str,
        "by": str,
        "evidence": str,
        "person": str,
        "source": str,
        "type": str,
        "v": int,
        "version": str,
    },
    "case": {
        "at": str,
        "body": str,
        "by": str,
        "case": str,
        "country": str,
        "document": str,
        "event": str,
        "ground": str,
        "state": str,
        "text": str,
        "type": str,
        "v": int,
    },
    "release": {
        "second_person": str,
        "at": str,
        "by": str,
        "emergency": bool,
        "ground": str,
        "slices": list,
        "terms": dict,
        "type": str,
        "unavailable": int,
        "v": int,
    },
    "release_elsewhere": {
        "at": str,
        "by": str,
        "case": str,
        "fields": list,
        "ground": str,
        "medium": str,
        "persons": list,
        "released_on": str,
        "type": str,
        "v": int,
    },
    "erasure": {"at": str, "by": str, "cause": str, "person": str, "ties": int, "type": str, "v": int},
    "sealed": {"at": str, "commitment": str, "type": str, "v": int},
    "genesis": {"at": str, "ed25519": str, "mldsa44": str, "origin": str, "type": str, "v": int},
}
TERMS: dict[str, type] = {
    "contract": str,
    "contract_version": int,
    "disclosure": str,
    "epoch": str,
    "fields": list,
    "issued": str,
    "key": str,
    "onward_transfer": str,
    "policy": str,
    "purpose": str,
    "recipient": str,
    "retain_until": str,
    "v": int,
}
FIELD: dict[str, type] = {"name": str, "transform": str}
SLICE: dict[str, type] = {"person": str, "sha256": str}
GROUNDS = frozenset({"legal.process", "legal.rights", "legal.safety", "legal.merger"})
"""The four grounds of POLICY 6, by the codes of their purposes."""
CASE_EVENTS = frozenset(
    {
        "opened",
        "reviewed",
        "information_asked",
        "challenged",
        "rejected",
        "prepared",
        "approved",
        "emergency",
        "confirmed",
        "disputed",
        "closed",
        "changed",
        "noted",
        "document_added",
        "hidden",
        "prolonged",
        "lifted",
        "release_began",
        "release_completed",
        "release_recorded",
    }
)
"""What can happen to a legal case."""
CASE_STATES = frozenset(
    {
        "received",
        "under_review",
        "information_asked",
        "challenged",
        "rejected",
        "approved",
        "released",
        "closed",
    }
)
MEDIA = frozenset({"paper", "court", "oral", "other_system", "other"})
"""How a release was made elsewhere."""
WORDS: dict[tuple[str, str], frozenset[str]] = {
    ("contract", "event"): frozenset({"proposed", "accepted", "suspended", "resumed", "amended", "terminated"}),
    ("key", "event"): frozenset({"registered", "rotated"}),
    ("certificate", "event"): frozenset({"pinned", "revoked"}),
    ("choice", "state"): frozenset({"in", "out"}),
    ("case", "event"): CASE_EVENTS,
    ("case", "state"): CASE_STATES,
    ("case", "ground"): GROUNDS,
    ("release", "ground"): GROUNDS,
    ("release_elsewhere", "ground"): GROUNDS,
    ("release_elsewhere", "medium"): MEDIA,
}
DIGESTS: dict[str, tuple[str, ...]] = {
    "contract": ("terms_sha256",),
    "key": ("key",),
    "certificate": ("spki",),
    "choice": ("person",),
    "erasure": ("person",),
    "catalogue": ("sha256",),
    "policy": ("sha256",),
    "acceptance": ("person",),
    "case": ("body", "text"),
    "sealed": ("commitment",),
}
"""Members of 32 bytes in base64url without padding."""
OPTIONAL_DIGESTS: dict[str, tuple[str, ...]] = {"acceptance": ("evidence",), "case": ("document",)}
"""Likewise, or empty."""
NAMES: dict[str, tuple[str, ...]] = {"choice": ("channels",), "refusal": ("fields",), "release_elsewhere": ("fields",)}
"""Members that list names."""
DIGEST_LISTS: dict[str, tuple[str, ...]] = {"release_elsewhere": ("persons",)}
"""Members that list 1 to 256 commitments."""
ONE_PERSON = frozenset({"acceptance", "choice", "erasure"})
"""Types that speak of one person each, by the commitment `person`; slices and lists speak of several."""
