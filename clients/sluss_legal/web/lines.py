"""The lines to the broker: one channel per user, with the certificate of that user's own profile."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2_grpc, ledger_pb2_grpc, legal_pb2_grpc
from sluss_client.channel import channel
from sluss_client.profile import Profile

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

DEADLINE_S = 30.0
"""Seconds that a single call may take."""
SEARCH_S = 300.0
"""Seconds that a search by name may take, which looks at everybody on record."""


class Line:
    """One user's line to the broker.

    Attributes:
        profile: the user's profile.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    @cached_property
    def channel(self) -> grpc.Channel:
        """The channel, opened with the first call."""
        return channel(self.profile)

    @cached_property
    def legal(self) -> legal_pb2_grpc.LegalServiceStub:
        """The legal service."""
        return legal_pb2_grpc.LegalServiceStub(self.channel)

    @cached_property
    def contracts(self) -> contract_pb2_grpc.ContractServiceStub:
        """The contract service."""
        return contract_pb2_grpc.ContractServiceStub(self.channel)

    @cached_property
    def ledger(self) -> ledger_pb2_grpc.LedgerServiceStub:
        """The ledger service."""
        return ledger_pb2_grpc.LedgerServiceStub(self.channel)

    def close(self) -> None:
        """Closes the channel if it was opened."""
        if "channel" in self.__dict__:
            self.channel.close()


class Lines:
    """The lines of all users, by profile folder. Safe among threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lines: dict[Path, Line] = {}

    def of(self, folder: Path) -> Line:
        """The line of the user whose profile is in a folder.

        Raises:
            ProfileError: the profile is not right.
        """
        with self._lock:
            if folder not in self._lines:
                self._lines[folder] = Line(Profile.load(folder))
            return self._lines[folder]

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            for line in self._lines.values():
                line.close()
            self._lines.clear()
