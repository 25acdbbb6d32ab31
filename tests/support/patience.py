"""Trying again what the broker says that it has not done, since its turn did not come on a busy machine.

Only for tests of who wins: these answers promise that nothing was done, and tests of their own hold them to it.
"""

from __future__ import annotations

import os
import time

import grpc
from sluss_client.errors import from_rpc_error

from broker.errors import Reason, SlussError

NOT_DONE = frozenset({Reason.LEDGER_UNAVAILABLE, Reason.OVERLOADED})
PATIENCE_S = 60


def is_crowded():
    """Whether others use the machine so much that a measured time tells of them: three times what it can run at once.

    A promise about time may be tried again then, and only then; on a machine of one's own the first try counts.
    """
    return os.getloadavg()[0] > 3 * len(os.sched_getaffinity(0))


def patiently(work, *arguments):
    """What a work gives; it is done again as long as nothing of it was done."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work(*arguments)
        except SlussError as error:
            if error.reason not in NOT_DONE or time.monotonic() > end:
                raise
        time.sleep(0.02)


def patiently_called(call, *arguments, **named):
    """What a gRPC call gives; it is made again as long as the broker says that nothing of it was done."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call(*arguments, **named)
        except grpc.RpcError as error:
            if getattr(from_rpc_error(error), "reason", "") not in NOT_DONE or time.monotonic() > end:
                raise
        time.sleep(0.02)
