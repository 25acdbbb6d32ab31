"""Contracts as documents for programs and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluss.v1 import contract_pb2 as pb

if TYPE_CHECKING:
    from sluss_cli.output import Output


def state_name(state: pb.ContractState.ValueType) -> str:
    """`proposed`, `active`, `suspended`, `terminated`; anything else by its number."""
    if state in pb.ContractState.values():
        return pb.ContractState.Name(state).removeprefix("CONTRACT_STATE_").lower()
    return f"state {state}"


def contract_document(contract: pb.Contract) -> dict[str, Any]:
    """A contract for `--json`."""
    return {
        "contract": contract.contract_id,
        "state": state_name(contract.state),
        "version": contract.version,
        "proposed_version": contract.proposed_version,
        "reason": contract.reason,
        "etag": contract.etag,
        "terms": terms_document(contract.terms),
    }


def terms_document(terms: pb.ContractTerms) -> dict[str, Any]:
    """Terms for `--json`."""
    return {
        "subcontractor": terms.subcontractor,
        "recipient_name": terms.recipient_name,
        "recipient_address": terms.recipient_address,
        "valid_from": terms.valid_from,
        "valid_until": terms.valid_until,
        "reference": terms.reference,
        "grants": [_grant_document(grant) for grant in terms.grants],
    }


def _grant_document(grant: pb.Grant) -> dict[str, Any]:
    if grant.HasField("aggregate"):
        terms = grant.aggregate
        counted = {
            "events": {each.event: list(each.dimensions) for each in terms.events},
            "min_persons": terms.min_persons,
            "budget_micro": terms.budget_micro,
            "period": terms.period,
            "delta_nano": terms.delta_nano,
        }
        return {"purpose": grant.purpose, "aggregate": counted}
    return {
        "purpose": grant.purpose,
        "fields": {field.field: field.transform for field in grant.fields},
        "population": population_document(grant.population),
        "retention_days": grant.retention_days,
        "volume": {volume.window: volume.persons for volume in grant.volumes},
    }


def population_document(population: pb.Population) -> Any:
    """Whose data a grant covers, for `--json`."""
    kind = population.WhichOneof("kind")
    if kind == "everyone":
        return "everyone"
    if kind == "persons":
        return {"persons": list(population.persons.person_ids)}
    if kind == "predicates":
        return {"where": {each.field: list(each.values) for each in population.predicates.predicates}}
    return "nobody"


def version_document(version: pb.ContractVersion) -> dict[str, Any]:
    """A version of a contract for `--json`."""
    return {
        "version": version.version,
        "terms_sha256": version.terms_sha256.hex(),
        "canonical_terms": version.canonical_terms.decode("utf-8", "replace"),
        "proposed_by": version.proposed_by,
        "proposed_at": version.proposed_at,
        "accepted_at": version.accepted_at,
    }


def print_contract(output: Output, contract: pb.Contract) -> None:
    """A contract's state and its terms."""
    output.heading(f"{contract.contract_id}  {state_name(contract.state)}")
    waiting = f"version {contract.proposed_version}" if contract.proposed_version else ""
    version = contract.version or "none yet"
    output.facts({"version in force": version, "waiting for acceptance": waiting, "reason": contract.reason})
    output.line()
    print_terms(output, contract.terms)


def print_terms(output: Output, terms: pb.ContractTerms) -> None:
    """Terms in full, as a person must be able to read them before signing."""
    output.facts(
        {
            "subcontractor": terms.subcontractor,
            "recipient": f"{terms.recipient_name}, {terms.recipient_address}",
            "valid": f"{terms.valid_from} to {terms.valid_until}, both days included, UTC",
            "reference": terms.reference,
            "onward transfer": "forbidden",
            "use": "only for the purposes granted",
        }
    )
    for number, grant in enumerate(terms.grants, 1):
        output.line()
        _print_grant(output, number, grant)


def _budget_text(terms: pb.AggregateTerms) -> str:
    delta = f" and delta {terms.delta_nano / 1_000_000_000:g}" if terms.delta_nano else ""
    return f"epsilon {terms.budget_micro / 1_000_000:g}{delta} per {terms.period}"


def _print_grant(output: Output, number: int, grant: pb.Grant) -> None:
    output.heading(f"Grant {number}: {grant.purpose}")
    if grant.HasField("aggregate"):
        terms = grant.aggregate
        output.facts(
            {
                "what": "counts with noise, no data of a person",
                "persons behind a number": f"at least {terms.min_persons}",
                "privacy budget": _budget_text(terms),
            }
        )
        events = [(each.event, ", ".join(each.dimensions) or "day and month only") for each in terms.events]
        output.table(("event", "by"), events)
        return
    output.facts(
        {
            "whose data": population_text(grant.population),
            "delete after": f"{grant.retention_days} days",
            "at most": ", ".join(f"{volume.persons} persons per {volume.window}" for volume in grant.volumes),
        }
    )
    output.table(("field", "form"), [(field.field, field.transform) for field in grant.fields])


def population_text(population: pb.Population) -> str:
    """Whose data a grant covers, in words."""
    kind = population.WhichOneof("kind")
    if kind == "everyone":
        return "everyone on record"
    if kind == "persons":
        persons = population.persons.person_ids
        return f"{len(persons)} named persons: {', '.join(persons)}"
    if kind == "predicates":
        return " and ".join(f"{each.field} is {' or '.join(each.values)}" for each in population.predicates.predicates)
    return "nobody"
