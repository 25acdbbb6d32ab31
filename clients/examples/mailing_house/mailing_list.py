"""The values that came, in one SQLite file for one contract: each with the entry and the day it must be gone by.

The file is open to its owner only, and what is deleted is overwritten in it (`secure_delete`). Every change is durable
on return.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple, Self

from sluss_client.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import date
    from pathlib import Path

    from sluss_client import OpenedPerson

_TABLES = """
CREATE TABLE IF NOT EXISTS value (
    handle TEXT, field TEXT, value TEXT, retain_until TEXT, entry INTEGER, pull TEXT, PRIMARY KEY (handle, field)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pull (
    contract TEXT PRIMARY KEY, id TEXT, request_id TEXT, cursor TEXT, finished REAL
);
"""


class Pull(NamedTuple):
    """Where the latest pull stands.

    Attributes:
        contract: under which the list came.
        id: of this pull; the values that it brought bear it.
        request_id: to give the broker again when going on.
        cursor: of the last chunk that is on the list; empty before the first.
        finished: seconds since 1970; 0 while it is in progress.
    """

    contract: str
    id: str
    request_id: str
    cursor: str
    finished: float


class MailingList:
    """The list. A context manager; of one thread."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = path.with_name(path.name + ".lock")
        self._store = sqlite3.connect(path, timeout=60)
        self._store.execute("PRAGMA secure_delete = ON")
        self._store.execute("PRAGMA synchronous = FULL")
        self._store.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def alone(self) -> AbstractContextManager[None]:
        """Hold the list among processes: nobody is erased from it while a chunk with them is on its way in."""
        return locked(self._lock)

    # --- pulling ---

    def pull(self) -> Pull | None:
        """The latest pull; None if there was none."""
        row = self._store.execute("SELECT contract, id, request_id, cursor, finished FROM pull").fetchone()
        return Pull(*row) if row else None

    def begin(self, contract: str) -> Pull:
        """Begin a pull; the values of the one before stay until it is finished."""
        begun = Pull(contract, str(uuid.uuid4()), str(uuid.uuid4()), "", 0.0)
        with self._store:
            self._store.execute("INSERT OR REPLACE INTO pull VALUES (?, ?, ?, ?, ?)", begun)
        return begun

    def ask_anew(self) -> Pull | None:
        """Go on under a new request id, after a chunk that the broker does not give again as it was."""
        with self._store:
            self._store.execute("UPDATE pull SET request_id = ?", (str(uuid.uuid4()),))
        return self.pull()

    def take(self, pull: Pull, persons: Iterable[OpenedPerson], cursor: str) -> None:
        """Put a chunk on the list and note how far we are: both or, after a crash, neither."""
        with self._store:
            for person in persons:
                self._store.execute("DELETE FROM value WHERE handle = ?", (person.handle,))
                self._put(person, pull.id)
            self._store.execute("UPDATE pull SET cursor = ?", (cursor,))

    def finish(self, pull: Pull) -> None:
        """The pull is whole: whoever did not come with it is off the list."""
        with self._store:
            self._store.execute("DELETE FROM value WHERE pull <> ?", (pull.id,))
            self._store.execute("UPDATE pull SET finished = ?", (time.time(),))

    # --- reading ---

    def persons(self, today: date) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Handle and values of everybody on the list, without values that must be gone by now."""
        query = "SELECT handle, field, value FROM value WHERE retain_until > ? ORDER BY handle"
        found: dict[str, dict[str, str]] = {}
        for handle, field, value in self._store.execute(query, (today.isoformat(),)):
            found.setdefault(handle, {})[field] = value
        yield from found.items()

    # --- fulfilling ---

    def holds(self, handle: str) -> bool:
        """Whether anything of a person is on the list."""
        return self._store.execute("SELECT 1 FROM value WHERE handle = ?", (handle,)).fetchone() is not None

    def due(self, until: str, last_entry: int) -> list[str]:
        """Whose values a day is the last one of, up to an entry."""
        query = "SELECT DISTINCT handle FROM value WHERE retain_until <= ? AND entry <= ?"
        return [row[0] for row in self._store.execute(query, (until, last_entry))]

    def delete_due(self, until: str, last_entry: int) -> None:
        """Delete those values; what came anew since, with a later day, stays."""
        with self._store:
            self._store.execute("DELETE FROM value WHERE retain_until <= ? AND entry <= ?", (until, last_entry))

    def replace(self, handle: str, fields: Iterable[str], person: OpenedPerson | None) -> None:
        """Put the right values in the place of wrong ones; a field that did not come is not kept."""
        with self._store:
            row = self._store.execute("SELECT pull FROM value WHERE handle = ?", (handle,)).fetchone()
            for field in fields:
                self._store.execute("DELETE FROM value WHERE handle = ? AND field = ?", (handle, field))
            if person is not None and row is not None:
                self._put(person, row[0])

    def erase(self, handle: str) -> None:
        """Delete everything of a person, the handle too."""
        with self._store:
            self._store.execute("DELETE FROM value WHERE handle = ?", (handle,))

    def _put(self, person: OpenedPerson, pull: str) -> None:
        terms = person.terms
        self._store.executemany(
            "INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?, ?, ?)",
            [
                (person.handle, field, value, terms.retain_until, person.entry_index, pull)
                for field, value in person.values.items()
            ],
        )
