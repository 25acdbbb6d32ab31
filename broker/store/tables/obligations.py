"""What recipients owe. What fulfils an obligation stands in the ledger; these rows only find it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from broker.store.tables.columns import NO_ROW_ID


class Retention(SQLModel, table=True):
    """The disclosures under one contract that are to be deleted by one day: the first and the last entry of them.

    `raised` is the last entry that an obligation has been made for, or -1: behind it something is owed that nobody
    has been told of.
    """

    __tablename__ = "retention"
    __table_args__ = (Index("retention_recipient", "recipient", "until"), NO_ROW_ID)
    contract: str = Field(sa_column=Column(Text, primary_key=True))
    until: str = Field(sa_column=Column(Text, primary_key=True))
    recipient: str = Field(sa_column=Column(Text, nullable=False))
    first: int = Field(sa_column=Column(BigInteger, nullable=False))
    last: int = Field(sa_column=Column(BigInteger, nullable=False))
    raised: int = Field(sa_column=Column(BigInteger, nullable=False))


class Obligation(SQLModel, table=True):
    """An obligation. `number` counts all of them; `moved` is the entry of the last thing that happened to it.

    `handle` and `salt` are destroyed once it is answered for good; `person` is 0 for `delete_by` and after the
    person's erasure. `fields` is a JSON list, `until` the day until which it was owed when it was made, `due` the day
    now. `settled` is 1 for what nobody waits for any more: a hint for lists.
    """

    __tablename__ = "obligation"
    __table_args__ = (
        Index("obligation_number", "number", unique=True),
        Index("obligation_recipient", "recipient", "settled", "moved"),
        Index("obligation_contract", "contract", "until"),
        Index("obligation_person", "person"),
        Index("obligation_due", "settled", "due"),
        Index("obligation_cause", "cause"),
    )
    id: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    recipient: str = Field(sa_column=Column(Text, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    handle: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    salt: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    fields: str = Field(sa_column=Column(Text, nullable=False))
    first: int = Field(sa_column=Column(BigInteger, nullable=False))
    cause: str = Field(sa_column=Column(Text, nullable=False))
    until: str = Field(sa_column=Column(Text, nullable=False))
    due: str = Field(sa_column=Column(Text, nullable=False))
    settled: int = Field(nullable=False)
    moved: int = Field(sa_column=Column(BigInteger, nullable=False))


class ObligationEvent(SQLModel, table=True):
    """Which entries of the ledger are about an obligation."""

    __tablename__ = "obligation_event"
    __table_args__ = NO_ROW_ID
    obligation: str = Field(sa_column=Column(Text, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
