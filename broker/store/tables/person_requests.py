"""Requests of persons, and their timelines."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


class PersonRequest(SQLModel, table=True):
    """A person's request. `facts` may stay for ever; `body` holds the words, sealed under `keys`.

    After the person's erasure `person` is 0 and `keys` and `body` are empty. `state` is as of the last entry.
    """

    __tablename__ = "person_request"
    __table_args__ = (
        Index("person_request_number", "number", unique=True),
        Index("person_request_person", "person", "number"),
        Index("person_request_state", "state", "number"),
    )
    id: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    deadline: str = Field(sa_column=Column(Text, nullable=False))
    facts: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PersonRequestEvent(SQLModel, table=True):
    """A line of a request's timeline: the ledger entry, and what was written then, sealed; empty after the erasure."""

    __tablename__ = "person_request_event"
    request: str = Field(sa_column=Column(Text, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    text: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
