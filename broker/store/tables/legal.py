"""Legal cases, their timelines and documents."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


class LegalCase(SQLModel, table=True):
    """A legal case. What is written of it is sealed in `body`; the columns are what lists and secrecy need.

    `number` counts all cases, for their order. `hidden_until` is the moment at which secrecy ends (0: never hidden).
    `place`, `done`, `total`, `released` and `complete` say how far its release has come.
    """

    __tablename__ = "legal_case"
    __table_args__ = (Index("legal_case_number", "number", unique=True),)
    id: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    ground: str = Field(sa_column=Column(Text, nullable=False))
    handler: str = Field(sa_column=Column(Text, nullable=False))
    hidden_until: int = Field(sa_column=Column(BigInteger, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    place: int = Field(sa_column=Column(BigInteger, nullable=False))
    done: int = Field(sa_column=Column(BigInteger, nullable=False))
    total: int = Field(sa_column=Column(BigInteger, nullable=False))
    released: int = Field(sa_column=Column(BigInteger, nullable=False))
    complete: int = Field(nullable=False)
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LegalEvent(SQLModel, table=True):
    """A line of a case's timeline: the ledger entry, and what was written then, sealed; the entry commits to it."""

    __tablename__ = "legal_event"
    case: str = Field(sa_column=Column(Text, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    text: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LegalDocument(SQLModel, table=True):
    """A document of a case: `about` (name, media type, digest) and `content`, both sealed."""

    __tablename__ = "legal_document"
    case: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    entry: int = Field(sa_column=Column(BigInteger, nullable=False))
    about: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
