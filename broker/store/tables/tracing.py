"""Tracing: canaries and the digests by which they are found, and digests of values that were corrected."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID, ROW_ID


class Canary(SQLModel, table=True):
    """A person who does not exist, by the id of its `person` row; only `contract` ever sees it.

    `facts` holds its values, sealed under a key of the contract's canaries. `planted` and `retired` are indexes of
    entries (`retired` -1 while it is in use), the times in microseconds since 1970 UTC (0: not retired).
    """

    __tablename__ = "canary"
    __table_args__ = (Index("canary_contract", "contract", "number", unique=True),)
    person: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    facts: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    planted: int = Field(sa_column=Column(BigInteger, nullable=False))
    planted_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    retired: int = Field(sa_column=Column(BigInteger, nullable=False))
    retired_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class CanaryIndex(SQLModel, table=True):
    """Keyed digests of canaries' addresses and numbers, apart from those of persons: only tracing looks here."""

    __tablename__ = "canary_index"
    __table_args__ = NO_ROW_ID
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


class FormerIndex(SQLModel, table=True):
    """Keyed digests of values that have been corrected or removed: who had received one, had it from then.

    `since` and `until` in microseconds since 1970 UTC. Goes with the person's erasure.
    """

    __tablename__ = "former_index"
    __table_args__ = (Index("former_index_person", "person"), Index("former_index_until", "until"), NO_ROW_ID)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    until: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    field: str = Field(sa_column=Column(Text, primary_key=True))
    since: int = Field(sa_column=Column(BigInteger, nullable=False))
