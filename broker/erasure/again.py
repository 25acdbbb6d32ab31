"""Erasing again, in a restored database, whoever was erased since its backup was taken.

The broker does not serve meanwhile; each erasure is a transaction of its own and stands in the ledger like any other,
for the cause `restore`. Broken off, it is run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.desk import Change
from broker.erasure import erasing
from broker.erasure.register import come_back
from broker.person_requests import telling
from broker.rights import Rights
from broker.store.engine import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.erasure.register import Erased, ErasureRegister
    from broker.identity import Principal
    from broker.ledger.log import Ledger, Tx
    from broker.vault import Vault

CAUSE: Final = "restore"


@dataclass(slots=True)
class ErasedAgain:
    """What was erased again.

    Attributes:
        persons: who.
        cases: the legal cases in which data of one of them was released: whether their recipients have been told of
            the erasure is lost with its request (GDPR Art. 19).
    """

    persons: list[Erased]
    cases: set[str] = field(default_factory=set)


def erase_again(
    engine: Engine, ledger: Ledger, vault: Vault, register: ErasureRegister, principal: Principal
) -> ErasedAgain:
    """Erase whoever the register names and the database has on record.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE, LEDGER_INCONSISTENT.
    """
    with reading(engine) as connection:
        done = ErasedAgain(come_back(connection, register))
    for each in done.persons:

        def work(tx: Tx, person: int = each.person) -> None:
            # Of its own: what a snapshot loads may be of a transaction that fails.
            snapshot = Rights(vault).at(tx.connection)
            change = Change(tx.connection, snapshot, principal, tx.at, tx)
            done.cases |= telling.cases(change, person, None)
            erasing.erase_regardless(change, person, CAUSE)

        ledger.run(work)
    return done
