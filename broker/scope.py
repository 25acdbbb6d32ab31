"""What a contract allows, told to those who work with it: purposes, fields, transforms, volumes left. No person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.choices.rule import CHOICE_RULES, ChoiceRule
from broker.clock import SECOND, rfc3339
from broker.contracts import (
    ContractFacts,
    FieldGrant,
    Grant,
    Terms,
    Volume,
    accepted_since,
    find_grant,
    require_live,
)
from broker.errors import SlussError
from broker.volumes import Volumes

if TYPE_CHECKING:
    from broker.catalogue import Catalogue, Purpose
    from broker.desk import View


@dataclass(frozen=True, slots=True)
class VolumeLeft:
    """A volume, the persons left in its present window, and when that ends (RFC 3339)."""

    volume: Volume
    left: int
    window_ends: str


@dataclass(frozen=True, slots=True)
class PurposeScope:
    """A purpose that may be named, the grant that covers it, and the fields that may be asked for.

    `accepted_since` is the policy version that persons must have accepted, or a later one; empty for none.
    """

    purpose: Purpose
    grant: Grant
    fields: tuple[FieldGrant, ...]
    choice_rule: ChoiceRule
    volumes: tuple[VolumeLeft, ...]
    accepted_since: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a contract allows now.

    Attributes:
        not_live_reason: the reason that every disclosure is refused with; empty for a live contract.
        purposes: in order of code.
        key_id: SHA-256 of the recipient's key; empty if there is none.
    """

    not_live_reason: str
    purposes: tuple[PurposeScope, ...]
    key_id: bytes


def describe(view: View, facts: ContractFacts, terms: Terms) -> Scope:
    """The scope of a contract under `terms`, those in force or the proposed ones."""
    return Scope(
        not_live_reason=_not_live(facts, view.now_us),
        purposes=tuple(_purposes(view, facts, terms)),
        key_id=_key_id(view, facts.subcontractor),
    )


def _not_live(facts: ContractFacts, now_us: int) -> str:
    try:
        require_live(facts, now_us)
    except SlussError as error:
        return str(error.reason)
    return ""


def _key_id(view: View, subcontractor: str) -> bytes:
    try:
        return view.snapshot.recipient_key(view.connection, subcontractor).id
    except SlussError:
        return b""


def _purposes(view: View, facts: ContractFacts, terms: Terms) -> list[PurposeScope]:
    catalogue = view.snapshot.catalogue
    versions = tuple(version for _, version in view.snapshot.policies)
    found = []
    for code in sorted(catalogue.purposes):
        rule = CHOICE_RULES.get(catalogue.purposes[code].kind)
        try:
            grant = find_grant(terms, facts.id, code)
        except SlussError:
            continue
        if rule is not None:
            fields = tuple(f for f in grant.fields if _may_leave(catalogue, f, catalogue.purposes[code]))
            volumes = _volumes(view, facts.id, grant)
            since = accepted_since(catalogue, code, versions)
            found.append(PurposeScope(catalogue.purposes[code], grant, fields, rule, volumes, since))
    return found


def _may_leave(catalogue: Catalogue, granted: FieldGrant, purpose: Purpose) -> bool:
    """The rule of `decide`, step 5, so that the scope promises nothing that would be refused."""
    field = catalogue.fields.get(granted.field)
    return field is not None and not field.forbidden and (purpose.payment or not field.financial)


def _volumes(view: View, contract: str, grant: Grant) -> tuple[VolumeLeft, ...]:
    counts = Volumes(view.connection, view.now_us)
    left = []
    for volume in grant.volumes:
        used = counts.used_by(contract, grant)[volume.window]
        ends = volume.window.bounds(view.now_us)[1]
        left.append(VolumeLeft(volume, max(volume.persons - used, 0), rfc3339(ends * SECOND)))
    return tuple(left)
