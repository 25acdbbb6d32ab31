"""LegalService: protos to cases, cases to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import contract_pb2, disclosure_pb2, legal_pb2

from broker.clock import rfc3339
from broker.contracts import FieldGrant
from broker.errors import SlussError
from broker.identity import parse_principal
from broker.ids import person_text
from broker.ledger.shapes import MEDIA
from broker.legal import rules
from broker.legal.cases import MAX_PERSONS, Changes, Elsewhere, NewCase
from broker.legal.model import (
    INSTRUMENTS,
    CaseState,
    CaseStep,
    Delivery,
    Ground,
    Instrument,
    Key,
    Requester,
    Scope,
)
from broker.sealing import RecipientPublicKey
from broker.values import validate
from broker.wire import checks
from broker.wire import contract as contract_wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from broker.asks import Opening
    from broker.catalogue import Catalogue
    from broker.legal.documents import Document
    from broker.legal.finding import Masked, Preview
    from broker.legal.model import Body, Case
    from broker.legal.recipients import Received
    from broker.legal.report import Count, Line
    from broker.legal.rows import Event

GROUNDS: Final = {
    Ground.PROCESS: legal_pb2.GROUND_LAW_OR_PROCESS,
    Ground.RIGHTS: legal_pb2.GROUND_RIGHTS_AND_PROPERTY,
    Ground.SAFETY: legal_pb2.GROUND_PROTECTION,
    Ground.MERGER: legal_pb2.GROUND_MERGER_OR_SALE,
}
STATES: Final = {state: legal_pb2.CaseState.Value(f"CASE_STATE_{state.name}") for state in CaseState}
STEPS: Final = {step: legal_pb2.CaseStep.Value(f"CASE_STEP_{step.name}") for step in CaseStep}
KINDS: Final = {
    "disclosure": legal_pb2.RECEIVED_KIND_DISCLOSURE,
    "release": legal_pb2.RECEIVED_KIND_RELEASE,
    "release_elsewhere": legal_pb2.RECEIVED_KIND_RELEASE_ELSEWHERE,
}
_GROUNDS: Final[dict[int, Ground]] = {value: ground for ground, value in GROUNDS.items()}
_STATES: Final[dict[int, CaseState]] = {value: state for state, value in STATES.items()}
_STEPS: Final[dict[int, CaseStep]] = {value: step for step, value in STEPS.items()}
MAX_NAME: Final = 300
MAX_REFERENCE: Final = 100
MAX_DOCUMENT: Final = 16 << 20
MAX_FILE_NAME: Final = 200
MAX_ELSEWHERE: Final = 256


# --- requests -------------------------------------------------------------------------------------------


def new_case(request: legal_pb2.OpenCaseRequest, catalogue: Catalogue, now_us: int) -> NewCase:
    """What a case is to be opened with.

    Raises:
        SlussError: INVALID_REQUEST with the field; INVALID_TERMS, FIELD_UNKNOWN, INVALID_VALUE of a population.
    """
    received = checks.past(request.received, "received", now_us)
    deadline = checks.day(request.deadline, "deadline")
    if deadline < received:
        raise checks.invalid("deadline", "before the request was received")
    hidden, asked, listed = request.hidden_until, scope(request.scope, catalogue), request.scope.listed.person_ids
    if request.secrecy_reason and not hidden:
        raise checks.invalid("hidden_until", "secrecy needs an end")
    return NewCase(
        ground=ground(request.ground),
        requester=_requester(request.requester),
        instrument=Instrument(
            checks.among(request.instrument.kind, INSTRUMENTS, "instrument.kind"),
            checks.text(request.instrument.reference, "instrument.reference", MAX_REFERENCE),
            checks.past(request.instrument.date, "instrument.date", now_us),
        ),
        scope=asked,
        listed=checks.persons(listed, "scope.persons", MAX_PERSONS) if listed else (),
        received=received,
        deadline=deadline,
        handler=handler(request.handler),
        note=checks.optional(request.note, "note"),
        secrecy_until=checks.day(hidden, "hidden_until") if hidden else None,
        secrecy_reason=checks.text(request.secrecy_reason, "secrecy_reason") if hidden else "",
    )


def changes(request: legal_pb2.ChangeCaseRequest, catalogue: Catalogue) -> Changes:
    """What is to change.

    Raises:
        SlussError: as `new_case`; UNSUPPORTED_VERSION, MALFORMED for a key.
    """
    return Changes(
        scope=scope(request.scope, catalogue) if request.HasField("scope") else None,
        delivery=_delivery(request.delivery) if request.HasField("delivery") else None,
        handler=handler(request.handler),
        deadline=checks.day(request.deadline, "deadline") if request.deadline else None,
        note=checks.optional(request.note, "note"),
    )


def elsewhere(request: legal_pb2.RecordReleaseRequest, now_us: int) -> Elsewhere:
    """A release that was made outside the broker.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    fields = tuple(request.fields)
    if not 1 <= len(fields) <= rules.MAX_FIELDS or len(set(fields)) != len(fields):
        raise checks.invalid("fields", f"1 to {rules.MAX_FIELDS} different fields")
    return Elsewhere(
        released_on=checks.past(request.released_on, "released_on", now_us),
        persons=checks.persons(request.person_ids, "person_ids", MAX_ELSEWHERE),
        fields=fields,
        medium=checks.among(request.medium, MEDIA, "medium"),
        reason=checks.text(request.reason, "reason"),
    )


def scope(message: legal_pb2.Scope, catalogue: Catalogue) -> Scope:
    """The scope behind a message.

    Raises:
        SlussError: INVALID_REQUEST with the field; INVALID_TERMS, FIELD_UNKNOWN, INVALID_VALUE of a population.
    """
    kind = message.WhichOneof("persons")
    if kind is None:
        raise checks.invalid("scope.persons", "name persons, or on ground (d) a population")
    first, last = message.collected_from, message.collected_until
    fields = [FieldGrant(granted.field, granted.transform) for granted in message.fields]
    return Scope(
        persons=tuple(sorted(checks.persons(message.listed.person_ids, "scope.persons", MAX_PERSONS)))
        if kind == "listed"
        else (),
        population=contract_wire.population(message.population, "scope", catalogue) if kind == "population" else None,
        fields=tuple(sorted(fields, key=lambda granted: granted.field)),
        collected_from=checks.day(first, "scope.collected_from") if first else None,
        collected_until=checks.day(last, "scope.collected_until") if last else None,
    )


def key(message: legal_pb2.RecipientKey, field: str) -> Key:
    """A key to seal to.

    Raises:
        SlussError: INVALID_REQUEST for what is no key.
    """
    try:
        checked = RecipientPublicKey(int(message.suite), message.public_key)
    except SlussError as error:
        raise checks.invalid(field, error.detail) from None
    return Key(checked.suite, checked.data)


def ground(value: int) -> Ground:
    """One of the four grounds.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    found = _GROUNDS.get(value)
    if found is None:
        raise checks.invalid("ground", "one of the four grounds of the policy")
    return found


def step(value: int) -> CaseStep:
    """A step.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    found = _STEPS.get(value)
    if found is None:
        raise checks.invalid("step", "unknown")
    return found


def handler(text: str) -> str:
    """Who works on a case, of the legal team; "" for nobody named.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not text:
        return ""
    try:
        principal = parse_principal(text)
    except SlussError:
        principal = None
    if principal is None or principal.kind != "legal":
        raise checks.invalid("handler", "one of the legal team, such as legal/anna")
    return principal.name


def states(values: Sequence[int]) -> list[CaseState]:
    """States to filter by.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    found = [state for value in values if (state := _STATES.get(value)) is not None]
    if len(found) != len(values):
        raise checks.invalid("states", "unknown")
    return found


def reason(text: str, field: str = "reason") -> str:
    """Why: 1 to 2,000 printable characters.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return checks.text(text, field)


def until(text: str) -> date | None:
    """The last day of secrecy; None to lift it.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return checks.day(text, "until") if text else None


def document_name(request: legal_pb2.AddDocumentRequest) -> tuple[str, str]:
    """Name and media type of a document that is to be added.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    name = checks.text(request.name, "name", MAX_FILE_NAME)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise checks.invalid("name", "a file's name, without slashes")
    media_type = checks.media_type(request.media_type, "media_type")
    if not 1 <= len(request.content) <= MAX_DOCUMENT:
        raise checks.invalid("content", "1 byte to 16 MiB")
    return name, media_type


def _requester(message: legal_pb2.Requester) -> Requester:
    try:
        country = validate("country", message.country, field="requester.country")
    except SlussError:
        country = ""
    if country != message.country or not country:
        raise checks.invalid("requester.country", "a country's two letters (ISO 3166-1)")
    return Requester(
        checks.text(message.name, "requester.name", MAX_NAME),
        checks.text(message.address, "requester.address", MAX_NAME),
        country,
        checks.text(message.contact, "requester.contact", MAX_NAME),
    )


def _delivery(message: legal_pb2.Delivery) -> Delivery:
    kind = message.WhichOneof("kind")
    if kind is None or (kind == "package" and not message.package):
        raise checks.invalid("delivery", "a key of the authority's, or a package")
    return Delivery(
        key(message.key, "delivery.key") if kind == "key" else None,
        checks.day(message.retain_until, "delivery.retain_until"),
    )


# --- replies --------------------------------------------------------------------------------------------


def case(found: Case, by: str, now_us: int, cursor: str) -> legal_pb2.Case:
    """The message of a case, for `by`; `cursor` is where its release goes on."""
    body, progress = found.body, found.progress
    message = legal_pb2.Case(
        case_id=found.id,
        ground=GROUNDS[found.ground],
        state=STATES[found.state],
        requester=legal_pb2.Requester(
            name=body.requester.name,
            address=body.requester.address,
            country=body.requester.country,
            contact=body.requester.contact,
        ),
        instrument=_instrument(body.instrument),
        scope=_scope_message(body.scope),
        received=body.received.isoformat(),
        deadline=body.deadline.isoformat(),
        handler=found.handler,
        secrecy=_secrecy(found, now_us),
        prepared_by=body.prepared_by,
        approved_by=body.approved_by,
        elsewhere=body.elsewhere,
        etag=str(found.etag),
        possible=[STEPS[each] for each in rules.possible(found, by, now_us)],
    )
    if body.delivery is not None:
        message.delivery.CopyFrom(_delivery_message(body.delivery))
    if body.emergency is not None:
        message.emergency.CopyFrom(_emergency(body, now_us))
    if body.begun is not None:
        message.release.CopyFrom(
            legal_pb2.ReleaseProgress(
                done=progress.done,
                total=max(progress.total, progress.done),
                released=progress.released,
                complete=progress.complete,
                began=rfc3339(body.begun.at),
                cursor=cursor,
            )
        )
    return message


def _instrument(found: Instrument) -> legal_pb2.Instrument:
    return legal_pb2.Instrument(kind=found.kind, reference=found.reference, date=found.date.isoformat())


def _scope_message(found: Scope) -> legal_pb2.Scope:
    message = legal_pb2.Scope(
        fields=[contract_pb2.FieldGrant(field=f.field, transform=f.transform) for f in found.fields],
        collected_from=found.collected_from.isoformat() if found.collected_from else "",
        collected_until=found.collected_until.isoformat() if found.collected_until else "",
    )
    if found.population is not None:
        message.population.CopyFrom(contract_wire.population_message(found.population))
    else:
        message.listed.person_ids.extend(person_text(person) for person in found.persons)
    return message


def _delivery_message(found: Delivery) -> legal_pb2.Delivery:
    message = legal_pb2.Delivery(retain_until=found.retain_until.isoformat())
    if found.key is None:
        message.package = True
    else:
        message.key.CopyFrom(
            legal_pb2.RecipientKey(suite=disclosure_pb2.Suite.ValueType(found.key.suite), public_key=found.key.data)
        )
    return message


def _secrecy(found: Case, now_us: int) -> legal_pb2.Secrecy:
    secrecy = found.body.secrecy
    if secrecy is None:
        return legal_pb2.Secrecy(state=legal_pb2.SECRECY_STATE_VISIBLE)
    hidden = found.hidden(now_us)
    return legal_pb2.Secrecy(
        state=legal_pb2.SECRECY_STATE_HIDDEN if hidden else legal_pb2.SECRECY_STATE_LIFTED,
        until=secrecy.until.isoformat(),
        reason=secrecy.reason,
    )


def _emergency(body: Body, now_us: int) -> legal_pb2.Emergency:
    found = body.emergency
    if found is None:
        raise AssertionError
    return legal_pb2.Emergency(
        released_by=found.released_by,
        confirm_by=rfc3339(found.confirm_by),
        answered_by=found.answered_by,
        disputed=found.disputed,
        overdue=not found.answered_by and now_us > found.confirm_by,
    )


def document(found: Document) -> legal_pb2.CaseDocument:
    """The message of a document, without its content."""
    return legal_pb2.CaseDocument(
        number=found.number,
        name=found.name,
        media_type=found.media_type,
        size=found.size,
        sha256=found.sha256,
        by=found.by,
        at=rfc3339(found.at),
        entry_index=found.index,
    )


def event(found: Event) -> legal_pb2.CaseEvent:
    """The message of a line of the timeline."""
    return legal_pb2.CaseEvent(
        at=found.at,
        by=found.by,
        event=found.event,
        text=found.text,
        entry_index=found.index,
        proven=found.proven,
    )


def found_person(found: Masked) -> legal_pb2.FoundPerson:
    """The message of a person, masked."""
    return legal_pb2.FoundPerson(
        person_id=person_text(found.person),
        values=[legal_pb2.MaskedValue(field=name, masked=text) for name, text in found.values],
    )


def preview(found: Preview, asked: Scope) -> legal_pb2.PreviewScopeResponse:
    """The message of a preview."""
    return legal_pb2.PreviewScopeResponse(
        persons=found.persons,
        unknown=found.unknown,
        fields=[
            legal_pb2.FieldCount(
                field=contract_pb2.FieldGrant(field=granted.field, transform=granted.transform),
                persons=found.counts[granted.field],
            )
            for granted in asked.fields
        ],
        sample=[found_person(each) for each in found.sample],
        partial=found.partial,
    )


def opening(found: Opening) -> legal_pb2.Opening:
    """The message of what opens a sealed entry."""
    return legal_pb2.Opening(sealed_entry=found.sealed_entry, salt=found.salt, entry=found.entry)


def received(found: Received, receipt: str) -> legal_pb2.Received:
    """The message of a row of the accounting."""
    said = found.said
    message = legal_pb2.Received(
        at=said["released_on"] if said["type"] == "release_elsewhere" else said["at"],
        kind=KINDS[said["type"]],
        entry_index=found.index,
        entry=found.entry,
        receipt=receipt,
    )
    if found.opening is not None:
        message.opening.CopyFrom(opening(found.opening))
    message.fields.extend(contract_pb2.FieldGrant(field=name, transform=form) for name, form in found.fields.items())
    if found.held is not None:
        message.slice_index = found.held.place
    if said["type"] == "release_elsewhere":
        message.purpose = said["ground"]
    else:
        terms = said["terms"]
        message.purpose, message.retain_until = terms["purpose"], terms["retain_until"]
        message.authority = terms["contract"]
    if found.terms is not None:
        message.recipient_name, message.recipient_address = found.terms.recipient_name, found.terms.recipient_address
    if found.case is not None:
        body = found.case.body
        message.recipient_name, message.recipient_address = body.requester.name, body.requester.address
        message.ground, message.authority = GROUNDS[found.case.ground], found.case.id
        message.instrument.CopyFrom(_instrument(body.instrument))
    return message


def report_row(line: Line, count: Count) -> legal_pb2.ReportRow:
    """The message of a row of the report."""
    return legal_pb2.ReportRow(
        ground=GROUNDS[Ground(line.ground)],
        country=line.country,
        outcome=line.outcome,
        requests=count.requests,
        persons=count.persons,
    )
