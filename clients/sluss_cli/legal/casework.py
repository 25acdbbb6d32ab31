"""`sluss legal open, show, list`: taking a request in, and looking at cases."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import legal_pb2 as pb
from sluss_legal.urgency import days_left, is_overdue
from sluss_legal.words import GROUND_NAMES, GROUNDS, STATES

from sluss_cli.given_file import read_text
from sluss_cli.legal.asking import CaseId, counted, get_case
from sluss_cli.legal.case_file import EXAMPLE, ground_named, parse_case
from sluss_cli.legal.case_text import (
    case_document,
    event_document,
    file_document,
    print_case,
    print_documents,
    print_timeline,
    secrecy_name,
    state_name,
)
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import verb


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verb(
        app,
        "open",
        examples=("sluss legal open --example > request.toml", "sluss legal open request.toml"),
    )(open_)
    verb(app, "show", examples=("sluss legal show L-2026-0001", "sluss legal show L-2026-0001 --json"))(show)
    verb(
        app,
        "list",
        examples=(
            "sluss legal list",
            "sluss legal list --state under_review --handler legal/anna",
            "sluss legal list --json",
        ),
    )(list_)


def open_(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(help="The request as a TOML file; see --example.", metavar="FILE.toml", show_default=False),
    ] = None,
    *,
    example: Annotated[bool, typer.Option("--example", help="Print a file to start from, and stop.")] = False,
    request_id: Annotated[
        str, typer.Option(help="A UUID4: the same one with the same file opens one case.", metavar="UUID")
    ] = "",
) -> None:
    """Open a case with what a request asks for."""
    if example:
        session.output.result({"example": EXAMPLE})
        if not session.output.as_json:
            typer.echo(EXAMPLE, nl=False)
        return
    if file is None:
        raise usage("name a file with the request; `sluss legal open --example` prints one to start from")
    request = parse_case(read_text(file), request_id or str(uuid.uuid4()))
    case = session.legal.OpenCase(request, timeout=DEADLINE_S).case
    session.output.result({"case": case_document(case)})
    session.output.line(f"Opened {case.case_id}, to be answered by {case.deadline}; {case.handler} works on it.")
    if case.secrecy.state == pb.SECRECY_STATE_HIDDEN:
        session.output.line(f"It is hidden from the persons concerned until {case.secrecy.until}.")
    session.output.line(f'Next: sluss legal review {case.case_id} --reason "..."')


def show(session: Session, case: CaseId) -> None:
    """Show a case with its documents and its timeline."""
    reply = get_case(session, case)
    session.output.result(
        {
            "case": case_document(reply.case),
            "documents": [file_document(document) for document in reply.documents],
            "timeline": [event_document(event) for event in reply.timeline],
        }
    )
    print_case(session.output, reply.case)
    session.output.line()
    print_documents(session.output, reply.documents)
    session.output.line()
    print_timeline(session.output, reply.timeline)


def list_(
    session: Session,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="Only in this state; may be given again.",
            metavar="STATE",
            autocompletion=lambda: [state_name(state) for state in STATES],
        ),
    ] = None,
    handler: Annotated[str, typer.Option(help="Only of this handler, such as legal/anna.", metavar="KIND/ID")] = "",
    ground: Annotated[
        str,
        typer.Option(help="Only on this ground.", metavar="GROUND", autocompletion=lambda: list(GROUND_NAMES.values())),
    ] = "",
) -> None:
    """List cases, newest first."""
    request = pb.ListCasesRequest(states=_states(state or []), handler=handler, ground=_ground(ground))
    cases = list(_pages(session, request))
    session.output.result({"cases": [case_document(case) for case in cases]})
    session.output.table(
        ("case", "state", "deadline", "requester", "ground", "handler", "stands out"),
        [_row(case) for case in cases],
        empty="no cases",
    )


def _row(case: pb.Case) -> tuple[object, ...]:
    return (
        case.case_id,
        state_name(case.state),
        case.deadline,
        f"{case.requester.name} ({case.requester.country})",
        GROUNDS.get(case.ground, str(case.ground)),
        case.handler,
        ", ".join(_marks(case)),
    )


def _marks(case: pb.Case) -> Iterator[str]:
    emergency = case.emergency
    if case.HasField("emergency") and not emergency.answered_by:
        yield "EMERGENCY, OVERDUE" if emergency.overdue else "EMERGENCY, not confirmed yet"
    if is_overdue(case):
        yield "OVERDUE"
    left = days_left(case)
    if left is not None:
        yield "due today" if left == 0 else f"due in {counted(left, 'day', 'days')}"
    if emergency.disputed:
        yield "EMERGENCY, disputed"
    if case.secrecy.state == pb.SECRECY_STATE_HIDDEN:
        yield f"{secrecy_name(case.secrecy.state)} until {case.secrecy.until}"


def _pages(session: Session, request: pb.ListCasesRequest) -> Iterator[pb.Case]:
    while True:
        page = session.legal.ListCases(request, timeout=DEADLINE_S)
        yield from page.cases
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _states(names: list[str]) -> list[pb.CaseState.ValueType]:
    known = {state_name(state): state for state in STATES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise usage(f"--state is one of {', '.join(known)}")
    return [known[name] for name in names]


def _ground(name: str) -> pb.Ground.ValueType:
    ground = ground_named(name) if name else pb.GROUND_UNSPECIFIED
    if ground is None:
        raise usage(f"--ground is one of {', '.join(GROUND_NAMES.values())}")
    return ground
