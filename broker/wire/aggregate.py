"""AggregateService: protos to what is asked, and answers to protos."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sluss.v1 import aggregate_pb2 as pb

from broker.aggregates import question
from broker.aggregates.answering import Ask
from broker.aggregates.question import Asked
from broker.aggregates.recording import Used
from broker.catalogue.usage import Noise
from broker.clock import SECOND, micros, rfc3339
from broker.contracts import CODE
from broker.errors import Reason, SlussError, invalid
from broker.ids import parse_person
from broker.values import validate
from broker.wire.checks import day

if TYPE_CHECKING:
    from broker.aggregates.answering import Reply
    from broker.aggregates.answers import Cell
    from broker.aggregates.budget import Standing
    from broker.aggregates.describing import EventScope, Scope
    from broker.aggregates.question import Cost
    from broker.aggregates.recording import Recorded

_EVENT_ID: Final = re.compile(r"[!-~]{1,64}")
MAX_EVENTS: Final = 1_000
MAX_ATTRIBUTES: Final = 16
MAX_VALUES: Final = 512
_MEASURES: Final[dict[int, str]] = {
    pb.MEASURE_PERSONS: question.PERSONS,
    pb.MEASURE_EVENTS: question.EVENTS,
    pb.MEASURE_SECONDS: question.SECONDS,
    pb.MEASURE_MEAN_SECONDS: question.MEAN,
}
_NOISES: Final[dict[int, Noise | None]] = {
    pb.NOISE_UNSPECIFIED: None,
    pb.NOISE_LAPLACE: Noise.LAPLACE,
    pb.NOISE_GAUSSIAN: Noise.GAUSSIAN,
}


def events(message: pb.RecordUsageRequest) -> list[Used | SlussError]:
    """The events to record; one that can't be read is its own error.

    Raises:
        SlussError: INVALID_REQUEST for too many, or none.
    """
    if not 1 <= len(message.events) <= MAX_EVENTS:
        raise invalid("events", f"1 to {MAX_EVENTS:,}")
    return [_used(event) for event in message.events]


def _used(message: pb.UsageEvent) -> Used | SlussError:
    try:
        at_us = micros(validate("datetime", message.at))
    except SlussError as error:
        return SlussError(Reason.INVALID_VALUE, f"at: {error.detail}", field="at")
    if len(message.attributes) > MAX_ATTRIBUTES:
        return invalid("attributes", f"at most {MAX_ATTRIBUTES}")
    try:
        person = parse_person(message.person_id) if message.person_id else None
    except SlussError as error:
        return error
    if message.id and not _EVENT_ID.fullmatch(message.id):
        return SlussError(Reason.INVALID_VALUE, "id: at most 64 visible ASCII characters", field="id")
    return Used(person, message.event, at_us, message.seconds, dict(message.attributes), message.id)


def recorded(done: Recorded) -> pb.RecordUsageResponse:
    """What became of them."""
    return pb.RecordUsageResponse(
        recorded=done.recorded,
        repeated=done.repeated,
        without_person=done.without_person,
        faults=[
            pb.UsageFault(index=fault.index, reason=fault.reason, detail=fault.detail, field=fault.field)
            for fault in done.faults
        ],
    )


def ask(message: pb.QueryAggregateRequest) -> Ask:
    """The question.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    if not CODE.fullmatch(message.purpose):
        raise invalid("purpose", "a purpose's code")
    if message.noise not in _NOISES:
        raise invalid("noise", "laplace or gaussian")
    measures = tuple(_MEASURES.get(measure, "") for measure in message.measures)
    if len(message.filters) > MAX_ATTRIBUTES or any(len(each.values) > MAX_VALUES for each in message.filters):
        raise invalid("filters", f"at most {MAX_ATTRIBUTES}, each of at most {MAX_VALUES} values")
    return Ask(
        message.contract_id,
        message.purpose,
        Asked(
            event=message.event,
            measures=measures,
            group_by=tuple(message.group_by),
            filters=tuple((each.dimension, tuple(each.values)) for each in message.filters),
            first_day=day(message.first_day, "first_day"),
            last_day=day(message.last_day, "last_day"),
            noise=_NOISES[message.noise],
        ),
    )


def answer(reply: Reply) -> pb.QueryAggregateResponse:
    """The answer."""
    return pb.QueryAggregateResponse(
        cells=map(_cell, reply.answer.cells),
        answer=reply.answer.data,
        entry=reply.entry,
        receipt=reply.receipt,
        spent_micro=reply.spent.micro,
        spent_delta_nano=reply.spent.delta_nano,
        budget=budget(reply.budget),
    )


def _cell(cell: Cell) -> pb.AggregateCell:
    return pb.AggregateCell(key=cell.key, suppressed=not cell.values, **cell.values)


def budget(found: Standing) -> pb.Budget:
    """A budget as it stands."""
    return pb.Budget(
        period=str(found.limit.period),
        began=rfc3339(found.began * SECOND),
        ends=rfc3339(found.ends * SECOND),
        limit_micro=found.limit.most.micro,
        spent_micro=found.spent.micro,
        limit_delta_nano=found.limit.most.delta_nano,
        spent_delta_nano=found.spent.delta_nano,
        closed=found.closed,
    )


def scope(found: Scope) -> pb.DescribeAggregatesResponse:
    """What may be asked."""
    return pb.DescribeAggregatesResponse(
        scopes=[
            pb.AggregateScope(
                purpose=each.purpose.code,
                label_en=each.purpose.label_en,
                label_sv=each.purpose.label_sv,
                events=[_event(event, found.each) for event in each.events],
                min_persons=each.min_persons,
            )
            for each in found.scopes
        ],
        budget=budget(found.budget),
        first_kept_day=found.first_kept_day.isoformat(),
        last_closed_day=found.last_closed_day.isoformat(),
        not_live_reason=found.not_live_reason,
    )


def _event(found: EventScope, each: Cost) -> pb.AggregateEvent:
    return pb.AggregateEvent(
        event=found.event.name,
        label_en=found.event.label_en,
        label_sv=found.event.label_sv,
        dimensions=[
            pb.Dimension(name=by.name, values=by.values, label_en=by.label_en, label_sv=by.label_sv)
            for by in found.dimensions
        ],
        max_events=found.event.max_events,
        max_seconds=found.event.max_seconds,
        cells_per_person=found.event.cells_per_person,
        epsilon_micro=each.micro,
        delta_nano=each.delta_nano,
        persons_needed=found.persons_needed,
    )
