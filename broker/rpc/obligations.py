"""ObligationService."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from sluss.v1 import obligation_pb2 as pb

from broker.obligations import answering, report, retention, rows
from broker.pages import page_size
from broker.rpc.guard import Places
from broker.wire import obligation as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.ledger.log import Ledger
    from broker.obligations.rows import Held
    from broker.pages import Cursors
    from broker.rpc.pulse import Pulse
    from broker.rpc.threads import Threads

T = TypeVar("T")
DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
STREAMED: Final = 50
"""Obligations read at once for a stream."""
STREAMS: Final = 256
STREAMS_PER_CALLER: Final = 4
BEFORE_ALL: Final = -1
SINCE_DAYS: Final = 90


class Obligations:
    """The servicer; see obligation.proto for what each method does."""

    def __init__(self, desk: Desk, ledger: Ledger, cursors: Cursors, call: Threads, pulse: Pulse) -> None:
        self._desk = desk
        self._ledger = ledger
        self._cursors = cursors
        self._call = call
        self._pulse = pulse
        self._streams = Places(STREAMS, STREAMS_PER_CALLER)

    def stop(self) -> None:
        """End the streams: the process stops."""
        self._pulse.stop()

    async def list_obligations(
        self, caller: Caller, request: pb.ListObligationsRequest, _deadline_s: float
    ) -> pb.ListObligationsResponse:
        """List."""

        def work(view: View) -> pb.ListObligationsResponse:
            size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
            wanted = wire.wanted(view, request)
            binding = (
                "obligations",
                view.principal.name,
                wanted.recipient,
                sorted(wanted.states),
                wanted.contract,
                wanted.cause,
                wanted.overdue,
            )
            after = self._cursors.number(request.page_token, *binding, first=BEFORE_ALL)
            found, following = report.listed(view, wanted, after, size)
            return pb.ListObligationsResponse(
                obligations=[wire.obligation(view, held) for held in found],
                next_page_token="" if following is None else self._cursors.seal(str(following), *binding),
            )

        return await self._call(self._told(work), caller)

    async def get_obligation(
        self, caller: Caller, request: pb.GetObligationRequest, _deadline_s: float
    ) -> pb.GetObligationResponse:
        """Show."""

        def work(view: View) -> pb.GetObligationResponse:
            held = answering.seen(view, request.obligation_id)
            history = rows.entries_of(view.connection, held.account.id)
            return pb.GetObligationResponse(
                obligation=wire.obligation(view, held),
                entries=[row.entry for row in history],
                entry_indexes=[row.index for row in history],
            )

        return await self._call(self._desk.read, caller, work)

    async def watch_obligations(
        self, caller: Caller, request: pb.WatchObligationsRequest, _deadline_s: float
    ) -> AsyncIterator[pb.WatchObligationsResponse]:
        """Stream."""
        with self._streams.one(caller):
            after: int | None = None
            caught_up = False
            while True:

                def work(
                    view: View, after: int | None = after
                ) -> tuple[int, list[pb.WatchObligationsResponse], int, str]:
                    binding = ("watch obligations", view.principal.name)
                    if after is None:
                        token = request.resume_token
                        after = self._cursors.number(token, *binding, first=BEFORE_ALL, field="resume_token")
                    found = report.waiting(view, view.principal.name, after, STREAMED)
                    messages = [
                        pb.WatchObligationsResponse(
                            obligation=wire.obligation(view, held),
                            resume_token=self._cursors.seal(str(held.account.moved), *binding),
                        )
                        for held in found
                    ]
                    after = found[-1].account.moved if found else after
                    return view.snapshot.rights, messages, after, self._cursors.seal(str(after), *binding)

                rights, messages, after, token = await self._call(self._told(work), caller)
                for message in messages:
                    yield message
                if len(messages) == STREAMED:
                    continue
                if not caught_up:
                    caught_up = True
                    yield pb.WatchObligationsResponse(resume_token=token, caught_up=True)
                if not await self._pulse.moved(rights):
                    return

    async def acknowledge_obligation(
        self, caller: Caller, request: pb.AcknowledgeObligationRequest, _deadline_s: float
    ) -> pb.AcknowledgeObligationResponse:
        """Acknowledge."""
        shown, index = await self._changed(
            caller,
            lambda change: answering.acknowledge(change, request.obligation_id, wire.signed(caller, request)),
        )
        return pb.AcknowledgeObligationResponse(obligation=shown, entry_index=index)

    async def attest_obligation(
        self, caller: Caller, request: pb.AttestObligationRequest, _deadline_s: float
    ) -> pb.AttestObligationResponse:
        """Attest."""
        shown, index = await self._changed(
            caller,
            lambda change: answering.attest(
                change,
                request.obligation_id,
                request.outcome,
                request.note,
                request.through,
                wire.signed(caller, request),
            ),
        )
        return pb.AttestObligationResponse(obligation=shown, entry_index=index)

    async def ask_delay(self, caller: Caller, request: pb.AskDelayRequest, _deadline_s: float) -> pb.AskDelayResponse:
        """Ask for time."""
        shown, index = await self._changed(
            caller,
            lambda change: answering.ask_delay(
                change,
                request.obligation_id,
                wire.day(request.until, "until"),
                request.reason,
                wire.signed(caller, request),
            ),
        )
        return pb.AskDelayResponse(obligation=shown, entry_index=index)

    async def answer_delay(
        self, caller: Caller, request: pb.AnswerDelayRequest, _deadline_s: float
    ) -> pb.AnswerDelayResponse:
        """Decide on a delay."""
        shown, index = await self._changed(
            caller,
            lambda change: answering.answer_delay(
                change,
                request.obligation_id,
                wire.day(request.until, "until"),
                request.reason,
                grant=request.grant,
            ),
        )
        return pb.AnswerDelayResponse(obligation=shown, entry_index=index)

    async def remind_obligation(
        self, caller: Caller, request: pb.RemindObligationRequest, _deadline_s: float
    ) -> pb.RemindObligationResponse:
        """Remind."""
        shown, index = await self._changed(caller, lambda change: answering.remind(change, request.obligation_id))
        return pb.RemindObligationResponse(obligation=shown, entry_index=index)

    async def close_unanswered(
        self, caller: Caller, request: pb.CloseUnansweredRequest, _deadline_s: float
    ) -> pb.CloseUnansweredResponse:
        """Close, by two people."""
        shown, index = await self._changed(
            caller, lambda change: answering.close(change, request.obligation_id, request.reason)
        )
        return pb.CloseUnansweredResponse(obligation=shown, entry_index=index)

    async def report_overdue(
        self, caller: Caller, request: pb.ReportOverdueRequest, _deadline_s: float
    ) -> pb.ReportOverdueResponse:
        """Report, part by part: other calls go on between them."""

        def days(view: View) -> tuple[str, str]:
            return wire.since(view, request.since, SINCE_DAYS), wire.since(view, "", 0)

        since, today = await self._call(self._told(days), caller)
        tally, after = report.Tally(today), report.NEVER
        while True:
            accounts, following = await self._call(
                self._desk.read, caller, partial(report.part, since=since, after=after)
            )
            tally.count(accounts)
            if following is None:
                return pb.ReportOverdueResponse(recipients=map(wire.recipient, tally.recipients()), today=today)
            after = following

    def _told(self, work: Callable[[View], T]) -> Callable[[Caller], T]:
        """Reads; what is to be deleted by a day and nobody was told of is raised first."""

        def told(caller: Caller) -> T:
            def look(view: View) -> bool:
                own = view.principal.name if view.principal.kind == "subcontractor" else ""
                return retention.is_pending(view.connection, own)

            if self._desk.read(caller, look):
                self._ledger.run(retention.raise_pending)
            return self._desk.read(caller, work)

        return told

    async def _changed(self, caller: Caller, work: Callable[[Change], tuple[Held, int]]) -> tuple[pb.Obligation, int]:
        def shown(change: Change) -> tuple[pb.Obligation, int]:
            held, index = work(change)
            return wire.obligation(change, held), index

        return await self._call(self._desk.change, caller, shown)
