"""PersonRequestService."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sluss.v1 import person_request_pb2 as pb

from broker.ids import parse_request_id
from broker.pages import page_size
from broker.person_requests import access, doing, rows, statistics, telling, tracking
from broker.wire import checks
from broker.wire import person_request as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.ledger.log import Ledger
    from broker.obligations.rules import Disclosed
    from broker.pages import Cursors
    from broker.person_requests.access import Export
    from broker.person_requests.rows import Held
    from broker.person_requests.tracking import Done
    from broker.rpc.threads import Threads

DEFAULT_REQUESTS = 50
MAX_REQUESTS = 200
PART_BYTES = 256 * 1024


class PersonRequests:
    """The servicer; see person_request.proto for what each method does."""

    def __init__(
        self,
        desk: Desk,
        ledger: Ledger,
        origin: str,
        cursors: Cursors,
        call: Threads,
        exporting: Threads,
        tell_erased: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._origin = origin
        self._cursors = cursors
        self._call = call
        self._exporting = exporting
        self._tell_erased = tell_erased

    async def open_request(
        self, caller: Caller, request: pb.OpenRequestRequest, _deadline_s: float
    ) -> pb.OpenRequestResponse:
        """Open."""

        def work(change: Change) -> Done:
            new = wire.opening(request, change.now_us)
            return tracking.open_request(change, new, parse_request_id(request.request_id))

        return pb.OpenRequestResponse(**await self._stepped(caller, work))

    async def note_identity_check(
        self, caller: Caller, request: pb.NoteIdentityCheckRequest, _deadline_s: float
    ) -> pb.NoteIdentityCheckResponse:
        """Note a check."""

        def work(change: Change) -> Done:
            return tracking.note_identity(change, wire.call(request), *wire.identity(request))

        return pb.NoteIdentityCheckResponse(**await self._stepped(caller, work))

    async def note_work(self, caller: Caller, request: pb.NoteWorkRequest, _deadline_s: float) -> pb.NoteWorkResponse:
        """Note work."""

        def work(change: Change) -> Done:
            return tracking.note_work(change, wire.call(request), checks.words(request.note, "note"))

        return pb.NoteWorkResponse(**await self._stepped(caller, work))

    async def extend_deadline(
        self, caller: Caller, request: pb.ExtendDeadlineRequest, _deadline_s: float
    ) -> pb.ExtendDeadlineResponse:
        """Extend."""

        def work(change: Change) -> Done:
            reason = checks.words(request.reason, "reason")
            return tracking.extend(change, wire.call(request), request.months, reason)

        return pb.ExtendDeadlineResponse(**await self._stepped(caller, work))

    async def refuse_request(
        self, caller: Caller, request: pb.RefuseRequestRequest, _deadline_s: float
    ) -> pb.RefuseRequestResponse:
        """Refuse."""

        def work(change: Change) -> Done:
            told = checks.words(request.told, "told")
            return tracking.refuse(change, wire.call(request), request.ground, told)

        return pb.RefuseRequestResponse(**await self._stepped(caller, work))

    async def withdraw_request(
        self, caller: Caller, request: pb.WithdrawRequestRequest, _deadline_s: float
    ) -> pb.WithdrawRequestResponse:
        """Withdraw."""

        def work(change: Change) -> Done:
            return tracking.withdraw(change, wire.call(request), checks.text(request.reason, "reason"))

        return pb.WithdrawRequestResponse(**await self._stepped(caller, work))

    async def export_access(
        self, caller: Caller, request: pb.ExportAccessRequest, _deadline_s: float
    ) -> AsyncIterator[pb.ExportAccessResponse]:
        """Export: make it without the lock, put it into the ledger, then send it."""

        def make(view: View) -> tuple[Held, Export]:
            held = rows.load(view, request.id)
            doing.exportable(view, held)
            return held, access.export(view, held, self._origin)

        held, made = await self._exporting(self._desk.read, caller, make)
        data, digest = made.data, sha256(made.data).digest()

        def left(change: Change) -> Done:
            return doing.export_left(change, held, made.record, digest, masked=made.masked)

        _, index = await self._call(self._desk.change, caller, left)
        receipt = await self._call(lambda _caller: self._ledger.receipt(index), caller)
        for start in range(0, len(data), PART_BYTES):
            part = data[start : start + PART_BYTES]
            last = start + PART_BYTES >= len(data)
            yield pb.ExportAccessResponse(
                part=part, size=len(data), sha256=digest, entry_index=index, receipt=receipt if last else ""
            )

    async def fulfil_access(
        self, caller: Caller, request: pb.FulfilAccessRequest, _deadline_s: float
    ) -> pb.FulfilAccessResponse:
        """Hand over."""

        def work(change: Change) -> Done:
            digest, how = wire.digest(request.sha256), checks.text(request.how, "how")
            return doing.hand_over(change, wire.call(request), digest, how)

        return pb.FulfilAccessResponse(**await self._stepped(caller, work))

    async def rectify(self, caller: Caller, request: pb.RectifyRequest, _deadline_s: float) -> pb.RectifyResponse:
        """Rectify."""
        known = await self._left(caller, request.id)

        def work(change: Change) -> Done:
            values, remove = wire.correction(request)
            note = checks.optional_words(request.note, "note")
            return doing.rectify(
                change, wire.call(request), values, remove, request.person_etag, note, last=request.last, known=known
            )

        return pb.RectifyResponse(**await self._stepped(caller, work))

    async def _left(self, caller: Caller, request: str) -> list[Disclosed]:
        """What has left of the person's data: of very many entries, so not under the lock."""
        return await self._exporting(self._desk.read, caller, lambda view: doing.left(view, request))

    async def erase(self, caller: Caller, request: pb.EraseRequest, _deadline_s: float) -> pb.EraseResponse:
        """Erase."""
        known = await self._left(caller, request.id)

        def erased(caller: Caller) -> dict[str, Any]:
            done = self._desk.change(caller, _step(lambda change: doing.erase(change, wire.call(request), known)))
            self._tell_erased()
            return done

        return pb.EraseResponse(**await self._call(erased, caller))

    async def object(self, caller: Caller, request: pb.ObjectRequest, _deadline_s: float) -> pb.ObjectResponse:
        """Object."""

        def work(change: Change) -> Done:
            purposes, note = wire.purposes(request.purposes), checks.optional_words(request.note, "note")
            return doing.record_objection(change, wire.call(request), purposes, request.channel, note)

        return pb.ObjectResponse(**await self._stepped(caller, work))

    async def note_recipient_told(
        self, caller: Caller, request: pb.NoteRecipientToldRequest, _deadline_s: float
    ) -> pb.NoteRecipientToldResponse:
        """Note that a recipient was told."""

        def work(change: Change) -> Done:
            return tracking.note_told(change, wire.call(request), *wire.told(request))

        return pb.NoteRecipientToldResponse(**await self._stepped(caller, work))

    async def list_requests(
        self, caller: Caller, request: pb.ListRequestsRequest, _deadline_s: float
    ) -> pb.ListRequestsResponse:
        """List."""

        def work(view: View) -> pb.ListRequestsResponse:
            size = page_size(request.page_size, DEFAULT_REQUESTS, MAX_REQUESTS)
            kinds, person = wire.kinds(request.kinds), wire.person(request.person_id)
            binding = ("requests", kinds, person, request.only_open, request.only_overdue)
            before = self._cursors.number(request.page_token, *binding)
            found, last = rows.list_requests(
                view, kinds, person, before, size, only_open=request.only_open, only_overdue=request.only_overdue
            )
            token = self._cursors.following(last, *binding)
            shown = [wire.request(held, view.now_us) for held in found]
            return pb.ListRequestsResponse(requests=shown, next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def get_request(
        self, caller: Caller, request: pb.GetRequestRequest, _deadline_s: float
    ) -> pb.GetRequestResponse:
        """Show."""

        def work(view: View) -> pb.GetRequestResponse:
            held = rows.load_shown(view, request.id)
            events = [wire.event(each) for each in telling.visible(held, rows.timeline(view, held))]
            return pb.GetRequestResponse(request=wire.request(held, view.now_us), timeline=events)

        return await self._call(self._desk.read, caller, work)

    async def get_request_statistics(
        self, caller: Caller, request: pb.GetRequestStatisticsRequest, _deadline_s: float
    ) -> pb.GetRequestStatisticsResponse:
        """Count."""

        def work(view: View) -> pb.GetRequestStatisticsResponse:
            first, last = checks.days(request.first_day, request.last_day)
            counts = statistics.statistics(view, first, last)
            return pb.GetRequestStatisticsResponse(counts=[wire.count(kind, each) for kind, each in counts.items()])

        return await self._exporting(self._desk.read, caller, work)

    async def _stepped(self, caller: Caller, work: Callable[[Change], Done]) -> dict[str, Any]:
        """A step, and the request as it stands once it is durable."""
        return await self._call(self._desk.change, caller, _step(work))


def _step(work: Callable[[Change], Done]) -> Callable[[Change], dict[str, Any]]:
    def step(change: Change) -> dict[str, Any]:
        held, index = work(change)
        return {"request": wire.request(held, change.now_us), "entry_index": index}

    return step
