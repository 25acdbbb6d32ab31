"""PolicyService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import policy_pb2

from broker.ids import parse_person
from broker.pages import page_size
from broker.policies import acceptances, notices, versions
from broker.wire import policy as wire

if TYPE_CHECKING:
    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_ROWS = 50
MAX_ROWS = 200


class Policies:
    """The servicer; see policy.proto for what each method does."""

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call

    async def publish_policy_version(
        self, caller: Caller, request: policy_pb2.PublishPolicyVersionRequest, _deadline_s: float
    ) -> policy_pb2.PublishPolicyVersionResponse:
        """Publish."""
        standing, index = await self._call(
            self._desk.change, caller, lambda change: versions.publish(change, wire.publication(request))
        )
        return policy_pb2.PublishPolicyVersionResponse(version=wire.version(standing), entry_index=index)

    async def list_policy_versions(
        self, caller: Caller, _request: policy_pb2.ListPolicyVersionsRequest, _deadline_s: float
    ) -> policy_pb2.ListPolicyVersionsResponse:
        """List."""
        found = await self._call(self._desk.read, caller, versions.list_all)
        return policy_pb2.ListPolicyVersionsResponse(versions=map(wire.version, found))

    async def get_policy_text(
        self, caller: Caller, request: policy_pb2.GetPolicyTextRequest, _deadline_s: float
    ) -> policy_pb2.GetPolicyTextResponse:
        """Show."""

        def work(view: View) -> policy_pb2.GetPolicyTextResponse:
            wanted = wire.language(request.language, "language") if request.language else ""
            standing, text = versions.show(view, request.version, wanted)
            return policy_pb2.GetPolicyTextResponse(version=wire.version(standing), text=wire.text(text))

        return await self._call(self._desk.read, caller, work)

    async def record_acceptance(
        self, caller: Caller, request: policy_pb2.RecordAcceptanceRequest, _deadline_s: float
    ) -> policy_pb2.RecordAcceptanceResponse:
        """Record."""

        def work(change: Change) -> policy_pb2.RecordAcceptanceResponse:
            done = acceptances.record(change, wire.accepting(request))
            return policy_pb2.RecordAcceptanceResponse(entry_index=done.entry, newest_accepted=done.newest)

        return await self._call(self._desk.change, caller, work)

    async def list_acceptances(
        self, caller: Caller, request: policy_pb2.ListAcceptancesRequest, _deadline_s: float
    ) -> policy_pb2.ListAcceptancesResponse:
        """List."""

        def work(view: View) -> policy_pb2.ListAcceptancesResponse:
            person = parse_person(request.person_id)
            size = page_size(request.page_size, DEFAULT_ROWS, MAX_ROWS)
            binding = ("acceptances", person)
            before = self._cursors.number(request.page_token, *binding)
            found, last = acceptances.history(view, person, before, size)
            told = [] if before else notices.told(view.connection, person)
            return policy_pb2.ListAcceptancesResponse(
                acceptances=map(wire.acceptance, found),
                next_page_token=self._cursors.following(last, *binding),
                notices=wire.notices(told),
            )

        return await self._call(self._desk.read, caller, work)
