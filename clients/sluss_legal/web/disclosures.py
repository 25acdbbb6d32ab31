"""Disclosures: the ledger's entries by contract, recipient and type; by purpose and time within what is on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluss.v1 import ledger_pb2

from broker.errors import SlussError
from broker.ledger import entry as entries
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.words import ENTRY_TYPES

if TYPE_CHECKING:
    from starlette.responses import Response

    from sluss_legal.web.page import Page

PAGE_SIZE = 200
"""Entries that are looked at for one page."""
_FILTERS = ("contract", "recipient", "type", "purpose", "since", "until")


@dataclass(frozen=True)
class Row:
    """An entry as people read it.

    Attributes:
        index: of the entry.
        at: when.
        type: what kind of entry.
        authority: the contract or the case.
        recipient: to whom, or about whom.
        purpose: its code, or what happened.
        fields: their names.
        persons: how many.
    """

    index: int
    at: str
    type: str
    authority: str
    recipient: str
    purpose: str
    fields: list[str]
    persons: int


def search(page: Page) -> Response:
    """A page of entries."""
    asked = {name: page.asked(name) for name in _FILTERS}
    start = page.asked("start")
    request = ledger_pb2.ListEntriesRequest(
        contract_id=asked["contract"],
        recipient=asked["recipient"],
        type=asked["type"],
        start=int(start) if start.isascii() and start.isdigit() else 0,
        page_size=PAGE_SIZE,
        page_token=page.asked("after"),
    )
    reply = page.line.ledger.ListEntries(request, timeout=DEADLINE_S)
    rows = [row_of(listed) for listed in reply.entries]
    return page.render(
        "disclosures.html",
        asked=asked,
        rows=[row for row in rows if _wanted(row, asked)],
        looked_at=len(rows),
        size=reply.size,
        after=reply.next_page_token,
        types=ENTRY_TYPES,
    )


def entry(page: Page) -> Response:
    """One entry as the ledger holds it, with its receipt."""
    request = ledger_pb2.GetReceiptRequest(index=int(page.path("index")))
    reply = page.line.ledger.GetReceipt(request, timeout=DEADLINE_S)
    listed = ledger_pb2.LedgerEntry(index=request.index, entry=reply.entry)
    return page.render("entry.html", row=row_of(listed), text=reply.entry.decode(), receipt=reply.receipt)


def row_of(listed: ledger_pb2.LedgerEntry) -> Row:
    """An entry as people read it; one of a type that this version does not know shows its index alone."""
    try:
        said = entries.parse(listed.entry)
    except SlussError:
        return Row(listed.index, "", "", "", "", "", [], 0)
    terms: dict[str, Any] = said.get("terms", said)
    slices = said.get("slices", ())
    return Row(
        index=listed.index,
        at=str(said.get("at", "")),
        type=str(said["type"]),
        authority=_text(terms, "contract", "case"),
        recipient=_text(terms, "recipient", "subcontractor", "principal", "by"),
        purpose=_text(terms, "purpose", "event", "reason", "state"),
        fields=[_name(one) for one in terms.get("fields", ())],
        persons=len(slices) or _count(said.get("persons", 0)),
    )


def _text(terms: dict[str, Any], *names: str) -> str:
    return next((str(terms[name]) for name in names if isinstance(terms.get(name), str)), "")


def _count(persons: object) -> int:
    """Refusals count persons; releases made elsewhere list commitments to them."""
    return len(persons) if isinstance(persons, list) else persons if isinstance(persons, int) else 0


def _name(granted: object) -> str:
    return str(granted["name"]) if isinstance(granted, dict) and "name" in granted else str(granted)


def _wanted(row: Row, asked: dict[str, str]) -> bool:
    purpose, day = asked["purpose"], row.at[:10]
    if purpose and row.purpose != purpose and not row.purpose.startswith(purpose + "."):
        return False
    return (not asked["since"] or day >= asked["since"]) and (not asked["until"] or day <= asked["until"])
