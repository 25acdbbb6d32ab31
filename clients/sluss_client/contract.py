"""Contracts from the subcontractor's side: what is offered, and the bytes that are signed. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2 as pb

from broker import contract_terms
from broker.contracts import SIGNATURE_LABEL
from broker.errors import SlussError
from broker.ids import person_text
from sluss_client.errors import IntegrityError, ProfileError
from sluss_client.results import Offer

if TYPE_CHECKING:
    from broker.contracts import AggregateTerms, Grant, Population, Terms
    from sluss_client.keys import StoredKey
    from sluss_client.profile import Identity

KEY_LABEL = b"sluss/v1 key\x00"


def offer_of(reply: pb.GetContractResponse, principal: str) -> Offer:
    """The version that waits for acceptance.

    Raises:
        ProfileError: nothing waits for our signature.
        IntegrityError: the canonical bytes do not parse, have another digest than claimed, or are about
            another contract, version or subcontractor.
    """
    contract_id, number = reply.contract.contract_id, reply.contract.proposed_version
    version = next((item for item in reply.versions if number and item.version == number), None)
    if version is None:
        raise ProfileError(f"no version of {contract_id} waits for acceptance")
    digest = hashlib.sha256(version.canonical_terms)
    try:
        named, numbered, terms = contract_terms.parse(version.canonical_terms)
    except SlussError as error:
        raise IntegrityError(f"the terms of the contract can't be read: {error.detail}") from None
    if digest.digest() != version.terms_sha256:
        raise IntegrityError("the terms of the contract have another digest than the broker says")
    if (named, numbered, terms.subcontractor) != (contract_id, number, principal):
        raise IntegrityError("the terms are those of another contract, version or subcontractor")
    return Offer(contract_id, number, _message(terms), version.canonical_terms, digest.hexdigest())


def acceptance_message(offer: Offer) -> bytes:
    """What is signed to accept: a label and the canonical terms."""
    return SIGNATURE_LABEL + offer.canonical


def acceptance(offer: Offer, identity: Identity) -> pb.AcceptContractRequest:
    """The request that accepts an offer, signed by the key of the certificate that the call is made with."""
    signature = identity.sign(acceptance_message(offer))
    return pb.AcceptContractRequest(contract_id=offer.contract_id, version=offer.version, signature=signature)


def registration_message(stored: StoredKey) -> bytes:
    """What is signed to register an encryption key: a label, the suite in one byte, and the public key."""
    return KEY_LABEL + bytes([stored.key.suite]) + stored.key.public().data


def _message(terms: Terms) -> pb.ContractTerms:
    return pb.ContractTerms(
        subcontractor=terms.subcontractor,
        recipient_name=terms.recipient_name,
        recipient_address=terms.recipient_address,
        valid_from=terms.valid_from.isoformat(),
        valid_until=terms.valid_until.isoformat(),
        grants=[_grant(grant) for grant in terms.grants],
        reference=terms.reference,
    )


def _grant(grant: Grant) -> pb.Grant:
    return pb.Grant(
        purpose=grant.purpose,
        fields=[pb.FieldGrant(field=item.field, transform=item.transform) for item in grant.fields],
        population=_population(grant.population),
        retention_days=grant.retention_days,
        volumes=[pb.Volume(window=str(item.window), persons=item.persons) for item in grant.volumes],
        aggregate=_aggregate(grant.aggregate) if grant.aggregate else None,
    )


def _aggregate(terms: AggregateTerms) -> pb.AggregateTerms:
    return pb.AggregateTerms(
        events=[pb.EventGrant(event=item.event, dimensions=item.dimensions) for item in terms.events],
        min_persons=terms.min_persons,
        budget_micro=terms.budget_micro,
        period=terms.period,
        delta_nano=terms.delta_nano,
    )


def _population(population: Population) -> pb.Population:
    if population.everyone:
        return pb.Population(everyone=True)
    if population.persons:
        return pb.Population(
            persons=pb.PersonList(person_ids=sorted(person_text(person) for person in population.persons))
        )
    predicates = [pb.Predicate(field=item.field, values=sorted(item.values)) for item in population.predicates]
    return pb.Population(predicates=pb.PredicateList(predicates=predicates))
