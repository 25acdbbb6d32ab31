"""How many persons each grant has disclosed in its present windows: exact, since counted under the head's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from broker.contracts import Decision, Grant, Window, check_volume
from broker.store import tables
from broker.store.driver import change, fetch

if TYPE_CHECKING:
    from sqlalchemy import Connection

VOLUME = tables.core(tables.Volume)
_READ = 'SELECT persons FROM volume WHERE contract = ? AND purpose = ? AND "window" = ? AND start = ?'
_CHANGE = 'UPDATE volume SET persons = ? WHERE contract = ? AND purpose = ? AND "window" = ? AND start = ?'
_ADD = 'INSERT INTO volume (persons, contract, purpose, "window", start) VALUES (?, ?, ?, ?, ?)'

Name = tuple[str, str, str, int]
"""Contract, granted purpose, window, and its start in seconds since 1970 UTC."""


class Volumes:
    """The counts that one transaction reads and adds to. Nothing is written before `save`."""

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._counts: dict[Name, int] = {}
        self._known: set[Name] = set()
        self._changed: set[Name] = set()

    def used(self, decision: Decision) -> dict[Window, int]:
        """Persons disclosed under the decision's grant in each present window."""
        return self.used_by(decision.contract, decision.grant)

    def used_by(self, contract: str, grant: Grant) -> dict[Window, int]:
        """Persons disclosed under a contract's grant in each present window."""
        return {volume.window: self._count(self._name(contract, grant, volume.window)) for volume in grant.volumes}

    def take(self, decision: Decision, persons: int, asked: int) -> None:
        """Count persons in, of those that were asked for: all of them must have been within the volume.

        Raises:
            SlussError: VOLUME_EXCEEDED; then nothing is counted.
        """
        check_volume(decision, self.used(decision), asked, self._now_us)
        for volume in decision.grant.volumes:
            name = self._name(decision.contract, decision.grant, volume.window)
            self._counts[name] += persons
            self._changed.add(name)

    def save(self) -> None:
        """Write the counts that changed."""
        for statement, names in ((_CHANGE, self._changed & self._known), (_ADD, self._changed - self._known)):
            change(self._connection, statement, [(self._counts[name], *name) for name in names])

    def _name(self, contract: str, grant: Grant, window: Window) -> Name:
        return contract, grant.purpose, str(window), window.bounds(self._now_us)[0]

    def _count(self, name: Name) -> int:
        if name not in self._counts:
            found = fetch(self._connection, _READ, name)
            if found:
                self._known.add(name)
            self._counts[name] = found[0][0] if found else 0
        return self._counts[name]


def forget_before(connection: Connection, before_s: int) -> int:
    """Delete the counts of windows that started before a time in seconds since 1970 UTC; returns how many."""
    return connection.execute(delete(VOLUME).where(VOLUME.c.start < before_s)).rowcount
