"""What goes wrong in a store, in the broker's own words: a driver's text may quote data and stays in."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

CONFLICTS: Final = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialisation failure and of a deadlock: nothing was written, run the transaction again."""


class StoreError(SlussError):
    """LEDGER_UNAVAILABLE, as the store raises it.

    Attributes:
        conflict: the transaction lost against another one; run again at once, it is likely to succeed.
    """

    def __init__(self, *, conflict: bool = False) -> None:
        super().__init__(Reason.LEDGER_UNAVAILABLE)
        self.conflict = conflict


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns what a driver raises into a `SlussError` that holds nothing of the driver's text.

    IntegrityError passes: it is an answer (a row is there already), and its catcher knows what it means.

    Raises:
        StoreError: LEDGER_UNAVAILABLE: no connection, a lock or an answer that took too long, disk full,
            read-only, database gone. After a failed commit it is not known whether the transaction persisted.
        SlussError: INTERNAL for a statement that the store does not understand: retrying would not help.
    """
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError):
        raise
    except (ProgrammingError, DataError, NotSupportedError) as error:
        _log(error)
        raise SlussError(Reason.INTERNAL) from None
    except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
        _log(error)
        raise StoreError(conflict=sqlstate(error) in CONFLICTS) from None


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE (or SQLite's error name) of a driver error, or of the one it wraps; empty if none."""
    cause = getattr(error, "orig", error)
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""


def _log(error: BaseException) -> None:
    log.warning("store failed: %s %s", type(getattr(error, "orig", error)).__name__, sqlstate(error))
