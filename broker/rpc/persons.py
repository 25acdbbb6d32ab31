"""PersonService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import person_pb2

from broker.ids import parse_person, person_text
from broker.obligations.owing import disclosed
from broker.person_requests import doing
from broker.persons import lookup, register
from broker.wire import person as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.desk import Desk
    from broker.identity import Caller
    from broker.obligations.rules import Disclosed
    from broker.persons.importing import Importer
    from broker.persons.model import Batch
    from broker.rpc.threads import Threads

PART: Final = 250
"""Rows in one transaction of an import: none holds a lock for long, and each is answered well within its time."""


class Persons:
    """The servicer; see person.proto for what each method does."""

    def __init__(self, desk: Desk, importer: Importer, call: Threads, exporting: Threads) -> None:
        self._desk = desk
        self._importer = importer
        self._call = call
        self._exporting = exporting

    async def register_person(
        self, caller: Caller, request: person_pb2.RegisterPersonRequest, _deadline_s: float
    ) -> person_pb2.RegisterPersonResponse:
        """Register."""
        done = await self._call(
            self._desk.change, caller, lambda change: register.register(change, wire.registration(request))
        )
        return person_pb2.RegisterPersonResponse(
            person_id=person_text(done.person), etag=done.etag, confirmation=wire.confirmation(done.confirmation)
        )

    async def update_person(
        self, caller: Caller, request: person_pb2.UpdatePersonRequest, _deadline_s: float
    ) -> person_pb2.UpdatePersonResponse:
        """Correct."""
        known: list[Disclosed] = []
        if request.rectification:
            known = await self._exporting(
                self._desk.read, caller, lambda view: list(disclosed(view, wire.correction(request).person))
            )
        etag = await self._call(
            self._desk.change, caller, lambda change: doing.correct(change, wire.correction(request), known)
        )
        return person_pb2.UpdatePersonResponse(etag=etag)

    async def get_person(
        self, caller: Caller, request: person_pb2.GetPersonRequest, _deadline_s: float
    ) -> person_pb2.GetPersonResponse:
        """Show."""
        shown = await self._call(
            self._desk.read,
            caller,
            lambda view: lookup.get(view, parse_person(request.person_id), include_values=request.include_values),
        )
        return wire.shown(shown)

    async def look_up_persons(
        self, caller: Caller, request: person_pb2.LookUpPersonsRequest, _deadline_s: float
    ) -> person_pb2.LookUpPersonsResponse:
        """Find."""
        found = await self._call(self._desk.read, caller, lambda view: lookup.look_up(view, *wire.look_up_key(request)))
        return person_pb2.LookUpPersonsResponse(person_ids=map(person_text, found))

    async def get_handles(
        self, caller: Caller, request: person_pb2.GetHandlesRequest, _deadline_s: float
    ) -> person_pb2.GetHandlesResponse:
        """Name persons as a subcontractor knows them."""
        found = await self._call(
            self._desk.read,
            caller,
            lambda view: lookup.handles(view, request.contract_id, wire.persons(request)),
        )
        return person_pb2.GetHandlesResponse(handles=found)

    async def import_persons(
        self,
        caller: Caller,
        requests: AsyncIterator[person_pb2.ImportPersonsRequest],
        _deadline_s: float,
    ) -> AsyncIterator[person_pb2.ImportPersonsResponse]:
        """Import, batch by batch."""
        await self._call(self._desk.read, caller, lambda _view: None)
        async for request in requests:
            results = []
            seen: set[bytes] = set()
            for start in range(0, max(len(request.rows), 1), PART):

                def parse(request: person_pb2.ImportPersonsRequest = request, start: int = start) -> Batch:
                    return wire.batch(request, start, PART)

                results += await self._call(self._importer.run, caller, parse, seen)
            yield wire.results(results)
