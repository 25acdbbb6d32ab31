"""Entries of disclosures and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.clock import rfc3339
from broker.ledger.entry.form import make, slice_list

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from broker.ledger.entry.form import Slice


def disclosure(at: int, terms: Mapping[str, Any], slices: Sequence[Slice], unavailable: int) -> bytes:
    """One disclosure: 1 to 256 persons under one contract, purpose, recipient key and field set.

    Args:
        at: when.
        terms: the terms object, whose canonical JSON is bound into every slice.
        slices: one per person, in order.
        unavailable: how many persons were asked for and not available.
    """
    return make("disclosure", at, slices=slice_list(slices), terms=terms, unavailable=unavailable)


def holds(ordinals: Container[int], fields: int) -> str:
    """A digit for each of so many fields of the terms: 1 for those with these places, which a slice holds."""
    return "".join("1" if place in ordinals else "0" for place in range(fields))


def held_fields(fields: Sequence[Mapping[str, str]], holds: str) -> dict[str, str]:
    """Names and transforms of the terms' fields that a slice holds, by its `holds`: a digit for each."""
    return {each["name"]: each["transform"] for each, digit in zip(fields, holds, strict=True) if digit == "1"}


def held_counts(said: Mapping[str, Any]) -> dict[str, int]:
    """How many slices of a parsed disclosure or release hold each field of its terms."""
    held = [each["holds"] for each in said["slices"]]
    return {
        field["name"]: sum(digits[place] == "1" for digits in held)
        for place, field in enumerate(said["terms"]["fields"])
    }


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
