"""How many persons each grant has disclosed in its present windows: exact, since counted under the head's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from broker.contracts import Decision, Grant, Window, check_volume
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

VOLUME = tables.core(tables.Volume)
_KEY = (VOLUME.c.contract, VOLUME.c.purpose, VOLUME.c.window, VOLUME.c.start)


class Volumes:
    """The counts that one transaction reads and adds to. Nothing is written before `save`."""

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._counts: dict[tuple[str, str, str, int], int] = {}
        self._known: set[tuple[str, str, str, int]] = set()
        self._changed: set[tuple[str, str, str, int]] = set()

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
            persons = self._counts[name]
            if name in self._known:
                where = [column == value for column, value in zip(_KEY, name, strict=True)]
                self._connection.execute(update(VOLUME).where(*where).values(persons=persons))
            else:
                contract, purpose, window, start = name
                self._connection.execute(
                    insert(VOLUME).values(
                        contract=contract, purpose=purpose, window=window, start=start, persons=persons
                    )
                )

    def _name(self, contract: str, grant: Grant, window: Window) -> tuple[str, str, str, int]:
        return contract, grant.purpose, str(window), window.bounds(self._now_us)[0]

    def _count(self, name: tuple[str, str, str, int]) -> int:
        if name not in self._counts:
            where = [column == value for column, value in zip(_KEY, name, strict=True)]
            found = self._connection.execute(select(VOLUME.c.persons).where(*where)).scalar_one_or_none()
            if found is not None:
                self._known.add(name)
            self._counts[name] = found or 0
        return self._counts[name]


def forget_before(connection: Connection, before_s: int) -> int:
    """Delete the counts of windows that started before a time in seconds since 1970 UTC; returns how many."""
    return connection.execute(delete(VOLUME).where(VOLUME.c.start < before_s)).rowcount
