"""`sluss ledger`: read the ledger, take its proofs home, check that it has only grown."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import ledger_pb2 as pb

from broker.ledger.receipt import parse_receipt
from sluss_cli.entry_text import moment, parse_entry, sentence
from sluss_cli.progress import progress
from sluss_cli.row_file import check_new, write_public
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb
from sluss_cli.watching import Seen, Watch

app = group("The ledger: show, checkpoint, receipt, verify; export where the broker is installed.")

ContractFilter = Annotated[str, typer.Option("--contract", help="Only of this contract.", metavar="CONTRACT")]
RecipientFilter = Annotated[
    str,
    typer.Option("--recipient", help="Only with this recipient, such as subcontractor/acme-pay.", metavar="KIND/ID"),
]
TypeFilter = Annotated[
    str, typer.Option("--type", help="Only of this type, such as disclosure or refusal.", metavar="TYPE")
]


@verb(
    app,
    "show",
    examples=(
        "sluss ledger show",
        "sluss ledger show --type refusal --contract C-2026-0001",
        "sluss ledger show --recipient subcontractor/acme-pay --start 100 --limit 500",
        "sluss ledger show --raw > entries.jsonl",
    ),
)
def show(
    session: Session,
    *,
    contract: ContractFilter = "",
    recipient: RecipientFilter = "",
    type_: TypeFilter = "",
    start: Annotated[int, typer.Option(help="The first entry to look at.", min=0, metavar="ENTRY")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many entries; 0 for all.", min=0, metavar="COUNT")] = 100,
    raw: Annotated[bool, typer.Option("--raw", help="The entries' own bytes, one per line.")] = False,
) -> None:
    """Show entries, each in a sentence."""
    request = pb.ListEntriesRequest(contract_id=contract, recipient=recipient, type=type_, start=start)
    found = itertools.islice(entries(session, request), limit or None)
    if raw:
        for entry in found:
            typer.echo(entry.entry)
        return
    listed = [(entry.index, parse_entry(entry.entry)) for entry in found]
    session.output.result(
        {"entries": [{"index": index, "entry": dict(entry), "sentence": sentence(entry)} for index, entry in listed]}
    )
    session.output.table(
        ("entry", "when", "what happened"),
        [(index, moment(str(entry.get("at", ""))), sentence(entry)) for index, entry in listed],
        empty="no entries",
    )
    if limit and len(listed) == limit:
        session.output.line(
            f"Stopped at {limit} entries. Go on with --start {listed[-1][0] + 1}, or --limit 0 for all."
        )


def entries(session: Session, request: pb.ListEntriesRequest) -> Iterator[pb.LedgerEntry]:
    """All entries that match, page by page."""
    while True:
        page = session.ledger.ListEntries(request, timeout=DEADLINE_S)
        yield from page.entries
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@verb(app, "checkpoint", examples=("sluss ledger checkpoint", "sluss ledger checkpoint --out checkpoint.txt"))
def checkpoint(
    session: Session,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write the signed note here, to keep elsewhere.", metavar="FILE")
    ] = None,
) -> None:
    """Fetch the latest checkpoint and prove that it extends the last one that this profile saw."""
    seen = Watch(session).look()
    if out:
        write_public(out, seen.published.encode())
    session.output.result(_document(seen))
    session.output.line(_grown(seen))
    session.output.line()
    for line in seen.note.splitlines():
        session.output.line(line)


def _document(seen: Seen) -> dict[str, object]:
    return {
        "size": seen.checkpoint.size,
        "root": seen.checkpoint.root.hex(),
        "seen_before": seen.before,
        "checkpoint": seen.note,
        "published": seen.published,
    }


def _grown(seen: Seen) -> str:
    size, more = seen.checkpoint.size, seen.checkpoint.size - seen.before
    if not seen.before:
        return f"The ledger holds {size} entries. It is the first checkpoint that this profile has seen."
    return f"The ledger holds {size} entries: the {seen.before} seen before, unchanged, and {more} more."


@verb(app, "receipt", examples=("sluss ledger receipt 42", "sluss ledger receipt 42 --out entry-42.tlog-proof"))
def receipt(
    session: Session,
    index: Annotated[int, typer.Argument(help="The entry's number.", min=0, metavar="ENTRY")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write the receipt here, and the entry beside it.", metavar="FILE")
    ] = None,
) -> None:
    """Fetch an entry with the proof that it is in the ledger, and verify it."""
    reply, tree = Watch(session).receipt(index)
    entry = parse_entry(reply.entry)
    session.output.result({"index": index, "entry": dict(entry), "receipt": reply.receipt, "size": tree.size})
    session.output.heading(f"Entry {index}")
    session.output.line(sentence(entry))
    steps = len(parse_receipt(reply.receipt).proof)
    session.output.line(f"Proven by {steps} hashes and a signature over {tree.size} entries.")
    if out:
        beside = out.with_name(out.name + ".json")
        check_new(out.parent, [out.name, beside.name])
        write_public(out, reply.receipt.encode())
        write_public(beside, reply.entry)
        session.output.line(f"Wrote {out} and {beside}.")


@verb(
    app,
    "verify",
    examples=("sluss ledger verify", "sluss ledger verify --contract C-2026-0001 --limit 0"),
)
def verify(
    session: Session,
    *,
    contract: ContractFilter = "",
    start: Annotated[int, typer.Option(help="The first entry to look at.", min=0, metavar="ENTRY")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many receipts; 0 for all.", min=0, metavar="COUNT")] = 1000,
) -> None:
    """Verify the ledger from outside: it has only grown, and each entry that this profile sees is in it."""
    watch = Watch(session)
    seen = watch.look()
    request = pb.ListEntriesRequest(contract_id=contract, start=start)
    with progress(session.output, "receipts") as advance:
        count = watch.receipts(
            itertools.islice(entries(session, request), limit or None), lambda done: advance(done, 0)
        )
    session.output.result(_document(seen) | {"ok": True, "receipts": count})
    session.output.line(_grown(seen))
    session.output.line(f"{count} entries verified by their receipts. Nothing is wrong.")
