"""AggregateService."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sluss.v1 import aggregate_pb2 as pb

from broker.aggregates import describing, recording
from broker.errors import Reason, SlussError
from broker.ids import parse_request_id
from broker.wire import aggregate as wire

if TYPE_CHECKING:
    from broker.aggregates.answering import Questions
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.rpc.threads import Threads


class Aggregates:
    """The servicer; see aggregate.proto for what each method does.

    Questions have threads of their own, since counting takes longer than anything else and must keep nobody waiting.
    """

    def __init__(
        self, desk: Desk, questions: Questions, retention_months: int, call: Threads, counting: Threads
    ) -> None:
        self._desk = desk
        self._questions = questions
        self._retention_months = retention_months
        self._call = call
        self._counting = counting

    async def record_usage(
        self, caller: Caller, request: pb.RecordUsageRequest, _deadline_s: float
    ) -> pb.RecordUsageResponse:
        """Record."""

        def work(change: Change) -> recording.Recorded:
            request_id = parse_request_id(request.request_id)
            return recording.record(change, request_id, wire.events(request), self._retention_months)

        return wire.recorded(await self._call(self._desk.change, caller, work))

    async def describe_aggregates(
        self, caller: Caller, request: pb.DescribeAggregatesRequest, _deadline_s: float
    ) -> pb.DescribeAggregatesResponse:
        """What may be asked."""

        def work(view: View) -> describing.Scope:
            return describing.describe(view, request.contract_id, self._retention_months)

        found = await self._call(self._desk.read, caller, work)
        return wire.scope(found)

    async def query_aggregate(
        self, caller: Caller, request: pb.QueryAggregateRequest, _deadline_s: float
    ) -> pb.QueryAggregateResponse:
        """Answer; a caller who has gone stops the counting, unless the answer is being settled."""
        gone = threading.Event()

        def stop() -> None:
            if gone.is_set():
                raise SlussError(Reason.OVERLOADED, "nobody waits for the answer any more")

        try:
            reply = await self._counting(self._questions.answer, caller, lambda: wire.ask(request), stop)
        finally:
            gone.set()
        return wire.answer(reply)

    async def get_budget(
        self, caller: Caller, request: pb.GetBudgetRequest, _deadline_s: float
    ) -> pb.GetBudgetResponse:
        """What is left."""

        def work(view: View) -> pb.GetBudgetResponse:
            facts = describing.contract_facts(view, request.contract_id)
            own, recipient = describing.own_budget(view, facts), describing.recipients_budget(view, facts)
            everybody = describing.everybodys_budget(view)
            return pb.GetBudgetResponse(
                budget=wire.budget(own),
                recipient=wire.budget(recipient) if recipient else None,
                everybody=wire.budget(everybody) if everybody else None,
            )

        return await self._call(self._desk.read, caller, work)
