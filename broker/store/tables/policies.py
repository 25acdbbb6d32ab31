"""Texts of policy versions, and who accepted or was told of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID


class PolicyText(SQLModel, table=True):
    """A policy version in one language: its text and what changed; the ledger has the digest of all of them."""

    __tablename__ = "policy_text"
    version: str = Field(sa_column=Column(Text, primary_key=True))
    language: str = Field(sa_column=Column(Text, primary_key=True))
    text: str = Field(sa_column=Column(Text, nullable=False))
    changes: str = Field(sa_column=Column(Text, nullable=False))


class Acceptance(SQLModel, table=True):
    """A person's acceptance of a policy version; `evidence` is sealed under the person's own key, or empty."""

    __tablename__ = "acceptance"
    __table_args__ = NO_ROW_ID
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    version: str = Field(sa_column=Column(Text, nullable=False))
    source: str = Field(sa_column=Column(Text, nullable=False))
    evidence: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PolicyNotice(SQLModel, table=True):
    """A person was told of a policy version at `at`: a notice of it was delivered."""

    __tablename__ = "policy_notice"
    __table_args__ = NO_ROW_ID
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    version: str = Field(sa_column=Column(Text, primary_key=True))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PolicyFanOut(SQLModel, table=True):
    """How far telling everybody of a policy version has come: persons with ids up to `person`; `done` is 0 or 1."""

    __tablename__ = "policy_fan_out"
    version: str = Field(sa_column=Column(Text, primary_key=True))
    published_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    done: int = Field(nullable=False)
