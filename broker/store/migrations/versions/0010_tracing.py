"""Canaries, the digests by which they are found, and digests of values that were corrected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, row_id, text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "canary",
        row_id("person"),
        text("contract"),
        big("number"),
        data("facts"),
        big("planted"),
        big("planted_at"),
        big("retired"),
        big("retired_at"),
        sa.PrimaryKeyConstraint("person"),
    )
    op.create_index("canary_contract", "canary", ["contract", "number"], unique=True)
    op.create_table(
        "canary_index",
        text("kind"),
        data("digest"),
        big("person"),
        sa.PrimaryKeyConstraint("kind", "digest", "person"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "former_index",
        text("kind"),
        data("digest"),
        big("person"),
        big("until"),
        text("field"),
        big("since"),
        sa.PrimaryKeyConstraint("kind", "digest", "person", "until", "field"),
        sqlite_with_rowid=False,
    )
    op.create_index("former_index_person", "former_index", ["person"])
    op.create_index("former_index_until", "former_index", ["until"])
