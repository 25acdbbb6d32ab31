"""A bulk disclosure as a sequence of asks: one chunk, one disclosure, one receipt, one cursor.

Each chunk has a request id of its own, derived from the stream's id and the place where the chunk begins, so a
stream that broke goes on with the very chunk that was lost, which the spine then takes for a retry. The cursor holds
the place; sealed, since for `everyone` it is a person's id.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sluss.v1 import disclosure_pb2

from broker.asks import CHUNK, Ask, Named, Page, check_handles
from broker.contracts import checked_fields, safe_contract
from broker.errors import Reason, SlussError
from broker.ids import parse_request_id
from broker.store.queries import count_persons
from broker.wire.disclosure import check_seen, disclosure, unavailable

if TYPE_CHECKING:
    from broker.asks import Answer
    from broker.desk import View
    from broker.identity import Caller
    from broker.pages import Cursors

MAX_HANDLES = 100_000


def total(view: View, request: disclosure_pb2.DiscloseBulkRequest) -> int:
    """Persons to look at: those named, or all on record."""
    if request.WhichOneof("persons") == "handles":
        return len(request.handles.handles)
    return count_persons(view.connection, safe_contract(request.contract_id))


class Chunks:
    """The chunks of one stream, asked for one after the other.

    Args:
        caller: who asks.
        request: the stream's request; what is wrong with it is told by the first chunk's refusal, so that it is
            logged like any other.
        cursors: seals and opens the places.
        total: persons to look at, for progress.
    """

    def __init__(
        self, caller: Caller, request: disclosure_pb2.DiscloseBulkRequest, cursors: Cursors, total: int
    ) -> None:
        self._caller = caller
        self._request = request
        self._cursors = cursors
        self._total = total
        self._fields = tuple(request.fields)
        self._everyone = request.WhichOneof("persons") == "everyone"
        self._handles = tuple(request.handles.handles)
        self._size = request.chunk_size or CHUNK
        self._place = 0
        self._done = 0
        self._seen = request.seen_size
        self._finished = False
        self._stream_id = bytes(16)
        self._binding: tuple[object, ...] = ()
        self._invalid = self._check()

    def next(self) -> Ask | None:
        """The next chunk to ask for; None after the last."""
        if self._finished:
            return None
        who: Named | Page
        if self._everyone:
            who = Page(self._place, self._size)
        else:
            who = Named(self._handles[self._place : self._place + self._size])
        request = self._request
        return Ask(
            self._caller,
            hashlib.sha256(self._stream_id + self._place.to_bytes(8, "big")).digest()[:16],
            request.contract_id,
            request.purpose,
            self._fields,
            who,
            self._seen,
            invalid=self._invalid,
        )

    def reply(self, answer: Answer) -> disclosure_pb2.DiscloseBulkResponse:
        """The message of a chunk; moves on to the next."""
        told = not self._everyone or answer.decision.grant.population.everyone
        # Of a part of the population, those left out are not the caller's to count.
        self._done += answer.looked_at if told else sum(len(sealed.slices) for sealed in answer.sealed)
        if self._everyone:
            self._place = answer.last or self._place
            self._finished = answer.last == 0 or answer.looked_at < self._size
        else:
            self._place += answer.looked_at
            self._finished = self._place >= len(self._handles)
        if answer.sealed:
            # Only with a receipt does the client get to know the tree that the next proof starts from.
            self._seen = answer.size
        response = disclosure_pb2.DiscloseBulkResponse(
            unavailable=[] if self._everyone else unavailable(answer.unavailable),
            consistency_proof=answer.consistency,
            cursor=self._cursors.seal(f"{self._place},{self._done}", *self._binding),
            done=self._done,
            total=max(self._total, self._done) if told else 0,
        )
        if answer.sealed:
            response.disclosure.CopyFrom(disclosure(answer.sealed[0]))
        return response

    def _check(self) -> SlussError | None:
        try:
            self._parse()
        except SlussError as error:
            return error
        return None

    def _parse(self) -> None:
        request = self._request
        self._stream_id = parse_request_id(request.request_id)
        checked_fields(self._fields)
        check_seen(request.seen_size)
        if request.chunk_size > CHUNK:
            raise SlussError(Reason.INVALID_REQUEST, f"chunk_size: at most {CHUNK}", field="chunk_size")
        if self._everyone:
            if not request.everyone:
                raise SlussError(Reason.INVALID_REQUEST, "persons: name handles or everyone", field="persons")
        else:
            check_handles(self._handles, MAX_HANDLES)
        persons = hashlib.sha256(b"".join(self._handles)).hexdigest()
        self._binding = (
            "bulk",
            request.contract_id,
            request.purpose,
            self._fields,
            self._everyone,
            persons,
        )
        if request.resume_after:
            opened = self._cursors.open(request.resume_after, *self._binding, field="resume_after")
            place, done = opened.split(",")
            self._place, self._done = int(place), int(done)
            self._finished = not self._everyone and self._place >= len(self._handles)
