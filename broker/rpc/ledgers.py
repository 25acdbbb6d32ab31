"""LedgerService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import ledger_pb2

from broker import watching
from broker.pages import page_size
from broker.wire.disclosure import check_seen

if TYPE_CHECKING:
    from broker.desk import Desk, View
    from broker.identity import Caller
    from broker.ledger.log import Ledger
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_PAGE = 100
MAX_PAGE = 500


class Ledgers:
    """The servicer; see ledger.proto for what each method does."""

    def __init__(self, desk: Desk, ledger: Ledger, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._ledger = ledger
        self._cursors = cursors
        self._call = call

    async def get_checkpoint(
        self, caller: Caller, request: ledger_pb2.GetCheckpointRequest, _deadline_s: float
    ) -> ledger_pb2.GetCheckpointResponse:
        """The latest checkpoint, consistent with what the caller saw."""

        def work(_view: View) -> ledger_pb2.GetCheckpointResponse:
            check_seen(request.seen_size)
            # Read before the state, so that it is never larger.
            published = self._ledger.published() or ""
            state = self._ledger.state()
            proof = state.tree.consistency(request.seen_size) if request.seen_size else []
            return ledger_pb2.GetCheckpointResponse(checkpoint=state.note, consistency_proof=proof, published=published)

        return await self._call(self._desk.read, caller, work)

    async def get_receipt(
        self, caller: Caller, request: ledger_pb2.GetReceiptRequest, _deadline_s: float
    ) -> ledger_pb2.GetReceiptResponse:
        """An entry and its receipt."""

        def work(view: View) -> ledger_pb2.GetReceiptResponse:
            found = watching.entry_for(self._ledger, view.principal, request.index)
            receipt = self._ledger.state(found.index + 1).receipt(found.index)
            return ledger_pb2.GetReceiptResponse(entry=found.entry, receipt=receipt)

        return await self._call(self._desk.read, caller, work)

    async def list_entries(
        self, caller: Caller, request: ledger_pb2.ListEntriesRequest, _deadline_s: float
    ) -> ledger_pb2.ListEntriesResponse:
        """A page of entries."""

        def work(view: View) -> ledger_pb2.ListEntriesResponse:
            page = watching.entries_for(
                self._ledger,
                self._cursors,
                view.principal,
                watching.Filter(request.contract_id, request.recipient, request.type),
                start=request.start,
                token=request.page_token,
                size=page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE),
            )
            return ledger_pb2.ListEntriesResponse(
                entries=[ledger_pb2.LedgerEntry(index=found.index, entry=found.entry) for found in page.found],
                next_page_token=page.token,
                size=page.size,
            )

        return await self._call(self._desk.read, caller, work)
