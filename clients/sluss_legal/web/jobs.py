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
        package: what is to be downloaded; empty until it is made.
        name: its file name.
        passphrase: shown once; empty when it has been, or when there is none.
        sealed_with_passphrase: whether there is or was a passphrase.
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
    _lock: Lock = field(default_factory=Lock)

    def start(self, work: Callable[[Job], None]) -> None:
        """Runs `work` in a thread of its own."""
        Thread(target=self._run, args=(work,), name=f"release-{self.case}", daemon=True).start()

    def moved(self, done: int, total: int) -> None:
        """Notes progress."""
        self.done, self.total = done, total

    def take_passphrase(self) -> str:
        """The passphrase, once; empty afterwards."""
        with self._lock:
            taken, self.passphrase = self.passphrase, ""
            return taken

    def _run(self, work: Callable[[Job], None]) -> None:
        try:
            work(self)
        except Exception as error:  # noqa: BLE001 - the page tells it in plain words; it must not vanish with the thread
            self.failure = error
        self.running = False
