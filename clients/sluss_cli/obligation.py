"""`sluss obligation`: what recipients owe. They list, watch and answer it; the company sees what is overdue."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

import typer
from sluss.v1 import obligation_pb2 as pb
from sluss_client.errors import Aborted, ResourceExhausted, TransportError
from sluss_client.obligations import Obligation
from sluss_client.obligations import read as read_obligation
from sluss_legal.plain import plain

from broker.obligations.statement import SIGNED, is_signed
from broker.sealing import handle_text
from sluss_cli.again import Again
from sluss_cli.entry_text import moment, parse_entry, sentence
from sluss_cli.exits import Exit
from sluss_cli.legal.asking import day
from sluss_cli.listing import Count, Limit, Seconds, every, some, tell_more
from sluss_cli.print_csv import Csv, not_both, print_csv
from sluss_cli.problems import Problem, usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group(
    "What recipients owe: list, show, watch, acknowledge, attest, delay; for the company report, remind,"
    " answer-delay, close."
)

Id = Annotated[str, typer.Argument(help="The obligation, such as O-2026-0001.", metavar="OBLIGATION")]
Why = Annotated[
    str, typer.Option("--reason", help="Why; stands in the ledger for good, so no personal data.", metavar="TEXT")
]
Contract = Annotated[str, typer.Option("--contract", help="Only of this contract.", metavar="CONTRACT")]
PAGE = 200


@verb(
    app,
    "list",
    examples=(
        "sluss obligation list",
        "sluss obligation list --state open --state acknowledged --json",
        "sluss obligation list --cause R-2026-0001",
        "sluss obligation list --overdue --recipient subcontractor/acme-pay",
    ),
)
def list_(
    session: Session,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only in this state: open, acknowledged, unanswered, answered, not_confirmed; repeatable.",
            metavar="STATE",
        ),
    ] = None,
    contract: Contract = "",
    recipient: Annotated[str, typer.Option(help="Only of this recipient.", metavar="KIND/ID")] = "",
    cause: Annotated[str, typer.Option(help="Only those made for this request or complaint.", metavar="ID")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those past their deadline.")] = False,
    escalated: Annotated[bool, typer.Option("--escalated", help="Only those that are overdue by far.")] = False,
    limit: Limit = 0,
) -> None:
    """List obligations: a subcontractor's own, or everybody's for the company."""
    request = pb.ListObligationsRequest(
        states=state or (),
        contract_id=contract,
        recipient=recipient,
        cause=cause,
        overdue=overdue,
        escalated=escalated,
        page_size=PAGE,
    )
    found, more = some(every(session.obligations.ListObligations, request, "obligations"), limit)
    session.output.result({"obligations": [document(each) for each in found]})
    session.output.table(
        ("obligation", "what", "state", "due", "overdue", "contract", "recipient"),
        [
            (
                each.obligation_id,
                each.instruction.replace("_", " "),
                each.state.replace("_", " "),
                each.due,
                _late(each),
                each.contract_id,
                each.recipient,
            )
            for each in found
        ],
        empty="no such obligations"
        if any((state, contract, recipient, cause, overdue, escalated))
        else "Nothing is owed.",
    )
    tell_more(session, len(found), more=more)


@verb(app, "show", examples=("sluss obligation show O-2026-0001",))
def show(session: Session, obligation: Id) -> None:
    """Show an obligation and its history; every signature in it is checked."""
    reply = session.obligations.GetObligation(pb.GetObligationRequest(obligation_id=obligation), timeout=DEADLINE_S)
    history = [(index, parse_entry(data)) for index, data in zip(reply.entry_indexes, reply.entries, strict=True)]
    wrong = [index for index, said in history if said.get("event") in SIGNED and not is_signed(said)]
    session.output.result(
        {
            "obligation": document(reply.obligation),
            "history": [{"entry": index, **said} for index, said in history],
            "signatures": "wrong" if wrong else "good",
        }
    )
    session.output.facts(_facts(reply.obligation))
    session.output.line()
    for index, said in history:
        signed = " (its signature is good)" if said.get("event") in SIGNED and index not in wrong else ""
        session.output.line(f"{moment(said['at'])}  entry {index}: {sentence(said)}{signed}")
    if wrong:
        raise Problem(Exit.INTEGRITY, "SIGNATURE_WRONG", f"the signature of entry {wrong[0]} does not verify")


@verb(
    app,
    "watch",
    examples=(
        "sluss obligation watch",
        "sluss obligation watch --seconds 60 --json",
        "sluss obligation watch --count 1",
    ),
)
def watch(
    session: Session,
    *,
    seconds: Seconds = 0,
    count: Count = 0,
) -> None:
    """Print what this subcontractor owes, then what is new, as it comes. A broken stream is taken up where it broke."""
    again = Again(session.output, seconds)
    try:
        again.follow(_Watch(session, count), TransportError, Aborted, ResourceExhausted)
    except KeyboardInterrupt:
        if not again.is_over:
            session.output.note("Stopped.")


class _Watch:
    """Obligations as they come, over all the streams that it takes."""

    def __init__(self, session: Session, count: int) -> None:
        self._session = session
        self._left = count
        self._resume = ""
        self._caught_up = False
        self.is_done = False

    def replies(self, timeout_s: float | None) -> Iterator[None]:
        """The replies of one stream, printed."""
        output = self._session.output
        stream = self._session.subcontractor.watch_obligations(resume=self._resume, timeout_s=timeout_s)
        for found, self._resume in stream:
            yield
            if found is not None:
                output.result(document(found.message))
                output.line(_line(found))
                self._left -= 1
                self.is_done = not self._left
                if self.is_done:
                    return
            elif not self._caught_up:
                self._caught_up = True
                output.note("That is all so far; waiting for more.")


@verb(app, "acknowledge", examples=("sluss obligation acknowledge O-2026-0001",))
def acknowledge(session: Session, obligation: Id) -> None:
    """Say, signed by this profile's key, that the obligation is known."""
    after = session.subcontractor.acknowledge(_own(session, obligation))
    session.output.result({"obligation": document(after.message)})
    session.output.line(f"{after.id} is acknowledged; it is owed until {after.due}.")


@verb(
    app,
    "attest",
    examples=(
        "sluss obligation attest O-2026-0001 deleted",
        'sluss obligation attest O-2026-0001 never_held_any_more --note "the campaign was deleted in May"',
    ),
)
def attest(
    session: Session,
    obligation: Id,
    outcome: Annotated[
        str, typer.Argument(help="What was done: deleted, corrected or never_held_any_more.", metavar="OUTCOME")
    ],
    *,
    note: Annotated[
        str, typer.Option(help="A note; stands in the ledger for good, so no personal data.", metavar="TEXT")
    ] = "",
) -> None:
    """Say, signed by this profile's key, that it is done."""
    if not outcome:
        raise usage("say what was done: deleted, corrected or never_held_any_more")
    after = session.subcontractor.attest(_own(session, obligation), outcome, note)
    session.output.result({"obligation": document(after.message)})
    entry = after.message.answer_entry
    session.output.line(f"{after.id}: {after.message.outcome.replace('_', ' ')}, entry {entry}.")


@verb(app, "delay", examples=('sluss obligation delay O-2026-0001 --until 2026-12-20 --reason "tapes are abroad"',))
def delay(
    session: Session,
    obligation: Id,
    *,
    until: Annotated[str, typer.Option(help="The day until which time is asked for.", metavar="DAY")],
    reason: Why,
) -> None:
    """Ask, signed by this profile's key, for time until a day; the company decides."""
    after = session.subcontractor.ask_delay(_own(session, obligation), _day(until), reason)
    session.output.result({"obligation": document(after.message)})
    session.output.line(f"Asked for {after.id} until {until}; until the company decides it is owed by {after.due}.")


@verb(
    app,
    "answer-delay",
    examples=(
        "sluss obligation answer-delay O-2026-0001 --until 2026-12-20 --grant",
        'sluss obligation answer-delay O-2026-0001 --until 2026-12-20 --reason "it has been long enough"',
    ),
)
def answer_delay(
    session: Session,
    obligation: Id,
    *,
    until: Annotated[str, typer.Option(help="The day that was asked for.", metavar="DAY")],
    grant: Annotated[bool, typer.Option("--grant", help="Grant it; without this it is refused.")] = False,
    reason: Annotated[str, typer.Option(help="Why; needed for a refusal; no personal data.", metavar="TEXT")] = "",
) -> None:
    """Grant or refuse the time that a recipient asks for."""
    if not grant and not reason.strip():
        raise usage("a refusal says why: --reason TEXT; or --grant")
    request = pb.AnswerDelayRequest(obligation_id=obligation, grant=grant, until=_day(until).isoformat(), reason=reason)
    reply = session.obligations.AnswerDelay(request, timeout=DEADLINE_S)
    session.output.result({"obligation": document(reply.obligation), "entry_index": reply.entry_index})
    session.output.line(f"{'Granted' if grant else 'Refused'}: {obligation} is owed until {reply.obligation.due}.")


@verb(app, "remind", examples=("sluss obligation remind O-2026-0001",))
def remind(session: Session, obligation: Id) -> None:
    """Remind a recipient: it is in the ledger, and whoever watches gets the obligation again."""
    reply = session.obligations.RemindObligation(
        pb.RemindObligationRequest(obligation_id=obligation), timeout=DEADLINE_S
    )
    session.output.result({"obligation": document(reply.obligation), "entry_index": reply.entry_index})
    session.output.line(f"{reply.obligation.recipient} is reminded of {obligation}, entry {reply.entry_index}.")


@verb(app, "close", examples=('sluss obligation close O-2026-0001 --reason "the company is bankrupt"',))
def close(session: Session, obligation: Id, *, reason: Why) -> None:
    """Close what nobody answers for: one person proposes, a second one closes. It stays not confirmed."""
    reply = session.obligations.CloseUnanswered(
        pb.CloseUnansweredRequest(obligation_id=obligation, reason=reason), timeout=DEADLINE_S
    )
    session.output.result({"obligation": document(reply.obligation), "entry_index": reply.entry_index})
    if reply.obligation.state == "not_confirmed":
        session.output.line(f"{obligation} is closed: not confirmed by {reply.obligation.recipient}.")
    else:
        session.output.line(f"Proposed to close {obligation}. A second person closes it with the same command.")


@verb(
    app,
    "report",
    examples=("sluss obligation report", "sluss obligation report --csv > owed.csv", "sluss obligation report --json"),
)
def report(
    session: Session,
    *,
    first: Annotated[
        str,
        typer.Option(
            "--from", help="Leave out what was settled and due before this day; default: 90 days ago.", metavar="DAY"
        ),
    ] = "",
    as_csv: Csv = False,
) -> None:
    """Report what each recipient owes and what is overdue, the worst first."""
    not_both(session, as_csv=as_csv)
    request = pb.ReportOverdueRequest(since=day(first, "--from"))
    reply = session.obligations.ReportOverdue(request, timeout=DEADLINE_S)
    names = [each.name for each in pb.RecipientReport.DESCRIPTOR.fields]
    lines = [{name: getattr(each, name) for name in names} for each in reply.recipients]
    if as_csv:
        print_csv(names, lines)
        return
    session.output.result({"today": reply.today, "recipients": lines})
    columns = (
        "recipient", "waiting", "overdue", "worst_days", "worst", "escalated", "delays_asked", "unanswered", "answered",
        "not_confirmed",
    )  # fmt: skip
    session.output.table(
        [name.replace("_", " ") for name in columns],
        [[line[name] for name in columns] for line in lines],
        empty="Nobody owes anything.",
    )


def document(obligation: pb.Obligation) -> Mapping[str, Any]:
    """An obligation for programs: handles as text, digests in hexadecimal."""
    found = plain(obligation)
    found["handle"] = handle_text(obligation.handle) if obligation.handle else ""
    found["owed"], found["salt"] = obligation.owed.hex(), obligation.salt.hex()
    return found


def _facts(each: pb.Obligation) -> dict[str, object]:
    return {
        "Obligation": each.obligation_id,
        "To do": each.instruction.replace("_", " "),
        "State": each.state.replace("_", " "),
        "Due": each.due + (f", {each.days_overdue} days overdue" if each.days_overdue else ""),
        "Contract": each.contract_id,
        "Recipient": each.recipient,
        "Person": handle_text(each.handle) if each.handle else "",
        "Fields": ", ".join(each.fields),
        "For": each.cause,
        "Answer": each.outcome.replace("_", " "),
        "Delay asked": f"until {each.delay_asked}: {each.delay_reason}" if each.delay_asked else "",
        "Reminders": each.reminders or "",
        "Escalated": moment(each.escalated_at) if each.escalated_at else "",
        "Close proposed by": each.close_proposed_by,
    }


def _late(each: pb.Obligation) -> str:
    days = f"{each.days_overdue} days" if each.days_overdue else ""
    return f"{days}, escalated" if each.escalated_at and days else days


def _line(each: Obligation) -> str:
    whom = f" of {each.handle}" if each.handle else ""
    fields = f": {', '.join(each.fields)}" if each.fields else ""
    return f"{each.id}  {each.instruction.replace('_', ' ')}{whom} by {each.due} under {each.contract}{fields}"


def _own(session: Session, obligation: str) -> Obligation:
    """One of this subcontractor's, proven to be what its digest says."""
    reply = session.obligations.GetObligation(pb.GetObligationRequest(obligation_id=obligation), timeout=DEADLINE_S)
    return read_obligation(reply.obligation, session.profile.principal)


def _day(text: str) -> date:
    """A day that has to be named; USAGE for anything else."""
    if not text:
        raise usage("--until takes a day such as 2026-11-25")
    return date.fromisoformat(day(text, "--until"))
