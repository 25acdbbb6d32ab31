"""Legal cases, their timelines and documents, and what opens sealed entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, row_id, small, text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CASES = sa.text("type = 'case'")


def upgrade() -> None:
    """Makes the four tables, and an index over the steps of cases."""
    op.create_table(
        "legal_case",
        text("id"),
        big("number"),
        text("state"),
        text("ground"),
        text("handler"),
        big("hidden_until"),
        data("keys"),
        data("body"),
        big("etag"),
        big("place"),
        big("done"),
        big("total"),
        big("released"),
        small("complete"),
        big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("legal_case_number", "legal_case", ["number"], unique=True)
    op.create_table(
        "legal_event",
        text("case"),
        big("entry"),
        data("text"),
        sa.PrimaryKeyConstraint("case", "entry"),
    )
    op.create_table(
        "legal_document",
        text("case"),
        small("number"),
        big("entry"),
        data("about"),
        data("content"),
        sa.PrimaryKeyConstraint("case", "number"),
    )
    op.create_table(
        "sealed_entry",
        row_id("entry"),
        text("case"),
        data("opening"),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("sealed_entry_case", "sealed_entry", ["case", "entry"])
    op.create_index(
        "ledger_entry_cases", "ledger_entry", ["contract", "id"], sqlite_where=CASES, postgresql_where=CASES
    )
