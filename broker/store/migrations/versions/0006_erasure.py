"""Erasures, and the ties to the ledger that they have destroyed, added up by entry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the two tables."""
    op.create_table("ledger_erased", _row_id("entry"), _big("ties"), sa.PrimaryKeyConstraint("entry"))
    op.create_table(
        "erasure",
        _row_id("entry"),
        _big("person"),
        sa.Column("cause", sa.Text(), nullable=False),
        _big("at"),
        _big("scrubbed_at"),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("ix_erasure_cause", "erasure", ["cause"])


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _row_id(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)
