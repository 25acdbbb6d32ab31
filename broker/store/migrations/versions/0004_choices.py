"""Choices per channel: the history tells channels, medium, evidence and when the person chose.

What is in force is per channel from here on, under a MAC that takes the person's own secret, which no migration has:
what a row of before says is in force does not open, so that nothing is disclosed by it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table of choices anew, since the order of columns is part of the schema."""
    op.rename_table("choice", "choice_before")
    op.create_table(
        "choice",
        big("person"),
        big("entry"),
        text("purpose"),
        text("state"),
        text("channels"),
        text("medium"),
        text("source"),
        text("evidence"),
        text("policy"),
        big("chosen_at"),
        big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO choice (person, entry, purpose, state, channels, medium, source, evidence, policy, chosen_at, at)"
        " SELECT person, entry, purpose, state, '[]', channel, source, '', policy, at, at FROM choice_before"
    )
    op.drop_table("choice_before")
