"""Epochs: one encapsulation to a recipient's key serves an hour of a contract's disclosures (protos/SLICE.md).

A process keeps its own epochs in memory and stores each, sealed under the broker's ring, in the transaction of the
first disclosure that uses it; a retry after a restart finds it there. What was not committed is stored again with
the next disclosure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.sealing import Epoch, RecipientPublicKey, new_epoch
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from broker.vault import Vault

EPOCH = tables.core(tables.Epoch)
LIFETIME_US = 3_600 * SECOND
MAX_DISCLOSURES = 1 << 20


@dataclass(slots=True)
class _Held:
    epoch: Epoch
    contract: str
    started_at: int
    disclosures: int = 0


class Epochs:
    """The epochs in use. Used by the one thread that runs the spine.

    Args:
        vault: wraps the secrets.
        lifetime_us: microseconds that an epoch serves; at most an hour.
        disclosures: disclosures that it serves; at most 2**20.
    """

    def __init__(self, vault: Vault, lifetime_us: int = LIFETIME_US, disclosures: int = MAX_DISCLOSURES) -> None:
        self._vault = vault
        self._lifetime_us = min(lifetime_us, LIFETIME_US)
        self._disclosures = min(disclosures, MAX_DISCLOSURES)
        self._held: dict[tuple[str, bytes], _Held] = {}
        self._unstored: dict[bytes, _Held] = {}

    def current(self, contract: str, key: RecipientPublicKey, now_us: int) -> Epoch:
        """The epoch for a disclosure under the contract to the key: a new one if the present one is used up."""
        held = self._held.get((contract, key.id))
        if held is None or now_us >= held.started_at + self._lifetime_us or held.disclosures >= self._disclosures:
            held = _Held(new_epoch(contract, key), contract, now_us)
            self._held[contract, key.id] = self._unstored[held.epoch.blob] = held
        held.disclosures += 1
        return held.epoch

    def store(self, connection: Connection, used: set[bytes]) -> list[bytes]:
        """Store those of the epochs used, by their encapsulations, that are not stored yet.

        Returns:
            The encapsulations, for `stored` once the transaction has been committed.
        """
        fresh = [blob for blob in used if blob in self._unstored]
        for blob in fresh:
            held = self._unstored[blob]
            connection.execute(
                insert(EPOCH).values(
                    id=held.epoch.id,
                    contract=held.contract,
                    key=held.epoch.key_id,
                    secret=self._vault.wrap_epoch(held.epoch.id, held.epoch.secret),
                    encapsulation=blob,
                    started_at=held.started_at,
                )
            )
        return fresh

    def stored(self, blobs: list[bytes]) -> None:
        """The transaction that stored these epochs has been committed; those that nobody used are forgotten."""
        for blob in blobs:
            self._unstored.pop(blob)
        present = {held.epoch.blob for held in self._held.values()}
        self._unstored = {blob: held for blob, held in self._unstored.items() if blob in present}

    def load(self, connection: Connection, epoch: bytes) -> Epoch:
        """A stored epoch, for a retry.

        Raises:
            SlussError: RECORD_CHANGED when it is older than the retry window and has been destroyed.
        """
        row = connection.execute(select(EPOCH.c.secret, EPOCH.c.encapsulation).where(EPOCH.c.id == epoch)).one_or_none()
        if row is None:
            raise SlussError(Reason.RECORD_CHANGED)
        return Epoch(self._vault.unwrap_epoch(epoch, row.secret), row.encapsulation)


def destroy_expired(connection: Connection, before_us: int) -> int:
    """Destroy the secrets of epochs that started before a time; returns how many."""
    return connection.execute(delete(EPOCH).where(EPOCH.c.started_at < before_us)).rowcount
