"""What the tables are made with. Only what SQLite, PostgreSQL and PostgreSQL-compatible databases share."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Table
from sqlmodel import SQLModel

ROW_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits everywhere; by this name SQLite makes the key its own row number and keeps no second index."""

NO_ROW_ID: Final[dict[str, Any]] = {"sqlite_with_rowid": False}
"""On SQLite the row stands in the key's index and nowhere else: for narrow rows with a compound key."""


def core(model: type[SQLModel]) -> Table:
    """The SQLAlchemy Core table behind a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]
