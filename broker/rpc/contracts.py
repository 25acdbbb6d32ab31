"""ContractService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2

from broker import agreements
from broker.contracts import Step
from broker.ids import parse_request_id
from broker.pages import page_size
from broker.watching import check_principal
from broker.wire import contract as wire

if TYPE_CHECKING:
    from broker.agreements import Agreements, ContractView
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_PAGE = 50
MAX_PAGE = 200


class Contracts:
    """The servicer; see contract.proto for what each method does."""

    def __init__(self, desk: Desk, agreed: Agreements, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._agreed = agreed
        self._cursors = cursors
        self._call = call

    async def propose_contract(
        self, caller: Caller, request: contract_pb2.ProposeContractRequest, _deadline_s: float
    ) -> contract_pb2.ProposeContractResponse:
        """Propose."""

        def work(change: Change) -> ContractView:
            terms = wire.terms(request.terms, change.snapshot.catalogue)
            return self._agreed.propose(change, terms, parse_request_id(request.request_id))

        view = await self._call(self._desk.change, caller, work)
        return contract_pb2.ProposeContractResponse(contract=wire.contract(view))

    async def amend_contract(
        self, caller: Caller, request: contract_pb2.AmendContractRequest, _deadline_s: float
    ) -> contract_pb2.AmendContractResponse:
        """Amend."""

        def work(change: Change) -> ContractView:
            terms = wire.terms(request.terms, change.snapshot.catalogue)
            request_id = parse_request_id(request.request_id)
            return self._agreed.amend(change, request.contract_id, terms, request.etag, request_id)

        view = await self._call(self._desk.change, caller, work)
        return contract_pb2.AmendContractResponse(contract=wire.contract(view))

    async def accept_contract(
        self, caller: Caller, request: contract_pb2.AcceptContractRequest, _deadline_s: float
    ) -> contract_pb2.AcceptContractResponse:
        """Accept."""

        def work(change: Change) -> tuple[ContractView, int]:
            certificate = caller.evidence.certificate_der
            return self._agreed.accept(change, request.contract_id, request.version, request.signature, certificate)

        view, index = await self._call(self._desk.change, caller, work)
        return contract_pb2.AcceptContractResponse(contract=wire.contract(view), entry_index=index)

    async def suspend_contract(
        self, caller: Caller, request: contract_pb2.SuspendContractRequest, _deadline_s: float
    ) -> contract_pb2.SuspendContractResponse:
        """Suspend."""
        view, index = await self._step(caller, request, Step.SUSPEND)
        return contract_pb2.SuspendContractResponse(contract=view, entry_index=index)

    async def resume_contract(
        self, caller: Caller, request: contract_pb2.ResumeContractRequest, _deadline_s: float
    ) -> contract_pb2.ResumeContractResponse:
        """Resume."""
        view, index = await self._step(caller, request, Step.RESUME)
        return contract_pb2.ResumeContractResponse(contract=view, entry_index=index)

    async def terminate_contract(
        self, caller: Caller, request: contract_pb2.TerminateContractRequest, _deadline_s: float
    ) -> contract_pb2.TerminateContractResponse:
        """Terminate."""
        view, index = await self._step(caller, request, Step.TERMINATE)
        return contract_pb2.TerminateContractResponse(contract=view, entry_index=index)

    async def get_contract(
        self, caller: Caller, request: contract_pb2.GetContractRequest, _deadline_s: float
    ) -> contract_pb2.GetContractResponse:
        """Show."""
        view = await self._call(self._desk.read, caller, lambda view: agreements.show_to(view, request.contract_id))
        return contract_pb2.GetContractResponse(contract=wire.contract(view), versions=wire.versions(view.versions))

    async def list_contracts(
        self, caller: Caller, request: contract_pb2.ListContractsRequest, _deadline_s: float
    ) -> contract_pb2.ListContractsResponse:
        """List."""

        def work(view: View) -> tuple[list[ContractView], str]:
            size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
            if request.subcontractor:
                check_principal(request.subcontractor, "subcontractor")
            binding = ("contracts", view.principal.name, request.subcontractor)
            token = request.page_token
            after = self._cursors.open(token, *binding) if token else ""
            found = agreements.list_contracts(view, request.subcontractor, after, size + 1)
            more = len(found) > size
            return found[:size], self._cursors.seal(found[size - 1].row.id, *binding) if more else ""

        found, token = await self._call(self._desk.read, caller, work)
        return contract_pb2.ListContractsResponse(
            contracts=[wire.contract(view) for view in found], next_page_token=token
        )

    async def _step(
        self,
        caller: Caller,
        request: contract_pb2.SuspendContractRequest
        | contract_pb2.ResumeContractRequest
        | contract_pb2.TerminateContractRequest,
        step: Step,
    ) -> tuple[contract_pb2.Contract, int]:
        view, index = await self._call(
            self._desk.change,
            caller,
            lambda change: self._agreed.step(change, request.contract_id, step, request.reason, request.etag),
        )
        return wire.contract(view), index
