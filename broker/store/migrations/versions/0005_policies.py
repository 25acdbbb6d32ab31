"""Texts and acceptances of policy versions; the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, row_id, small, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables, and the column of persons that says what they accepted: nothing yet."""
    with op.batch_alter_table("person", recreate="always" if _is_sqlite() else "never") as person:
        person.add_column(sa.Column("accepted", sa.Text(), nullable=True))
    _policies()
    _outbox()


def _policies() -> None:
    op.create_table(
        "policy_text",
        text("version"),
        text("language"),
        text("text"),
        text("changes"),
        sa.PrimaryKeyConstraint("version", "language"),
    )
    op.create_table(
        "acceptance",
        big("person"),
        big("entry"),
        text("version"),
        text("source"),
        data("evidence"),
        big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_notice",
        big("person"),
        text("version"),
        big("at"),
        sa.PrimaryKeyConstraint("person", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_fan_out",
        text("version"),
        big("published_at"),
        big("person"),
        small("done"),
        sa.PrimaryKeyConstraint("version"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox_item",
        row_id("id"),
        text("kind"),
        big("person"),
        text("refs"),
        data("body"),
        big("at"),
        big("settled_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_item_settled", "outbox_item", ["settled_at", "id"])
    op.create_index("outbox_item_person", "outbox_item", ["person"])
    op.create_table(
        "outbox_consumer",
        text("name"),
        text("principal"),
        text("kinds"),
        big("first"),
        big("at"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox_delivery",
        big("item"),
        text("consumer"),
        text("state"),
        text("reason"),
        small("attempts"),
        big("next_at"),
        big("at"),
        sa.PrimaryKeyConstraint("item", "consumer"),
        sqlite_with_rowid=False,
    )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
