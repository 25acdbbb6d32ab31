"""Watches what we owe and has it done: the loop behind `fulfil`, once with threads' waiting and once with asyncio's."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING

from sluss_client.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    SlussClientError,
    TransportError,
)
from sluss_client.obligations import FOREVER_S, NeedTime, look_s, outcome_of
from sluss_client.retry import DEADLINE_S, Retry

if TYPE_CHECKING:
    from threading import Event

    from sluss_client.aio import AsyncSubcontractor
    from sluss_client.errors import Refused
    from sluss_client.obligations import Duties, Obligation
    from sluss_client.subcontractor import Subcontractor

NOT_TAKEN = (FailedPrecondition, InvalidArgument, NotFound)
"""Answers that the broker does not take now: the obligation stays, and is tried again later."""
PAUSE_S = 0.2


def fulfil(client: Subcontractor, duties: Duties, *, once: bool, stop: Event | None) -> int:
    """See `Subcontractor.fulfil`."""
    token, pauses = "", _Pauses(duties, once=once)
    while True:
        delay_s = 0.0
        try:
            pauses.begin()
            for found, resume in client.watch_obligations(
                resume=token, timeout_s=duties.wait_s(look_s(stoppable=stop is not None))
            ):
                if found is not None and duties.take(found) and found.state == "open":
                    with _Kept(duties, found, (FailedPrecondition,)):
                        client.acknowledge(found)
                token = resume
                pauses.heard()
                if found is None or not once:
                    _do(client, duties)
                if (found is None and once) or (stop is not None and stop.is_set()):
                    return duties.fulfilled
            _do(client, duties)
            pauses.end()
        except (TransportError, ResourceExhausted, Aborted) as error:
            # From the beginning: what we could not acknowledge comes again, and what a restored broker says anew.
            token, delay_s = "", pauses.after(error)
        if stop is not None and stop.wait(delay_s):
            return duties.fulfilled
        if stop is None:
            time.sleep(delay_s)


def _do(client: Subcontractor, duties: Duties) -> None:
    for known in duties.ready():
        obligation = _now(client, duties, known) if duties.is_old(known) else known
        if obligation is None:
            continue
        try:
            returned = duties.callback(obligation)(obligation)
        except NeedTime as asked:
            if _asks(duties, obligation, asked):
                with _Kept(duties, obligation):
                    client.ask_delay(obligation, asked.until, asked.reason)
                    duties.put_off(obligation, asked.until)
        except Exception as error:  # noqa: BLE001 - it is the program's own; it has not done it
            duties.failed(obligation, error)
        else:
            outcome = outcome_of(obligation, returned)
            duties.attesting(obligation, outcome)
            with _Kept(duties, obligation):
                client.attest(obligation, outcome)
                duties.done(obligation)


def _now(client: Subcontractor, duties: Duties, known: Obligation) -> Obligation | None:
    """What is to be done now; None if somebody has answered, or if it has to wait."""
    try:
        found = client.obligation(known.id)
    except NotFound:
        duties.drop(known)
        return None
    return duties.renew(found)


async def fulfil_async(client: AsyncSubcontractor, duties: Duties, *, once: bool) -> int:
    """See `AsyncSubcontractor.fulfil`."""
    token, pauses = "", _Pauses(duties, once=once)
    while True:
        delay_s = 0.0
        try:
            pauses.begin()
            async for found, resume in client.watch_obligations(
                resume=token, timeout_s=duties.wait_s(look_s(stoppable=False))
            ):
                if found is not None and duties.take(found) and found.state == "open":
                    with _Kept(duties, found, (FailedPrecondition,)):
                        await client.acknowledge(found)
                token = resume
                pauses.heard()
                if found is None or not once:
                    await _do_async(client, duties)
                if found is None and once:
                    return duties.fulfilled
            await _do_async(client, duties)
            pauses.end()
        except (TransportError, ResourceExhausted, Aborted) as error:
            # From the beginning: what we could not acknowledge comes again, and what a restored broker says anew.
            token, delay_s = "", pauses.after(error)
        await asyncio.sleep(delay_s)


async def _do_async(client: AsyncSubcontractor, duties: Duties) -> None:
    for known in duties.ready():
        obligation = await _now_async(client, duties, known) if duties.is_old(known) else known
        if obligation is None:
            continue
        try:
            returned = duties.callback(obligation)(obligation)
            if inspect.isawaitable(returned):
                returned = await returned
        except NeedTime as asked:
            if _asks(duties, obligation, asked):
                with _Kept(duties, obligation):
                    await client.ask_delay(obligation, asked.until, asked.reason)
                    duties.put_off(obligation, asked.until)
        except Exception as error:  # noqa: BLE001 - it is the program's own; it has not done it
            duties.failed(obligation, error)
        else:
            outcome = outcome_of(obligation, returned)
            duties.attesting(obligation, outcome)
            with _Kept(duties, obligation):
                await client.attest(obligation, outcome)
                duties.done(obligation)


async def _now_async(client: AsyncSubcontractor, duties: Duties, known: Obligation) -> Obligation | None:
    """What is to be done now; None if somebody has answered, or if it has to wait."""
    try:
        found = await client.obligation(known.id)
    except NotFound:
        duties.drop(known)
        return None
    return duties.renew(found)


class _Kept:
    """Around an answer that the broker may not take: then the obligation is kept, and looked at again later."""

    def __init__(
        self, duties: Duties, obligation: Obligation, not_taken: tuple[type[Refused], ...] = NOT_TAKEN
    ) -> None:
        self._duties = duties
        self._obligation = obligation
        self._not_taken = not_taken

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, self._not_taken):
            self._duties.failed(self._obligation, error)
            return True
        return False


class _Pauses:
    """How long to wait before a stream is begun anew, and when a run that is to end has waited long enough.

    For good, every message is a sign that the broker is there. Once, only what brings us on counts: a broker that lets
    us read and takes no answer would keep us for ever.
    """

    def __init__(self, duties: Duties, *, once: bool) -> None:
        self._duties = duties
        self._once = once
        self._retry = Retry(DEADLINE_S if once else FOREVER_S)
        self._steps = 0
        self._heard = False

    def begin(self) -> None:
        """A stream begins."""
        self._heard = False

    def heard(self) -> None:
        """A message has come, and has been dealt with."""
        self._heard = True
        if not self._once or self._duties.steps > self._steps:
            self._steps = self._duties.steps
            self._retry.progressed()

    def end(self) -> None:
        """A stream has ended in its time.

        Raises:
            TransportError: nothing has come in it.
        """
        if not self._heard:
            self._duties.unheard()
            raise TransportError("the broker does not answer")

    def after(self, error: SlussClientError) -> float:
        """Seconds until the next stream; what was not taken in time is begun anew at once.

        Raises:
            SlussClientError: `error` itself, if waiting is no use or took too long.
        """
        if isinstance(error, Aborted):
            return PAUSE_S
        return self._retry.wait_s(error)


def _asks(duties: Duties, obligation: Obligation, asked: NeedTime) -> bool:
    """Whether to ask for time: not while a delay waits for its answer, and not for time that we have."""
    if obligation.message.delay_asked:
        duties.put_off(obligation, obligation.due)
        return False
    if asked.until <= obligation.due:
        duties.put_off(obligation, asked.until)
        return False
    return True
