"""`sluss legal review, ... close`: a case moves from one state to the next; a second person approves or confirms."""

from collections.abc import Callable
from dataclasses import dataclass

import typer
from sluss.v1 import legal_pb2 as pb
from sluss_legal.words import STEP_NAMES

from sluss_cli.entry_text import moment
from sluss_cli.legal.asking import CaseId, Etag, Why, Yes, confirm, get_case, text
from sluss_cli.legal.case_text import case_document, print_case, state_name
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import verb


@dataclass(frozen=True)
class Step:
    """A step as a verb.

    Attributes:
        help: what it does.
        reason: of the example.
        question: asked first, with the case shown; empty for a step that can be gone back on.
    """

    help: str
    reason: str
    question: str = ""


STEPS = {
    pb.CASE_STEP_REVIEW: Step("Begin or resume the review; ends an approval that was not used.", "taken up"),
    pb.CASE_STEP_ASK_INFORMATION: Step("Ask the requester for more information.", "which account is meant?"),
    pb.CASE_STEP_CHALLENGE: Step("Contest the request.", "no jurisdiction over the company"),
    pb.CASE_STEP_REJECT: Step("Reject the request; nothing is released.", "not signed by a judge"),
    pb.CASE_STEP_PREPARE: Step(
        "Prepare: scope and delivery are as they should be released. Then somebody else may approve.",
        "as the order says",
    ),
    pb.CASE_STEP_APPROVE: Step(
        "Approve exactly what was prepared, as a second person.",
        "the order is valid and the scope is no wider",
        "Approve that exactly this leaves?",
    ),
    pb.CASE_STEP_EMERGENCY: Step(
        "Allow a release at once for danger to life; a second person must confirm within the set time.",
        "kidnapping, the victim's telephone",
        "Is there danger to life, so that this must leave before a second person has seen it?",
    ),
    pb.CASE_STEP_CONFIRM: Step(
        "Confirm an emergency release, as a second person.", "the danger was real", "Was it right to release this?"
    ),
    pb.CASE_STEP_DISPUTE: Step("Say, as a second person, that an emergency release was wrong.", "there was no danger"),
    pb.CASE_STEP_CLOSE: Step("Close a case.", "answered"),
}


def register(app: typer.Typer) -> None:
    """Adds a verb for each step."""
    for step, about in STEPS.items():
        name = STEP_NAMES[step]
        example = f'sluss legal {name} L-2026-0001 --reason "{about.reason}"'
        made = _asked_first(step, about) if about.question else _at_once(step)
        made.__doc__ = about.help
        verb(app, name, examples=(example,))(made)


def _at_once(step: pb.CaseStep.ValueType) -> Callable[..., None]:
    def move(session: Session, case: CaseId, *, reason: Why, etag: Etag = "") -> None:
        text(reason, "--reason")
        _move(session, get_case(session, case).case, step, reason, etag)

    return move


def _asked_first(step: pb.CaseStep.ValueType, about: Step) -> Callable[..., None]:
    def move(session: Session, case: CaseId, *, reason: Why, etag: Etag = "", yes: Yes = False) -> None:
        text(reason, "--reason")
        shown = get_case(session, case).case
        print_case(session.output, shown)
        confirm(session, about.question, yes=yes)
        _move(session, shown, step, reason, etag)

    return move


def _move(session: Session, case: pb.Case, step: pb.CaseStep.ValueType, reason: str, etag: str) -> None:
    """Moves the case as it was shown: who has looked at it approves nothing else."""
    request = pb.StepCaseRequest(case_id=case.case_id, step=step, reason=reason, etag=etag or case.etag)
    reply = session.legal.StepCase(request, timeout=DEADLINE_S)
    session.output.result({"case": case_document(reply.case), "entry_index": reply.entry_index})
    prepared = step == pb.CASE_STEP_PREPARE
    state = "prepared for approval" if prepared else state_name(reply.case.state).replace("_", " ")
    session.output.line(f"{case.case_id} is {state}, ledger entry {reply.entry_index}.")
    for line in _next(reply.case, step):
        session.output.line(line)


def _next(case: pb.Case, step: pb.CaseStep.ValueType) -> list[str]:
    if step == pb.CASE_STEP_PREPARE:
        return [f'Next, somebody else: sluss legal approve {case.case_id} --reason "..."']
    if step == pb.CASE_STEP_APPROVE:
        return [f"Next: sluss legal release {case.case_id}"]
    if step == pb.CASE_STEP_EMERGENCY:
        until = moment(case.emergency.confirm_by)
        return [
            f"Next, at once: sluss legal release {case.case_id}",
            f"Somebody else must confirm by {until} UTC: sluss legal confirm {case.case_id}",
        ]
    return []
