"""OutboxService: protos to what is asked, and answers to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import outbox_pb2

from broker.clock import rfc3339
from broker.errors import invalid
from broker.ids import person_text
from broker.outbox.kinds import Failure, Kind
from broker.wire import person as persons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.outbox.consumers import Answered, Consumer
    from broker.outbox.listing import Listed, Standing
    from broker.outbox.showing import Shown

DEFAULT_WINDOW: Final = 100
MAX_WINDOW: Final = 1_000
MAX_ANSWERS: Final = 1_000
_KINDS: Final = {outbox_pb2.OutboxKind.Value(f"OUTBOX_KIND_{kind.name}"): kind for kind in Kind}
_KIND_OF: Final = {kind: number for number, kind in _KINDS.items()}
_FAILURES: Final = {outbox_pb2.OutboxFailure.Value(f"OUTBOX_FAILURE_{each.name}"): each for each in Failure}
_FAILURE_OF: Final = {each: number for number, each in _FAILURES.items()}
_STATES: Final = {
    outbox_pb2.OUTBOX_STATE_WAITING: "waiting",
    outbox_pb2.OUTBOX_STATE_DELIVERED: "delivered",
    outbox_pb2.OUTBOX_STATE_FAILED: "failed",
    outbox_pb2.OUTBOX_STATE_DEAD: "dead",
}
_STATE_OF: Final = {word: number for number, word in _STATES.items()}


def kinds(numbers: Sequence[outbox_pb2.OutboxKind.ValueType]) -> tuple[Kind, ...]:
    """The kinds that a consumer takes.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if any(number not in _KINDS for number in numbers):
        raise invalid("kinds", "not a kind of message")
    return tuple(kind for number, kind in _KINDS.items() if number in set(numbers))


def window(asked: int) -> int:
    """How many messages may be on their way.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if asked > MAX_WINDOW:
        raise invalid("window", f"at most {MAX_WINDOW:,}")
    return asked or DEFAULT_WINDOW


def answers(message: outbox_pb2.AcknowledgeOutboxRequest) -> list[tuple[int, Failure | None]]:
    """What became of messages.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    given = message.acknowledgements
    if not 1 <= len(given) <= MAX_ANSWERS:
        raise invalid("acknowledgements", f"1 to {MAX_ANSWERS:,} of them")
    if len({each.id for each in given}) < len(given):
        raise invalid("acknowledgements", "a message stands there twice")
    return [(_id(each.id), _failure(each.failure)) for each in given]


def states(numbers: Sequence[outbox_pb2.OutboxState.ValueType]) -> frozenset[str]:
    """The states of a filter.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if any(number not in _STATES for number in numbers):
        raise invalid("states", "not a state of a message")
    return frozenset(_STATES[number] for number in numbers)


def item(shown: Shown) -> outbox_pb2.WatchOutboxResponse:
    """A message as its consumer gets it."""
    found = outbox_pb2.OutboxItem(
        id=shown.id,
        kind=_KIND_OF[shown.kind],
        queued_at=rfc3339(shown.at),
        failures=shown.failures,
        person_id=person_text(shown.person),
        email=shown.email,
        name=shown.name,
        language=shown.language,
        references=shown.references,
    )
    if shown.confirmation is not None:
        found.confirmation.CopyFrom(persons.confirmation(shown.confirmation))
    if shown.answer is not None and shown.answer.outcome:
        answered = shown.answer
        found.decision.CopyFrom(
            outbox_pb2.OutboxDecision(
                about=answered.about, outcome=answered.outcome, ground=answered.ground, told=answered.told
            )
        )
    return outbox_pb2.WatchOutboxResponse(item=found)


def answer(answered: Answered) -> outbox_pb2.OutboxAnswer:
    """How a message stands after an answer."""
    return outbox_pb2.OutboxAnswer(
        id=answered.item,
        state=_STATE_OF.get(answered.state, outbox_pb2.OUTBOX_STATE_UNSPECIFIED),
        next_at=rfc3339(answered.next_at) if answered.next_at else "",
    )


def listed(found: Listed) -> outbox_pb2.OutboxListing:
    """A message in a list."""
    return outbox_pb2.OutboxListing(
        id=found.id,
        kind=_KIND_OF[found.kind],
        queued_at=rfc3339(found.at),
        person_id=person_text(found.person),
        standings=[_standing(each) for each in found.standings],
        held_back=found.held_back,
    )


def consumer(found: Consumer, waiting: int) -> outbox_pb2.OutboxConsumer:
    """A consumer."""
    return outbox_pb2.OutboxConsumer(
        consumer=found.name,
        principal=found.principal,
        kinds=[_KIND_OF[kind] for kind in found.kinds],
        since=rfc3339(found.at),
        waiting=waiting,
    )


def _standing(found: Standing) -> outbox_pb2.OutboxStanding:
    return outbox_pb2.OutboxStanding(
        consumer=found.consumer,
        state=_STATE_OF[found.state],
        failure=_FAILURE_OF[found.failure] if found.failure else outbox_pb2.OUTBOX_FAILURE_UNSPECIFIED,
        failures=found.failures,
        at=rfc3339(found.at) if found.at else "",
    )


def _id(number: int) -> int:
    if number >> 63:
        raise invalid("acknowledgements.id", "not a message's")
    return number


def _failure(number: outbox_pb2.OutboxFailure.ValueType) -> Failure | None:
    if number == outbox_pb2.OUTBOX_FAILURE_UNSPECIFIED:
        return None
    found = _FAILURES.get(number)
    if found is None or found is Failure.EXPIRED:
        raise invalid("acknowledgements.failure", "not a failure that a consumer can tell")
    return found
