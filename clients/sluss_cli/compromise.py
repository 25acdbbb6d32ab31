"""`sluss compromise`: a stolen credential is cut off at once; what happened with it, and the facts of a notice."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from sluss.v1 import compromise_pb2 as pb
from sluss_client.files import SECRET, write_atomic
from sluss_legal.documents import breach

from sluss_cli.entry_text import moment, parse_entry, sentence
from sluss_cli.legal.asking import Language, language_of, need
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Stolen credentials: report, list, show, disclosures, facts, reinstate, close.")

Report = Annotated[str, typer.Argument(help="The report, such as B-2026-0001.", metavar="REPORT")]
Why = Annotated[str, typer.Option("--reason", help="Why; the ledger commits to it.", metavar="TEXT")]
HEX_DIGITS = 64
SUSPECTS = 500
FOLDER_MODE = 0o700


def document(message: Message) -> dict[str, Any]:
    """A message as JSON, with the names of the proto and with what is empty."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


@verb(
    app,
    "report",
    examples=(
        'sluss compromise report --principal subcontractor/acme --since 2026-11-20T00:00:00Z --how "laptop stolen"',
        'sluss compromise report --person P-04CVZ6HGRM5PX --since 2026-11-20T00:00:00Z --how "told us by phone"',
    ),
)
def report(
    session: Session,
    *,
    since: Annotated[
        str, typer.Option("--since", help="Since when others may have used it: a day, UTC, or a time.", metavar="TIME")
    ],
    how: Annotated[str, typer.Option("--how", help="How it was noticed; sealed.", metavar="TEXT")],
    until: Annotated[str, typer.Option("--until", help="Until when; default: now.", metavar="TIME")] = "",
    noticed: Annotated[
        str, typer.Option("--noticed", help="When you became aware; default: now.", metavar="TIME")
    ] = "",
    certificate: Annotated[
        str, typer.Option("--certificate", help="SHA-256 of a certificate's public key.", metavar="HEX")
    ] = "",
    principal: Annotated[
        str, typer.Option("--principal", help="All certificates of a principal.", metavar="KIND/ID")
    ] = "",
    key_of: Annotated[
        str, typer.Option("--key-of", help="The encryption key of a subcontractor.", metavar="KIND/ID")
    ] = "",
    person: Annotated[str, typer.Option("--person", help="A person's password.", metavar="PERSON")] = "",
) -> None:
    """Report a stolen credential: it is cut off when this returns, and open calls end within a second."""
    if sum(map(bool, (certificate, principal, key_of, person))) != 1:
        raise usage("name one of --certificate, --principal, --key-of and --person")
    request = pb.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()), suspect_from=_time(since), suspect_until=until, noticed_at=noticed,
        how=how,
    )  # fmt: skip
    if certificate:
        try:
            request.spki = bytes.fromhex(certificate)
        except ValueError:
            raise usage(f"--certificate takes {HEX_DIGITS} hexadecimal digits") from None
    elif principal:
        request.principal = principal
    elif key_of:
        request.key_of = key_of
    else:
        request.person_id = person
    reply = session.compromises.ReportCompromise(request, timeout=DEADLINE_S)
    session.output.result({"report": document(reply.report), "entry_index": reply.entry_index})
    session.output.line(f"{reply.report.report_id}: cut off, ledger entry {reply.entry_index}.")
    _print(session, reply.report)
    session.output.line(f"Next: sluss compromise facts {reply.report.report_id}")


def _time(text: str) -> str:
    """The beginning of a day, or the time that is given."""
    return f"{text}T00:00:00Z" if len(text) == len("2026-11-20") else text


def _print(session: Session, shown: pb.CompromiseReport) -> None:
    session.output.facts(
        {
            "state": shown.state,
            "stolen": f"{shown.subject} {shown.principal or shown.person_id}",
            "suspect window": f"{moment(shown.suspect_from)} to {moment(shown.suspect_until)} UTC",
            "noticed": f"{moment(shown.noticed_at)} UTC",
            "notify the authority by": f"{moment(shown.notify_by)} UTC",
            "certificates revoked": shown.revoked,
            "encryption key": "retired" if shown.key_retired else "",
            "credential": "locked" if shown.locked else "",
            "how": shown.how,
        }
    )


@verb(app, "list", examples=("sluss compromise list --state open",))
def list_(
    session: Session,
    *,
    state: Annotated[str, typer.Option("--state", help="open or closed; default: both.", metavar="STATE")] = "",
) -> None:
    """List reports, newest first."""
    found: list[pb.CompromiseReport] = []
    token = ""
    while True:
        page = session.compromises.ListReports(pb.ListReportsRequest(state=state, page_token=token), timeout=DEADLINE_S)
        found += page.reports
        token = page.next_page_token
        if not token:
            break
    session.output.result({"reports": [document(each) for each in found]})
    session.output.table(
        ("report", "state", "stolen", "noticed", "notify by"),
        [
            (
                r.report_id,
                r.state,
                f"{r.subject} {r.principal or r.person_id}",
                moment(r.noticed_at),
                moment(r.notify_by),
            )
            for r in found
        ],
        empty="no reports",
    )


@verb(app, "show", examples=("sluss compromise show B-2026-0001",))
def show(session: Session, report: Report) -> None:
    """Show a report with its timeline."""
    reply = session.compromises.GetReport(pb.GetReportRequest(report_id=report), timeout=DEADLINE_S)
    session.output.result(document(reply))
    _print(session, reply.report)
    print_timeline(session, reply.timeline)


def print_timeline(session: Session, events: Any) -> None:
    """The timeline of a report or a complaint."""
    session.output.table(
        ("at", "by", "event", "text", "entry"),
        [(moment(each.at), each.by, each.event, each.text, each.entry_index) for each in events],
    )


def _suspects(session: Session, report: str) -> list[pb.SuspectEntry]:
    """All entries of the suspect window."""
    found: list[pb.SuspectEntry] = []
    request = pb.ListSuspectDisclosuresRequest(report_id=report, page_size=SUSPECTS)
    while True:
        page = session.compromises.ListSuspectDisclosures(request, timeout=DEADLINE_S)
        found += page.entries
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


@verb(app, "disclosures", examples=("sluss compromise disclosures B-2026-0001",))
def disclosures(session: Session, report: Report) -> None:
    """List what was disclosed, and what else happened, in the suspect window."""
    entries = [(each, parse_entry(each.entry)) for each in _suspects(session, report)]
    session.output.result(
        {"entries": [{"index": each.entry_index, "persons": each.persons, "entry": said} for each, said in entries]}
    )
    session.output.table(
        ("entry", "at", "what"),
        [(each.entry_index, moment(str(said.get("at", ""))), sentence(said)) for each, said in entries],
        empty="nothing in the suspect window",
    )


@verb(
    app,
    "facts",
    examples=(
        "sluss compromise facts B-2026-0001 --json",
        "sluss compromise facts B-2026-0001 --out DIR --language sv",
        'sluss compromise facts B-2026-0001 --out DIR --nature "a laptop was stolen" --contact "dpo@example.com"',
    ),
)
def facts(
    session: Session,
    report: Report,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Write JSON, PDF and web page into this folder, closed to others.", metavar="DIR"),
    ] = None,
    language: Language = "en",
    nature: Annotated[str, typer.Option(help="What happened.", metavar="TEXT")] = "",
    consequences: Annotated[str, typer.Option(help="What persons may suffer.", metavar="TEXT")] = "",
    measures: Annotated[str, typer.Option(help="What else was done or is planned.", metavar="TEXT")] = "",
    contact: Annotated[str, typer.Option(help="Where more can be learned.", metavar="TEXT")] = "",
    delay: Annotated[str, typer.Option(help="Why it took longer than 72 hours.", metavar="TEXT")] = "",
) -> None:
    """The facts for a breach notice (GDPR Art. 33), from the ledger; what only people know has a place for it."""
    language_of(language)
    written = breach.Written(nature, consequences, measures, contact, delay)
    if out is not None:
        need("typst", "jinja2")
    reply = session.compromises.GetFactsSheet(pb.GetFactsSheetRequest(report_id=report), timeout=DEADLINE_S)
    about = breach.Breach(reply, _suspects(session, report), written, session.profile.origin, datetime.now(UTC))
    if out is not None:
        _write(session, about, out, language)
        return
    session.output.result(breach.as_document(about))
    _print(session, reply.report)
    session.output.facts(
        {
            "hours left": about.hours_left,
            "cut off by entries": ", ".join(str(each.entry_index) for each in reply.cut_off),
            "persons still on record": reply.persons,
            "persons concerned, at most": reply.persons + reply.erased_records,
            "records": reply.records,
            "of persons erased since": reply.erased_records,
            "disclosures": reply.disclosures,
            "of them access exports": reply.exports or "",
            "reading": "is not recorded: more may have been seen" if reply.reads_unrecorded else "",
            "recipients": ", ".join(reply.recipients),
            **{each.category: ", ".join(each.fields) for each in reply.by_category},
            "to be written by you": ", ".join(breach.as_document(about)["to_be_written"]),
        }
    )
    session.output.heading("Measures taken")
    print_timeline(session, reply.measures)


def _write(session: Session, about: breach.Breach, out: Path, language: str) -> None:
    """The sheet in all its forms, each file closed to others."""
    out.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    report = about.facts.report.report_id
    paths = []
    for end, content in breach.files(about, language).items():
        paths.append(out / f"{report}.{end}")
        write_atomic(paths[-1], content, SECRET)
    missing = breach.as_document(about)["to_be_written"]
    session.output.result({"files": [str(path) for path in paths], "to_be_written": missing})
    for path in paths:
        session.output.line(f"Wrote {path}.")
    if missing:
        session.output.line(f"To be written by you: {', '.join(missing)}.")


@verb(app, "reinstate", examples=('sluss compromise reinstate B-2026-0001 --reason "new password, identity checked"',))
def reinstate(session: Session, report: Report, *, reason: Why) -> None:
    """End a report's lock on a person's credential; it is unlocked once no other report locks it."""
    held = session.compromises.GetReport(pb.GetReportRequest(report_id=report), timeout=DEADLINE_S).report
    request = pb.ReinstateCredentialRequest(report_id=report, etag=held.etag, reason=reason)
    reply = session.compromises.ReinstateCredential(request, timeout=DEADLINE_S)
    session.output.result(document(reply))
    session.output.line(f"{report}: its lock has ended, ledger entry {reply.entry_index}.")
    stays = f"stays locked by {reply.still_locked_by}" if reply.still_locked_by else "is the person's own again"
    session.output.line(f"The credential {stays}.")


@verb(app, "close", examples=('sluss compromise close B-2026-0001 --reason "authority notified"',))
def close(session: Session, report: Report, *, reason: Why) -> None:
    """Close a report."""
    held = session.compromises.GetReport(pb.GetReportRequest(report_id=report), timeout=DEADLINE_S).report
    request = pb.CloseReportRequest(report_id=report, etag=held.etag, reason=reason)
    reply = session.compromises.CloseReport(request, timeout=DEADLINE_S)
    session.output.result({"report": document(reply.report), "entry_index": reply.entry_index})
    session.output.line(f"{report} is closed, ledger entry {reply.entry_index}.")
