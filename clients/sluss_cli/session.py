"""What a verb works with: its profile, its channel to the broker and where it prints."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from functools import cached_property
from threading import Timer
from typing import TYPE_CHECKING, Self

import grpc
from sluss.v1 import (
    aggregate_pb2_grpc,
    choice_pb2_grpc,
    complaint_pb2_grpc,
    compromise_pb2_grpc,
    contract_pb2_grpc,
    disclosure_pb2_grpc,
    erasure_pb2_grpc,
    ledger_pb2_grpc,
    legal_pb2_grpc,
    obligation_pb2_grpc,
    outbox_pb2_grpc,
    person_pb2_grpc,
    person_request_pb2_grpc,
    policy_pb2_grpc,
    trace_pb2_grpc,
)
from sluss_client.channel import channel
from sluss_client.errors import (
    BrokerUnavailable,
    IntegrityError,
    Refused,
    SlussClientError,
    TransportError,
    from_rpc_error,
)
from sluss_client.profile import Profile
from sluss_client.subcontractor import Subcontractor

from sluss_cli.exits import Exit, exit_of
from sluss_cli.problems import Problem, of_system, usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sluss_cli.output import Output

DEADLINE_S = 30.0
"""Seconds that a single call may take."""
LONG_S = 300.0
"""Seconds for what reads much: an export, statistics, the facts of a breach."""
PATIENCE_S = 1.5
"""Seconds after which somebody who is still waiting is told if there is no connection."""
PROBE_S = 0.4
"""Seconds to find that out in."""


class Session:
    """One run of one verb. A context manager: leaving it closes what was opened.

    Attributes:
        output: where results go.
    """

    def __init__(self, profile_dir: Path | None, output: Output) -> None:
        self.output = output
        self._profile_dir = profile_dir
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def has_profile(self) -> bool:
        """Whether the caller named a profile folder."""
        return self._profile_dir is not None

    @property
    def folder(self) -> Path:
        """The profile folder that the caller named."""
        if self._profile_dir is None:
            raise usage("who calls? Name a profile folder: --profile DIR, or SLUSS_PROFILE in the environment")
        return self._profile_dir

    @cached_property
    def profile(self) -> Profile:
        """The profile, read from its folder."""
        return load_profile(self.folder)

    @cached_property
    def _channel(self) -> grpc.Channel:
        line = self._open.enter_context(channel(self.profile))
        self._open.enter_context(told_of_silence(self.profile.endpoint, self.output))
        return line

    @cached_property
    def contracts(self) -> contract_pb2_grpc.ContractServiceStub:
        """The contract service."""
        return contract_pb2_grpc.ContractServiceStub(self._channel)

    @cached_property
    def disclosures(self) -> disclosure_pb2_grpc.DisclosureServiceStub:
        """The disclosure service."""
        return disclosure_pb2_grpc.DisclosureServiceStub(self._channel)

    @cached_property
    def persons(self) -> person_pb2_grpc.PersonServiceStub:
        """The person service."""
        return person_pb2_grpc.PersonServiceStub(self._channel)

    @cached_property
    def person_requests(self) -> person_request_pb2_grpc.PersonRequestServiceStub:
        """The service of persons' requests."""
        return person_request_pb2_grpc.PersonRequestServiceStub(self._channel)

    @cached_property
    def choices(self) -> choice_pb2_grpc.ChoiceServiceStub:
        """The choice service."""
        return choice_pb2_grpc.ChoiceServiceStub(self._channel)

    @cached_property
    def ledger(self) -> ledger_pb2_grpc.LedgerServiceStub:
        """The ledger service."""
        return ledger_pb2_grpc.LedgerServiceStub(self._channel)

    @cached_property
    def compromises(self) -> compromise_pb2_grpc.CompromiseServiceStub:
        """The compromise service."""
        return compromise_pb2_grpc.CompromiseServiceStub(self._channel)

    @cached_property
    def complaints(self) -> complaint_pb2_grpc.ComplaintServiceStub:
        """The complaint service."""
        return complaint_pb2_grpc.ComplaintServiceStub(self._channel)

    @cached_property
    def legal(self) -> legal_pb2_grpc.LegalServiceStub:
        """The legal service."""
        return legal_pb2_grpc.LegalServiceStub(self._channel)

    @cached_property
    def traces(self) -> trace_pb2_grpc.TraceServiceStub:
        """The trace service."""
        return trace_pb2_grpc.TraceServiceStub(self._channel)

    @cached_property
    def aggregates(self) -> aggregate_pb2_grpc.AggregateServiceStub:
        """The aggregate service."""
        return aggregate_pb2_grpc.AggregateServiceStub(self._channel)

    @cached_property
    def erasure(self) -> erasure_pb2_grpc.ErasureServiceStub:
        """The erasure service."""
        return erasure_pb2_grpc.ErasureServiceStub(self._channel)

    @cached_property
    def obligations(self) -> obligation_pb2_grpc.ObligationServiceStub:
        """The obligation service."""
        return obligation_pb2_grpc.ObligationServiceStub(self._channel)

    @cached_property
    def policies(self) -> policy_pb2_grpc.PolicyServiceStub:
        """The policy service."""
        return policy_pb2_grpc.PolicyServiceStub(self._channel)

    @cached_property
    def outbox(self) -> outbox_pb2_grpc.OutboxServiceStub:
        """The outbox service."""
        return outbox_pb2_grpc.OutboxServiceStub(self._channel)

    @cached_property
    def subcontractor(self) -> Subcontractor:
        """The SDK, which proves every answer before it opens anything."""
        return Subcontractor(self.profile, self._channel)

    @cached_property
    def offline(self) -> Subcontractor:
        """The SDK, for what needs no broker."""
        return self._open.enter_context(Subcontractor(self.profile))


@contextmanager
def told_of_silence(endpoint: str, output: Output) -> Iterator[None]:
    """Says on standard error, once and within 2 s, that nobody is there while the calls still try."""

    def look() -> None:
        if not output.as_json and not _listens(endpoint):
            output.note(f"No connection to {endpoint} yet: still trying.")

    timer = Timer(PATIENCE_S, look)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _listens(endpoint: str) -> bool:
    """Whether somebody takes connections there; also if the endpoint is of a kind that only gRPC can resolve."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
    except (OSError, OverflowError, UnicodeError):
        return False
    return True


def load_profile(folder: Path) -> Profile:
    """The profile in a folder.

    Raises:
        Problem: USAGE, if there is none.
    """
    try:
        return Profile.load(folder)
    except FileNotFoundError as error:
        problem = of_system(error)
        raise usage(f"no profile here: {problem.detail}", **problem.metadata) from None


def of_client(error: Exception) -> Problem | None:
    """The problem behind an exception of gRPC or the SDK; None for any other exception."""
    if isinstance(error, grpc.RpcError):
        error = from_rpc_error(error)
    if isinstance(error, BrokerUnavailable):
        return Problem(Exit.UNAVAILABLE, error.reason, error.detail, error.metadata)
    if isinstance(error, Refused):
        return Problem(exit_of(error.reason), error.reason, error.detail, error.metadata)
    if isinstance(error, TransportError):
        return Problem(Exit.UNAVAILABLE, "NO_ANSWER", str(error))
    if isinstance(error, IntegrityError):
        return Problem(Exit.INTEGRITY, type(error).__name__, str(error))
    if isinstance(error, SlussClientError):
        return usage(str(error))
    return None
