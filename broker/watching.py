"""Who may see what of the ledger: a subcontractor its own entries, the company's teams all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.contracts import CODE, CONTRACT_ID
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ledger.entry import TYPES
from broker.legal.model import CASE_ID
from broker.refusals import UNKNOWN_PRINCIPAL

if TYPE_CHECKING:
    from broker.identity import Principal
    from broker.ledger.log import Ledger
    from broker.ledger.rows import EntryRow
    from broker.pages import Cursors

MAX_INDEX = 2**53


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries: of a contract or a legal case, with a recipient, of a type; empty strings for all."""

    contract: str
    recipient: str
    type: str

    def check(self) -> None:
        """Refuse what no entry can have, so that a mistyped filter is not taken for an empty ledger.

        Raises:
            SlussError: INVALID_REQUEST.
        """
        if self.contract and not (CONTRACT_ID.fullmatch(self.contract) or CASE_ID.fullmatch(self.contract)):
            told = "contract_id: such as C-2026-0001, or a legal case's such as L-2026-0001"
            raise SlussError(Reason.INVALID_REQUEST, told, field="contract_id")
        if self.recipient and self.recipient != UNKNOWN_PRINCIPAL:
            check_principal(self.recipient, "recipient")
        if self.type and (self.type not in TYPES or not CODE.fullmatch(self.type)):
            raise SlussError(Reason.INVALID_REQUEST, f"type: one of {', '.join(sorted(TYPES))}", field="type")


def check_principal(name: str, field: str) -> None:
    """Refuse a filter that no principal has.

    Raises:
        SlussError: INVALID_REQUEST with the field.
    """
    try:
        parse_principal(name)
    except SlussError as error:
        raise SlussError(Reason.INVALID_REQUEST, f"{field}: {error.detail}", field=field) from None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of entries, the token for the next, and the ledger's size."""

    found: list[EntryRow]
    token: str
    size: int


def entry_for(ledger: Ledger, principal: Principal, index: int) -> EntryRow:
    """An entry that the principal may see.

    Raises:
        SlussError: ENTRY_UNKNOWN, also for someone else's entry.
    """
    found = ledger.entries(index, 1) if index < MAX_INDEX else []
    if (
        not found
        or found[0].index != index
        or (principal.kind == "subcontractor" and found[0].recipient != principal.name)
    ):
        raise SlussError(Reason.ENTRY_UNKNOWN, index=str(index))
    return found[0]


def entries_for(
    ledger: Ledger,
    cursors: Cursors,
    principal: Principal,
    wanted: Filter,
    *,
    start: int,
    token: str,
    size: int,
) -> Page:
    """A page of the entries that the principal may see.

    Raises:
        SlussError: INVALID_REQUEST for a token of another filter; ROLE_NOT_ALLOWED for someone else's entries.
    """
    wanted.check()
    recipient = wanted.recipient
    if principal.kind == "subcontractor":
        if recipient not in ("", principal.name):
            raise SlussError(Reason.ROLE_NOT_ALLOWED, "a subcontractor sees its own entries", kind=principal.kind)
        recipient = principal.name
    binding = ("entries", principal.name, wanted.contract, recipient, wanted.type)
    first = cursors.number(token, *binding, first=start)
    total = ledger.state().tree.size
    found = []
    if first < total:
        found = ledger.entries(first, size + 1, contract=wanted.contract, recipient=recipient, type=wanted.type)
    following = cursors.seal(str(found[size].index), *binding) if len(found) > size else ""
    return Page(found[:size], following, total)
