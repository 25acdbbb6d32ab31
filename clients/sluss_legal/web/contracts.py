"""Contracts with subcontractors, to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2

from sluss_legal.web.lines import DEADLINE_S

if TYPE_CHECKING:
    from starlette.responses import Response

    from sluss_legal.web.page import Page


def listing(page: Page) -> Response:
    """A page of contracts."""
    request = contract_pb2.ListContractsRequest(
        subcontractor=page.asked("subcontractor"), page_token=page.asked("after")
    )
    reply = page.line.contracts.ListContracts(request, timeout=DEADLINE_S)
    return page.render(
        "contracts.html",
        contracts=reply.contracts,
        subcontractor=request.subcontractor,
        after=reply.next_page_token,
    )


def show(page: Page) -> Response:
    """A contract with all its versions."""
    request = contract_pb2.GetContractRequest(contract_id=page.path("contract"))
    reply = page.line.contracts.GetContract(request, timeout=DEADLINE_S)
    return page.render("contract.html", contract=reply.contract, versions=reply.versions[::-1])
