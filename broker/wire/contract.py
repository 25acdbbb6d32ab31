"""ContractService: protos to terms, contracts to protos."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2

from broker.clock import rfc3339
from broker.contracts import (
    AggregateTerms,
    EventGrant,
    FieldGrant,
    Grant,
    Population,
    Predicate,
    State,
    Terms,
    Volume,
    Window,
    parse_state,
)
from broker.errors import Reason, SlussError
from broker.ids import parse_person, person_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Row

    from broker.agreements import ContractView
    from broker.catalogue import Catalogue

STATES = {
    State.PROPOSED: contract_pb2.CONTRACT_STATE_PROPOSED,
    State.ACTIVE: contract_pb2.CONTRACT_STATE_ACTIVE,
    State.SUSPENDED: contract_pb2.CONTRACT_STATE_SUSPENDED,
    State.TERMINATED: contract_pb2.CONTRACT_STATE_TERMINATED,
}


def terms(message: contract_pb2.ContractTerms, catalogue: Catalogue) -> Terms:
    """The terms behind a message, values of predicates in the normal form of their field's type.

    Raises:
        SlussError: INVALID_TERMS with the place; FIELD_UNKNOWN, INVALID_VALUE for a predicate.
    """
    return Terms(
        subcontractor=message.subcontractor,
        recipient_name=message.recipient_name,
        recipient_address=message.recipient_address,
        valid_from=_date(message.valid_from, "valid_from"),
        valid_until=_date(message.valid_until, "valid_until"),
        grants=tuple(_grant(grant, number, catalogue) for number, grant in enumerate(message.grants)),
        reference=message.reference,
    )


def _date(text: str, field: str) -> date:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise SlussError(Reason.INVALID_TERMS, f"{field}: YYYY-MM-DD is needed", field=field)
    return parsed


def _grant(message: contract_pb2.Grant, number: int, catalogue: Catalogue) -> Grant:
    where = f"grants[{number}]"
    return Grant(
        purpose=message.purpose,
        fields=tuple(FieldGrant(granted.field, granted.transform) for granted in message.fields),
        population=population(message.population, where, catalogue),
        retention_days=message.retention_days,
        volumes=tuple(Volume(_window(volume.window, where), volume.persons) for volume in message.volumes),
        aggregate=_aggregate(message.aggregate) if message.HasField("aggregate") else None,
    )


def _aggregate(message: contract_pb2.AggregateTerms) -> AggregateTerms:
    events = tuple(EventGrant(granted.event, tuple(granted.dimensions)) for granted in message.events)
    return AggregateTerms(events, message.min_persons, message.budget_micro, message.period, message.delta_nano)


def _window(text: str, where: str) -> Window:
    try:
        return Window(text)
    except ValueError:
        field = f"{where}.volumes"
        raise SlussError(Reason.INVALID_TERMS, f"{field}: hour, day or month", field=field) from None


def population(message: contract_pb2.Population, where: str, catalogue: Catalogue) -> Population:
    """The population behind a message; `where` it stands, for errors.

    Raises:
        SlussError: INVALID_TERMS, FIELD_UNKNOWN, INVALID_VALUE.
    """
    kind = message.WhichOneof("kind")
    if kind == "everyone" and message.everyone:
        return Population(everyone=True)
    if kind == "persons":
        return _listed(message.persons.person_ids, f"{where}.population")
    if kind == "predicates":
        found = message.predicates.predicates
        return Population(predicates=tuple(_predicate(predicate, catalogue) for predicate in found))
    field = f"{where}.population"
    raise SlussError(Reason.INVALID_TERMS, f"{field}: name everyone, persons or predicates", field=field)


def _listed(person_ids: Sequence[str], field: str) -> Population:
    try:
        persons = frozenset(parse_person(text) for text in person_ids)
    except SlussError as error:
        raise SlussError(Reason.INVALID_TERMS, f"{field}: {error.detail}", field=field) from None
    if len(persons) != len(person_ids):
        raise SlussError(Reason.INVALID_TERMS, f"{field}: duplicates", field=field)
    return Population(persons=persons)


def _predicate(message: contract_pb2.Predicate, catalogue: Catalogue) -> Predicate:
    field = catalogue.field(message.field)
    return Predicate(field.name, frozenset(field.accept(value) for value in message.values))


def terms_message(found: Terms) -> contract_pb2.ContractTerms:
    """The message of terms."""
    return contract_pb2.ContractTerms(
        subcontractor=found.subcontractor,
        recipient_name=found.recipient_name,
        recipient_address=found.recipient_address,
        valid_from=found.valid_from.isoformat(),
        valid_until=found.valid_until.isoformat(),
        grants=[_grant_message(grant) for grant in found.grants],
        reference=found.reference,
    )


def _grant_message(grant: Grant) -> contract_pb2.Grant:
    return contract_pb2.Grant(
        purpose=grant.purpose,
        fields=[contract_pb2.FieldGrant(field=f.field, transform=f.transform) for f in grant.fields],
        population=population_message(grant.population),
        retention_days=grant.retention_days,
        volumes=[contract_pb2.Volume(window=str(v.window), persons=v.persons) for v in grant.volumes],
        aggregate=_aggregate_message(grant.aggregate) if grant.aggregate else None,
    )


def _aggregate_message(found: AggregateTerms) -> contract_pb2.AggregateTerms:
    return contract_pb2.AggregateTerms(
        events=[contract_pb2.EventGrant(event=e.event, dimensions=e.dimensions) for e in found.events],
        min_persons=found.min_persons,
        budget_micro=found.budget_micro,
        period=found.period,
        delta_nano=found.delta_nano,
    )


def population_message(population: Population) -> contract_pb2.Population:
    """The message of a population."""
    if population.everyone:
        return contract_pb2.Population(everyone=True)
    if population.persons:
        ids = sorted(person_text(person) for person in population.persons)
        return contract_pb2.Population(persons=contract_pb2.PersonList(person_ids=ids))
    predicates = [
        contract_pb2.Predicate(field=predicate.field, values=sorted(predicate.values))
        for predicate in population.predicates
    ]
    return contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=predicates))


def contract(view: ContractView) -> contract_pb2.Contract:
    """The message of a contract."""
    row = view.row
    return contract_pb2.Contract(
        contract_id=row.id,
        state=STATES[parse_state(row.id, row.state)],
        version=row.version,
        proposed_version=row.proposed,
        terms=terms_message(view.terms),
        reason=row.reason,
        etag=str(row.etag),
    )


def versions(rows: Sequence[Row[Any]]) -> list[contract_pb2.ContractVersion]:
    """The messages of a contract's versions."""
    return [
        contract_pb2.ContractVersion(
            version=row.version,
            canonical_terms=row.terms,
            terms_sha256=hashlib.sha256(row.terms).digest(),
            proposed_by=row.proposed_by,
            proposed_at=rfc3339(row.proposed_at),
            accepted_at=rfc3339(row.accepted_at) if row.accepted_at else "",
            signature=row.signature,
            certificate=row.certificate,
        )
        for row in rows
    ]
