"""`sluss complaint`: from the complaint to the outcome and its remedy."""

import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from sluss.v1 import complaint_pb2 as pb
from sluss_legal.plain import plain as document

from sluss_cli.compromise import print_timeline
from sluss_cli.entry_text import moment
from sluss_cli.legal.asking import Yes, confirm, day, period
from sluss_cli.listing import Limit, every, some, tell_more
from sluss_cli.print_csv import Csv, not_both, print_csv
from sluss_cli.session import DEADLINE_S, LONG_S, Session
from sluss_cli.verb import group, verb

app = group("Complaints: open, list, show, note, link, assign, extend, outcome, remedy, close, statistics.")

ComplaintId = Annotated[str, typer.Argument(help="The complaint, such as K-2026-0001.", metavar="COMPLAINT")]
Words = Annotated[str, typer.Argument(help="What is noted; sealed.", metavar="TEXT")]
Note = Annotated[str, typer.Option("--note", help="What is noted; sealed.", metavar="TEXT")]
_LINKS = "An entry's index such as 31, or C-2026-0001, R-2026-0001, O-2026-0001; repeatable."


@verb(
    app,
    "open",
    examples=('sluss complaint open --person P-04CVZ6HGRM5PX --channel web --kind other --about "a letter" --link 12',),
)
def open_(
    session: Session,
    *,
    about: Annotated[str, typer.Option("--about", help="What about, in words; sealed.", metavar="TEXT")],
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            help="How it came in: web, app, email, post, phone, in_person, authority or other.",
            metavar="CHANNEL",
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="disclosure, choice, access, accuracy, security, retention, other.", metavar="KIND"
        ),
    ],
    person: Annotated[str, typer.Option("--person", help="Who complains, if on record.", metavar="PERSON")] = "",
    complainant: Annotated[
        str,
        typer.Option("--complainant", help="Who complains, and where to reach them, if not on record.", metavar="TEXT"),
    ] = "",
    links: Annotated[
        list[str] | None,
        typer.Option("--link", help=_LINKS, metavar="LINK"),
    ] = None,
    received: Annotated[
        str, typer.Option("--received", help="The day it came in; default: today.", metavar="DAY")
    ] = "",
) -> None:
    """Open a complaint."""
    request = pb.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, complainant=complainant, channel=channel, kind=kind,
        about=about, links=links or [], received=received,
    )  # fmt: skip
    opened = session.complaints.OpenComplaint(request, timeout=DEADLINE_S).complaint
    session.output.result({"complaint": document(opened)})
    session.output.line(f"Opened {opened.complaint_id}, to be answered by {moment(opened.due_at)} UTC.")


@verb(app, "list", examples=("sluss complaint list --overdue", "sluss complaint list --handler privacy/eva"))
def list_(
    session: Session,
    *,
    state: Annotated[
        str,
        typer.Option("--state", help="Only in this state: received, investigating, decided, closed.", metavar="STATE"),
    ] = "",
    handler: Annotated[str, typer.Option("--handler", help="Only this handler's.", metavar="KIND/ID")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those past their deadline.")] = False,
    limit: Limit = 0,
) -> None:
    """List complaints, newest first."""
    request = pb.ListComplaintsRequest(state=state, handler=handler, overdue=overdue)
    found, more = some(every(session.complaints.ListComplaints, request, "complaints"), limit)
    session.output.result({"complaints": [document(each) for each in found]})
    session.output.table(
        ("complaint", "state", "kind", "handler", "due", "outcome"),
        [
            (
                each.complaint_id,
                each.state,
                each.kind,
                each.handler,
                moment(each.due_at) + (" overdue" if each.overdue else ""),
                each.outcome,
            )
            for each in found
        ],
        empty="no complaints",
    )
    tell_more(session, len(found), more=more)


@verb(app, "show", examples=("sluss complaint show K-2026-0001",))
def show(session: Session, complaint: ComplaintId) -> None:
    """Show a complaint with its timeline."""
    reply = session.complaints.GetComplaint(pb.GetComplaintRequest(complaint_id=complaint), timeout=DEADLINE_S)
    session.output.result(document(reply))
    shown = reply.complaint
    session.output.heading(shown.complaint_id)
    session.output.facts(
        {
            "state": shown.state,
            "who": shown.person_id or shown.complainant,
            "kind": f"{shown.kind}, by {shown.channel}",
            "received": shown.received,
            "about": shown.about,
            "links": ", ".join(shown.links),
            "handler": shown.handler,
            "due": f"{moment(shown.due_at)} UTC{', overdue' if shown.overdue else ''}",
            "outcome": shown.outcome,
            "told": shown.told,
        }
    )
    session.output.line()
    session.output.table(
        ("remedy", "contract", "by", "when", "done", "recipients"),
        [
            (r.kind.replace("_", " "), r.contract_id, r.by, moment(r.at), "yes" if r.done else "not yet", _owed(r))
            for r in shown.remedies
        ],
        empty="no remedy",
    )
    for each in _silent(shown):
        session.output.line(f"To be told of the erasure by you: {each.name}, {each.address} ({each.case_id}).")
    print_timeline(session, reply.timeline)


def _owed(remedy: pb.ComplaintRemedy) -> str:
    """How far the recipients have come, such as `1 of 2 answered, 1 not confirmed`; empty if none owes."""
    if not remedy.recipients:
        return ""
    apart = f", {remedy.not_confirmed} not confirmed" if remedy.not_confirmed else ""
    return f"{remedy.answered} of {remedy.recipients} answered{apart}"


def _etag(session: Session, complaint: str) -> str:
    request = pb.GetComplaintRequest(complaint_id=complaint)
    return session.complaints.GetComplaint(request, timeout=DEADLINE_S).complaint.etag


def _change(session: Session, request: pb.ChangeComplaintRequest) -> pb.Complaint:
    request.etag = _etag(session, request.complaint_id)
    reply = session.complaints.ChangeComplaint(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)
    return reply.complaint


def _tell_them(session: Session, complaint: pb.Complaint) -> None:
    """Says so where no message goes out by itself."""
    if not complaint.person_id:
        session.output.line("Tell whoever complained yourself: the outbox reaches persons on record.")


def _moved(session: Session, complaint: pb.Complaint, index: int) -> None:
    session.output.result({"complaint": document(complaint), "entry_index": index})
    session.output.line(f"{complaint.complaint_id} is {complaint.state}, ledger entry {index}.")
    for each in _silent(complaint):
        session.output.line(
            f"To be told of the erasure by you: {each.name}, {each.address} ({each.case_id}). Then: sluss complaint"
            f' remedy {complaint.complaint_id} recipients_told --note "..."'
        )


def _silent(complaint: pb.Complaint) -> Iterator[Any]:
    """Recipients of legal releases whom nobody has told yet."""
    return (one for made in complaint.remedies for one in made.to_tell if not one.outcome)


@verb(app, "note", examples=('sluss complaint note K-2026-0001 "asked the mailing house"',))
def note(session: Session, complaint: ComplaintId, words: Words) -> None:
    """Note something."""
    _change(session, pb.ChangeComplaintRequest(complaint_id=complaint, note=words))


@verb(app, "link", examples=("sluss complaint link K-2026-0001 31 O-2026-0001",))
def link(
    session: Session,
    complaint: ComplaintId,
    links: Annotated[list[str], typer.Argument(help=_LINKS, metavar="LINK")],
) -> None:
    """Link ledger entries, contracts, persons' requests or obligations."""
    _change(session, pb.ChangeComplaintRequest(complaint_id=complaint, links=links))


@verb(app, "assign", examples=("sluss complaint assign K-2026-0001 --handler privacy/team",))
def assign(
    session: Session,
    complaint: ComplaintId,
    *,
    handler: Annotated[str, typer.Option("--handler", help="Who works on it.", metavar="KIND/ID")],
) -> None:
    """Assign a complaint."""
    _change(session, pb.ChangeComplaintRequest(complaint_id=complaint, handler=handler))


@verb(
    app, "extend", examples=('sluss complaint extend K-2026-0001 --deadline 2027-02-01 --reason "an expert is asked"',)
)
def extend(
    session: Session,
    complaint: ComplaintId,
    *,
    deadline: Annotated[str, typer.Option("--deadline", help="The later day to answer by.", metavar="DAY")],
    reason: Annotated[str, typer.Option("--reason", help="Why; sealed.", metavar="TEXT")],
) -> None:
    """Extend the deadline before it has passed; whoever is on record is told the later day over the outbox."""
    request = pb.ChangeComplaintRequest(complaint_id=complaint, due_on=day(deadline, "--deadline"), note=reason)
    _tell_them(session, _change(session, request))


@verb(app, "outcome", examples=('sluss complaint outcome K-2026-0001 upheld --told "You were right: we are sorry."',))
def outcome(
    session: Session,
    complaint: ComplaintId,
    outcome: Annotated[str, typer.Argument(help="upheld, partly, not_upheld, withdrawn.", metavar="OUTCOME")],
    *,
    told: Annotated[str, typer.Option("--told", help="The reasons that the person is told; sealed.", metavar="TEXT")],
) -> None:
    """Decide; who approved or released what it is about can't."""
    request = pb.SetOutcomeRequest(complaint_id=complaint, etag=_etag(session, complaint), outcome=outcome, told=told)
    reply = session.complaints.SetOutcome(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)
    _tell_them(session, reply.complaint)


@verb(
    app,
    "remedy",
    examples=('sluss complaint remedy K-2026-0001 suspend_contract --contract C-2026-0001 --note "passed data on"',),
)
def remedy(
    session: Session,
    complaint: ComplaintId,
    kind: Annotated[
        str,
        typer.Argument(
            help="suspend_contract, erase_data, recipients_told, correct, apologise, other.", metavar="REMEDY"
        ),
    ],
    *,
    note: Note,
    contract: Annotated[str, typer.Option("--contract", help="The contract to suspend.", metavar="CONTRACT")] = "",
    yes: Yes = False,
) -> None:
    """Remedy: a suspension or an erasure is done here and now. An erasure has no way back, and asks first."""
    if kind == "erase_data":
        confirm(session, "Erase everything that is held on this person, the address too, for good?", yes=yes)
    request = pb.RemedyRequest(
        complaint_id=complaint, etag=_etag(session, complaint), kind=kind, contract_id=contract, note=note
    )
    reply = session.complaints.Remedy(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)
    if kind == "erase_data":
        session.output.line("Nothing is left to write to the person with: send yourself what had not gone out.")


@verb(app, "close", examples=("sluss complaint close K-2026-0001",))
def close(session: Session, complaint: ComplaintId, *, note: Note = "") -> None:
    """Close a complaint that is decided and remedied."""
    request = pb.CloseComplaintRequest(complaint_id=complaint, etag=_etag(session, complaint), note=note)
    reply = session.complaints.CloseComplaint(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)


@verb(
    app,
    "statistics",
    examples=(
        "sluss complaint statistics --from 2026-01-01 --until 2026-12-31",
        "sluss complaint statistics --from 2026-01-01 --until 2026-12-31 --csv > complaints.csv",
    ),
)
def statistics(
    session: Session,
    *,
    first: Annotated[str, typer.Option("--from", help="First day.", metavar="DAY")],
    last: Annotated[str, typer.Option("--until", help="Last day.", metavar="DAY")],
    as_csv: Csv = False,
) -> None:
    """Count the complaints that came in within a period, by month, kind and outcome."""
    not_both(session, as_csv=as_csv)
    period(first, last)
    request = pb.GetComplaintStatisticsRequest(first_day=first, last_day=last)
    counts = session.complaints.GetComplaintStatistics(request, timeout=LONG_S).counts
    if as_csv:
        print_csv([field.name for field in pb.ComplaintCount.DESCRIPTOR.fields], map(document, counts))
        return
    session.output.result({"counts": [document(each) for each in counts]})
    session.output.table(
        ("month", "kind", "outcome", "count", "closed", "overdue", "late", "median days"),
        [
            (
                c.month,
                c.kind,
                c.outcome or "open",
                c.count,
                c.closed,
                c.overdue,
                c.late,
                c.median_days if c.closed else "",
            )
            for c in counts
        ],
        empty="no complaints",
    )
