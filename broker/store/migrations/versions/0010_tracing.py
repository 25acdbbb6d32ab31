"""Canaries, the digests by which they are found, and digests of values that were corrected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "canary",
        _row_id("person"),
        _text("contract"),
        _big("number"),
        _bytes("facts"),
        _big("planted"),
        _big("planted_at"),
        _big("retired"),
        _big("retired_at"),
        sa.PrimaryKeyConstraint("person"),
    )
    op.create_index("canary_contract", "canary", ["contract", "number"], unique=True)
    op.create_table(
        "canary_index",
        _text("kind"),
        _bytes("digest"),
        _big("person"),
        sa.PrimaryKeyConstraint("kind", "digest", "person"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "former_index",
        _text("kind"),
        _bytes("digest"),
        _big("person"),
        _big("until"),
        _text("field"),
        _big("since"),
        sa.PrimaryKeyConstraint("kind", "digest", "person", "until", "field"),
        sqlite_with_rowid=False,
    )
    op.create_index("former_index_person", "former_index", ["person"])
    op.create_index("former_index_until", "former_index", ["until"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _row_id(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)
