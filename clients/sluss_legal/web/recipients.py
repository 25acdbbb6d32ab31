"""Recipients by what people call them: the ledger knows them by principals and cases only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb

from sluss_legal.web.alarms import every_case
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.words import N_

if TYPE_CHECKING:
    from sluss_legal.web.page import Page

_PRINCIPAL = re.compile(r"(subcontractor|internal|legal|operator|privacy)/[a-z0-9][a-z0-9-]{0,62}")
_TOLD = 8
"""Recipients that a message names at most."""


class UnclearError(Exception):
    """Nobody is called so, or more than one.

    Attributes:
        text: what to tell, translated.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def named(page: Page, text: str) -> dict[str, str]:
    """The filter that finds a recipient by its principal, its case, or a part of its name.

    Raises:
        UnclearError: nobody is called so, or more than one.
    """
    if _is_principal(text):
        return {"recipient": text}
    sought = text.casefold()
    known = _known(page)
    exact = [code for code in known if code.casefold() == sought]
    found = exact or sorted(code for code, name in known.items() if sought in f"{code} {name}".casefold())
    if len(found) == 1:
        return {"recipient": found[0]} if _is_principal(found[0]) else {"recipient": "", "contract": found[0]}
    if not found:
        raise UnclearError(page.say(N_("No subcontractor and no requester is called so.")))
    told = ", ".join(found[:_TOLD]) + (" …" if len(found) > _TOLD else "")
    raise UnclearError(page.say(N_("More than one fits: {found}. Write one of them."), found=told))


def _is_principal(text: str) -> bool:
    return _PRINCIPAL.fullmatch(text) is not None


def _known(page: Page) -> dict[str, str]:
    """Names of all recipients: of subcontractors by principal, of requesters by case."""
    known: dict[str, str] = {}
    request = contract_pb2.ListContractsRequest()
    while True:
        reply = page.line.contracts.ListContracts(request, timeout=DEADLINE_S)
        for contract in reply.contracts:
            terms = contract.terms
            known[terms.subcontractor] = f"{known.get(terms.subcontractor, '')} {terms.recipient_name}"
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    return known | {case.case_id: case.requester.name for case in every_case(page.line.legal, pb.ListCasesRequest())}
