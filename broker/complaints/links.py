"""What a complaint is about: entries of the ledger by index; contracts, persons' requests and obligations by id.

What is not there, and what is hidden from the caller, is answered alike (FILE_UNKNOWN), and a link to it that somebody
else has made is not shown. A link by id stands for what was decided there: whoever did that is an author as if the
entry itself were linked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from broker.contracts import CONTRACT_ID
from broker.errors import Reason, SlussError, invalid
from broker.ledger import entry
from broker.ledger.rows import read_entry
from broker.legal import hiding
from broker.legal.rows import load
from broker.obligations import rows as obligation_rows
from broker.obligations.rows import OBLIGATION, OBLIGATION_ID
from broker.person_requests import rows as request_rows
from broker.person_requests.model import REQUEST_ID
from broker.person_requests.rows import REQUEST
from broker.person_requests.rules import Step
from broker.rights import CONTRACT, contract_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.desk import View

MAX_LINKS: Final = 100
_INDEX: Final = re.compile(r"0|[1-9]\d{0,15}")
_NAMED: Final = (
    (CONTRACT_ID, CONTRACT.c.id),
    (REQUEST_ID, REQUEST.c.id),
    (OBLIGATION_ID, OBLIGATION.c.id),
)
_FORM: Final = re.compile("|".join(pattern.pattern for pattern in (_INDEX, *(pattern for pattern, _ in _NAMED))))
FORMS: Final = (
    "the index of an entry such as 31, of a disclosure or a release for instance, or a contract, request or obligation"
    " such as C-2026-0001, R-2026-0001, O-2026-0001"
)
"""What a link looks like, in words."""
DECIDES: Final = frozenset(
    {
        *(Step.EXTEND, Step.REFUSE, Step.EXPORT, Step.HAND_OVER, Step.RECTIFY, Step.ERASE, Step.OBJECT),
        *("delay_granted", "delay_refused", "close_proposed", "not_confirmed"),
    }
)
"""Steps of a request, and of an obligation, by which the company decided or did what somebody may complain of."""


def check(view: View, links: Sequence[str], total: int) -> None:
    """Refuse links to what is not there for the caller; `total` is how many the complaint would have.

    Raises:
        SlussError: INVALID_REQUEST for too many, or one that is of none of the forms; FILE_UNKNOWN.
    """
    if total > MAX_LINKS:
        raise invalid("links", f"at most {MAX_LINKS}")
    for place, link in enumerate(links, 1):
        if not _FORM.fullmatch(link):
            raise invalid("links", f"number {place} is not {FORMS}")
        if not _there(view, link):
            why = f"links: number {place}: no such entry, contract, request or obligation"
            raise SlussError(Reason.FILE_UNKNOWN, why, field="links")


def shown(view: View, links: Sequence[str]) -> list[str]:
    """Those of the links that are there for the caller."""
    return [link for link in links if _there(view, link)]


def authors(view: View, links: Sequence[str]) -> frozenset[str]:
    """Who approved or released, or otherwise made or decided, what is linked."""
    return frozenset(name for link in links for name in _authors(view, link))


def contracts(view: View, links: Sequence[str]) -> frozenset[str]:
    """The contracts that are linked, be it by an entry or an obligation under them."""
    return frozenset(_contract(view, link) for link in links)


def _contract(view: View, link: str) -> str:
    """The contract that a link leads to, or what is none."""
    if OBLIGATION_ID.fullmatch(link):
        return obligation_rows.load(view.connection, link, view.snapshot.standing).account.contract
    said = _said(view, link)
    return entry.columns(said).contract if said else link


def _authors(view: View, link: str) -> Iterator[str]:
    if CONTRACT_ID.fullmatch(link):
        recipient = contract_row(view.connection, link).subcontractor
        steps = view.snapshot.standing.of(view.connection, "contract", contract=link, recipient=recipient)
        yield from (said["by"] for said in steps)
    elif REQUEST_ID.fullmatch(link):
        events = request_rows.timeline(view, request_rows.load(view, link))
        yield from (event.by for event in events if event.event in DECIDES)
    elif OBLIGATION_ID.fullmatch(link):
        found = obligation_rows.entries_of(view.connection, link)
        view.snapshot.standing.prove(view.connection, found)
        yield from (said["by"] for row in found if (said := entry.parse(row.entry))["event"] in DECIDES)
    else:
        said = _said(view, link) or {}
        yield from (str(said[member]) for member in ("by", "second_person") if said.get(member))


def _there(view: View, link: str) -> bool:
    for pattern, column in _NAMED:
        if pattern.fullmatch(link):
            return view.connection.execute(select(column).where(column == link)).first() is not None
    return _said(view, link) is not None


def _said(view: View, link: str) -> dict[str, object] | None:
    """What a linked entry says; of a sealed one, what it was, for those who may see it."""
    if not _INDEX.fullmatch(link):
        return None
    index = int(link)
    found = read_entry(view.connection, index)
    if found is None:
        return None
    query = select(hiding.SEALED_ENTRY.c.case).where(hiding.SEALED_ENTRY.c.entry == index)
    case = view.connection.execute(query).scalar_one_or_none()
    if case is None:
        said: dict[str, object] = entry.parse(found.entry)
        return None if said["type"] == "sealed" else said
    held = load(view, case)
    if held.case.hidden(view.now_us) and view.principal.kind != "legal":
        return None
    return hiding.said(view.connection, case, held.keys, found)
