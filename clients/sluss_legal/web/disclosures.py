"""Disclosures: the ledger's entries by contract, recipient, type, purpose and time.

The broker filters by contract, recipient and type. Where a time begins is found by halving, since entries come in the
order of time; what is for another purpose is passed over here, page after page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import grpc
from sluss.v1 import ledger_pb2

from broker.errors import SlussError
from broker.ledger import entry as entries
from sluss_legal.dates import is_day
from sluss_legal.fields import purposes
from sluss_legal.web import proofs, recipients
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.scope_form import PERSON_ID
from sluss_legal.words import ENTRY_TYPES, N_

if TYPE_CHECKING:
    from starlette.responses import Response

    from sluss_legal.web.page import Page

PAGE_SIZE = 200
"""Entries that are fetched at a time."""
SHOWN = 100
"""Entries that fit, after which a page is full."""
MOST_FETCHES = 25
"""Fetches for one page, each of `PAGE_SIZE` entries."""
_AUTHORITY = re.compile(r"[CL]-[0-9]{4}-[0-9]{4,9}")
"""The id of a contract or a case."""
_FILTERS = ("contract", "recipient", "type", "purpose", "person", "since", "until")


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


@dataclass
class Found:
    """What a search has found.

    Attributes:
        rows: that fit.
        looked_at: entries that were looked at.
        size: of the ledger.
        after: the token to look further with; empty at the end.
    """

    rows: list[Row] = field(default_factory=list)
    looked_at: int = 0
    size: int = 0
    after: str = ""


def search(page: Page) -> Response:
    """A page of entries; of a person, the accounting."""
    asked = {name: page.asked(name) for name in _FILTERS}
    errors = _faults(page, asked)
    wanted = dict(asked)
    if asked["recipient"] and not errors:
        try:
            wanted |= recipients.named(page, asked["recipient"])
        except recipients.UnclearError as unclear:
            errors["recipient"] = unclear.text
        if asked["contract"] not in {"", wanted["contract"]}:
            errors["recipient"] = page.say(N_("This is not the requester of that case."))
    if asked["person"] and not errors:
        period = {"first": asked["since"], "last": asked["until"]}
        return page.go(f"/persons/{quote(asked['person'], safe='')}?{urlencode(period)}")
    found = Found() if errors else _search(page, wanted)
    return page.render(
        "disclosures.html",
        422 if errors else 200,
        asked=asked,
        errors=errors,
        found=found,
        types=ENTRY_TYPES,
        purposes=purposes(page.tongue.language),
    )


def _faults(page: Page, asked: dict[str, str]) -> dict[str, str]:
    """What is wrong with what was typed, by field."""
    errors = {
        name: page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
        for name in ("since", "until")
        if asked[name] and not is_day(asked[name])
    }
    if not errors and asked["since"] and asked["until"] and asked["until"] < asked["since"]:
        errors["until"] = page.say(N_("The period ends before it begins."))
    if asked["contract"] and not _AUTHORITY.fullmatch(asked["contract"]):
        errors["contract"] = page.say(N_("Such as C-2026-0001; of a case, such as L-2026-0001."))
    if asked["type"] and asked["type"] not in ENTRY_TYPES:
        errors["type"] = page.say(N_("There is no such type of entry."))
    if asked["person"] and not PERSON_ID.fullmatch(asked["person"]):
        told = N_("“{id}” is no person id. An id looks like P-04CVZ6HGRM5PX.")
        errors["person"] = page.say(told, id=asked["person"])
    return errors


def _search(page: Page, asked: dict[str, str]) -> Found:
    found = Found(after=page.asked("after"))
    start = 0 if found.after else _begin(page, asked["since"])
    for _ in range(MOST_FETCHES):
        request = ledger_pb2.ListEntriesRequest(
            contract_id=asked["contract"],
            recipient=asked["recipient"],
            type=asked["type"],
            start=start,
            page_size=PAGE_SIZE,
            page_token=found.after,
        )
        reply = page.line.ledger.ListEntries(request, timeout=DEADLINE_S)
        rows = [row_of(listed) for listed in reply.entries]
        found.rows += [row for row in rows if _wanted(row, asked)]
        found.looked_at, found.size, found.after = found.looked_at + len(rows), reply.size, reply.next_page_token
        if asked["until"] and rows and rows[-1].at[:10] > asked["until"]:
            found.after = ""
        if not found.after or len(found.rows) >= SHOWN:
            break
    return found


def _begin(page: Page, day: str) -> int:
    """The first entry of a day, or of a later one, by halving; 0 without a day."""
    if not day:
        return 0
    low, high = 0, _from(page, 0).size
    while low < high:
        middle = (low + high) // 2
        listed = _from(page, middle).entries
        if listed and row_of(listed[0]).at[:10] < day:
            low = middle + 1
        else:
            high = middle
    return low


def _from(page: Page, start: int) -> ledger_pb2.ListEntriesResponse:
    return page.line.ledger.ListEntries(ledger_pb2.ListEntriesRequest(start=start, page_size=1), timeout=DEADLINE_S)


def entry(page: Page) -> Response:
    """One entry as the ledger holds it, with its receipt; of one that was hidden, also what it was."""
    request = ledger_pb2.GetReceiptRequest(index=page.number("index", 15))
    reply = page.line.ledger.GetReceipt(request, timeout=DEADLINE_S)
    listed = ledger_pb2.LedgerEntry(index=request.index, entry=reply.entry)
    row = row_of(listed)
    was = _opened(page, row) if row.type == "sealed" else None
    return page.render("entry.html", row=row, text=reply.entry.decode(), receipt=reply.receipt, was=was)


def _opened(page: Page, row: Row) -> str:
    """What a sealed entry is a commitment to, proven; empty as long as it is hidden."""
    try:
        return entries.canonical(proofs.opened(page, row.index)).decode()
    except grpc.RpcError as error:
        if page.trouble(error).reason == "ENTRY_UNKNOWN":
            return ""
        raise


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
    return next((terms[name] for name in names if isinstance(terms.get(name), str) and terms[name]), "")


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
