"""The exit codes of the `sluss` command, in one place: help and pages show this table, and a test compares them.

A code says what kind of thing went wrong, whoever found it: a value that this command can't read and one that the
broker can't read are both USAGE.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from broker.errors import CATALOGUE, Code, Reason


class Exit(IntEnum):
    """How a verb ends, so that a script can tell a refusal from a broken line."""

    OK = 0
    FOUND_WRONG = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    INTEGRITY = 5
    BUG = 70  # sysexits.h, EX_SOFTWARE
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


MEANING: Final = {
    Exit.OK: "all right",
    Exit.FOUND_WRONG: "it ran and found something wrong: faulty rows, a finding, a no",
    Exit.USAGE: "the command line, a file, a value or the profile is not right",
    Exit.REFUSED: "well asked, and refused: the reason is told",
    Exit.UNAVAILABLE: "no answer, or the ledger can't be written: safe to try again",
    Exit.INTEGRITY: "an answer that does not prove itself: keep it, tell the company",
    Exit.BUG: "a fault of this program",
    Exit.INTERRUPTED: "interrupted",
}
"""What each code says, for the help and the pages."""

_BY_CODE: Final[dict[str, Exit]] = {
    Code.INVALID_ARGUMENT: Exit.USAGE,
    Code.UNAVAILABLE: Exit.UNAVAILABLE,
    Code.INTERNAL: Exit.UNAVAILABLE,  # it failed, which is not a no
    "UNKNOWN": Exit.UNAVAILABLE,  # gRPC's own status for the same
}


def exit_of(reason: str) -> Exit:
    """The exit code for a reason of the error catalogue, or for the status code of an answer without one."""
    if reason == Reason.LEDGER_INCONSISTENT:
        return Exit.INTEGRITY
    code = CATALOGUE[Reason(reason)].code if reason in set(Reason) else reason
    return _BY_CODE.get(code, Exit.REFUSED)


def table() -> str:
    """The table as text, one code a line."""
    return "\n".join(f"{code:>3}  {meaning}" for code, meaning in MEANING.items())
