"""ChoiceService: protos to what is asked, and answers to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import choice_pb2

from broker.choices.checking import parse_moment
from broker.choices.model import MAX_ROWS, Batch, ChoiceMade, ListRow, Outcome, Recording
from broker.choices.rule import OPTED_IN, OPTED_OUT
from broker.clock import rfc3339
from broker.errors import invalid
from broker.ids import parse_person, parse_request_id, person_text
from broker.persons.checking import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.choices.exporting import Exported
    from broker.choices.model import Line, Listed, Result, Standing

_STATES: Final = {
    choice_pb2.CHOICE_STATE_OPTED_IN: OPTED_IN,
    choice_pb2.CHOICE_STATE_OPTED_OUT: OPTED_OUT,
}
STATE_OF: Final = {state: number for number, state in _STATES.items()}
_OUTCOMES: Final = {outcome: choice_pb2.ChoiceResult.Outcome.Value(f"OUTCOME_{outcome}") for outcome in Outcome}
_MAX_CHANNELS: Final = 16
_KINDS: Final = {"person_id": "person", "customer_number": NUMBER, "email": "email", "phone": "phone"}
"""How a row names a person -> the kind of look-up."""
_NAMED_BY: Final = {kind: name for name, kind in _KINDS.items()}
_KEYS: Final = {
    choice_pb2.ExportChoicesRequest.KEY_UNSPECIFIED: "",
    choice_pb2.ExportChoicesRequest.KEY_CUSTOMER_NUMBER: NUMBER,
    choice_pb2.ExportChoicesRequest.KEY_EMAIL: "email",
}


def choice_made(message: choice_pb2.ChoiceMade) -> ChoiceMade:
    """A choice as given.

    Raises:
        SlussError: INVALID_REQUEST for more channels than there are.
    """
    if len(message.channels) > _MAX_CHANNELS:
        raise invalid("channels", f"at most {_MAX_CHANNELS} of them")
    return ChoiceMade(message.purpose, _STATES.get(message.state, ""), tuple(message.channels), message.medium)


def choice_message(choice: ChoiceMade) -> choice_pb2.ChoiceMade:
    """A choice as told."""
    return choice_pb2.ChoiceMade(
        purpose=choice.purpose, state=STATE_OF[choice.state], channels=choice.channels, medium=choice.medium
    )


def recording(message: choice_pb2.RecordChoiceRequest) -> Recording:
    """The choice to record.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return Recording(
        parse_request_id(message.request_id),
        parse_person(message.person_id),
        choice_made(message.choice),
        message.source,
        message.evidence,
    )


def listed(found: Listed, next_page_token: str) -> choice_pb2.ListChoicesResponse:
    """A person's choices."""
    return choice_pb2.ListChoicesResponse(
        in_force=[_standing(each) for each in found.standing],
        reach=[
            choice_pb2.PurposeReach(purpose=each.purpose, purpose_class=each.kind, channels=each.channels)
            for each in found.reach
        ],
        history=[_record(line) for line in found.history],
        next_page_token=next_page_token,
    )


def _standing(each: Standing) -> choice_pb2.ChoiceInForce:
    return choice_pb2.ChoiceInForce(record=_record(each.line), channels=each.channels, purposes=each.purposes)


def _record(line: Line) -> choice_pb2.ChoiceRecord:
    return choice_pb2.ChoiceRecord(
        choice=choice_message(line.choice),
        source=line.source,
        evidence=line.evidence,
        policy_version=line.policy,
        chosen_at=rfc3339(line.chosen_at),
        recorded_at=rfc3339(line.recorded_at),
        entry_index=line.entry,
    )


def batch(message: choice_pb2.ImportChoicesRequest, start: int, size: int) -> Batch:
    """The part of a batch from row `start` on, at most `size` rows.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= len(message.rows) <= MAX_ROWS:
        raise invalid("rows", f"1 to {MAX_ROWS:,} of them")
    as_of = parse_moment(message.as_of, "as_of") if message.as_of else 0
    return Batch([_row(row) for row in message.rows[start : start + size]], as_of, message.dry_run)


def _row(message: choice_pb2.ChoiceRow) -> ListRow:
    named = message.WhichOneof("whose") or ""
    return ListRow(
        line=message.line,
        kind=_KINDS.get(named, ""),
        key=getattr(message, named) if named else "",
        choice=ChoiceMade(
            message.choice.purpose,
            _STATES.get(message.choice.state, ""),
            tuple(message.choice.channels[: _MAX_CHANNELS + 1]),
            message.choice.medium,
        ),
        source=message.source,
        evidence=message.evidence,
        chosen_at=message.chosen_at,
    )


def results(found: Iterable[Result]) -> choice_pb2.ImportChoicesResponse:
    """The outcome of a batch."""
    return choice_pb2.ImportChoicesResponse(results=[_result(result) for result in found])


def _result(result: Result) -> choice_pb2.ChoiceResult:
    return choice_pb2.ChoiceResult(
        line=result.line,
        outcome=_OUTCOMES[result.outcome],
        faults=[
            choice_pb2.ChoiceFault(field=fault.field, reason=fault.reason.value, detail=fault.detail)
            for fault in result.faults
        ],
        person_ids=map(person_text, result.persons),
    )


def export_key(key: choice_pb2.ExportChoicesRequest.Key.ValueType) -> str:
    """The kind of index to name persons by; empty for ids.

    Raises:
        SlussError: INVALID_REQUEST for a key that this broker does not know.
    """
    if key not in _KEYS:
        raise invalid("key", "person, customer number or e-mail")
    return _KEYS[key]


def exported(found: Iterable[Exported], cursor: str) -> choice_pb2.ExportChoicesResponse:
    """Some of the choices in force."""
    return choice_pb2.ExportChoicesResponse(
        rows=[_exported(number, each) for number, each in enumerate(found, 1)], cursor=cursor
    )


def _exported(number: int, each: Exported) -> choice_pb2.ChoiceRow:
    return choice_pb2.ChoiceRow(
        line=number,
        choice=choice_message(each.line.choice),
        source=each.line.source,
        evidence=each.line.evidence,
        chosen_at=rfc3339(each.line.chosen_at),
        policy_version=each.line.policy,
        **{_NAMED_BY[each.kind]: each.key},
    )
