"""`sluss hold`: legal holds, while which a person can't be erased."""

import uuid
from typing import Annotated, Any

import typer
from sluss.v1 import erasure_pb2 as pb

from sluss_cli.entry_text import moment
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Legal holds, while which a person can't be erased: place, lift, list.")

Reason = Annotated[str, typer.Option(help="Why; for the legal team only, it stays out of the ledger.", metavar="TEXT")]
_PAGE = 200
_STATES = {
    pb.HOLD_STATE_IN_FORCE: "in force",
    pb.HOLD_STATE_ENDED: "ended",
    pb.HOLD_STATE_LIFTED: "lifted",
}


@verb(
    app,
    "place",
    examples=(
        'sluss hold place P-04CVZ6HGRM5PX --reason "claim 12 at the district court"',
        'sluss hold place P-04CVZ6HGRM5PX --until 2027-06-30 --reason "bookkeeping act"',
    ),
)
def place(
    session: Session,
    person: Annotated[str, typer.Argument(help="The person, such as P-04CVZ6HGRM5PX.", metavar="PERSON")],
    *,
    reason: Reason,
    until: Annotated[
        str, typer.Option(help="Its last day, YYYY-MM-DD; without one it ends when it is lifted.", metavar="DAY")
    ] = "",
) -> None:
    """Place a hold on a person."""
    request = pb.PlaceHoldRequest(request_id=str(uuid.uuid4()), person_id=person, reason=reason, until=until)
    held = session.erasure.PlaceHold(request, timeout=DEADLINE_S).hold
    session.output.result(_document(held))
    session.output.line(f"{held.hold_id}: {held.person_id} can't be erased {_how_long(held)}.")


@verb(app, "lift", examples=('sluss hold lift H-2026-0001 --reason "the claim was settled"',))
def lift(
    session: Session,
    hold: Annotated[str, typer.Argument(help="The hold, such as H-2026-0001.", metavar="HOLD")],
    *,
    reason: Reason,
) -> None:
    """Lift a hold before it ends by itself."""
    request = pb.LiftHoldRequest(request_id=str(uuid.uuid4()), hold_id=hold, reason=reason)
    reply = session.erasure.LiftHold(request, timeout=DEADLINE_S)
    session.output.result({**_document(reply.hold), "lift_entry": reply.entry_index})
    session.output.line(f"{reply.hold.hold_id} is lifted, entry {reply.entry_index}.")


@verb(
    app,
    "list",
    examples=("sluss hold list", "sluss hold list --person P-04CVZ6HGRM5PX", "sluss hold list --include-ended --json"),
)
def list_(
    session: Session,
    *,
    person: Annotated[
        str, typer.Option(help="Of this person; also says whether anything forbids to erase.", metavar="PERSON")
    ] = "",
    include_ended: Annotated[bool, typer.Option("--include-ended", help="Also what is over.")] = False,
) -> None:
    """List holds, newest first. The privacy team hears of one person whether erasure is forbidden."""
    request = pb.ListHoldsRequest(person_id=person, include_ended=include_ended, page_size=_PAGE)
    found: list[pb.Hold] = []
    while True:
        reply = session.erasure.ListHolds(request, timeout=DEADLINE_S)
        found += reply.holds
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    document: dict[str, Any] = {"holds": [_document(each) for each in found]}
    if person:
        document |= {"person": person, "erasure_forbidden": reply.erasure_forbidden, "cases": list(reply.case_ids)}
    session.output.result(document)
    if person:
        session.output.line(f"{person} {'can not' if reply.erasure_forbidden else 'can'} be erased now.")
    if reply.case_ids:
        session.output.line(f"Legal cases that need the data: {', '.join(reply.case_ids)}.")
    if found or not person:
        session.output.table(
            ("hold", "person", "state", "until", "placed", "by", "reason"),
            [
                (h.hold_id, h.person_id, _STATES[h.state], h.until, moment(h.placed_at), h.placed_by, h.reason)
                for h in found
            ],
            empty="no holds",
        )


def _how_long(held: pb.Hold) -> str:
    return f"until {held.until} is over" if held.until else "until it is lifted"


def _document(held: pb.Hold) -> dict[str, Any]:
    return {
        "hold": held.hold_id,
        "person": held.person_id,
        "state": _STATES[held.state].replace(" ", "_"),
        "reason": held.reason,
        "until": held.until,
        "placed_by": held.placed_by,
        "placed_at": held.placed_at,
        "entry": held.entry_index,
        "lifted_by": held.lifted_by,
        "lifted_at": held.lifted_at,
        "lift_reason": held.lift_reason,
    }
