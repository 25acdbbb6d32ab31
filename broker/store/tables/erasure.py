"""Erasures: what they took from the ledger's ties, and which the key register must still be told of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import ROW_ID


class LedgerErased(SQLModel, table=True):
    """How many ties to an entry erasures have destroyed: so that an entry's ties still add up.

    It tells of no person: the ties of all who were erased are added up entry by entry.
    """

    __tablename__ = "ledger_erased"
    entry: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    ties: int = Field(sa_column=Column(BigInteger, nullable=False))


class Erasure(SQLModel, table=True):
    """An erasure that was committed, by its entry. `scrubbed_at` 0 until free pages and the log are clean too."""

    __tablename__ = "erasure"
    entry: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    cause: str = Field(sa_column=Column(Text, nullable=False, index=True))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    scrubbed_at: int = Field(sa_column=Column(BigInteger, nullable=False))
