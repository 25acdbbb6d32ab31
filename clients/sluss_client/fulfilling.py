"""Watches what we owe and has it done: the loop behind `fulfil`, once with threads' waiting and once with asyncio's."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sluss_client.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    SlussClientError,
    TransportError,
)
from sluss_client.obligations import FOREVER_S, NeedTime, look_s, outcome_of
from sluss_client.retry import Retry

if TYPE_CHECKING:
    from threading import Event

    from sluss_client.aio import AsyncSubcontractor
    from sluss_client.obligations import Duties, Obligation
    from sluss_client.subcontractor import Subcontractor

NOT_TAKEN = (FailedPrecondition, InvalidArgument)
"""Answers that the broker does not take now: the obligation stays, and is tried again later."""
PAUSE_S = 0.2


def fulfil(client: Subcontractor, duties: Duties, *, once: bool, stop: Event | None) -> int:
    """See `Subcontractor.fulfil`."""
    token, retry = "", Retry(FOREVER_S)
    while True:
        delay_s = 0.0
        try:
            for found, resume in client.watch_obligations(
                resume=token, timeout_s=duties.wait_s(look_s(stop is not None))
            ):
                retry.progressed()
                token = resume
                if found is not None and duties.take(found) and found.state == "open":
                    client.acknowledge(found)
                if found is None or not once:
                    _do(client, duties)
                if (found is None and once) or (stop is not None and stop.is_set()):
                    return duties.fulfilled
            _do(client, duties)
        except (TransportError, ResourceExhausted, Aborted) as error:
            delay_s = _pause_s(retry, error)
        if stop is not None and stop.wait(delay_s):
            return duties.fulfilled
        if stop is None:
            time.sleep(delay_s)


def _do(client: Subcontractor, duties: Duties) -> None:
    for obligation in duties.ready():
        try:
            returned = duties.callback(obligation)(obligation)
        except NeedTime as asked:
            if _asks(duties, obligation):
                with _Kept(duties, obligation):
                    client.ask_delay(obligation, asked.until, asked.reason)
                    duties.put_off(obligation, asked.until)
        except Exception as error:  # noqa: BLE001 - it is the program's own; it has not done it
            duties.failed(obligation, error)
        else:
            with _Kept(duties, obligation):
                client.attest(obligation, outcome_of(obligation, returned))
                duties.done(obligation)


async def fulfil_async(client: AsyncSubcontractor, duties: Duties, *, once: bool) -> int:
    """See `AsyncSubcontractor.fulfil`."""
    token, retry = "", Retry(FOREVER_S)
    while True:
        delay_s = 0.0
        try:
            async for found, resume in client.watch_obligations(resume=token, timeout_s=duties.wait_s()):
                retry.progressed()
                token = resume
                if found is not None and duties.take(found) and found.state == "open":
                    await client.acknowledge(found)
                if found is None or not once:
                    await _do_async(client, duties)
                if found is None and once:
                    return duties.fulfilled
            await _do_async(client, duties)
        except (TransportError, ResourceExhausted, Aborted) as error:
            delay_s = _pause_s(retry, error)
        await asyncio.sleep(delay_s)


async def _do_async(client: AsyncSubcontractor, duties: Duties) -> None:
    for obligation in duties.ready():
        try:
            returned = await duties.callback(obligation)(obligation)
        except NeedTime as asked:
            if _asks(duties, obligation):
                with _Kept(duties, obligation):
                    await client.ask_delay(obligation, asked.until, asked.reason)
                    duties.put_off(obligation, asked.until)
        except Exception as error:  # noqa: BLE001 - it is the program's own; it has not done it
            duties.failed(obligation, error)
        else:
            with _Kept(duties, obligation):
                await client.attest(obligation, outcome_of(obligation, returned))
                duties.done(obligation)


class _Kept:
    """Around an answer that the broker may not take: then the obligation is kept, and tried again later."""

    def __init__(self, duties: Duties, obligation: Obligation) -> None:
        self._duties = duties
        self._obligation = obligation

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, NOT_TAKEN):
            self._duties.failed(self._obligation, error)
            return True
        return False


def _asks(duties: Duties, obligation: Obligation) -> bool:
    """Whether to ask for time; while a delay waits for its answer, nothing more is asked."""
    if obligation.message.delay_asked:
        duties.put_off(obligation, obligation.due)
        return False
    return True


def _pause_s(retry: Retry, error: SlussClientError) -> float:
    """Seconds until the stream is begun anew; what was not taken in time is begun anew at once."""
    if isinstance(error, Aborted):
        return PAUSE_S
    return retry.wait_s(error)
