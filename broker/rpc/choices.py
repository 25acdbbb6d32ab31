"""ChoiceService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import choice_pb2

from broker.choices import exporting, importing, recording, showing
from broker.choices.model import DEFAULT_PAGE, MAX_PAGE
from broker.ids import parse_person
from broker.pages import page_size
from broker.wire import choice as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.choices.model import Batch, Result
    from broker.desk import Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

PART: Final = 250
"""Rows in one transaction of an import: none holds the lock for long, and each is answered well within its time."""


class Choices:
    """The servicer; see choice.proto for what each method does."""

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call

    async def record_choice(
        self, caller: Caller, request: choice_pb2.RecordChoiceRequest, _deadline_s: float
    ) -> choice_pb2.RecordChoiceResponse:
        """Record a choice."""
        done = await self._call(
            self._desk.change, caller, lambda change: recording.record(change, wire.recording(request))
        )
        return choice_pb2.RecordChoiceResponse(entry_index=done.entry, policy_version=done.policy)

    async def list_choices(
        self, caller: Caller, request: choice_pb2.ListChoicesRequest, _deadline_s: float
    ) -> choice_pb2.ListChoicesResponse:
        """Show what a person has chosen."""

        def work(view: View) -> choice_pb2.ListChoicesResponse:
            person, binding = parse_person(request.person_id), ("ListChoices", request.person_id)
            size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
            before = self._cursors.number(request.page_token, *binding)
            found = showing.listed(view, person, before, size)
            return wire.listed(found, self._cursors.following(found.before, *binding))

        return await self._call(self._desk.read, caller, work)

    async def import_choices(
        self,
        caller: Caller,
        requests: AsyncIterator[choice_pb2.ImportChoicesRequest],
        _deadline_s: float,
    ) -> AsyncIterator[choice_pb2.ImportChoicesResponse]:
        """Import, batch by batch."""
        await self._call(self._desk.read, caller, lambda _view: None)
        async for request in requests:
            results = []
            for start in range(0, max(len(request.rows), 1), PART):

                def run(
                    caller: Caller, request: choice_pb2.ImportChoicesRequest = request, start: int = start
                ) -> list[Result]:
                    def parse() -> Batch:
                        return wire.batch(request, start, PART)

                    return importing.run(self._desk, caller, parse)

                results += await self._call(run, caller)
            yield wire.results(results)

    async def export_choices(
        self, caller: Caller, request: choice_pb2.ExportChoicesRequest, _deadline_s: float
    ) -> AsyncIterator[choice_pb2.ExportChoicesResponse]:
        """Export, page by page; the caller is authorised anew for each."""
        binding = ("ExportChoices", request.key, request.purpose)
        after, first = 0, True

        def work(view: View) -> tuple[choice_pb2.ExportChoicesResponse, int]:
            start = after
            if first and request.resume_after:
                start = int(self._cursors.open(request.resume_after, *binding, field="resume_after"))
            found, last = exporting.page(view, start, wire.export_key(request.key), request.purpose)
            return wire.exported(found, self._cursors.following(last, *binding)), last

        while first or after:
            reply, after = await self._call(self._desk.read, caller, work)
            first = False
            yield reply
