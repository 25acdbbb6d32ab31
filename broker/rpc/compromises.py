"""CompromiseService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import compromise_pb2 as pb

from broker import case_files
from broker.case_files import FILE
from broker.compromise import locks, reports, window
from broker.compromise.concerned import concerned
from broker.compromise.reports import ROOM
from broker.ids import parse_request_id, person_text
from broker.pages import page_size
from broker.wire import checks
from broker.wire import files as wire

if TYPE_CHECKING:
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_ROWS = 50
MAX_ROWS = 100
DEFAULT_ENTRIES = 100
MAX_ENTRIES = 500
MAX_PERSONS = 1_000


class Compromises:
    """The servicer; see compromise.proto for what each method does."""

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads, exporting: Threads) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call
        self._exporting = exporting

    async def report_compromise(
        self, caller: Caller, request: pb.ReportCompromiseRequest, _deadline_s: float
    ) -> pb.ReportCompromiseResponse:
        """Report."""

        def work(change: Change) -> pb.ReportCompromiseResponse:
            new = wire.new_report(request, change.now_us)
            file, index = reports.report(change, new, parse_request_id(request.request_id))
            return pb.ReportCompromiseResponse(report=wire.report(file), entry_index=index)

        return await self._call(self._desk.change, caller, work)

    async def reinstate_credential(
        self, caller: Caller, request: pb.ReinstateCredentialRequest, _deadline_s: float
    ) -> pb.ReinstateCredentialResponse:
        """End a lock."""

        def work(change: Change) -> pb.ReinstateCredentialResponse:
            why = checks.text(request.reason, "reason")
            file, index = reports.reinstate(change, request.report_id, request.etag, why)
            other = locks.locked_by(change.connection, file.person)
            return pb.ReinstateCredentialResponse(report=wire.report(file), entry_index=index, still_locked_by=other)

        return await self._call(self._desk.change, caller, work)

    async def close_report(
        self, caller: Caller, request: pb.CloseReportRequest, _deadline_s: float
    ) -> pb.CloseReportResponse:
        """Close."""

        def work(change: Change) -> pb.CloseReportResponse:
            why = checks.text(request.reason, "reason")
            file, index = reports.close(change, request.report_id, request.etag, why)
            return pb.CloseReportResponse(report=wire.report(file), entry_index=index)

        return await self._call(self._desk.change, caller, work)

    async def get_report(
        self, caller: Caller, request: pb.GetReportRequest, _deadline_s: float
    ) -> pb.GetReportResponse:
        """Show."""

        def work(view: View) -> pb.GetReportResponse:
            file = case_files.load(view, ROOM, request.report_id)
            return pb.GetReportResponse(
                report=wire.report(file), timeline=map(wire.event, case_files.timeline(view, file))
            )

        return await self._call(self._desk.read, caller, work)

    async def list_reports(
        self, caller: Caller, request: pb.ListReportsRequest, _deadline_s: float
    ) -> pb.ListReportsResponse:
        """List."""

        def work(view: View) -> pb.ListReportsResponse:
            size, state = page_size(request.page_size, DEFAULT_ROWS, MAX_ROWS), wire.report_state(request.state)
            binding = ("reports", state)
            before = self._cursors.number(request.page_token, *binding)
            found, last = case_files.page(view, ROOM, [FILE.c.state == state] if state else [], before, size)
            token = self._cursors.following(last, *binding)
            return pb.ListReportsResponse(reports=map(wire.report, found), next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def list_suspect_disclosures(
        self, caller: Caller, request: pb.ListSuspectDisclosuresRequest, _deadline_s: float
    ) -> pb.ListSuspectDisclosuresResponse:
        """List the suspect window."""

        def work(view: View) -> pb.ListSuspectDisclosuresResponse:
            size = page_size(request.page_size, DEFAULT_ENTRIES, MAX_ENTRIES)
            file = case_files.load(view, ROOM, request.report_id)
            binding = ("suspects", file.id)
            after = self._cursors.number(request.page_token, *binding, first=-1)
            found = window.suspects(view, file, after, size + 1)
            token = self._cursors.seal(str(found[size - 1].index), *binding) if len(found) > size else ""
            return pb.ListSuspectDisclosuresResponse(entries=map(wire.suspect, found[:size]), next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def list_concerned_persons(
        self, caller: Caller, request: pb.ListConcernedPersonsRequest, _deadline_s: float
    ) -> pb.ListConcernedPersonsResponse:
        """List whom to tell."""

        def work(view: View) -> pb.ListConcernedPersonsResponse:
            size = page_size(request.page_size, MAX_PERSONS, MAX_PERSONS)
            file = case_files.load(view, ROOM, request.report_id)
            binding = ("concerned", file.id)
            after = self._cursors.number(request.page_token, *binding)
            found = concerned(view, file, after, size + 1)
            token = self._cursors.seal(str(found[size - 1]), *binding) if len(found) > size else ""
            return pb.ListConcernedPersonsResponse(person_ids=map(person_text, found[:size]), next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def get_facts_sheet(
        self, caller: Caller, request: pb.GetFactsSheetRequest, _deadline_s: float
    ) -> pb.GetFactsSheetResponse:
        """Compute the facts; of a large breach that takes longer than a call."""

        def work(view: View) -> pb.GetFactsSheetResponse:
            file = case_files.load(view, ROOM, request.report_id)
            return wire.facts(file, window.facts(view, file), case_files.timeline(view, file))

        return await self._exporting(self._desk.read, caller, work)
