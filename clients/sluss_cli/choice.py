"""`sluss choice`: what persons choose, for internal services, the privacy team and lawyers."""

import hashlib
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import choice_pb2 as pb

from sluss_cli import choice_lists
from sluss_cli.entry_text import moment
from sluss_cli.given_file import check_regular
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.values import parse_choice, state_text
from sluss_cli.verb import group, verb

app = group("Choices of persons: record, list; preference lists: import, export.")

Person = Annotated[str, typer.Argument(help="The person, such as P-04CVZ6HGRM5PX.", metavar="PERSON")]
_MAX_PAGE = 1_000
_BLOCK = 1 << 20


@verb(
    app,
    "record",
    examples=(
        "sluss choice record P-04CVZ6HGRM5PX offers.email out --medium phone",
        "sluss choice record P-04CVZ6HGRM5PX partners in --channel email --channel post --document form.pdf",
    ),
)
def record(
    session: Session,
    person: Person,
    purpose: Annotated[
        str, typer.Argument(help="A purpose that heeds choices, such as offers.email.", metavar="PURPOSE")
    ],
    state: Annotated[str, typer.Argument(help="`in` for yes, `out` for no.", metavar="in|out")],
    *,
    channel: Annotated[
        list[str] | None,
        typer.Option(help="Only this channel: email, phone, post, sms; repeatable.", metavar="CHANNEL"),
    ] = None,
    medium: Annotated[str, typer.Option(help="How the person chose: web, mail, phone ...", metavar="MEDIUM")] = "web",
    source: Annotated[str, typer.Option(help="Where it was recorded.", metavar="NAME")] = "preference-centre",
    evidence: Annotated[
        str, typer.Option(help="What proves it: a reference without personal data.", metavar="TEXT")
    ] = "",
    document: Annotated[
        Path | None, typer.Option(help="A document that proves it; its SHA-256 is recorded.", metavar="FILE")
    ] = None,
) -> None:
    """Record a person's choice; it holds from the moment this returns."""
    if evidence and document is not None:
        raise usage("give --evidence or --document, not both")
    choice = parse_choice(purpose, state, medium)
    choice.channels.extend(channel or ())
    request = pb.RecordChoiceRequest(
        person_id=person,
        choice=choice,
        source=source,
        evidence=_sha256(document) if document else evidence,
        request_id=str(uuid.uuid4()),
    )
    reply = session.choices.RecordChoice(request, timeout=DEADLINE_S)
    session.output.result({"entry_index": reply.entry_index, "policy_version": reply.policy_version})
    session.output.line(f"On record: ledger entry {reply.entry_index}, policy version {reply.policy_version}.")


def _sha256(document: Path) -> str:
    check_regular(document)
    digest = hashlib.sha256()
    with document.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


@verb(
    app,
    "list",
    examples=("sluss choice list P-04CVZ6HGRM5PX", "sluss choice list P-04CVZ6HGRM5PX --history"),
)
def list_(
    session: Session,
    person: Person,
    *,
    history: Annotated[bool, typer.Option("--history", help="Show everything that was ever chosen, too.")] = False,
) -> None:
    """Show a person's choices in force and what they come to for each purpose."""
    first = session.choices.ListChoices(
        pb.ListChoicesRequest(person_id=person, page_size=_MAX_PAGE if history else 1), timeout=DEADLINE_S
    )
    lines = list(first.history) if history else []
    token = first.next_page_token
    while history and token:
        request = pb.ListChoicesRequest(person_id=person, page_size=_MAX_PAGE, page_token=token)
        page = session.choices.ListChoices(request, timeout=DEADLINE_S)
        lines += page.history
        token = page.next_page_token
    session.output.result(_document(person, first, lines, history=history))
    _print(session, person, first)
    if history:
        session.output.line()
        session.output.heading("everything that was ever chosen, newest first")
        session.output.table(_COLUMNS, [_row(line, line.choice.channels) for line in lines], empty="nothing")


_COLUMNS = ("chosen", "purpose", "choice", "channels", "made by", "source", "evidence", "policy", "entry")


def _row(line: pb.ChoiceRecord, channels: Any) -> tuple[str, ...]:
    choice = line.choice
    return (
        moment(line.chosen_at),
        choice.purpose,
        state_text(choice.state),
        ", ".join(channels) or "all",
        choice.medium,
        line.source,
        _shortened(line.evidence),
        line.policy_version,
        str(line.entry_index),
    )


def _shortened(evidence: str) -> str:
    return f"{evidence[:12]}..." if len(evidence) == hashlib.sha256().digest_size * 2 else evidence


def _print(session: Session, person: str, reply: pb.ListChoicesResponse) -> None:
    session.output.heading(f"{person}: choices in force")
    session.output.table(
        _COLUMNS, [_row(each.record, each.channels) for each in reply.in_force], empty="no choices on record"
    )
    session.output.line()
    session.output.heading("what they come to")
    session.output.table(
        ("purpose", "class", "may be contacted by"),
        [(each.purpose, each.purpose_class, ", ".join(each.channels) or "nothing") for each in reply.reach],
    )


def _document(
    person: str, reply: pb.ListChoicesResponse, lines: list[pb.ChoiceRecord], *, history: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "person": person,
        "in_force": [
            _record_document(each.record) | {"decides": list(each.channels), "purposes": list(each.purposes)}
            for each in reply.in_force
        ],
        "reach": [
            {"purpose": each.purpose, "class": each.purpose_class, "channels": list(each.channels)}
            for each in reply.reach
        ],
    }
    return found | ({"history": [_record_document(line) for line in lines]} if history else {})


def _record_document(line: pb.ChoiceRecord) -> dict[str, Any]:
    return {
        "purpose": line.choice.purpose,
        "state": state_text(line.choice.state),
        "channels": list(line.choice.channels),
        "medium": line.choice.medium,
        "source": line.source,
        "evidence": line.evidence,
        "policy_version": line.policy_version,
        "chosen_at": line.chosen_at,
        "recorded_at": line.recorded_at,
        "entry_index": line.entry_index,
    }


choice_lists.register(app)
