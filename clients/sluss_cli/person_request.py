"""`sluss request`: requests of a person, from the day they come in until the last recipient has answered."""

import uuid
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import person_pb2
from sluss.v1 import person_request_pb2 as pb
from sluss_legal.documents import access

from sluss_cli.entry_text import moment
from sluss_cli.exits import Exit
from sluss_cli.legal.asking import LANGUAGES, Language, Yes, confirm, counted, language_of, need, period
from sluss_cli.listing import Limit, every, some, tell_more
from sluss_cli.print_csv import Csv, not_both, print_csv
from sluss_cli.problems import Problem, usage
from sluss_cli.row_file import check_new, write_new
from sluss_cli.session import DEADLINE_S, LONG_S, Session
from sluss_cli.values import parse_values, read_lines
from sluss_cli.verb import group, verb

app = group(
    "Requests of a person: open, list, show, identity, work, extend, refuse, withdraw, export, hand-over, rectify,"
    " erase, told, object, statistics."
)

KINDS = {
    "access": pb.PERSON_REQUEST_KIND_ACCESS,
    "rectification": pb.PERSON_REQUEST_KIND_RECTIFICATION,
    "erasure": pb.PERSON_REQUEST_KIND_ERASURE,
    "objection": pb.PERSON_REQUEST_KIND_OBJECTION,
}
RESULTS = {
    "passed": pb.IDENTITY_RESULT_PASSED,
    "failed": pb.IDENTITY_RESULT_FAILED,
    "more_needed": pb.IDENTITY_RESULT_MORE_NEEDED,
}
TELLINGS = {
    "told": pb.TELLING_OUTCOME_TOLD,
    "impossible": pb.TELLING_OUTCOME_IMPOSSIBLE,
    "disproportionate": pb.TELLING_OUTCOME_DISPROPORTIONATE,
}
_ENDED = {pb.PERSON_REQUEST_STATE_DONE, pb.PERSON_REQUEST_STATE_REFUSED, pb.PERSON_REQUEST_STATE_WITHDRAWN}

_GROUNDS = (
    "manifestly_unfounded, excessive, identity_not_proven, nothing_on_record, erased; of access: rights_of_others; of"
    " rectification: accurate_as_it_is; of erasure: freedom_of_expression, legal_obligation, public_interest,"
    " legal_claims; of objection: legal_claims, overriding_grounds, contract_or_legal_duty."
)

RequestId = Annotated[str, typer.Argument(help="The request, such as R-2026-0001.", metavar="REQUEST")]
PersonOption = Annotated[str, typer.Option("--person", help="Whose request it is.", metavar="PERSON")]
Note = Annotated[str, typer.Option("--note", help="A note for the timeline.", metavar="TEXT")]
Reason = Annotated[str, typer.Option("--reason", help="Why.", metavar="TEXT")]


@verb(
    app,
    "open",
    examples=(
        'sluss request open access --person P-04CVZ6HGRM5PX --asked "everything you have"',
        'sluss request open erasure --requester "Ms Ek, at ek@example.com" --asked "delete me" --channel post',
    ),
)
def open_(
    session: Session,
    kind: Annotated[str, typer.Argument(help="access, rectification, erasure or objection.", metavar="KIND")],
    *,
    asked: Annotated[str, typer.Option(help="What is asked, in the requester's words.", metavar="TEXT")],
    person: PersonOption = "",
    requester: Annotated[str, typer.Option(help="Who asks, and where to reach them.", metavar="TEXT")] = "",
    channel: Annotated[
        str, typer.Option(help="How it came in: web, app, email, post, phone, in_person or other.", metavar="CHANNEL")
    ] = "email",
    received: Annotated[str, typer.Option(help="The day it came in; default: today.", metavar="DAY")] = "",
    language: Language = "sv",
) -> None:
    """Take a request in."""
    request = pb.OpenRequestRequest(
        kind=_kind(kind), person_id=person, channel=channel, received=received, asked=asked, requester=requester,
        language=language, request_id=str(uuid.uuid4()),
    )  # fmt: skip
    _tell(session, session.person_requests.OpenRequest(request, timeout=DEADLINE_S))


@verb(app, "list", examples=("sluss request list --open", "sluss request list --overdue --kind erasure --json"))
def list_(
    session: Session,
    *,
    kind: Annotated[list[str] | None, typer.Option(help="Only of this kind; repeatable.", metavar="KIND")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those past their deadline.")] = False,
    person: PersonOption = "",
    limit: Limit = 0,
) -> None:
    """List requests, newest first."""
    request = pb.ListRequestsRequest(
        kinds=[_kind(each) for each in kind or ()], only_open=only_open, only_overdue=overdue, person_id=person
    )
    found, more = some(every(session.person_requests.ListRequests, request, "requests"), limit)
    session.output.result({"requests": [_document(each) for each in found]})
    rows = [
        (
            each.id,
            kind_name(each.kind),
            _words(state_name(each.state)),
            each.deadline,
            each.person_id,
            _stands_out(each),
        )
        for each in found
    ]
    session.output.table(("request", "kind", "state", "deadline", "person", "stands out"), rows, empty="no requests")
    tell_more(session, len(found), more=more)


@verb(app, "show", examples=("sluss request show R-2026-0001", "sluss request show R-2026-0001 --json"))
def show(session: Session, request: RequestId) -> None:
    """Show a request with its timeline and how far its recipients have come."""
    reply = session.person_requests.GetRequest(pb.GetRequestRequest(id=request), timeout=DEADLINE_S)
    shown = reply.request
    events = [
        {
            "at": each.at, "by": each.by, "event": each.event, "text": each.text,
            "entry_index": each.entry_index, "proven": each.proven,
        }
        for each in reply.timeline
    ]  # fmt: skip
    session.output.result({"request": _document(shown), "timeline": events})
    session.output.heading(f"{shown.id}: {kind_name(shown.kind)}, {_words(state_name(shown.state))}")
    session.output.facts(
        {
            "person": shown.person_id or ("erased" if shown.forgotten else "not yet identified"),
            "received": f"{shown.received} {_how(shown.channel)}",
            "deadline": ", ".join(filter(None, (shown.deadline, _stands_out(shown)))),
            "identity": f"{shown.identity} {shown.identity_method}".strip(),
            "asked": shown.asked,
            "requester": shown.requester,
            "language": shown.language,
            "ground": shown.ground,
            "told": shown.told,
            "fulfilled": shown.fulfilled,
            "recipients": f"{shown.answered} of {shown.recipients} have answered" if shown.recipients else "",
            "possible": _words(", ".join(shown.possible)),
        }
    )
    if shown.to_tell:
        session.output.line()
        session.output.table(
            ("to be told by you", "address", "case", "how it ended", "reason"),
            [(e.name, e.address, e.case_id, telling_name(e.outcome) or "not yet", e.reason) for e in shown.to_tell],
        )
    session.output.line()
    session.output.table(
        ("when", "by", "what", "text", "entry"),
        [(moment(e.at), e.by, _words(e.event), e.text, e.entry_index) for e in reply.timeline],
    )


@verb(
    app,
    "identity",
    examples=("sluss request identity R-2026-0001 --method eid --result passed --person P-04CVZ6HGRM5PX",),
)
def identity(
    session: Session,
    request: RequestId,
    *,
    method: Annotated[
        str,
        typer.Option(help="account_login, eid, id_document_seen, call_back, known_contact, other.", metavar="METHOD"),
    ],
    result: Annotated[str, typer.Option(help="passed, failed or more_needed.", metavar="RESULT")],
    person: PersonOption = "",
) -> None:
    """Note how a check of the identity ended; nothing of what was seen."""
    if result not in RESULTS:
        raise usage(f"--result is one of {', '.join(RESULTS)}")
    _step(session, "NoteIdentityCheck", request, method=method, result=RESULTS[result], person_id=person)


@verb(app, "work", examples=('sluss request work R-2026-0001 --note "asked the archive"',))
def work(session: Session, request: RequestId, *, note: Note) -> None:
    """Note work; with the first note the request is in progress."""
    _step(session, "NoteWork", request, note=note)


@verb(app, "extend", examples=('sluss request extend R-2026-0001 --months 1 --reason "many systems"',))
def extend(
    session: Session,
    request: RequestId,
    *,
    months: Annotated[int, typer.Option(help="Further months, 1 or 2.", min=1, max=2, metavar="NUMBER")] = 1,
    reason: Annotated[str, typer.Option(help="Why, as the person is told.", metavar="TEXT")],
) -> None:
    """Extend the deadline within the first month; whoever is on record is told over the outbox."""
    extended = _step(session, "ExtendDeadline", request, months=months, reason=reason)
    if not extended.person_id:
        session.output.line("Tell whoever asked, with the reason, within the first month (GDPR Art. 12(3)).")


@verb(
    app,
    "refuse",
    examples=('sluss request refuse R-2026-0001 --ground legal_claims --told "A claim is pending."',),
)
def refuse(
    session: Session,
    request: RequestId,
    *,
    ground: Annotated[str, typer.Option(help=_GROUNDS, metavar="GROUND")],
    told: Annotated[str, typer.Option(help="What the person is told besides.", metavar="TEXT")],
) -> None:
    """Refuse a request."""
    _step(session, "RefuseRequest", request, ground=ground, told=told)
    session.output.line(
        "The outbox has the answer for whoever is on record. Tell anybody else why, and that they may complain to the"
        " supervisory authority and go to court (GDPR Art. 12(4))."
    )


@verb(app, "withdraw", examples=('sluss request withdraw R-2026-0001 --reason "by phone"',))
def withdraw(session: Session, request: RequestId, *, reason: Reason) -> None:
    """The person takes a request back."""
    _step(session, "WithdrawRequest", request, reason=reason)


@verb(app, "export", examples=("sluss request export R-2026-0001 --out DIR --language sv",))
def export(
    session: Session,
    request: RequestId,
    *,
    out: Annotated[Path, typer.Option(help="A folder for the files, made closed to others.", metavar="DIR")],
    language: Annotated[
        str,
        typer.Option(help="sv or en; default: the request's.", metavar="LANGUAGE", autocompletion=lambda: LANGUAGES),
    ] = "",
) -> None:
    """Export everything held on the person as JSON, PDF and web page; it is in the ledger before it arrives.

    Each export has its own digest, and an earlier one is never written over: the next goes into another folder.
    """
    if not language:
        asked = session.person_requests.GetRequest(pb.GetRequestRequest(id=request), timeout=DEADLINE_S)
        language = asked.request.language or "sv"
    language_of(language)
    need("typst", "jinja2")
    names = [f"{request}.json", f"{request}.{language}.pdf", f"{request}.{language}.html", f"{request}.receipt"]
    check_new(out, names)
    data, last = _received(session, request)
    sha256 = last.sha256.hex()
    about = access.access(data, sha256)
    made = (data, access.pdf_of(about, language), access.html_of(about, language), last.receipt.encode())
    files = write_new(out, dict(zip(names, made, strict=True)))
    session.output.result({"files": [str(path) for path in files], "sha256": sha256, "entry_index": last.entry_index})
    for path in files:
        session.output.line(f"Wrote {path}.")
    session.output.line(f"SHA-256 {sha256}, ledger entry {last.entry_index}.")
    if any(each["masked"] for each in about.said["fields"]):
        session.output.line("Financial values are masked: to end the request the privacy team exports and hands over.")
        return
    session.output.line(
        f'Next, once the person has it: sluss request hand-over {request} --sha256 {sha256} --how "..."'
    )


def _received(session: Session, request: str) -> tuple[bytes, pb.ExportAccessResponse]:
    """All of an export and its last part; INTEGRITY if it did not come whole."""
    data, last = bytearray(), None
    for part in session.person_requests.ExportAccess(pb.ExportAccessRequest(id=request), timeout=LONG_S):
        data += part.part
        last = part
    if last is None or len(data) != last.size or digest_of(data).digest() != last.sha256:
        raise Problem(Exit.INTEGRITY, "DIGEST", "the export did not arrive whole")
    return bytes(data), last


@verb(
    app,
    "hand-over",
    examples=(f'sluss request hand-over R-2026-0001 --sha256 {"0" * 64} --how "by registered post"',),
)
def hand_over(
    session: Session,
    request: RequestId,
    *,
    sha256: Annotated[str, typer.Option(help="Of the JSON that the person has.", metavar="HEX")],
    how: Annotated[str, typer.Option(help="How the person got it.", metavar="TEXT")],
) -> None:
    """Say that the person has the export."""
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        digest = b""
    if len(digest) != digest_of().digest_size:
        raise usage("--sha256 takes the 64 hexadecimal digits that `sluss request export` has shown")
    _step(session, "FulfilAccess", request, sha256=digest, how=how)


@verb(app, "rectify", examples=("sluss request rectify R-2026-0001 --values-file changes.txt --last",))
def rectify(
    session: Session,
    request: RequestId,
    *,
    file: Annotated[
        str, typer.Option("--values-file", help="A file with FIELD=VALUE lines; - is standard input.", metavar="FILE")
    ] = "",
    remove: Annotated[list[str] | None, typer.Option(help="A field to remove; repeatable.", metavar="FIELD")] = None,
    note: Note = "",
    last: Annotated[bool, typer.Option("--last", help="This is all that was asked for.")] = False,
) -> None:
    """Correct values; whoever received what was wrong owes the correction."""
    if not file and not remove:
        raise usage("nothing to correct: give --values-file FILE or --remove FIELD")
    values = parse_values(read_lines(file)) if file else []
    shown = session.person_requests.GetRequest(pb.GetRequestRequest(id=request), timeout=DEADLINE_S).request
    etag = ""
    if shown.person_id:
        person = person_pb2.GetPersonRequest(person_id=shown.person_id)
        etag = session.persons.GetPerson(person, timeout=DEADLINE_S).etag
    _step(session, "Rectify", request, values=values, remove=remove or (), person_etag=etag, note=note, last=last)


@verb(app, "erase", examples=("sluss request erase R-2026-0001 --yes",))
def erase(session: Session, request: RequestId, *, yes: Yes = False) -> None:
    """Erase the person; whoever received anything owes the erasure. There is no way back."""
    confirm(session, "Erase everything that is held on this person, the address too, for good?", yes=yes)
    erased = _step(session, "Erase", request)
    session.output.line("Nothing is left to write to the person with: send the answer yourself (GDPR Art. 12(3)).")
    if not erased.recipients and not erased.to_tell:
        session.output.line("Nobody had received anything that has to be deleted: no recipient owes an answer.")


@verb(
    app,
    "told",
    examples=(
        'sluss request told R-2026-0001 L-2026-0001 --reason "by letter"',
        'sluss request told R-2026-0001 L-2026-0001 --outcome impossible --reason "the authority was dissolved"',
    ),
)
def told(
    session: Session,
    request: RequestId,
    case: Annotated[str, typer.Argument(help="The legal case of the release, such as L-2026-0001.", metavar="CASE")],
    *,
    outcome: Annotated[str, typer.Option(help="told, impossible or disproportionate.", metavar="WORD")] = "told",
    reason: Annotated[str, typer.Option(help="Why not, or how; kept for good: no personal data.", metavar="TEXT")] = "",
) -> None:
    """Note that the recipient of a legal release was told, or why that can't be."""
    if outcome not in TELLINGS:
        raise usage(f"--outcome is one of {', '.join(TELLINGS)}")
    _step(session, "NoteRecipientTold", request, case_id=case, outcome=TELLINGS[outcome], reason=reason)


@verb(app, "object", examples=("sluss request object R-2026-0001 offers.email offers.phone --medium phone",))
def object_(
    session: Session,
    request: RequestId,
    purposes: Annotated[list[str], typer.Argument(help="Purposes that heed choices.", metavar="PURPOSE")],
    *,
    medium: Annotated[str, typer.Option(help="How the person said no: web, mail, phone ...", metavar="MEDIUM")] = "web",
    note: Note = "",
) -> None:
    """Record a no to purposes; it holds from the moment this returns."""
    _step(session, "Object", request, purposes=purposes, channel=medium, note=note)


@verb(
    app,
    "statistics",
    examples=(
        "sluss request statistics --from 2026-01-01 --until 2026-12-31",
        "sluss request statistics --from 2026-01-01 --until 2026-12-31 --csv > requests.csv",
    ),
)
def statistics(
    session: Session,
    *,
    first: Annotated[str, typer.Option("--from", help="First day.", metavar="DAY")],
    last: Annotated[str, typer.Option("--until", help="Last day.", metavar="DAY")],
    as_csv: Csv = False,
) -> None:
    """Count the requests that came in within a period."""
    not_both(session, as_csv=as_csv)
    period(first, last)
    request = pb.GetRequestStatisticsRequest(first_day=first, last_day=last)
    reply = session.person_requests.GetRequestStatistics(request, timeout=LONG_S)
    columns = ("received", "done", "refused", "withdrawn", "open", "overdue", "extended", "late", "median_days")
    counts = [
        {"kind": kind_name(each.kind), **{name: int(getattr(each, name)) for name in columns}} for each in reply.counts
    ]
    if as_csv:
        print_csv(("kind", *columns), counts)
        return
    session.output.result({"counts": counts})
    rows = [(*list(each.values())[:-1], _median(each)) for each in counts]
    session.output.table([_words(name) for name in ("kind", *columns)], rows)


def _median(count: dict[str, Any]) -> str:
    """Nothing where none is done: 0 would read as done on the same day."""
    return str(count["median_days"]) if count["done"] else ""


def _words(name: str) -> str:
    """A name as a person reads it."""
    return name.replace("_", " ")


def kind_name(kind: pb.PersonRequestKind.ValueType) -> str:
    """A kind's word."""
    return {number: name for name, number in KINDS.items()}.get(kind, f"kind {kind}")


def state_name(state: pb.PersonRequestState.ValueType) -> str:
    """A state's word."""
    if state not in pb.PersonRequestState.values():
        return f"state {state}"
    return pb.PersonRequestState.Name(state).removeprefix("PERSON_REQUEST_STATE_").lower()


def telling_name(outcome: pb.TellingOutcome.ValueType) -> str:
    """The word for how it ended to tell somebody; empty for not yet."""
    return {number: name for name, number in TELLINGS.items()}.get(outcome, "")


def _kind(name: str) -> pb.PersonRequestKind.ValueType:
    if name not in KINDS:
        raise usage(f"a request is for one of {', '.join(KINDS)}")
    return KINDS[name]


def _stands_out(request: pb.PersonRequest) -> str:
    marks = ["OVERDUE"] if request.overdue else []
    if request.paused_since and request.state not in _ENDED:
        marks.append(f"stands still since {request.paused_since}")
    if request.recipients > request.answered:
        marks.append(f"{counted(request.recipients - request.answered, 'recipient', 'recipients')} silent")
    untold = [each for each in request.to_tell if not each.outcome]
    if untold:
        marks.append(f"{counted(len(untold), 'recipient', 'recipients')} to be told by you")
    return ", ".join(marks)


def _step(session: Session, method: str, request: str, /, **given: Any) -> pb.PersonRequest:
    """One step on the request as it stands now; the request after it."""
    shown = session.person_requests.GetRequest(pb.GetRequestRequest(id=request), timeout=DEADLINE_S).request
    message = getattr(pb, f"{method}Request")(id=request, etag=shown.etag, request_id=str(uuid.uuid4()), **given)
    return _tell(session, getattr(session.person_requests, method)(message, timeout=DEADLINE_S))


def _tell(session: Session, reply: Any) -> pb.PersonRequest:
    request: pb.PersonRequest = reply.request
    session.output.result({"request": _document(request), "entry_index": reply.entry_index})
    stands = _stands_out(request)
    more = f" ({stands})" if stands else ""
    session.output.line(
        f"{request.id} is {_words(state_name(request.state))}, due by {request.deadline}{more}; ledger entry"
        f" {reply.entry_index}."
    )
    if request.recipients > request.answered:
        silent = counted(request.recipients - request.answered, "recipient still owes", "recipients still owe")
        session.output.line(f"{silent} an answer; who: sluss obligation list --cause {request.id}")
    for each in request.to_tell if "recipient_told" in request.possible else ():
        if not each.outcome:
            session.output.line(
                f"To be told by you: {each.name}, {each.address} ({each.case_id}). Next: sluss request told"
                f' {request.id} {each.case_id} --reason "..."'
            )
    return request


def _how(channel: str) -> str:
    return "nobody asked: a value was rectified" if channel == "correction" else f"by {channel}"


def _document(request: pb.PersonRequest) -> dict[str, Any]:
    names = (
        "id", "person_id", "channel", "received", "deadline", "extended_months", "paused_since", "overdue", "identity",
        "identity_method", "asked", "requester", "language", "told", "ground", "fulfilled", "completed", "recipients",
        "answered", "forgotten", "etag",
    )  # fmt: skip
    return {
        "kind": kind_name(request.kind),
        "state": state_name(request.state),
        **{name: getattr(request, name) for name in names},
        "possible": list(request.possible),
        "to_tell": [
            {
                "case": each.case_id,
                "name": each.name,
                "address": each.address,
                "outcome": telling_name(each.outcome),
                "reason": each.reason,
            }
            for each in request.to_tell
        ],
    }
