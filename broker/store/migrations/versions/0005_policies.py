"""Texts and acceptances of policy versions; the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

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
        _text("version"),
        _text("language"),
        _text("text"),
        _text("changes"),
        sa.PrimaryKeyConstraint("version", "language"),
    )
    op.create_table(
        "acceptance",
        _big("person"),
        _big("entry"),
        _text("version"),
        _text("source"),
        _bytes("evidence"),
        _big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_notice",
        _big("person"),
        _text("version"),
        _big("at"),
        sa.PrimaryKeyConstraint("person", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_fan_out",
        _text("version"),
        _big("published_at"),
        _big("person"),
        _int("done"),
        sa.PrimaryKeyConstraint("version"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox_item",
        _row_id("id"),
        _text("kind"),
        _big("person"),
        _text("refs"),
        _bytes("body"),
        _big("at"),
        _big("settled_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_item_settled", "outbox_item", ["settled_at", "id"])
    op.create_index("outbox_item_person", "outbox_item", ["person"])
    op.create_table(
        "outbox_consumer",
        _text("name"),
        _text("principal"),
        _text("kinds"),
        _big("first"),
        _big("at"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox_delivery",
        _big("item"),
        _text("consumer"),
        _text("state"),
        _text("reason"),
        _int("attempts"),
        _big("next_at"),
        _big("at"),
        sa.PrimaryKeyConstraint("item", "consumer"),
        sqlite_with_rowid=False,
    )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _row_id(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)
