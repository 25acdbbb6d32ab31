"""Cases as documents for programs and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluss.v1 import legal_pb2 as pb
from sluss_legal import words

from sluss_cli.contract_text import population_document, population_text
from sluss_cli.entry_text import moment
from sluss_cli.legal.asking import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluss_cli.output import Output

_SOME = 5
"""Persons named in full on a person's screen."""


def state_name(state: pb.CaseState.ValueType) -> str:
    """`received`, `under_review` ...; anything else by its number."""
    if state in words.STATES:
        return pb.CaseState.Name(state).removeprefix("CASE_STATE_").lower()
    return f"state {state}"


def secrecy_name(state: pb.SecrecyState.ValueType) -> str:
    """`visible`, `hidden` or `lifted`; anything else by its number."""
    return words.SECRECY[state].lower() if state in words.SECRECY else f"state {state}"


def case_document(case: pb.Case) -> dict[str, Any]:
    """A case for `--json`."""
    requester, instrument = case.requester, case.instrument
    return {
        "case": case.case_id,
        "ground": words.GROUND_NAMES.get(case.ground, str(case.ground)),
        "state": state_name(case.state),
        "requester": {
            "name": requester.name,
            "address": requester.address,
            "country": requester.country,
            "contact": requester.contact,
        },
        "instrument": {"kind": instrument.kind, "reference": instrument.reference, "date": instrument.date},
        "scope": scope_document(case.scope),
        "delivery": _delivery_document(case.delivery) if case.HasField("delivery") else None,
        "received": case.received,
        "deadline": case.deadline,
        "handler": case.handler,
        "secrecy": {
            "state": secrecy_name(case.secrecy.state),
            "until": case.secrecy.until,
            "reason": case.secrecy.reason,
        },
        "prepared_by": case.prepared_by,
        "approved_by": case.approved_by,
        "emergency": _emergency_document(case.emergency) if case.HasField("emergency") else None,
        "elsewhere": case.elsewhere,
        "release": _release_document(case.release) if case.HasField("release") else None,
        "possible": [words.STEP_NAMES[step] for step in case.possible if step in words.STEP_NAMES],
        "etag": case.etag,
    }


def scope_document(scope: pb.Scope) -> dict[str, Any]:
    """A scope for `--json`."""
    listed = scope.HasField("listed")
    return {
        "persons": list(scope.listed.person_ids) if listed else None,
        "population": None if listed else population_document(scope.population),
        "fields": {granted.field: granted.transform for granted in scope.fields},
        "collected_from": scope.collected_from,
        "collected_until": scope.collected_until,
    }


def _delivery_document(delivery: pb.Delivery) -> dict[str, Any]:
    key = delivery.key.public_key.hex() if delivery.HasField("key") else ""
    return {"package": delivery.package, "key": key, "retain_until": delivery.retain_until}


def _emergency_document(emergency: pb.Emergency) -> dict[str, Any]:
    return {
        "released_by": emergency.released_by,
        "confirm_by": emergency.confirm_by,
        "answered_by": emergency.answered_by,
        "disputed": emergency.disputed,
        "overdue": emergency.overdue,
    }


def _release_document(release: pb.ReleaseProgress) -> dict[str, Any]:
    return {
        "done": release.done,
        "total": release.total,
        "released": release.released,
        "complete": release.complete,
        "began": release.began,
    }


def file_document(document: pb.CaseDocument) -> dict[str, Any]:
    """A case's document for `--json`, without its content."""
    return {
        "number": document.number,
        "name": document.name,
        "media_type": document.media_type,
        "size": document.size,
        "sha256": document.sha256.hex(),
        "by": document.by,
        "at": document.at,
        "entry_index": document.entry_index,
    }


def event_document(event: pb.CaseEvent) -> dict[str, Any]:
    """A line of a timeline for `--json`."""
    return {
        "at": event.at,
        "by": event.by,
        "event": event.event,
        "text": event.text,
        "entry_index": event.entry_index,
        "proven": event.proven,
    }


def print_case(output: Output, case: pb.Case) -> None:
    """A case in full, what stands out first."""
    output.heading(f"{case.case_id}  {state_name(case.state).replace('_', ' ')}")
    if case.HasField("emergency"):
        output.line(f"EMERGENCY: {_emergency_text(case.emergency)}")
    requester, instrument = case.requester, case.instrument
    kind = words.INSTRUMENTS.get(instrument.kind, instrument.kind)
    output.facts(
        {
            "ground": words.GROUNDS.get(case.ground, str(case.ground)),
            "requester": f"{requester.name}, {requester.address}, {requester.country}",
            "contact": requester.contact,
            "instrument": f"{kind} {instrument.reference}, {instrument.date}",
            "received": case.received,
            "deadline": case.deadline,
            "handler": case.handler,
            "secrecy": _secrecy_text(case.secrecy),
            "prepared by": case.prepared_by,
            "approved by": case.approved_by,
            "elsewhere": "a release made elsewhere is recorded" if case.elsewhere else "",
            "release": _release_text(case.release) if case.HasField("release") else "",
            "possible now": ", ".join(words.STEP_NAMES[step] for step in case.possible if step in words.STEP_NAMES),
        }
    )
    output.line()
    print_scope(output, case)


def print_scope(output: Output, case: pb.Case) -> None:
    """What is to be released and how: what a second person reads before approving."""
    scope = case.scope
    output.facts(
        {
            "whose data": persons_text(scope),
            "collected": _collected(scope),
            "delivery": _delivery_text(case.delivery) if case.HasField("delivery") else "not set yet",
            "delete by": case.delivery.retain_until,
        }
    )
    output.table(("field", "form"), [(granted.field, granted.transform) for granted in scope.fields])


def _collected(scope: pb.Scope) -> str:
    first = f"from {scope.collected_from}" if scope.collected_from else ""
    return " ".join(filter(None, (first, f"until {scope.collected_until}" if scope.collected_until else "")))


def persons_text(scope: pb.Scope) -> str:
    """Whose data a scope is about."""
    if not scope.HasField("listed"):
        return population_text(scope.population)
    ids = scope.listed.person_ids
    more = f" and {len(ids) - _SOME} more (--json shows all)" if len(ids) > _SOME else ""
    return f"{counted(len(ids), 'person', 'persons')}: {', '.join(ids[:_SOME])}{more}"


def print_documents(output: Output, documents: Sequence[pb.CaseDocument]) -> None:
    """The documents of a case."""
    output.table(
        ("document", "name", "type", "bytes", "added", "by", "entry"),
        [(d.number, d.name, d.media_type, d.size, moment(d.at), d.by, d.entry_index) for d in documents],
        empty="no documents",
    )


def print_timeline(output: Output, timeline: Sequence[pb.CaseEvent]) -> None:
    """What happened. A text that its entry does not commit to stands out."""
    output.table(
        ("when", "what", "by", "entry", "why"),
        [(moment(e.at), words.EVENTS.get(e.event, e.event), e.by, e.entry_index, _why(e)) for e in timeline],
    )


def _why(event: pb.CaseEvent) -> str:
    return f"NOT AS COMMITTED TO: {event.text}" if event.text and not event.proven else event.text


def _emergency_text(emergency: pb.Emergency) -> str:
    if emergency.disputed:
        return f"released by {emergency.released_by}; {emergency.answered_by} says that it should not have been made"
    if emergency.answered_by:
        return f"released by {emergency.released_by}, confirmed by {emergency.answered_by}"
    due = moment(emergency.confirm_by)
    late = "OVERDUE since" if emergency.overdue else "a second person must confirm by"
    return f"released by {emergency.released_by}; {late} {due} UTC"


def _secrecy_text(secrecy: pb.Secrecy) -> str:
    if secrecy.state == pb.SECRECY_STATE_HIDDEN:
        return f"hidden until {secrecy.until}: {secrecy.reason}"
    return secrecy_name(secrecy.state)


def _release_text(release: pb.ReleaseProgress) -> str:
    end = "complete" if release.complete else "not complete"
    return f"{release.released} persons released, {release.done} of {release.total} looked at, {end}"


def _delivery_text(delivery: pb.Delivery) -> str:
    if delivery.HasField("key"):
        return "sealed to the authority's own key"
    return "a package that opens with a passphrase"
