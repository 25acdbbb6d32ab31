"""`sluss complaint`: from the complaint to the outcome and its remedy."""

import csv
import sys
import uuid
from typing import Annotated

import typer
from sluss.v1 import complaint_pb2 as pb
from sluss_legal.cells import cell

from sluss_cli.compromise import document, print_timeline
from sluss_cli.entry_text import moment
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Complaints: open, list, show, note, link, assign, extend, outcome, remedy, close, stats.")

ComplaintId = Annotated[str, typer.Argument(help="The complaint, such as K-2026-0001.", metavar="COMPLAINT")]
Words = Annotated[str, typer.Argument(help="What is noted; sealed.", metavar="TEXT")]
Note = Annotated[str, typer.Option("--note", help="What is noted; sealed.", metavar="TEXT")]


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
        str, typer.Option("--channel", help="email, letter, phone, web, authority, other.", metavar="WORD")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="disclosure, choice, access, accuracy, security, retention, other.", metavar="WORD"
        ),
    ],
    person: Annotated[str, typer.Option("--person", help="Who complains, if on record.", metavar="PERSON")] = "",
    complainant: Annotated[str, typer.Option("--from", help="Who complains, if not on record.", metavar="TEXT")] = "",
    links: Annotated[
        list[str] | None,
        typer.Option("--link", help="An entry, contract, request or obligation; again for more.", metavar="LINK"),
    ] = None,
) -> None:
    """Open a complaint."""
    request = pb.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, complainant=complainant, channel=channel, kind=kind,
        about=about, links=links or [],
    )  # fmt: skip
    opened = session.complaints.OpenComplaint(request, timeout=DEADLINE_S).complaint
    session.output.result({"complaint": document(opened)})
    session.output.line(f"Opened {opened.complaint_id}, to be answered by {moment(opened.due_at)} UTC.")


@verb(app, "list", examples=("sluss complaint list --overdue",))
def list_(
    session: Session,
    *,
    state: Annotated[str, typer.Option("--state", help="Only those in this state.", metavar="STATE")] = "",
    handler: Annotated[str, typer.Option("--handler", help="Only this handler's.", metavar="KIND/ID")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that are overdue.")] = False,
) -> None:
    """List complaints, newest first."""
    found: list[pb.Complaint] = []
    token = ""
    while True:
        request = pb.ListComplaintsRequest(state=state, handler=handler, overdue=overdue, page_token=token)
        page = session.complaints.ListComplaints(request, timeout=DEADLINE_S)
        found += page.complaints
        token = page.next_page_token
        if not token:
            break
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
            "about": shown.about,
            "links": ", ".join(shown.links),
            "handler": shown.handler,
            "due": f"{moment(shown.due_at)} UTC{', overdue' if shown.overdue else ''}",
            "outcome": shown.outcome,
            "told": shown.told,
        }
    )
    session.output.table(
        ("remedy", "contract", "by", "at", "done", "recipients"),
        [(r.kind, r.contract_id, r.by, moment(r.at), "yes" if r.done else "not yet", _owed(r)) for r in shown.remedies],
        empty="no remedy",
    )
    for each in (one for made in shown.remedies for one in made.to_tell):
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


def _change(session: Session, request: pb.ChangeComplaintRequest) -> None:
    request.etag = _etag(session, request.complaint_id)
    reply = session.complaints.ChangeComplaint(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)


def _moved(session: Session, complaint: pb.Complaint, index: int) -> None:
    session.output.result({"complaint": document(complaint), "entry_index": index})
    session.output.line(f"{complaint.complaint_id} is {complaint.state}, ledger entry {index}.")
    for each in (one for made in complaint.remedies for one in made.to_tell):
        session.output.line(
            f"To be told of the erasure by you: {each.name}, {each.address} ({each.case_id}). Next: sluss complaint"
            f" note {complaint.complaint_id} ..."
        )


@verb(app, "note", examples=('sluss complaint note K-2026-0001 "asked the mailing house"',))
def note(session: Session, complaint: ComplaintId, words: Words) -> None:
    """Note something."""
    _change(session, pb.ChangeComplaintRequest(complaint_id=complaint, note=words))


@verb(app, "link", examples=("sluss complaint link K-2026-0001 12",))
def link(
    session: Session,
    complaint: ComplaintId,
    links: Annotated[list[str], typer.Argument(help="Entries, contracts, requests, obligations.", metavar="LINK")],
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


@verb(app, "extend", examples=('sluss complaint extend K-2026-0001 --due 2027-02-01 --note "an expert is asked"',))
def extend(
    session: Session,
    complaint: ComplaintId,
    *,
    due: Annotated[str, typer.Option("--due", help="The later day.", metavar="DAY")],
    note: Note,
) -> None:
    """Extend the deadline, with a reason."""
    _change(session, pb.ChangeComplaintRequest(complaint_id=complaint, due_on=due, note=note))


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


@verb(
    app,
    "remedy",
    examples=('sluss complaint remedy K-2026-0001 suspend_contract --contract C-2026-0001 --note "passed data on"',),
)
def remedy(
    session: Session,
    complaint: ComplaintId,
    kind: Annotated[
        str, typer.Argument(help="suspend_contract, erase_data, correct, apologise, other.", metavar="REMEDY")
    ],
    *,
    note: Note,
    contract: Annotated[str, typer.Option("--contract", help="The contract to suspend.", metavar="CONTRACT")] = "",
) -> None:
    """Remedy: a suspension or an erasure is done here and now."""
    request = pb.RemedyRequest(
        complaint_id=complaint, etag=_etag(session, complaint), kind=kind, contract_id=contract, note=note
    )
    reply = session.complaints.Remedy(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)


@verb(app, "close", examples=("sluss complaint close K-2026-0001",))
def close(session: Session, complaint: ComplaintId, *, note: Note = "") -> None:
    """Close a complaint that is decided and remedied."""
    request = pb.CloseComplaintRequest(complaint_id=complaint, etag=_etag(session, complaint), note=note)
    reply = session.complaints.CloseComplaint(request, timeout=DEADLINE_S)
    _moved(session, reply.complaint, reply.entry_index)


@verb(app, "stats", examples=("sluss complaint stats 2026", "sluss complaint stats 2026 --csv > complaints.csv"))
def stats(
    session: Session,
    year: Annotated[int, typer.Argument(help="The year.", metavar="YEAR", min=1, max=9000)],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, with the names that programs know.")] = False,
) -> None:
    """Count a year's complaints by month, kind and outcome."""
    if as_csv and session.output.as_json:
        raise usage("--csv or --json: name one")
    request = pb.GetComplaintStatisticsRequest(year=year)
    counts = session.complaints.GetComplaintStatistics(request, timeout=DEADLINE_S).counts
    if as_csv:
        writer = csv.DictWriter(sys.stdout, [field.name for field in pb.ComplaintCount.DESCRIPTOR.fields])
        writer.writeheader()
        writer.writerows({name: cell(str(value)) for name, value in document(each).items()} for each in counts)
        return
    session.output.result({"counts": [document(each) for each in counts]})
    session.output.table(
        ("month", "kind", "outcome", "count", "overdue", "median days"),
        [(c.month, c.kind, c.outcome or "open", c.count, c.overdue, c.median_days) for c in counts],
        empty="no complaints",
    )
