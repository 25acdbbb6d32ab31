"""LegalService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2
from sqlalchemy import select

from broker.asks import ReleasePart
from broker.errors import Reason, SlussError
from broker.ids import parse_person, parse_request_id
from broker.ledger.rows import read_entry
from broker.legal import documents, finding, hiding, recipients, releasing, report, rows
from broker.legal.rows import load
from broker.pages import page_size
from broker.wire import checks
from broker.wire import legal as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.asks import Opening
    from broker.batching import GroupCommit
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.ledger.log import Ledger
    from broker.legal.cases import Cases
    from broker.legal.finding import Masked
    from broker.legal.recipients import Received
    from broker.legal.rows import HeldCase
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_CASES = 50
MAX_CASES = 200
DEFAULT_ROWS = 100
MAX_ROWS = 500
MAX_INDEX = 2**53


class Legal:
    """The servicer; see legal.proto for what each method does."""

    def __init__(
        self, desk: Desk, ledger: Ledger, spine: GroupCommit, cases: Cases, cursors: Cursors, call: Threads
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._spine = spine
        self._cases = cases
        self._cursors = cursors
        self._call = call

    async def open_case(
        self, caller: Caller, request: legal_pb2.OpenCaseRequest, _deadline_s: float
    ) -> legal_pb2.OpenCaseResponse:
        """Open."""

        def work(change: Change) -> legal_pb2.Case:
            new = wire.new_case(request, change.snapshot.catalogue, change.now_us)
            return self._shown(change, self._cases.open_case(change, new, parse_request_id(request.request_id)))

        return legal_pb2.OpenCaseResponse(case=await self._call(self._desk.change, caller, work))

    async def get_case(
        self, caller: Caller, request: legal_pb2.GetCaseRequest, _deadline_s: float
    ) -> legal_pb2.GetCaseResponse:
        """Show."""

        def work(view: View) -> legal_pb2.GetCaseResponse:
            held = load(view, request.case_id)
            events = rows.timeline(view, held)
            return legal_pb2.GetCaseResponse(
                case=self._shown(view, held),
                documents=[wire.document(each) for each in documents.documents(view, held, events)],
                timeline=[wire.event(each) for each in events],
            )

        return await self._call(self._desk.read, caller, work)

    async def list_cases(
        self, caller: Caller, request: legal_pb2.ListCasesRequest, _deadline_s: float
    ) -> legal_pb2.ListCasesResponse:
        """List."""

        def work(view: View) -> legal_pb2.ListCasesResponse:
            size = page_size(request.page_size, DEFAULT_CASES, MAX_CASES)
            states = wire.states(request.states)
            ground = wire.ground(request.ground) if request.ground else None
            handler = wire.handler(request.handler)
            binding = ("cases", sorted(states), handler, request.ground)
            before = self._cursors.number(request.page_token, *binding)
            found, last = rows.list_cases(view, states, handler, ground, before, size)
            token = self._cursors.following(last, *binding)
            return legal_pb2.ListCasesResponse(cases=[self._shown(view, held) for held in found], next_page_token=token)

        return await self._call(self._desk.read, caller, work)

    async def step_case(
        self, caller: Caller, request: legal_pb2.StepCaseRequest, _deadline_s: float
    ) -> legal_pb2.StepCaseResponse:
        """Move."""

        def work(change: Change) -> tuple[legal_pb2.Case, int]:
            step, why = wire.step(request.step), wire.reason(request.reason)
            return self._moved(change, self._cases.step(change, request.case_id, step, why, request.etag))

        case, index = await self._call(self._desk.change, caller, work)
        return legal_pb2.StepCaseResponse(case=case, entry_index=index)

    async def change_case(
        self, caller: Caller, request: legal_pb2.ChangeCaseRequest, _deadline_s: float
    ) -> legal_pb2.ChangeCaseResponse:
        """Change."""

        def work(change: Change) -> tuple[legal_pb2.Case, int]:
            changes = wire.changes(request, change.snapshot.catalogue)
            return self._moved(change, self._cases.change(change, request.case_id, changes, request.etag))

        case, index = await self._call(self._desk.change, caller, work)
        return legal_pb2.ChangeCaseResponse(case=case, entry_index=index)

    async def add_document(
        self, caller: Caller, request: legal_pb2.AddDocumentRequest, _deadline_s: float
    ) -> legal_pb2.AddDocumentResponse:
        """Add a document."""

        def work(change: Change) -> legal_pb2.CaseDocument:
            name, media_type = wire.document_name(request)
            return wire.document(documents.add(change, request.case_id, name, media_type, request.content))

        return legal_pb2.AddDocumentResponse(document=await self._call(self._desk.change, caller, work))

    async def get_document(
        self, caller: Caller, request: legal_pb2.GetDocumentRequest, _deadline_s: float
    ) -> legal_pb2.GetDocumentResponse:
        """Give a document back."""
        found, content = await self._call(
            self._desk.read, caller, lambda view: documents.document(view, request.case_id, request.number)
        )
        return legal_pb2.GetDocumentResponse(document=wire.document(found), content=content)

    async def set_secrecy(
        self, caller: Caller, request: legal_pb2.SetSecrecyRequest, _deadline_s: float
    ) -> legal_pb2.SetSecrecyResponse:
        """Hide, prolong, lift."""

        def work(change: Change) -> tuple[legal_pb2.Case, int]:
            until, why = wire.until(request.until), wire.reason(request.reason)
            return self._moved(change, self._cases.set_secrecy(change, request.case_id, until, why, request.etag))

        case, index = await self._call(self._desk.change, caller, work)
        return legal_pb2.SetSecrecyResponse(case=case, entry_index=index)

    async def find_persons(
        self, caller: Caller, request: legal_pb2.FindPersonsRequest, _deadline_s: float
    ) -> AsyncIterator[legal_pb2.FindPersonsResponse]:
        """Find persons."""
        kind = request.WhichOneof("by")
        await self._call(self._desk.read, caller, lambda _view: None)
        if kind is None:
            raise SlussError(Reason.INVALID_REQUEST, "by: an address, a number or a name", field="by")
        if kind == "name":
            async for reply in self._by_name(caller, finding.checked_needle(request.name)):
                yield reply
            return
        found = await self._call(
            self._desk.read, caller, lambda view: finding.by_index(view, kind, getattr(request, kind))
        )
        yield legal_pb2.FindPersonsResponse(persons=[wire.found_person(each) for each in found])

    async def preview_scope(
        self, caller: Caller, request: legal_pb2.PreviewScopeRequest, _deadline_s: float
    ) -> legal_pb2.PreviewScopeResponse:
        """Preview."""

        def work(view: View) -> legal_pb2.PreviewScopeResponse:
            scope = wire.scope(request.scope, view.snapshot.catalogue)
            return wire.preview(finding.preview(view, scope, wire.ground(request.ground)), scope)

        return await self._call(self._desk.read, caller, work)

    async def release(
        self, caller: Caller, request: legal_pb2.ReleaseRequest, _deadline_s: float
    ) -> AsyncIterator[legal_pb2.ReleaseResponse]:
        """Release, part by part."""

        def begin(change: Change) -> releasing.Parts:
            parse_request_id(request.request_id)
            key = wire.key(request.package_key, "package_key") if request.HasField("package_key") else None
            held = self._cases.begin_release(change, request.case_id, key)
            return releasing.Parts(caller, held, self._cursors, request.seen_size, request.resume_after)

        parts = await self._call(self._desk.change, caller, begin)
        while (ask := parts.next()) is not None:
            yield parts.reply(ask, await self._spine.submit(ask))
        await self._call(
            self._desk.change, caller, lambda change: self._cases.complete_release(change, request.case_id)
        )

    async def record_release(
        self, caller: Caller, request: legal_pb2.RecordReleaseRequest, _deadline_s: float
    ) -> legal_pb2.RecordReleaseResponse:
        """Record a release made elsewhere."""

        def work(change: Change) -> tuple[legal_pb2.Case, int]:
            made = wire.elsewhere(request, change.now_us)
            request_id = parse_request_id(request.request_id)
            done = self._cases.record_elsewhere(change, request.case_id, made, request_id, request.etag)
            return self._moved(change, done)

        case, index = await self._call(self._desk.change, caller, work)
        return legal_pb2.RecordReleaseResponse(case=case, entry_index=index)

    async def list_recipients(
        self, caller: Caller, request: legal_pb2.ListRecipientsRequest, _deadline_s: float
    ) -> legal_pb2.ListRecipientsResponse:
        """Who received a person's data."""

        def work(view: View) -> tuple[list[Received], str]:
            size = page_size(request.page_size, DEFAULT_ROWS, MAX_ROWS)
            person = parse_person(request.person_id)
            period = checks.period(request.first_day, request.last_day, view.now_us, open_ended=True)
            binding = ("recipients", request.person_id, request.first_day, request.last_day)
            after = self._cursors.number(request.page_token, *binding, first=-1)
            found = recipients.received(view, person, period, after, size + 1)
            token = self._cursors.seal(str(found[size - 1].index), *binding) if len(found) > size else ""
            return found[:size], token

        found, token = await self._call(self._desk.read, caller, work)
        return await self._call(lambda _caller: self._received(found, token), caller)

    async def get_transparency_report(
        self, caller: Caller, request: legal_pb2.GetTransparencyReportRequest, _deadline_s: float
    ) -> legal_pb2.GetTransparencyReportResponse:
        """The report."""

        def work(view: View) -> legal_pb2.GetTransparencyReportResponse:
            if request.include_hidden and view.principal.kind != "legal":
                raise SlussError(
                    Reason.ROLE_NOT_ALLOWED, "hidden cases are for the legal team", kind=view.principal.kind
                )
            period = checks.period(request.first_day, request.last_day, view.now_us, open_ended=False)
            found = report.report(view, period, include_hidden=request.include_hidden)
            state = self._ledger.state()
            return legal_pb2.GetTransparencyReportResponse(
                rows=[wire.report_row(line, count) for line, count in found],
                size=state.tree.size,
                checkpoint=state.note,
            )

        return await self._call(self._desk.read, caller, work)

    async def get_opening(
        self, caller: Caller, request: legal_pb2.GetOpeningRequest, _deadline_s: float
    ) -> legal_pb2.GetOpeningResponse:
        """What a sealed entry was."""
        found = await self._call(self._desk.read, caller, lambda view: _opening(view, request.index))
        receipt = await self._call(lambda _caller: self._ledger.receipt(request.index), caller)
        return legal_pb2.GetOpeningResponse(opening=wire.opening(found), receipt=receipt)

    async def _by_name(self, caller: Caller, needle: str) -> AsyncIterator[legal_pb2.FindPersonsResponse]:
        total = await self._call(self._desk.read, caller, finding.on_record)
        after = done = found = 0
        while True:

            def work(view: View, after: int = after) -> tuple[list[Masked], int, int]:
                return finding.by_name(view, needle, after)

            page, looked_at, after = await self._call(self._desk.read, caller, work)
            shown = page[: finding.MAX_FOUND - found]
            done, found = done + looked_at, found + len(shown)
            more = len(shown) < len(page)
            yield legal_pb2.FindPersonsResponse(
                persons=[wire.found_person(each) for each in shown],
                done=done,
                total=max(total, done),
                more=more,
            )
            if more or looked_at < finding.PAGE:
                return

    def _shown(self, view: View, held: HeldCase) -> legal_pb2.Case:
        case = held.case
        part = ReleasePart(case.progress.place, case.progress.done, case.progress.released)
        cursor = releasing.cursor_of(case.id, part, self._cursors) if case.body.begun and part.done else ""
        return wire.case(case, view.principal.name, view.now_us, cursor)

    def _moved(self, change: Change, done: tuple[HeldCase, int]) -> tuple[legal_pb2.Case, int]:
        return self._shown(change, done[0]), done[1]

    def _received(self, found: list[Received], token: str) -> legal_pb2.ListRecipientsResponse:
        receipt: Callable[[int], str] = self._ledger.state().receipt
        return legal_pb2.ListRecipientsResponse(
            received=[wire.received(each, receipt(each.index)) for each in found], next_page_token=token
        )


def _opening(view: View, index: int) -> Opening:
    """What a sealed entry was; while it is hidden, for the legal team only, and for others as if there were none."""
    unknown = SlussError(Reason.ENTRY_UNKNOWN, index=str(index))
    if index >= MAX_INDEX:
        raise unknown
    query = select(hiding.SEALED_ENTRY.c.case).where(hiding.SEALED_ENTRY.c.entry == index)
    case = view.connection.execute(query).scalar_one_or_none()
    if case is None:
        raise unknown
    held = load(view, case)
    if held.case.hidden(view.now_us) and view.principal.kind != "legal":
        raise unknown
    found = read_entry(view.connection, index)
    opening = hiding.opened(view.connection, case, held.keys, found)[1] if found else None
    if opening is None:
        raise unknown
    return opening
