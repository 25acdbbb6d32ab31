"""A release under way: it runs in a thread, and the page asks how far it has come. Memory only.

What a release does is a `Releaser`, handed to `app.build`: it streams what was approved and makes the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.web.lines import Line

    Releaser = Callable[[Line, pb.Case, str, "Job"], None]
    """Releases a case, with the cover sheet in a language, and fills the job: progress, package, passphrase."""


@dataclass
class Job:
    """One release.

    Attributes:
        case: its case.
        done: persons looked at so far.
        total: persons to look at.
        running: whether it goes on.
        failure: why it stopped; None if it did not fail.
        fetched: whether the package was.
        package: what is to be downloaded; empty until it is made.
        name: its file name.
        passphrase: shown once; empty when it has been, or when there is none.
        sealed_with_passphrase: whether there is or was a passphrase.
        forget: drops what the releaser kept; called once package and passphrase have both been taken.
    """

    case: str
    done: int = 0
    total: int = 0
    running: bool = True
    failure: Exception | None = None
    package: bytes = b""
    name: str = ""
    passphrase: str = ""
    sealed_with_passphrase: bool = False
    forget: Callable[[], None] = lambda: None
    fetched: bool = False
    _lock: Lock = field(default_factory=Lock)

    def start(self, work: Callable[[Job], None]) -> None:
        """Runs `work` in a thread of its own."""
        Thread(target=self._run, args=(work,), name=f"release-{self.case}", daemon=True).start()

    def moved(self, done: int, total: int) -> None:
        """Notes progress."""
        self.done, self.total = done, total

    def take_package(self) -> bytes:
        """The package."""
        self.fetched = True
        self._forget_if_taken()
        return self.package

    def take_passphrase(self) -> str:
        """The passphrase, once; empty afterwards."""
        with self._lock:
            taken, self.passphrase = self.passphrase, ""
        self._forget_if_taken()
        return taken

    def _forget_if_taken(self) -> None:
        if self.fetched and not self.passphrase:
            self.forget()

    def _run(self, work: Callable[[Job], None]) -> None:
        try:
            work(self)
        except Exception as error:  # noqa: BLE001 - the page tells it in plain words; it must not vanish with the thread
            self.failure = error
        self.running = False
