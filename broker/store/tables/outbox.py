"""Messages for persons on their way to the company's mailers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID, ROW_ID


class OutboxItem(SQLModel, table=True):
    """A message to a person.

    `refs` is JSON that names no person; `body` is sealed under the person's own key, or empty. `settled_at` is when the
    last of its consumers was done with it, 0 until then; what was settled has no body.
    """

    __tablename__ = "outbox_item"
    __table_args__ = (Index("outbox_item_settled", "settled_at", "id"), Index("outbox_item_person", "person"))
    id: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    refs: str = Field(sa_column=Column(Text, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
    settled_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class OutboxConsumer(SQLModel, table=True):
    """Who takes messages from the outbox: the kinds of them (JSON, empty for all), and from which item on."""

    __tablename__ = "outbox_consumer"
    name: str = Field(sa_column=Column(Text, primary_key=True))
    principal: str = Field(sa_column=Column(Text, nullable=False))
    kinds: str = Field(sa_column=Column(Text, nullable=False))
    first: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class OutboxDelivery(SQLModel, table=True):
    """What one consumer said of one item: `delivered`, `failed` (again from `next_at` on) or `dead`."""

    __tablename__ = "outbox_delivery"
    __table_args__ = NO_ROW_ID
    item: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    consumer: str = Field(sa_column=Column(Text, primary_key=True))
    state: str = Field(sa_column=Column(Text, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    attempts: int = Field(nullable=False)
    next_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))
