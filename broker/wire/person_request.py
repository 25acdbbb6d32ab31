"""PersonRequestService: protos to what is asked, and requests to protos."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sluss.v1 import person_request_pb2 as pb

from broker import free_text
from broker.clock import day_of
from broker.errors import invalid
from broker.ids import parse_person, parse_request_id, person_text
from broker.person_requests import rules
from broker.person_requests.model import CHANNELS, METHODS, Identity, Kind, State, Telling
from broker.person_requests.tracking import Call, Opening
from broker.wire import checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.person_requests.model import Facts
    from broker.person_requests.rows import Held
    from broker.person_requests.statistics import Count
    from broker.person_requests.telling import Addressee
    from broker.timelines import Event

KINDS: Final = {
    Kind.ACCESS: pb.PERSON_REQUEST_KIND_ACCESS,
    Kind.RECTIFICATION: pb.PERSON_REQUEST_KIND_RECTIFICATION,
    Kind.ERASURE: pb.PERSON_REQUEST_KIND_ERASURE,
    Kind.OBJECTION: pb.PERSON_REQUEST_KIND_OBJECTION,
}
STATES: Final = {
    State.RECEIVED: pb.PERSON_REQUEST_STATE_RECEIVED,
    State.IDENTITY_CHECKED: pb.PERSON_REQUEST_STATE_IDENTITY_CHECKED,
    State.IN_PROGRESS: pb.PERSON_REQUEST_STATE_IN_PROGRESS,
    State.WAITING: pb.PERSON_REQUEST_STATE_WAITING_FOR_RECIPIENTS,
    State.DONE: pb.PERSON_REQUEST_STATE_DONE,
    State.REFUSED: pb.PERSON_REQUEST_STATE_REFUSED,
    State.WITHDRAWN: pb.PERSON_REQUEST_STATE_WITHDRAWN,
}
TELLINGS: Final = {
    Telling.TOLD: pb.TELLING_OUTCOME_TOLD,
    Telling.IMPOSSIBLE: pb.TELLING_OUTCOME_IMPOSSIBLE,
    Telling.DISPROPORTIONATE: pb.TELLING_OUTCOME_DISPROPORTIONATE,
}
MAX_REASON: Final = 500
_KIND_OF: Final = {number: kind for kind, number in KINDS.items()}
_RESULTS: Final = {
    pb.IDENTITY_RESULT_PASSED: Identity.PASSED,
    pb.IDENTITY_RESULT_FAILED: Identity.FAILED,
    pb.IDENTITY_RESULT_MORE_NEEDED: Identity.MORE_NEEDED,
}
LANGUAGES: Final = frozenset({"sv", "en"})
MAX_PURPOSES: Final = 32
MAX_FIELDS: Final = 256
DIGEST_BYTES: Final = 32


def kind(number: int) -> Kind:
    """A kind of request.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if number not in _KIND_OF:
        raise invalid("kind", "access, rectification, erasure or objection")
    return _KIND_OF[pb.PersonRequestKind.ValueType(number)]


def kinds(numbers: Sequence[int]) -> list[Kind]:
    """Several, each once."""
    return sorted({kind(number) for number in numbers})


def person(text: str) -> int:
    """A person's id, or 0 for none."""
    return parse_person(text) if text else 0


def opening(message: pb.OpenRequestRequest, now_us: int) -> Opening:
    """The request to open.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    whose = person(message.person_id)
    if not whose and not message.requester:
        raise invalid("requester", "who asks, and where to reach them, if not whose request it is")
    return Opening(
        kind(message.kind),
        checks.among(message.channel, CHANNELS, "channel"),
        checks.past(message.received, "received", now_us) if message.received else None,
        whose,
        checks.words(message.asked, "asked"),
        checks.optional_words(message.requester, "requester"),
        checks.among(message.language, LANGUAGES, "language"),
    )


def call(message: Any) -> Call:
    """What every step names.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return Call(message.id, message.etag, parse_request_id(message.request_id))


def identity(message: pb.NoteIdentityCheckRequest) -> tuple[str, Identity, int]:
    """Method, result and person.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if message.result not in _RESULTS:
        raise invalid("result", "passed, failed or more needed")
    return checks.among(message.method, METHODS, "method"), _RESULTS[message.result], person(message.person_id)


def digest(data: bytes) -> bytes:
    """A SHA-256.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if len(data) != DIGEST_BYTES:
        raise invalid("sha256", "32 bytes")
    return data


def correction(message: pb.RectifyRequest) -> tuple[list[tuple[str, str]], list[str]]:
    """The values to set and the fields to remove.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if len(message.values) > MAX_FIELDS or len(message.remove) > MAX_FIELDS:
        raise invalid("values", f"at most {MAX_FIELDS}")
    return [(each.field, each.value) for each in message.values], list(message.remove)


def purposes(texts: Sequence[str]) -> list[str]:
    """1 to 32 different purposes.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= len(texts) <= MAX_PURPOSES or len(set(texts)) != len(texts):
        raise invalid("purposes", f"1 to {MAX_PURPOSES}, each once")
    return list(texts)


def told(message: pb.NoteRecipientToldRequest) -> tuple[str, Telling, str]:
    """The case, how it ended to tell its recipient, and how or why not; that stays after an erasure.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    outcomes = {number: outcome for outcome, number in TELLINGS.items()}
    if message.outcome not in outcomes:
        raise invalid("outcome", "told, impossible or disproportionate")
    outcome = outcomes[message.outcome]
    if message.reason or outcome is not Telling.TOLD:
        free_text.reason(message.reason, most=MAX_REASON)
    return message.case_id, outcome, message.reason


def request(held: Held, now_us: int) -> pb.PersonRequest:
    """The message of a request."""
    facts, words = held.facts, held.words
    return pb.PersonRequest(
        id=held.id,
        kind=KINDS[facts.kind],
        state=STATES[held.state],
        person_id=person_text(held.person) if held.person else "",
        channel=facts.channel,
        received=facts.received.isoformat(),
        deadline=rules.deadline(facts).isoformat(),
        extended_months=facts.months,
        paused_since=facts.paused_since.isoformat() if facts.paused_since else "",
        overdue=rules.overdue(facts, held.state, day_of(now_us)),
        identity=facts.identity,
        identity_method=facts.method,
        asked=words.asked if words else "",
        requester=words.requester if words else "",
        language=words.language if words else "",
        told=words.told if words else "",
        ground=facts.ground,
        fulfilled=facts.fulfilled.isoformat() if facts.fulfilled else "",
        completed=facts.completed.isoformat() if facts.completed else "",
        recipients=held.owed.total,
        answered=held.owed.answered,
        forgotten=words is None,
        possible=[str(step) for step in rules.possible(_as_shown(held))],
        etag=str(held.etag),
        to_tell=map(addressee, held.legal),
    )


def _as_shown(held: Held) -> Facts:
    """The facts without what is hidden."""
    cases = {each.case for each in held.legal}
    return replace(held.facts, tell=tuple(each for each in held.facts.tell if each.case in cases))


def addressee(found: Addressee) -> pb.LegalRecipient:
    """The message of somebody whom people tell."""
    return pb.LegalRecipient(
        case_id=found.case,
        name=found.name,
        address=found.address,
        outcome=TELLINGS[Telling(found.outcome)] if found.outcome else pb.TELLING_OUTCOME_UNSPECIFIED,
        reason=found.reason,
    )


def event(found: Event) -> pb.PersonRequestEvent:
    """The message of a line of the timeline."""
    return pb.PersonRequestEvent(
        at=found.at, by=found.by, event=found.event, text=found.text, entry_index=found.index, proven=found.proven
    )


def count(of: Kind, found: Count) -> pb.PersonRequestCount:
    """The message of a line of the statistics."""
    return pb.PersonRequestCount(
        kind=KINDS[of],
        received=found.received,
        done=found.done,
        refused=found.refused,
        withdrawn=found.withdrawn,
        open=found.open,
        overdue=found.overdue,
        extended=found.extended,
        late=found.late,
        median_days=found.median_days,
    )
