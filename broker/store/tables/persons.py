"""Persons: records at rest, look-up."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID, ROW_ID


class Person(SQLModel, table=True):
    """A person's record: sealed fields under keys of their own (see vault.py for the two formats).

    `choices` is the choices now in force by purpose and channel, JSON (broker/choices/rule.py), and how many were made
    up to which entry, under a MAC of the person's own (own_keys.py). `fingerprint` is a keyed digest of all values, so
    that importing the same row again is seen without opening anything. `accepted` is the newest policy version that the
    person accepted, under a MAC of the person's own, too; null for none.
    """

    __tablename__ = "person"
    id: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    financial_keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    record: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    choices: str = Field(sa_column=Column(Text, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    accepted: str | None = Field(default=None, sa_column=Column(Text, nullable=True))


class BlindIndex(SQLModel, table=True):
    """Keyed digests for look-up by e-mail, phone and customer number; `kind` names which."""

    __tablename__ = "blind_index"
    __table_args__ = (Index("blind_index_person", "person"), NO_ROW_ID)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


class UniqueNumber(SQLModel, table=True):
    """One row per customer number (its blind-index digest): two registrations can't race past each other."""

    __tablename__ = "unique_number"
    __table_args__ = (Index("unique_number_person", "person"),)
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
