"""Columns as migrations write them. What stands here is never changed: revisions that were applied rest on it."""

from __future__ import annotations

import sqlalchemy as sa


def text(name: str) -> sa.Column[str]:
    """Text, never null."""
    return sa.Column(name, sa.Text(), nullable=False)


def data(name: str) -> sa.Column[bytes]:
    """Bytes, never null."""
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def small(name: str) -> sa.Column[int]:
    """A 32-bit number that the program assigns."""
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def big(name: str) -> sa.Column[int]:
    """A 64-bit number that the program assigns."""
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def row_id(name: str) -> sa.Column[int]:
    """A 64-bit key; on SQLite the row's own number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)
