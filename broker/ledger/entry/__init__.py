"""Entries of the ledger: canonical JSON, one constructor per type, and a parser that rejects by round trip.

FORMAT.md shows every type. Constructors take times in microseconds since 1970 UTC and digests as bytes, and
return the entry's bytes; `parse` says what an entry is, for the writer, the verifier and the client alike.
One file per family of types; which members and words a type has stands in `shapes.py`.
"""

from broker.ledger.entry.aggregates import aggregate
from broker.ledger.entry.disclosures import disclosure, held_counts, held_fields, holds, refusal, refusals
from broker.ledger.entry.files import complaint, compromise
from broker.ledger.entry.form import (
    DIGEST,
    MAX_ENTRY,
    MAX_SLICES,
    SLICED,
    TYPES,
    VERSION,
    Columns,
    Slice,
    base64url,
    canonical,
    columns,
    digest_texts,
    good_fields,
    parse,
    slice_list,
)
from broker.ledger.entry.legal import SEALED_LABEL, case, release, release_elsewhere, sealed, sealed_commitment
from broker.ledger.entry.obligations import obligation, owed
from broker.ledger.entry.person_requests import person_request
from broker.ledger.entry.persons import erasure, hold
from broker.ledger.entry.policies import acceptance, policy
from broker.ledger.entry.rights import Chosen, catalogue, certificate, choice, contract, genesis, key, key_ring
from broker.ledger.entry.tracing import canary, trace

__all__ = [
    "DIGEST",
    "MAX_ENTRY",
    "MAX_SLICES",
    "SEALED_LABEL",
    "SLICED",
    "TYPES",
    "VERSION",
    "Chosen",
    "Columns",
    "Slice",
    "acceptance",
    "aggregate",
    "base64url",
    "canary",
    "canonical",
    "case",
    "catalogue",
    "certificate",
    "choice",
    "columns",
    "complaint",
    "compromise",
    "contract",
    "digest_texts",
    "disclosure",
    "erasure",
    "genesis",
    "good_fields",
    "held_counts",
    "held_fields",
    "hold",
    "holds",
    "key",
    "key_ring",
    "obligation",
    "owed",
    "parse",
    "person_request",
    "policy",
    "refusal",
    "refusals",
    "release",
    "release_elsewhere",
    "sealed",
    "sealed_commitment",
    "slice_list",
    "trace",
]
