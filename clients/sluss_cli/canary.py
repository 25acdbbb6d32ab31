"""`sluss canary`: persons who do not exist, planted so that a leak tells which contract it comes from."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sluss.v1 import trace_pb2 as pb

from broker.handles import handle_text
from sluss_cli.entry_text import moment
from sluss_cli.listing import Limit, every, some, tell_more
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Canaries, whom only one contract ever sees: plant, list, retire.")

Contract = Annotated[str, typer.Argument(help="The contract, such as C-2026-0001.", metavar="CONTRACT")]
Why = Annotated[
    str,
    typer.Option("--reason", help="Why; stands in the ledger for good, so no personal data.", metavar="TEXT"),
]
_PAGE = 200


@verb(
    app,
    "plant",
    examples=(
        'sluss canary plant C-2026-0001 --email-domain example.com --reason "watch for leaks"',
        'sluss canary plant C-2026-0001 --email-domain example.com --phone-pattern "+4687654####" --reason "a watch"',
    ),
)
def plant(
    session: Session,
    contract: Contract,
    *,
    reason: Why,
    count: Annotated[int, typer.Option(help="How many; up to 100.", metavar="COUNT")] = 3,
    email_domain: Annotated[
        list[str] | None, typer.Option(help="A domain whose mail reaches the company; repeatable.", metavar="DOMAIN")
    ] = None,
    phone_pattern: Annotated[
        list[str] | None,
        typer.Option(help="A pattern of numbers that ring at the company, # a digit; repeatable.", metavar="PATTERN"),
    ] = None,
    customer_number_pattern: Annotated[
        str, typer.Option(help="A pattern of customer numbers given to nobody, # a digit.", metavar="PATTERN")
    ] = "",
    country: Annotated[
        str, typer.Option(help="Where they live, such as SE; by default as others do.", metavar="CODE")
    ] = "",
) -> None:
    """Plant canaries. Let their mail and calls be watched: whoever reaches them got them from this contract."""
    request = pb.PlantCanariesRequest(
        request_id=str(uuid.uuid4()),
        contract_id=contract,
        count=max(count, 0),
        template=pb.CanaryTemplate(
            email_domains=email_domain or (),
            phone_patterns=phone_pattern or (),
            customer_number_pattern=customer_number_pattern,
            country=country,
        ),
        reason=reason,
    )
    reply = session.traces.PlantCanaries(request, timeout=DEADLINE_S)
    session.output.result(
        {
            "entry_index": reply.entry_index,
            "left_out": list(reply.left_out),
            "canaries": [_document(each, values=True) for each in reply.canaries],
        }
    )
    session.output.line(f"Planted under {contract}, ledger entry {reply.entry_index}. They are secret.")
    _print(session, reply.canaries, values=True)
    if reply.left_out:
        session.output.line(f"They lack, of what the contract grants: {', '.join(reply.left_out)}.")


@verb(
    app,
    "list",
    examples=("sluss canary list", "sluss canary list C-2026-0001 --values"),
)
def list_(
    session: Session,
    contract: Annotated[str, typer.Argument(help="Of one contract only.", metavar="CONTRACT")] = "",
    *,
    values: Annotated[bool, typer.Option("--values", help="Show their values too.")] = False,
    limit: Limit = 0,
) -> None:
    """List canaries, and whether each is as it was planted, by store and ledger."""
    request = pb.ListCanariesRequest(contract_id=contract, include_values=values, page_size=_PAGE)
    found, more = some(every(session.traces.ListCanaries, request, "canaries"), limit)
    session.output.result({"canaries": [_document(each, values=values) for each in found]})
    _print(session, found, values=values)
    tell_more(session, len(found), more=more)


@verb(
    app,
    "retire",
    examples=(
        'sluss canary retire C-2026-0001 --reason "the contract has ended"',
        'sluss canary retire C-2026-0001 --number 2 --reason "it became known"',
    ),
)
def retire(
    session: Session,
    contract: Contract,
    *,
    reason: Why,
    number: Annotated[
        list[int] | None, typer.Option(help="One of them; repeatable. By default all.", metavar="NUMBER", min=1)
    ] = None,
) -> None:
    """Retire canaries: they are sent to nobody any more, and a trace still knows them."""
    request = pb.RetireCanariesRequest(
        request_id=str(uuid.uuid4()), contract_id=contract, numbers=number or (), reason=reason
    )
    reply = session.traces.RetireCanaries(request, timeout=DEADLINE_S)
    session.output.result({"retired": reply.retired, "entry_index": reply.entry_index})
    if reply.retired:
        session.output.line(f"Retired {reply.retired}, ledger entry {reply.entry_index}.")
    else:
        session.output.line("None was in use.")


def _print(session: Session, canaries: Sequence[pb.Canary], *, values: bool) -> None:
    session.output.table(
        ("contract", "number", "planted", "retired", "intact", *(["values"] if values else [])),
        [
            (
                each.contract_id,
                each.number,
                moment(each.planted_at),
                moment(each.retired_at),
                "yes" if each.intact else "NO: store and ledger differ",
                *([", ".join(f"{v.field} {v.value}" for v in each.values)] if values else []),
            )
            for each in canaries
        ],
        empty="no canaries",
    )


def _document(canary: pb.Canary, *, values: bool) -> dict[str, Any]:
    return {
        "contract": canary.contract_id,
        "number": canary.number,
        "handle": handle_text(canary.handle),
        "planted_at": canary.planted_at,
        "retired_at": canary.retired_at,
        "intact": canary.intact,
        **({"values": {value.field: value.value for value in canary.values}} if values else {}),
    }
