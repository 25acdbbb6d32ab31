"""The ledger: its head, entries, tiles and checkpoints, and what ties persons to entries or opens sealed ones."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID, ROW_ID


class Head(SQLModel, table=True):
    """The one row (id 1) that everything which appends or changes rights locks first.

    `rights` counts the changes to contracts, keys, certificates, choices, catalogue, policy and existing
    persons: a batch that was decided at another count is decided anew under the lock.
    """

    __tablename__ = "head"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    root: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    note: str = Field(sa_column=Column(Text, nullable=False))
    rights: int = Field(sa_column=Column(BigInteger, nullable=False))
    contracts: int = Field(sa_column=Column(BigInteger, nullable=False))


RIGHTS = "type IN ('catalogue', 'certificate', 'contract', 'key', 'key_ring', 'policy')"
"""Entries that rights stand on. Queries repeat these very words: only then does either store use the index."""
CASES = "type = 'case'"
"""Steps of legal cases, among the many entries of a release; likewise."""
HOLDS = "type = 'hold'"
"""Legal holds, of whomever: they are few, and an erasure reads them all; likewise."""


class LedgerEntry(SQLModel, table=True):
    """An entry's canonical bytes by its index in the tree; never updated, never deleted.

    `type`, `contract`, `recipient` and `at` repeat what the bytes say, for search; `verify` compares them.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (
        Index("ledger_entry_contract", "contract", "id"),
        Index("ledger_entry_recipient", "recipient", "id"),
        Index(
            "ledger_entry_rights",
            "type",
            "contract",
            "recipient",
            "id",
            sqlite_where=text(RIGHTS),
            postgresql_where=text(RIGHTS),
        ),
        Index(
            "ledger_entry_cases",
            "contract",
            "id",
            sqlite_where=text(CASES),
            postgresql_where=text(CASES),
        ),
        Index("ledger_entry_holds", "id", sqlite_where=text(HOLDS), postgresql_where=text(HOLDS)),
    )
    id: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    entry: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    recipient: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerTile(SQLModel, table=True):
    """A C2SP tile: up to 256 node hashes of 32 bytes; only the right-most of a level is ever rewritten."""

    __tablename__ = "ledger_tile"
    level: int = Field(primary_key=True)
    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hashes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerCheckpoint(SQLModel, table=True):
    """A published checkpoint: a signed note with an Ed25519 signature and an ML-DSA-44 cosignature."""

    __tablename__ = "ledger_checkpoint"
    size: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    note: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerPerson(SQLModel, table=True):
    """Which entries speak of a person: what the ledger's commitments hide. Goes with the person's erasure."""

    __tablename__ = "ledger_person"
    __table_args__ = (Index("ledger_person_entry", "entry"), NO_ROW_ID)
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


class SealedEntry(SQLModel, table=True):
    """What opens a sealed entry of the ledger: salt and entry, sealed under the case's keys."""

    __tablename__ = "sealed_entry"
    __table_args__ = (Index("sealed_entry_case", "case", "entry"),)
    entry: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    case: str = Field(sa_column=Column(Text, nullable=False))
    opening: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
