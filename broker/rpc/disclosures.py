"""DisclosureService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import disclosure_pb2

from broker import agreements, bulk, scope
from broker.wire import contract as contract_wire
from broker.wire import disclosure as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.agreements import Agreements, ContractView
    from broker.batching import GroupCommit
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads
    from broker.scope import Scope


class Disclosures:
    """The servicer; see disclosure.proto for what each method does."""

    def __init__(self, desk: Desk, spine: GroupCommit, agreed: Agreements, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._spine = spine
        self._agreed = agreed
        self._cursors = cursors
        self._call = call

    async def describe_scope(
        self, caller: Caller, request: disclosure_pb2.DescribeScopeRequest, _deadline_s: float
    ) -> disclosure_pb2.DescribeScopeResponse:
        """What the contract allows."""

        def work(view: View) -> tuple[Scope, ContractView]:
            shown = agreements.show_to(view, request.contract_id)
            return scope.describe(view, shown.facts, shown.terms), shown

        found, shown = await self._call(self._desk.read, caller, work)
        return wire.scope_reply(found, contract_wire.contract(shown))

    async def disclose(
        self, caller: Caller, request: disclosure_pb2.DiscloseRequest, _deadline_s: float
    ) -> disclosure_pb2.DiscloseResponse:
        """Slices of named persons."""
        answer = await self._spine.submit(wire.ask(caller, request))
        return wire.reply(answer, dry_run=request.dry_run)

    async def disclose_bulk(
        self, caller: Caller, request: disclosure_pb2.DiscloseBulkRequest, _deadline_s: float
    ) -> AsyncIterator[disclosure_pb2.DiscloseBulkResponse]:
        """Slices of many, chunk by chunk."""
        total = await self._call(self._desk.read, caller, lambda view: bulk.total(view, request))
        chunks = bulk.Chunks(caller, request, self._cursors, total)
        while (ask := chunks.next()) is not None:
            reply = chunks.reply(await self._spine.submit(ask))
            if reply.HasField("disclosure") or reply.unavailable or reply.total:
                yield reply

    async def register_key(
        self, caller: Caller, request: disclosure_pb2.RegisterKeyRequest, _deadline_s: float
    ) -> disclosure_pb2.RegisterKeyResponse:
        """A key to seal to."""

        def work(change: Change) -> tuple[bytes, int]:
            key = wire.recipient_key(request)
            certificate = caller.evidence.certificate_der
            return key.id, self._agreed.register_key(change, key, request.signature, certificate)

        key_id, index = await self._call(self._desk.change, caller, work)
        return disclosure_pb2.RegisterKeyResponse(key_id=key_id, entry_index=index)
