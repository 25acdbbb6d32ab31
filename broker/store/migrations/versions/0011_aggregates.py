"""Usage events, answers about them, and the privacy budgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, small, text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the six tables."""
    op.create_table("usage_combination", small("id"), text("event"), text("attributes"), sa.PrimaryKeyConstraint("id"))
    op.create_index("usage_combination_values", "usage_combination", ["event", "attributes"], unique=True)
    op.create_table(
        "usage_event",
        big("person"),
        big("id"),
        small("combination"),
        small("day"),
        small("seconds"),
        sa.PrimaryKeyConstraint("person", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_event_day", "usage_event", ["day"])
    op.create_table("usage_state", small("id"), big("forgotten"), big("restored"), sa.PrimaryKeyConstraint("id"))
    op.create_table(
        "aggregate_answer", data("question"), data("answer"), big("entry"), sa.PrimaryKeyConstraint("question")
    )
    op.create_table(
        "aggregate_release",
        text("owner"),
        text("recipient"),
        text("purpose"),
        data("question"),
        big("entry"),
        sa.PrimaryKeyConstraint("owner", "recipient", "purpose", "question"),
    )
    op.create_index("aggregate_release_recipient", "aggregate_release", ["recipient", "question"])
    op.create_table(
        "aggregate_spent",
        text("owner"),
        big("start"),
        big("micro"),
        big("delta_nano"),
        sa.PrimaryKeyConstraint("owner", "start"),
        sqlite_with_rowid=False,
    )
