"""ErasureService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import erasure_pb2 as pb

from broker.erasure import holds
from broker.errors import invalid
from broker.ids import parse_person, parse_request_id
from broker.legal.naming import cases_that_need
from broker.pages import page_size
from broker.persons import rows
from broker.wire import checks
from broker.wire import erasure as wire

if TYPE_CHECKING:
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_HOLDS: Final = 50
MAX_HOLDS: Final = 200


class Erasures:
    """The servicer; see erasure.proto for what each method does."""

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call

    async def place_hold(
        self, caller: Caller, request: pb.PlaceHoldRequest, _deadline_s: float
    ) -> pb.PlaceHoldResponse:
        """Place."""

        def work(change: Change) -> pb.PlaceHoldResponse:
            request_id, person = parse_request_id(request.request_id), parse_person(request.person_id)
            reason, until = checks.text(request.reason, "reason"), wire.until(request.until, change.now_us)
            placed = holds.place(change, request_id, person, reason, until)
            return pb.PlaceHoldResponse(hold=wire.hold(placed, change.now_us))

        return await self._call(self._desk.change, caller, work)

    async def lift_hold(self, caller: Caller, request: pb.LiftHoldRequest, _deadline_s: float) -> pb.LiftHoldResponse:
        """Lift."""

        def work(change: Change) -> pb.LiftHoldResponse:
            request_id, reason = parse_request_id(request.request_id), checks.text(request.reason, "reason")
            lifted, index = holds.lift(change, request_id, request.hold_id, reason)
            return pb.LiftHoldResponse(hold=wire.hold(lifted, change.now_us), entry_index=index)

        return await self._call(self._desk.change, caller, work)

    async def list_holds(
        self, caller: Caller, request: pb.ListHoldsRequest, _deadline_s: float
    ) -> pb.ListHoldsResponse:
        """List; the privacy team hears only whether erasure is forbidden, which tells nothing of hidden cases."""

        def work(view: View) -> pb.ListHoldsResponse:
            is_legal = view.principal.kind == "legal"
            size = page_size(request.page_size, DEFAULT_HOLDS, MAX_HOLDS)
            if not (request.person_id or is_legal):
                raise invalid("person_id", "name a person: only the legal team lists all holds")
            person = parse_person(request.person_id) if request.person_id else None
            binding = ("holds", view.principal.name, request.person_id, request.include_ended)
            before = self._cursors.number(request.page_token, *binding)
            reply = pb.ListHoldsResponse()
            if person is not None:
                rows.active(view.connection, person)
                reply.erasure_forbidden = holds.forbidden(view, person)
            if is_legal:
                found, last = holds.listed(view, person, before, size, include_ended=request.include_ended)
                reply.holds.extend(wire.hold(each, view.now_us) for each in found)
                reply.case_ids.extend(cases_that_need(view, person) if person is not None else ())
                reply.next_page_token = self._cursors.following(last, *binding)
            return reply

        return await self._call(self._desk.read, caller, work)
