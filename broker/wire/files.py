"""CompromiseService and ComplaintService: protos to reports and complaints, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluss.v1 import complaint_pb2, compromise_pb2

from broker.clock import DAY, micros, rfc3339, start_of
from broker.complaints import rules
from broker.complaints.handling import Changes, NewComplaint, received_on
from broker.complaints.statistics import overdue
from broker.compromise.reports import NOTICE_US, NewReport
from broker.errors import SlussError, invalid
from broker.identity import parse_principal
from broker.ids import parse_person, person_text
from broker.values import validate
from broker.wire import checks
from broker.wire.person_request import addressee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.case_files import File
    from broker.complaints.remedies import Standing
    from broker.complaints.statistics import Count
    from broker.compromise.window import Facts, Suspect
    from broker.person_requests.telling import Addressee
    from broker.timelines import Event

SPKI_BYTES: Final = 32
STATES: Final = frozenset({"open", "closed"})


def new_report(request: compromise_pb2.ReportCompromiseRequest, now_us: int) -> NewReport:
    """What is reported.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    subject = {"spki": "certificate", "principal": "principal", "key_of": "key", "person_id": "person"}.get(
        request.WhichOneof("subject") or "", ""
    )
    if not subject:
        raise invalid("subject", "a certificate, a principal, a key or a person")
    if subject == "certificate" and len(request.spki) != SPKI_BYTES:
        raise invalid("spki", "32 bytes")
    principal = request.principal or request.key_of
    begin = _moment(request.suspect_from, "suspect_from", now_us)
    end = _moment(request.suspect_until, "suspect_until", now_us) if request.suspect_until else None
    if end is not None and end < begin:
        raise invalid("suspect_until", "before suspect_from")
    noticed = _moment(request.noticed_at, "noticed_at", now_us) if request.noticed_at else None
    return NewReport(
        subject,
        request.spki,
        parse_principal(principal).name if principal else "",
        parse_person(request.person_id) if subject == "person" else 0,
        begin,
        end,
        noticed,
        checks.text(request.how, "how"),
    )


def report(file: File) -> compromise_pb2.CompromiseReport:
    """A report."""
    body = file.body
    return compromise_pb2.CompromiseReport(
        report_id=file.id,
        state=file.state,
        subject=body["subject"],
        principal=body["principal"],
        person_id=person_text(file.person) if file.person else "",
        suspect_from=rfc3339(body["suspect_from"]),
        suspect_until=rfc3339(body["suspect_until"]),
        noticed_at=rfc3339(body["noticed_at"]),
        notify_by=rfc3339(body["noticed_at"] + NOTICE_US),
        how=(file.private or {}).get("how", ""),
        revoked=body["revoked"],
        key_retired=body["key_retired"],
        locked=body["locked"],
        etag=str(file.etag),
    )


def event(found: Event) -> compromise_pb2.FileEvent:
    """A line of a timeline."""
    return compromise_pb2.FileEvent(
        at=found.at, by=found.by, event=found.event, text=found.text, entry_index=found.index, proven=found.proven
    )


def suspect(found: Suspect) -> compromise_pb2.SuspectEntry:
    """An entry of the suspect window."""
    return compromise_pb2.SuspectEntry(entry_index=found.index, entry=found.entry, persons=found.persons)


def facts(file: File, found: Facts, measures: Sequence[Event]) -> compromise_pb2.GetFactsSheetResponse:
    """The facts of a breach notice."""
    return compromise_pb2.GetFactsSheetResponse(
        report=report(file),
        persons=found.persons,
        records=found.records,
        erased_records=found.erased_records,
        disclosures=found.disclosures,
        exports=found.exports,
        reads_unrecorded=found.reads_unrecorded,
        categories=found.categories,
        fields=found.fields,
        recipients=found.recipients,
        measures=map(event, measures),
        cut_off=map(suspect, found.cut_off),
        by_category=[
            compromise_pb2.CategoryFields(category=category, fields=names)
            for category, names in found.categories.items()
        ],
    )


def report_state(text: str) -> str:
    """A state to list, or none."""
    return checks.among(text, STATES, "state") if text else ""


def new_complaint(request: complaint_pb2.OpenComplaintRequest, now_us: int) -> NewComplaint:
    """What a complaint is opened with.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    if bool(request.person_id) == bool(request.complainant):
        raise invalid("complainant", "a person on record, or in words who complains")
    return NewComplaint(
        parse_person(request.person_id) if request.person_id else 0,
        checks.optional_words(request.complainant, "complainant"),
        checks.among(request.channel, rules.CHANNELS, "channel"),
        checks.among(request.kind, rules.KINDS, "kind"),
        checks.words(request.about, "about"),
        tuple(dict.fromkeys(request.links)),
        checks.past(request.received, "received", now_us) if request.received else None,
    )


def changes(request: complaint_pb2.ChangeComplaintRequest) -> Changes:
    """What is to change."""
    due = 0
    if request.due_on:
        due = start_of(checks.day(request.due_on, "due_on")) + DAY - 1
    return Changes(checks.optional_words(request.note, "note"), tuple(request.links), handler(request.handler), due)


def handler(text: str) -> str:
    """A principal of the privacy or the legal team, or nobody.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not text:
        return ""
    found = parse_principal(text)
    if found.kind not in ("privacy", "legal"):
        raise invalid("handler", "somebody of the privacy or the legal team")
    return found.name


def complaint_state(text: str) -> str:
    """A state to list, or none."""
    return checks.among(text, frozenset(rules.State), "state") if text else ""


def complaint(
    file: File,
    links: Sequence[str],
    told: str,
    remedies: Sequence[tuple[dict[str, Any], Standing, Sequence[Addressee]]],
    now_us: int,
) -> complaint_pb2.Complaint:
    """A complaint; `links` that the caller may see, and the remedies with where each stands and whom people tell."""
    body, private = file.body, file.private or {}
    return complaint_pb2.Complaint(
        complaint_id=file.id,
        state=file.state,
        kind=body["kind"],
        channel=body["channel"],
        person_id=person_text(file.person) if file.person else "",
        complainant=private.get("complainant", ""),
        about=private.get("about", ""),
        links=links,
        handler=file.handler,
        due_at=rfc3339(file.due_at),
        overdue=overdue(file, now_us),
        outcome=body["outcome"],
        told=told,
        remedies=[_remedy(made, standing, tell) for made, standing, tell in remedies],
        opened_at=rfc3339(file.opened_at),
        etag=str(file.etag),
        received=received_on(file).isoformat(),
    )


def _remedy(made: dict[str, Any], standing: Standing, tell: Sequence[Addressee]) -> complaint_pb2.ComplaintRemedy:
    return complaint_pb2.ComplaintRemedy(
        kind=made["kind"],
        contract_id=made["contract"],
        by=made["by"],
        at=rfc3339(made["at"]),
        done=standing.done,
        recipients=standing.owed.total,
        answered=standing.owed.answered,
        not_confirmed=standing.owed.not_confirmed,
        to_tell=map(addressee, tell),
    )


def count(line: Count) -> complaint_pb2.ComplaintCount:
    """A line of the statistics."""
    return complaint_pb2.ComplaintCount(
        month=line.month,
        kind=line.kind,
        outcome=line.outcome,
        count=line.count,
        overdue=line.overdue,
        median_days=line.median_days,
        late=line.late,
        closed=line.closed,
    )


def _moment(text: str, field: str, now_us: int) -> int:
    try:
        found = micros(validate("datetime", text))
    except SlussError:
        raise invalid(field, "an RFC 3339 time such as 2026-11-23T22:33:57Z") from None
    if found > now_us:
        raise invalid(field, "in the future")
    return found
