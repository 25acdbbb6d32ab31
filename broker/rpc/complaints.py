"""ComplaintService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import complaint_pb2 as pb

from broker import case_files
from broker.case_files import FILE
from broker.complaints import handling, links, remedies, rules, statistics
from broker.complaints.rules import ROOM, State
from broker.ids import parse_request_id
from broker.pages import page_size
from broker.person_requests import telling
from broker.wire import checks
from broker.wire import files as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.agreements import Agreements
    from broker.case_files import File
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.obligations.rules import Disclosed
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_ROWS = 50
MAX_ROWS = 100
OF_THE_TEAM: Final = ("links", "handler", "outcome", "told", "remedies", "etag")
"""Members that an internal service is not shown, whenever it asks again."""


class Complaints:
    """The servicer; see complaint.proto for what each method does."""

    def __init__(
        self,
        desk: Desk,
        agreed: Agreements,
        cursors: Cursors,
        call: Threads,
        exporting: Threads,
        tell_erased: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._agreed = agreed
        self._cursors = cursors
        self._call = call
        self._exporting = exporting
        self._tell_erased = tell_erased

    async def open_complaint(
        self, caller: Caller, request: pb.OpenComplaintRequest, _deadline_s: float
    ) -> pb.OpenComplaintResponse:
        """Open."""

        def work(change: Change) -> pb.Complaint:
            new = wire.new_complaint(request, change.now_us)
            shown = _opened(change, handling.open_complaint(change, new, parse_request_id(request.request_id)))
            if change.principal.kind == "internal":
                for name in OF_THE_TEAM:
                    shown.ClearField(name)
            return shown

        return pb.OpenComplaintResponse(complaint=await self._call(self._desk.change, caller, work))

    async def change_complaint(
        self, caller: Caller, request: pb.ChangeComplaintRequest, _deadline_s: float
    ) -> pb.ChangeComplaintResponse:
        """Change."""

        def work(change: Change) -> pb.ChangeComplaintResponse:
            done = handling.change_complaint(change, request.complaint_id, wire.changes(request), request.etag)
            return pb.ChangeComplaintResponse(complaint=_moved(change, done[0]), entry_index=done[1])

        return await self._call(self._desk.change, caller, work)

    async def set_outcome(
        self, caller: Caller, request: pb.SetOutcomeRequest, _deadline_s: float
    ) -> pb.SetOutcomeResponse:
        """Decide."""

        def work(change: Change) -> pb.SetOutcomeResponse:
            outcome = checks.among(request.outcome, rules.OUTCOMES, "outcome")
            told = checks.words(request.told, "told")
            done = handling.set_outcome(change, request.complaint_id, outcome, told, request.etag)
            return pb.SetOutcomeResponse(complaint=_moved(change, done[0]), entry_index=done[1])

        return await self._call(self._desk.change, caller, work)

    async def remedy(self, caller: Caller, request: pb.RemedyRequest, _deadline_s: float) -> pb.RemedyResponse:
        """Remedy."""
        known: list[Disclosed] = []
        if request.kind == "erase_data":
            known = await self._exporting(
                self._desk.read, caller, lambda view: handling.left(view, request.complaint_id)
            )

        def work(change: Change) -> pb.RemedyResponse:
            kind = checks.among(request.kind, rules.REMEDIES, "kind")
            note = checks.words(request.note, "note")
            done = handling.remedy(
                change, self._agreed, request.complaint_id, kind, request.contract_id, note, request.etag, known
            )
            return pb.RemedyResponse(complaint=_moved(change, done[0]), entry_index=done[1])

        def remedied(caller: Caller) -> pb.RemedyResponse:
            done = self._desk.change(caller, work)
            self._tell_erased()
            return done

        return await self._call(remedied, caller)

    async def close_complaint(
        self, caller: Caller, request: pb.CloseComplaintRequest, _deadline_s: float
    ) -> pb.CloseComplaintResponse:
        """Close."""

        def work(change: Change) -> pb.CloseComplaintResponse:
            note = checks.optional_words(request.note, "note")
            done = handling.close(change, request.complaint_id, note, request.etag)
            return pb.CloseComplaintResponse(complaint=_moved(change, done[0]), entry_index=done[1])

        return await self._call(self._desk.change, caller, work)

    async def get_complaint(
        self, caller: Caller, request: pb.GetComplaintRequest, _deadline_s: float
    ) -> pb.GetComplaintResponse:
        """Show."""

        def work(view: View) -> pb.GetComplaintResponse:
            file = case_files.load(view, ROOM, request.complaint_id)
            return pb.GetComplaintResponse(
                complaint=_opened(view, file), timeline=map(wire.event, case_files.timeline(view, file))
            )

        return await self._call(self._desk.read, caller, work)

    async def list_complaints(
        self, caller: Caller, request: pb.ListComplaintsRequest, _deadline_s: float
    ) -> pb.ListComplaintsResponse:
        """List."""

        def work(view: View) -> pb.ListComplaintsResponse:
            size = page_size(request.page_size, DEFAULT_ROWS, MAX_ROWS)
            state, handler = wire.complaint_state(request.state), wire.handler(request.handler)
            where = [FILE.c.state == state] if state else []
            where += [FILE.c.handler == handler] if handler else []
            where += [FILE.c.state != State.CLOSED, FILE.c.due_at < view.now_us] if request.overdue else []
            binding = ("complaints", state, handler, request.overdue)
            before = self._cursors.number(request.page_token, *binding)
            found, last = case_files.page(view, ROOM, where, before, size)
            token = self._cursors.following(last, *binding)
            shown = [_opened(view, file) for file in found]
            return pb.ListComplaintsResponse(complaints=shown, next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def get_complaint_statistics(
        self, caller: Caller, request: pb.GetComplaintStatisticsRequest, _deadline_s: float
    ) -> pb.GetComplaintStatisticsResponse:
        """Count."""

        def work(view: View) -> pb.GetComplaintStatisticsResponse:
            first, last = checks.days(request.first_day, request.last_day)
            counts = statistics.statistics(view, first, last)
            return pb.GetComplaintStatisticsResponse(counts=map(wire.count, counts))

        return await self._exporting(self._desk.read, caller, work)


def _opened(view: View, file: File) -> pb.Complaint:
    told = handling.told(view, file) if file.body["outcome"] else ""
    return _shown(view, file, told)


def _moved(change: Change, file: File) -> pb.Complaint:
    """A complaint right after a step: what the person is told stands in `GetComplaint`, once that is committed."""
    return _shown(change, file, "")


def _shown(view: View, file: File, told: str) -> pb.Complaint:
    made = [
        (each, remedies.standing(view, file, each), telling.addressees(view, remedies.to_tell(file, each)))
        for each in file.body["remedies"]
    ]
    return wire.complaint(file, links.shown(view, file.body["links"]), told, made, view.now_us)
