"""Erasures, the ties to the ledger that they have destroyed, added up by entry, and legal holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, row_id

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table("ledger_erased", row_id("entry"), big("ties"), sa.PrimaryKeyConstraint("entry"))
    op.create_table(
        "erasure",
        row_id("entry"),
        big("person"),
        sa.Column("cause", sa.Text(), nullable=False),
        big("at"),
        big("scrubbed_at"),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("ix_erasure_cause", "erasure", ["cause"])
    op.create_table(
        "legal_hold",
        sa.Column("id", sa.Text(), nullable=False),
        big("number"),
        big("person"),
        sa.Column("keys", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        big("until"),
        big("placed_at"),
        big("lifted_at"),
        big("entry"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("ix_legal_hold_person", "legal_hold", ["person"])
