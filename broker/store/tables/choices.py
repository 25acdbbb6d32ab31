"""Choices: the history."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID


class Choice(SQLModel, table=True):
    """The history of a person's choices; what is in force is also in `Person.choices`.

    `channels` is a JSON list of names, empty for all; `chosen_at` is when the person chose, `at` when it was recorded.
    """

    __tablename__ = "choice"
    __table_args__ = NO_ROW_ID
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    purpose: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    channels: str = Field(sa_column=Column(Text, nullable=False))
    medium: str = Field(sa_column=Column(Text, nullable=False))
    source: str = Field(sa_column=Column(Text, nullable=False))
    evidence: str = Field(sa_column=Column(Text, nullable=False))
    policy: str = Field(sa_column=Column(Text, nullable=False))
    chosen_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
