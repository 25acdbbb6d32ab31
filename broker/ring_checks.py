"""Whether the rings are those that the database was written with, and as new as the ledger says.

A broker on other rings opens nothing; but it would register persons, under keys that are gone once the right file is
put back. One on a copy from before versions were destroyed would wrap under one that everybody else has no more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from broker.errors import Reason, SlussError
from broker.ledger.standing import Standing
from broker.store.queries import CONTRACT, PERSON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from broker.keys.provider import Ring
    from broker.vault import Vault

SAMPLE: Final = 20
"""Rows of persons, and of contracts, that are tried: some may have been altered, all of them hardly."""


@dataclass(slots=True)
class Told:
    """What the ledger says of a ring: which versions came, and which went."""

    rotated: set[int] = field(default_factory=set)
    destroyed: set[int] = field(default_factory=set)

    @property
    def last(self) -> int:
        """The highest number that it knows."""
        return max(self.rotated | self.destroyed, default=0)


def told(connection: Connection) -> Mapping[str, Told]:
    """What the ledger says of every ring.

    Args:
        connection: of a transaction that has not appended to the ledger.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    found: dict[str, Told] = defaultdict(Told)
    for said in Standing().of(connection, "key_ring"):
        ring = found[said["ring"]]
        (ring.rotated if said["event"] == "rotated" else ring.destroyed).add(said["version"])
    return found


def require_newest(connection: Connection, rings: Mapping[str, Ring]) -> None:
    """Refuse rings that would wrap under a version that is destroyed, says the ledger.

    Raises:
        SlussError: KEYS_UNAVAILABLE, LEDGER_INCONSISTENT.
    """
    for name, each in told(connection).items():
        newest = rings[name].versions[-1]
        if newest in each.destroyed:
            gone = f"the ledger says that version {newest} of the ring {name} is destroyed"
            raise SlussError(Reason.KEYS_UNAVAILABLE, f"{gone}: keys/rings.json is an old copy, put the newest there")


def require_ours(connection: Connection, vault: Vault) -> None:
    """Refuse rings that open nothing of what they should.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    persons = select(PERSON).where(func.length(PERSON.c["keys"]) > 0).limit(SAMPLE)
    contracts = select(CONTRACT).where(func.length(CONTRACT.c.handle_key) > 0).limit(SAMPLE)
    tries: list[Callable[[], bytes]] = [
        *(lambda row=row: vault.person_secret(row) for row in connection.execute(persons)),
        *(lambda row=row: vault.unwrap_handle_key(row.id, row.handle_key) for row in connection.execute(contracts)),
    ]
    if tries and all(map(_fails, tries)):
        raise SlussError(Reason.KEYS_UNAVAILABLE, "keys/rings.json opens nothing in the database: it is of another one")


def _fails(opening: Callable[[], bytes]) -> bool:
    """Whether something does not open, though its version is there."""
    try:
        opening()
    except SlussError as error:
        return error.reason is Reason.INTERNAL
    return False
