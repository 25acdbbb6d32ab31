"""Exit codes of every verb, so that a script can tell a refusal from a broken line."""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit code says."""

    OK = 0
    FOUND_WRONG = 1  # it ran, and what it looked at is not right: faulty rows, findings, "no" to a question
    USAGE = 2  # the command line, a file given to it or the profile is not right
    REFUSED = 3  # the broker said no, and why
    UNAVAILABLE = 4  # no answer: the broker, the network or the ledger; safe to try again
    INTEGRITY = 5  # the broker's answer does not prove itself: receipt, consistency or slice
    BUG = 70  # sysexits.h, EX_SOFTWARE: a fault of this program
    INTERRUPTED = 130  # Ctrl-C, or SIGTERM
