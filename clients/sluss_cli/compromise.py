"""`sluss compromise`: a stolen credential is cut off at once; what happened with it, and the facts of a notice."""

import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import compromise_pb2 as pb
from sluss_legal.documents import breach
from sluss_legal.plain import plain as document

from sluss_cli.entry_text import moment, parse_entry, sentence
from sluss_cli.legal.asking import Language, language_of, need
from sluss_cli.listing import Limit, every, some, tell_more
from sluss_cli.print_csv import Csv, not_both, print_csv
from sluss_cli.problems import usage
from sluss_cli.row_file import write_new
from sluss_cli.session import DEADLINE_S, LONG_S, Session
from sluss_cli.times import DAY_OR_TIME, first_moment, last_moment
from sluss_cli.verb import group, verb

app = group("Stolen credentials: report, list, show, disclosures, persons, facts, reinstate, close.")

Report = Annotated[str, typer.Argument(help="The report, such as B-2026-0001.", metavar="REPORT")]
Why = Annotated[str, typer.Option("--reason", help="Why; the ledger commits to it.", metavar="TEXT")]
HEX = re.compile(r"[0-9A-Fa-f]{64}")
SUSPECTS = 500


@verb(
    app,
    "report",
    examples=(
        'sluss compromise report --principal subcontractor/acme --from 2026-11-20 --how "laptop stolen"',
        'sluss compromise report --person P-04CVZ6HGRM5PX --from "2026-11-20 08:30" --how "told us by phone"',
    ),
)
def report(
    session: Session,
    *,
    first: Annotated[
        str, typer.Option("--from", help=f"Since when others may have used it: {DAY_OR_TIME}.", metavar="TIME")
    ],
    how: Annotated[str, typer.Option("--how", help="How it was noticed; sealed.", metavar="TEXT")],
    last: Annotated[
        str, typer.Option("--until", help="Until when, the day included; default: now.", metavar="TIME")
    ] = "",
    noticed: Annotated[
        str, typer.Option("--noticed", help="When you became aware, a day or a time; default: now.", metavar="TIME")
    ] = "",
    certificate: Annotated[
        str, typer.Option("--public-key", help="One certificate, by the SHA-256 of its public key.", metavar="HEX")
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
        raise usage("name one of --public-key, --principal, --key-of and --person")
    request = pb.ReportCompromiseRequest(
        request_id=str(uuid.uuid4()), suspect_from=first_moment(first, "--from"),
        suspect_until=last_moment(last, "--until"), noticed_at=first_moment(noticed, "--noticed"), how=how,
    )  # fmt: skip
    if certificate:
        if not HEX.fullmatch(certificate):
            raise usage("--public-key takes 64 hexadecimal digits")
        request.spki = bytes.fromhex(certificate)
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
    state: Annotated[str, typer.Option("--state", help="Only in this state: open, closed.", metavar="STATE")] = "",
    limit: Limit = 0,
) -> None:
    """List reports, newest first."""
    request = pb.ListReportsRequest(state=state)
    found, more = some(every(session.compromises.ListReports, request, "reports"), limit)
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
    tell_more(session, len(found), more=more)


@verb(app, "show", examples=("sluss compromise show B-2026-0001",))
def show(session: Session, report: Report) -> None:
    """Show a report with its timeline."""
    reply = session.compromises.GetReport(pb.GetReportRequest(report_id=report), timeout=DEADLINE_S)
    session.output.result(document(reply))
    _print(session, reply.report)
    print_timeline(session, reply.timeline)


def print_timeline(session: Session, events: Any) -> None:
    """The timeline of a report or a complaint."""
    session.output.line()
    session.output.table(
        ("when", "by", "what", "text", "entry"),
        [(moment(each.at), each.by, each.event.replace("_", " "), each.text, each.entry_index) for each in events],
    )


def _suspects(session: Session, report: str) -> list[pb.SuspectEntry]:
    """All entries of the suspect window."""
    request = pb.ListSuspectDisclosuresRequest(report_id=report, page_size=SUSPECTS)
    return list(every(session.compromises.ListSuspectDisclosures, request, "entries"))


@verb(app, "disclosures", examples=("sluss compromise disclosures B-2026-0001",))
def disclosures(session: Session, report: Report) -> None:
    """List what was disclosed, and what else happened, in the suspect window."""
    entries = [(each, parse_entry(each.entry)) for each in _suspects(session, report)]
    session.output.result(
        {"entries": [{"index": each.entry_index, "persons": each.persons, "entry": said} for each, said in entries]}
    )
    session.output.table(
        ("entry", "when", "what happened"),
        [(each.entry_index, moment(str(said.get("at", ""))), sentence(said)) for each, said in entries],
        empty="nothing in the suspect window",
    )


@verb(
    app,
    "persons",
    examples=("sluss compromise persons B-2026-0001", "sluss compromise persons B-2026-0001 --csv > concerned.csv"),
)
def persons(session: Session, report: Report, *, as_csv: Csv = False) -> None:
    """List whom to tell of the breach (GDPR Art. 34): the persons on record whose data left in the suspect window."""
    not_both(session, as_csv=as_csv)
    request = pb.ListConcernedPersonsRequest(report_id=report)
    found = list(every(session.compromises.ListConcernedPersons, request, "person_ids"))
    if as_csv:
        print_csv(["person"], [{"person": each} for each in found])
        return
    session.output.result({"persons": found})
    session.output.table(("person",), [(each,) for each in found], empty="nobody on record")


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
    reply = session.compromises.GetFactsSheet(pb.GetFactsSheetRequest(report_id=report), timeout=LONG_S)
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
    session.output.line()
    session.output.heading("measures taken")
    print_timeline(session, reply.measures)


def _write(session: Session, about: breach.Breach, out: Path, language: str) -> None:
    """The sheet in all its forms, each file closed to others; an earlier one stays."""
    report = about.facts.report.report_id
    made = breach.files(about, language)
    paths = write_new(out, {f"{report}.{end}": content for end, content in made.items()})
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
