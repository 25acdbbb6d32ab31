"""PersonService: protos to what is asked, and answers to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import person_pb2

from broker.clock import SECOND, rfc3339
from broker.errors import Reason, SlussError
from broker.ids import parse_person, parse_request_id, person_text
from broker.persons.model import (
    MAX_HANDLES,
    MAX_ROWS,
    MAX_VALUES,
    Batch,
    Correction,
    Outcome,
    Registration,
    Row,
)
from broker.wire.choice import STATE_OF, choice_made, choice_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

    from broker.outbox.showing import Confirmation
    from broker.persons.model import Fault, Given, Result, Shown, StoredField

_OUTCOMES: Final = {
    Outcome.CREATED: person_pb2.ImportResult.OUTCOME_CREATED,
    Outcome.UPDATED: person_pb2.ImportResult.OUTCOME_UPDATED,
    Outcome.UNCHANGED: person_pb2.ImportResult.OUTCOME_UNCHANGED,
    Outcome.FAULTY: person_pb2.ImportResult.OUTCOME_FAULTY,
}


def registration(message: person_pb2.RegisterPersonRequest) -> Registration:
    """The registration asked for.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return Registration(
        parse_request_id(message.request_id),
        _values(message.values, at_least=1),
        message.source,
        [choice_made(choice) for choice in message.choices],
        message.accepted_policy,
    )


def confirmation(found: Confirmation) -> person_pb2.RegistrationConfirmation:
    """A confirmation with the information received."""
    return person_pb2.RegistrationConfirmation(
        person_id=person_text(found.person),
        registered_at=rfc3339(found.at),
        policy_version=found.policy,
        values=[
            person_pb2.ConfirmedValue(
                field=each.field, label_sv=each.label_sv, label_en=each.label_en, value=each.value, source=each.source
            )
            for each in found.values
        ],
        choices=[
            person_pb2.ConfirmedChoice(
                purpose=each.purpose,
                label_sv=each.label_sv,
                label_en=each.label_en,
                state=STATE_OF[each.state],
                medium=each.medium,
                channels=each.channels,
            )
            for each in found.choices
        ],
        accepted_policy=found.accepted,
    )


def correction(message: person_pb2.UpdatePersonRequest) -> Correction:
    """The correction asked for.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    _require_count(message.remove, "remove", 0, MAX_VALUES)
    return Correction(
        parse_person(message.person_id),
        _values(message.values),
        list(message.remove),
        message.source,
        message.etag,
        message.rectification,
    )


def look_up_key(message: person_pb2.LookUpPersonsRequest) -> tuple[str, str]:
    """The kind of key and the key.

    Raises:
        SlussError: INVALID_REQUEST when none is given.
    """
    kind = message.WhichOneof("key")
    if kind is None:
        raise SlussError(Reason.INVALID_REQUEST, "key: one of email, phone, customer_number", field="key")
    return kind, getattr(message, kind)


def persons(message: person_pb2.GetHandlesRequest) -> list[int]:
    """The persons whose handles are asked for.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    _require_count(message.person_ids, "person_ids", 1, MAX_HANDLES)
    found = [parse_person(text) for text in message.person_ids]
    if len(set(found)) < len(found):
        raise SlussError(Reason.INVALID_REQUEST, "person_ids: duplicates", field="person_ids")
    return found


def batch(message: person_pb2.ImportPersonsRequest, start: int, size: int) -> Batch:
    """The part of a batch from row `start` on, at most `size` rows.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    _require_count(message.rows, "rows", 1, MAX_ROWS)
    # Of all rows, in each part: a batch that is refused for its form leaves none of its parts behind.
    for row in message.rows:
        _require_count(row.values, "values", 0, MAX_VALUES)
    part = [Row(row.line, _values(row.values)) for row in message.rows[start : start + size]]
    return Batch(part, message.source, message.dry_run, message.confirm)


def shown(person: Shown) -> person_pb2.GetPersonResponse:
    """A person as shown."""
    return person_pb2.GetPersonResponse(
        person_id=person_text(person.person),
        etag=person.etag,
        created_at=rfc3339(person.created_at),
        updated_at=rfc3339(person.updated_at),
        credential_locked_by=person.locked_by,
        fields=[_stored(field) for field in person.fields],
        choices=map(choice_message, person.choices),
    )


def results(found: Iterable[Result]) -> person_pb2.ImportPersonsResponse:
    """The outcome of a batch."""
    return person_pb2.ImportPersonsResponse(results=[_result(result) for result in found])


def _stored(field: StoredField) -> person_pb2.StoredField:
    return person_pb2.StoredField(
        field=field.name,
        category=field.category,
        source=field.source,
        collected_at=rfc3339(field.collected_at * SECOND),
        value=field.text,
    )


def _result(result: Result) -> person_pb2.ImportResult:
    return person_pb2.ImportResult(
        line=result.line,
        outcome=_OUTCOMES[result.outcome],
        faults=[_fault(fault) for fault in result.faults],
        person_id=person_text(result.person) if result.person else "",
    )


def _fault(fault: Fault) -> person_pb2.ImportFault:
    return person_pb2.ImportFault(
        field=fault.field, reason=fault.reason.value, detail=fault.detail, masked=fault.masked
    )


def _values(messages: Iterable[person_pb2.FieldValue], at_least: int = 0) -> list[Given]:
    values = [(message.field, message.value) for message in messages]
    _require_count(values, "values", at_least, MAX_VALUES)
    return values


def _require_count(items: Sized, field: str, least: int, most: int) -> None:
    if not least <= len(items) <= most:
        raise SlussError(Reason.INVALID_REQUEST, f"{field}: {least} to {most:,} of them", field=field)
