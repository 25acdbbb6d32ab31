"""What recipients owe: obligations, their events, and the days by which disclosures are to be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "retention",
        text("contract"),
        text("until"),
        text("recipient"),
        big("first"),
        big("last"),
        big("raised"),
        sa.PrimaryKeyConstraint("contract", "until"),
        sqlite_with_rowid=False,
    )
    op.create_index("retention_recipient", "retention", ["recipient", "until"])
    op.create_table(
        "obligation",
        text("id"),
        big("number"),
        text("kind"),
        text("contract"),
        text("recipient"),
        big("person"),
        data("handle"),
        data("salt"),
        text("fields"),
        big("first"),
        text("cause"),
        text("until"),
        text("due"),
        sa.Column("settled", sa.Integer(), nullable=False, autoincrement=False),
        big("moved"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("obligation_number", "obligation", ["number"], unique=True)
    op.create_index("obligation_recipient", "obligation", ["recipient", "settled", "moved"])
    op.create_index("obligation_contract", "obligation", ["contract", "until"])
    op.create_index("obligation_person", "obligation", ["person"])
    op.create_index("obligation_due", "obligation", ["settled", "due"])
    op.create_index("obligation_cause", "obligation", ["cause"])
    op.create_table(
        "obligation_event",
        text("obligation"),
        big("entry"),
        sa.PrimaryKeyConstraint("obligation", "entry"),
        sqlite_with_rowid=False,
    )
