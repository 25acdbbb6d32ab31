"""How many persons each grant has disclosed in its present windows: exact, since counted under the head's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from broker.contracts import Decision, Grant, Window, check_volume
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

VOLUME = tables.core(tables.Volume)
# Built once: SQLAlchemy spends more on building a statement than the store on running it.
_WHERE = (
    VOLUME.c.contract == bindparam("of_contract"),
    VOLUME.c.purpose == bindparam("of_purpose"),
    VOLUME.c.window == bindparam("of_window"),
    VOLUME.c.start == bindparam("of_start"),
)
_READ = select(VOLUME.c.persons).where(*_WHERE)
_CHANGE = update(VOLUME).where(*_WHERE).values(persons=bindparam("persons"))
_ADD = insert(VOLUME)

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

    def take(self, decision: Decision, persons: int) -> None:
        """Count persons in.

        Raises:
            SlussError: VOLUME_EXCEEDED; then nothing is counted.
        """
        check_volume(decision, self.used(decision), persons, self._now_us)
        for volume in decision.grant.volumes:
            name = self._name(decision.contract, decision.grant, volume.window)
            self._counts[name] += persons
            self._changed.add(name)

    def save(self) -> None:
        """Write the counts that changed."""
        for name in self._changed:
            if name in self._known:
                self._connection.execute(_CHANGE, {**_named(name, "of_"), "persons": self._counts[name]})
            else:
                self._connection.execute(_ADD, {**_named(name), "persons": self._counts[name]})

    def _name(self, contract: str, grant: Grant, window: Window) -> Name:
        return contract, grant.purpose, str(window), window.bounds(self._now_us)[0]

    def _count(self, name: Name) -> int:
        if name not in self._counts:
            found = self._connection.execute(_READ, _named(name, "of_")).scalar_one_or_none()
            if found is not None:
                self._known.add(name)
            self._counts[name] = found or 0
        return self._counts[name]


def _named(name: Name, prefix: str = "") -> dict[str, str | int]:
    contract, purpose, window, start = name
    return {
        f"{prefix}contract": contract,
        f"{prefix}purpose": purpose,
        f"{prefix}window": window,
        f"{prefix}start": start,
    }


def forget_before(connection: Connection, before_s: int) -> int:
    """Delete the counts of windows that started before a time in seconds since 1970 UTC; returns how many."""
    return connection.execute(delete(VOLUME).where(VOLUME.c.start < before_s)).rowcount
