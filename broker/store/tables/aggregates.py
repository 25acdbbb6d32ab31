"""Anonymous information: usage events, answers, and what was spent of the privacy budgets."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID


class UsageCombination(SQLModel, table=True):
    """An event with the values of all its attributes (canonical JSON): few, and shared by many events."""

    __tablename__ = "usage_combination"
    __table_args__ = (Index("usage_combination_values", "event", "attributes", unique=True),)
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    event: str = Field(sa_column=Column(Text, nullable=False))
    attributes: str = Field(sa_column=Column(Text, nullable=False))


class UsageEvent(SQLModel, table=True):
    """What a person used on a day (days since 1970 UTC). `person` is a tag made with the person's own secret.

    `id` is made with the same secret out of what makes the event the same when it is sent again: it is there once. In
    order of tags: a question reads each person's events together, and they go together with an erased person.
    """

    __tablename__ = "usage_event"
    __table_args__ = (Index("usage_event_day", "day"), NO_ROW_ID)
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    combination: int = Field(nullable=False)
    day: int = Field(nullable=False)
    seconds: int = Field(nullable=False)


class UsageState(SQLModel, table=True):
    """One row (id 1) at most.

    `forgotten` counts how often usage events were taken away from a person's record, so that counting notices it;
    `restored` is when a backup was put back (seconds since 1970 UTC), or 0.
    """

    __tablename__ = "usage_state"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    forgotten: int = Field(sa_column=Column(BigInteger, nullable=False))
    restored: int = Field(sa_column=Column(BigInteger, nullable=False))


class AggregateAnswer(SQLModel, table=True):
    """An answer by the digest of its question, with the entry for which its noise was drawn.

    Anonymous: it stays, and the same question gets it again.
    """

    __tablename__ = "aggregate_answer"
    question: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    entry: int = Field(sa_column=Column(BigInteger, nullable=False))


class AggregateRelease(SQLModel, table=True):
    """An answer that a budget's owner has got for a purpose, by the ledger entry that says so."""

    __tablename__ = "aggregate_release"
    __table_args__ = (Index("aggregate_release_recipient", "recipient", "question"),)
    owner: str = Field(sa_column=Column(Text, primary_key=True))
    recipient: str = Field(sa_column=Column(Text, primary_key=True))
    purpose: str = Field(sa_column=Column(Text, primary_key=True))
    question: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, nullable=False))


class AggregateSpent(SQLModel, table=True):
    """What was spent of a budget in a calendar month (`start` in seconds since 1970 UTC).

    `micro` in millionths of epsilon, `delta_nano` in thousand-millionths of delta.
    """

    __tablename__ = "aggregate_spent"
    __table_args__ = NO_ROW_ID
    owner: str = Field(sa_column=Column(Text, primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    micro: int = Field(sa_column=Column(BigInteger, nullable=False))
    delta_nano: int = Field(sa_column=Column(BigInteger, nullable=False))
