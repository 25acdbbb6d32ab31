"""Whatever goes wrong becomes one clear sentence and an exit code; no traceback reaches a terminal."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import Reason, SlussError
from sluss_cli.exits import Exit, exit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACEBACK = "SLUSS_TRACEBACK"
"""Environment variable by which a developer asks for tracebacks."""

_UNPROVEN = {
    Reason.MALFORMED,
    Reason.UNSUPPORTED_VERSION,
    Reason.INVALID_SIGNATURE,
}


@dataclass
class Problem(Exception):  # noqa: N818 - what a person is told; a refusal is no error
    """What a person or a script is told.

    Attributes:
        exit: the exit code.
        reason: machine-readable; of the error catalogue where the broker gave one.
        detail: one sentence, never with a person's value.
        metadata: short facts beside it.
    """

    exit: Exit
    reason: str
    detail: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def sentence(self) -> str:
        """The problem on one line: `REASON: detail (name=value, ...)`."""
        facts = ", ".join(f"{name}={value}" for name, value in sorted(self.metadata.items()))
        return f"{self.reason}: {self.detail}" + (f" ({facts})" if facts else "")

    def document(self) -> dict[str, Any]:
        """The problem for `--json`."""
        error = {"reason": self.reason, "detail": self.detail, "metadata": dict(self.metadata)}
        return {"error": error, "exit": int(self.exit)}


def usage(detail: str, **metadata: str) -> Problem:
    """A command line or a local file that is not right."""
    return Problem(Exit.USAGE, "USAGE", detail, metadata)


def of_sluss(error: SlussError) -> Problem:
    """An error of a pure module on this side: bytes that do not prove themselves, or a wrong input."""
    code = Exit.INTEGRITY if error.reason in _UNPROVEN else exit_of(error.reason)
    return Problem(code, str(error.reason), error.detail, error.metadata)


def of_bug(error: Exception) -> Problem:
    """A fault of this program: its type and place. Its text may hold a person's value and is not shown."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    detail = f"a fault of this program, {type(error).__name__} at {place}; with {TRACEBACK}=1 it shows its traceback"
    return Problem(Exit.BUG, "BUG", detail)


def of_system(error: OSError) -> Problem:
    """A file that can't be read or written."""
    where = {"file": str(error.filename)} if error.filename else {}
    return Problem(Exit.USAGE, "FILE", (error.strerror or "input or output failed").lower(), where)
