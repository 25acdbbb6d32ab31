"""What a transaction of the spine also writes: epochs, request ids, volumes, counts of refusals."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID


class Epoch(SQLModel, table=True):
    """An epoch secret, sealed under a ring of the broker's, and its encapsulation to the recipient's key."""

    __tablename__ = "epoch"
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    encapsulation: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    started_at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class Request(SQLModel, table=True):
    """What a request id was used for: the digest of its body and the entries that answered it."""

    __tablename__ = "request"
    principal: str = Field(sa_column=Column(Text, primary_key=True))
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    first_entry: int = Field(sa_column=Column(BigInteger, nullable=False))
    entries: int = Field(nullable=False)
    reply: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class Volume(SQLModel, table=True):
    """Persons disclosed under one grant of a contract in one window; `start` in seconds since 1970 UTC."""

    __tablename__ = "volume"
    __table_args__ = NO_ROW_ID
    contract: str = Field(sa_column=Column(Text, primary_key=True))
    purpose: str = Field(sa_column=Column(Text, primary_key=True))
    window: str = Field(sa_column=Column(Text, primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    persons: int = Field(sa_column=Column(BigInteger, nullable=False))


class RefusalCount(SQLModel, table=True):
    """Refusals of one caller in one window: the first few have entries of their own, the rest is counted."""

    __tablename__ = "refusal_count"
    principal: str = Field(sa_column=Column(Text, primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    reason: str = Field(sa_column=Column(Text, primary_key=True))
    count: int = Field(sa_column=Column(BigInteger, nullable=False))
    folded: int = Field(sa_column=Column(BigInteger, nullable=False))
