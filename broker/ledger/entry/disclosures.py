"""Entries of disclosures and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.clock import rfc3339
from broker.ledger.entry.form import digest_texts, make

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def disclosure(at: int, terms: Mapping[str, Any], slices: Sequence[tuple[bytes, bytes]], unavailable: int) -> bytes:
    """One disclosure: 1 to 256 persons under one contract, purpose, recipient key and field set.

    Args:
        at: when.
        terms: the terms object, whose canonical JSON is bound into every slice.
        slices: per person the commitment and the SHA-256 of the slice bytes, 32 bytes each, in order.
        unavailable: how many persons were asked for and not available.
    """
    persons = digest_texts([commitment for commitment, _ in slices])
    digests = digest_texts([digest for _, digest in slices])
    listed = [{"person": person, "sha256": sha} for person, sha in zip(persons, digests, strict=True)]
    return make("disclosure", at, slices=listed, terms=terms, unavailable=unavailable)


def refusal(
    at: int,
    principal: str,
    reason: str,
    contract: str,
    purpose: str,
    fields: Sequence[str],
    method: str,
    persons: int,
) -> bytes:
    """A refusal. Names that the caller made up stay out: `purpose` and `fields` hold catalogue names only."""
    return make(
        "refusal",
        at,
        principal=principal,
        reason=str(reason),
        contract=contract,
        purpose=purpose,
        fields=list(fields),
        method=method,
        persons=persons,
    )


def refusals(at: int, since: int, until: int, principal: str, counts: Mapping[str, int]) -> bytes:
    """Refusals of one caller beyond the first few of a window, folded into a count per reason."""
    named = {str(reason): count for reason, count in counts.items()}
    return make("refusals", at, since=rfc3339(since), until=rfc3339(until), principal=principal, counts=named)
