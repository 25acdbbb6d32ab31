"""The channels of one client, and the certificate of each: a rotation moves new calls to a new channel.

A call takes the line in use and leaves it when it has ended, a stream with its last message. When the profile
has got another certificate (by this client, or by another process), the next call makes a new line. The old
one is closed when the last call on it has ended, so that no call is cut off by a rotation. What is signed for
a call is signed with the key of the line that the call is on.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sluss.v1 import aggregate_pb2_grpc, contract_pb2_grpc, disclosure_pb2_grpc, ledger_pb2_grpc, obligation_pb2_grpc

from sluss_client.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluss_client.profile import Identity, Profile, Stamp

_C = TypeVar("_C")


@dataclass
class Line(Generic[_C]):
    """A channel with the identity that it was made with.

    Attributes:
        channel: a channel of grpc or grpc.aio.
        identity: the key and the certificate by which the broker knows the calls on it.
        calls: how many are in flight.
    """

    channel: _C
    identity: Identity
    calls: int = 0

    def __post_init__(self) -> None:
        line: Any = self.channel  # the stubs take channels of both kinds
        self.aggregates: Any = aggregate_pb2_grpc.AggregateServiceStub(line)
        self.contracts: Any = contract_pb2_grpc.ContractServiceStub(line)
        self.disclosures: Any = disclosure_pb2_grpc.DisclosureServiceStub(line)
        self.obligations: Any = obligation_pb2_grpc.ObligationServiceStub(line)
        self.ledger: Any = ledger_pb2_grpc.LedgerServiceStub(line)


class Lines(Generic[_C]):
    """The line in use, and those before it whose calls have not all ended. Safe among threads.

    Args:
        profile: whose certificate.
        connect: makes a channel.
        given: a channel to use as it is, and never to replace; None to make one.
    """

    def __init__(self, profile: Profile, connect: Callable[[Profile, Identity], _C], given: _C | None) -> None:
        self._profile, self._connect, self._fixed = profile, connect, given is not None
        self._guard = Lock()
        self._stamp: Stamp | None = profile.certificate_stamp()
        identity = profile.identity()
        self._now = Line(connect(profile, identity) if given is None else given, identity)
        self._retired: list[Line[_C]] = []

    def take(self) -> Line[_C]:
        """The line for one more call; a new one if the certificate has changed."""
        with self._guard:
            self._move_on()
            self._now.calls += 1
            return self._now

    def leave(self, line: Line[_C]) -> list[_C]:
        """A call has ended; the channels that nobody uses any more, to be closed by the caller."""
        with self._guard:
            line.calls -= 1
            over = [one for one in self._retired if not one.calls]
            self._retired = [one for one in self._retired if one.calls]
        return [one.channel for one in over]

    def all(self) -> list[_C]:
        """Every channel that is open, to close the client."""
        with self._guard:
            return [one.channel for one in (self._now, *self._retired)]

    def _move_on(self) -> None:
        stamp = self._profile.certificate_stamp()
        if self._fixed or stamp is None or stamp == self._stamp:
            return
        try:
            identity = self._profile.identity()
        except ProfileError:
            return  # half of a certificate copied by hand: the old one serves, and we look again next time
        if identity != self._now.identity:
            self._retired.append(self._now)
            self._now = Line(self._connect(self._profile, identity), identity)
        self._stamp = stamp
