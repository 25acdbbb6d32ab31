"""TraceService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import trace_pb2

from broker.pages import page_size
from broker.tracing import canaries
from broker.tracing.tracing import HELD_STEPS, PART, Trace
from broker.wire import trace as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads
    from broker.tracing.model import Leaked

DEFAULT_CANARIES: Final = 50
MAX_CANARIES: Final = 200
ROWS: Final = 500
"""Rows in one message of an answer."""


class Traces:
    """The servicer; see trace.proto for what each method does."""

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call

    async def trace_leak(
        self, caller: Caller, requests: AsyncIterator[trace_pb2.TraceLeakRequest], _deadline_s: float
    ) -> AsyncIterator[trace_pb2.TraceLeakResponse]:
        """Trace a list."""
        await self._call(self._desk.read, caller, lambda _view: None)
        trace: Trace | None = None
        async for request in requests:
            if trace is None:
                if not request.HasField("header"):
                    raise wire.header_missing()
                trace = Trace(wire.tracing(request.header))
            elif request.HasField("header"):
                raise wire.header_again()
            rows = wire.leaked(request.rows, len(trace.rows))
            for start in range(0, len(rows), PART):
                await self._part(caller, trace, rows[start : start + PART])
        if trace is None:
            raise wire.header_missing()
        for _ in range(HELD_STEPS):
            if await self._call(self._desk.read, caller, trace.hold):
                break
        found = await self._call(self._desk.change, caller, trace.conclude)
        yield trace_pb2.TraceLeakResponse(summary=wire.summary(found))
        places = wire.Places(found)
        for start in range(0, len(trace.rows), ROWS):
            some = trace.rows[start : start + ROWS]
            rows_told = trace_pb2.TracedRows(rows=[wire.traced(row, places) for row in some])
            yield trace_pb2.TraceLeakResponse(rows=rows_told)

    async def _part(self, caller: Caller, trace: Trace, rows: Sequence[Leaked]) -> None:
        await self._call(self._desk.read, caller, lambda view: trace.begin_part(view, rows))
        while not await self._call(self._desk.read, caller, trace.tie):
            pass
        trace.end_part()

    async def plant_canaries(
        self, caller: Caller, request: trace_pb2.PlantCanariesRequest, _deadline_s: float
    ) -> trace_pb2.PlantCanariesResponse:
        """Plant."""

        def work(change: Change) -> trace_pb2.PlantCanariesResponse:
            planted, index, left_out = canaries.plant(change, wire.planting(request))
            return trace_pb2.PlantCanariesResponse(
                canaries=[wire.canary(each, values=True) for each in planted], entry_index=index, left_out=left_out
            )

        return await self._call(self._desk.change, caller, work)

    async def list_canaries(
        self, caller: Caller, request: trace_pb2.ListCanariesRequest, _deadline_s: float
    ) -> trace_pb2.ListCanariesResponse:
        """List."""

        def work(view: View) -> trace_pb2.ListCanariesResponse:
            size = page_size(request.page_size, DEFAULT_CANARIES, MAX_CANARIES)
            binding = ("canaries", request.contract_id)
            contract, _, number = (
                self._cursors.open(request.page_token, *binding) if request.page_token else ",0"
            ).partition(",")
            found = canaries.listed(view, request.contract_id, (contract, int(number)), size + 1)
            last = found[size - 1] if len(found) > size else None
            return trace_pb2.ListCanariesResponse(
                canaries=[wire.canary(each, values=request.include_values) for each in found[:size]],
                next_page_token=self._cursors.seal(f"{last.contract},{last.number}", *binding) if last else "",
            )

        return await self._call(self._desk.read, caller, work)

    async def retire_canaries(
        self, caller: Caller, request: trace_pb2.RetireCanariesRequest, _deadline_s: float
    ) -> trace_pb2.RetireCanariesResponse:
        """Retire."""
        retired, index = await self._call(
            self._desk.change, caller, lambda change: canaries.retire(change, wire.retiring(request))
        )
        return trace_pb2.RetireCanariesResponse(retired=retired, entry_index=index)
