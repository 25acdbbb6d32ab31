"""Complaints, compromise reports, their timelines, and locked credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "case_file",
        text("id"),
        text("room"),
        big("number"),
        text("state"),
        text("handler"),
        big("due_at"),
        big("person"),
        *[sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("keys", "private_keys", "body", "private")],
        big("etag"),
        big("opened_at"),
        big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("case_file_number", "case_file", ["room", "number"], unique=True)
    op.create_index("case_file_person", "case_file", ["person"])
    op.create_table(
        "case_file_event",
        text("file"),
        big("entry"),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file", "entry"),
    )
    op.create_table("credential_lock", big("person"), text("report"), big("at"), sa.PrimaryKeyConstraint("person"))
