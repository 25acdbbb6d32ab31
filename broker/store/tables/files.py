"""Complaints and compromise reports, their timelines, and the credentials of persons that are locked."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


class CaseFile(SQLModel, table=True):
    """A complaint or a compromise report (`room`). `number` holds the year and the number in it, for their order.

    `body` is sealed under `keys`, and the ledger commits to it. What a person said, and who it is, is in `private`,
    under `private_keys`; the person's erasure empties both, and sets `person` to 0.
    """

    __tablename__ = "case_file"
    __table_args__ = (
        Index("case_file_number", "room", "number", unique=True),
        Index("case_file_person", "person"),
    )
    id: str = Field(sa_column=Column(Text, primary_key=True))
    room: str = Field(sa_column=Column(Text, nullable=False))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    handler: str = Field(sa_column=Column(Text, nullable=False))
    due_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    private_keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    private: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    opened_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class CaseFileEvent(SQLModel, table=True):
    """A line of a file's timeline: the entry, and what was written then, sealed under `private_keys`."""

    __tablename__ = "case_file_event"
    file: str = Field(sa_column=Column(Text, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    text: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class CredentialLock(SQLModel, table=True):
    """A person whose credential is reported as stolen; it goes with the reinstatement, or the person's erasure."""

    __tablename__ = "credential_lock"
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    report: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
