"""Erasing again, in a restored database, whoever was erased since its backup was taken.

The broker does not serve meanwhile; each erasure is a transaction of its own and stands in the ledger like any other,
for the cause `restore`. Broken off, it is run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.desk import Change
from broker.erasure import erasing
from broker.erasure.register import come_back
from broker.rights import Rights
from broker.store.engine import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.erasure.register import Erased, ErasureRegister
    from broker.identity import Principal
    from broker.ledger.log import Ledger, Tx
    from broker.vault import Vault

CAUSE: Final = "restore"


def erase_again(
    engine: Engine, ledger: Ledger, vault: Vault, register: ErasureRegister, principal: Principal
) -> list[Erased]:
    """Erase whoever the register names and the database has on record; those erased.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE, LEDGER_INCONSISTENT.
    """
    with reading(engine) as connection:
        due = come_back(connection, register)
    for each in due:

        def work(tx: Tx, person: int = each.person) -> None:
            # Of its own: what a snapshot loads may be of a transaction that fails.
            snapshot = Rights(vault).at(tx.connection)
            erasing.erase(Change(tx.connection, snapshot, principal, tx.at, tx), person, CAUSE)

        ledger.run(work)
    return due
