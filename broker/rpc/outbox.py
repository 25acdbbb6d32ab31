"""OutboxService."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sluss.v1 import outbox_pb2

from broker.errors import Reason, SlussError
from broker.outbox import consumers, listing, showing
from broker.pages import page_size
from broker.wire import outbox as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.desk import Change, Desk, View
    from broker.identity import Caller
    from broker.pages import Cursors
    from broker.rpc.threads import Threads

DEFAULT_ROWS: Final = 50
MAX_ROWS: Final = 200
LOOK_S: Final = 0.5
"""Seconds between two looks into the store, each of which authorises the caller anew."""
SIGN_S: Final = 15.0
"""Seconds without a message after which a sign of life is sent: well before anybody takes the stream for idle."""
MOST: Final = 1_000
"""Messages that can't be shown and are known one by one."""
AGAIN_S: Final = 300.0
"""Seconds after which a message without an answer is sent once more on the same stream, and one that could not be
shown is looked at again."""


class _Sent(NamedTuple):
    """A message on its way: how often it had failed, and when it was sent (the loop's clock)."""

    failures: int
    at: float


class _Aside:
    """Messages that can't be shown now: they take up no place of the window, and stop no other, however many they are.

    Those in `items` are known one by one. Of too many, the first ones are passed: nothing up to `behind` is looked at
    until the stream has come to the end and begins anew. What has failed among them waits for that, too.
    """

    def __init__(self) -> None:
        self.items: dict[int, float] = {}
        self.behind = 0
        self._since = 0.0

    def put(self, item: int, now: float) -> None:
        """Put a message aside, the oldest of a look first."""
        self.items[item] = now
        if len(self.items) >= MOST:
            self._since = self._since if self.behind else now
            self.behind = item
            self.items = {each: at for each, at in self.items.items() if each > item}

    def let_go(self, now: float, *, at_the_end: bool) -> None:
        """Forget what was put aside long enough ago, to look at it again."""
        self.items = {each: at for each, at in self.items.items() if at > now - AGAIN_S}
        if at_the_end and self._since <= now - AGAIN_S:
            self.behind = 0


class Outbox:
    """The servicer; see outbox.proto for what each method does.

    Args:
        desk: opens views and changes.
        cursors: page tokens.
        call: threads for the store.
        first_wait_us: after how long a message that failed once comes again.
    """

    def __init__(self, desk: Desk, cursors: Cursors, call: Threads, first_wait_us: int) -> None:
        self._desk = desk
        self._cursors = cursors
        self._call = call
        self._first_wait_us = first_wait_us
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End the watches: the server stops, and who watches comes back to another."""
        self._stopping.set()

    async def watch_outbox(
        self, caller: Caller, request: outbox_pb2.WatchOutboxRequest, _deadline_s: float
    ) -> AsyncIterator[outbox_pb2.WatchOutboxResponse]:
        """Watch."""
        window = await self._begun(caller, request)
        loop = asyncio.get_running_loop()
        sent: dict[int, _Sent] = {}
        aside = _Aside()
        yield outbox_pb2.WatchOutboxResponse()
        last = loop.time()
        while not self._stopping.is_set():
            fresh = {item: each for item, each in sent.items() if each.at > loop.time() - AGAIN_S}
            look = partial(_looked, name=request.consumer, sent=fresh, aside=aside, window=window)
            found, on_their_way = await self._call(self._desk.read, caller, look)
            sent = {item: each for item, each in fresh.items() if item in on_their_way}
            for row_id, failures, reply in found:
                if reply is None:
                    aside.put(row_id, loop.time())
                else:
                    sent[row_id] = _Sent(failures, loop.time())
                    yield reply
                    last = loop.time()
            aside.let_go(loop.time(), at_the_end=not found)
            if loop.time() - last >= SIGN_S:
                yield outbox_pb2.WatchOutboxResponse()
                last = loop.time()
            if not found:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), LOOK_S)

    async def acknowledge_outbox(
        self, caller: Caller, request: outbox_pb2.AcknowledgeOutboxRequest, _deadline_s: float
    ) -> outbox_pb2.AcknowledgeOutboxResponse:
        """Note answers."""

        def work(change: Change) -> outbox_pb2.AcknowledgeOutboxResponse:
            answers = wire.answers(request)
            done = consumers.acknowledge(change, request.consumer, answers, self._first_wait_us)
            return outbox_pb2.AcknowledgeOutboxResponse(answers=map(wire.answer, done))

        return await self._call(self._desk.change, caller, work)

    async def list_outbox(
        self, caller: Caller, request: outbox_pb2.ListOutboxRequest, _deadline_s: float
    ) -> outbox_pb2.ListOutboxResponse:
        """List."""

        def work(view: View) -> outbox_pb2.ListOutboxResponse:
            size, states = page_size(request.page_size, DEFAULT_ROWS, MAX_ROWS), wire.states(request.states)
            binding = ("outbox", sorted(states))
            before = self._cursors.number(request.page_token, *binding)
            found, last = listing.page(view, states, before, size)
            every = [] if before else consumers.all_of_them(view.connection)
            return outbox_pb2.ListOutboxResponse(
                items=map(wire.listed, found),
                next_page_token=self._cursors.following(last, *binding),
                consumers=[wire.consumer(each, consumers.waiting(view.connection, each)) for each in every],
            )

        return await self._call(self._desk.read, caller, work)

    async def _begun(self, caller: Caller, request: outbox_pb2.WatchOutboxRequest) -> int:
        """Know the consumer; the window. Only one that is new, or takes other kinds than before, is written."""

        def look(view: View) -> tuple[int, bool]:
            kinds, window = wire.kinds(request.kinds), wire.window(request.window)
            consumers.check_name(request.consumer)
            known = consumers.find(view.connection, request.consumer)
            if known is not None:
                consumers.require_own(known, view.principal.name)
            return window, known is not None and known.kinds == kinds

        def enlist(change: Change) -> None:
            kinds = wire.kinds(request.kinds)
            consumers.enlist(change, request.consumer, kinds, skip_earlier=request.skip_earlier)

        window, is_known = await self._call(self._desk.read, caller, look)
        if not is_known:
            await self._call(self._desk.change, caller, enlist)
        return window


_Found = list[tuple[int, int, outbox_pb2.WatchOutboxResponse | None]]


def _looked(view: View, name: str, sent: dict[int, _Sent], aside: _Aside, window: int) -> tuple[_Found, set[int]]:
    """What is to be sent next (item, failures, message), and which of what was sent is still on its way.

    A message that can't be shown has none.
    """
    consumer = consumers.find(view.connection, name)
    if consumer is None:
        raise SlussError(Reason.INTERNAL, "a consumer is gone")
    on_their_way = consumers.unanswered(view, consumer, {item: each.failures for item, each in sent.items()})
    left, busy = window - len(on_their_way), on_their_way | aside.items.keys()
    rows = consumers.due(view, consumer, busy, left, behind=aside.behind) if left > 0 else []
    shown = {each.id: wire.item(each) for each in showing.show(view, rows)}
    return [(row.id, row.attempts or 0, shown.get(row.id)) for row in rows], on_their_way
