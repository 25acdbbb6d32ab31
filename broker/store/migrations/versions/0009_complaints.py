"""Complaints, compromise reports, their timelines, and locked credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "case_file",
        _text("id"),
        _text("room"),
        _big("number"),
        _text("state"),
        _text("handler"),
        _big("due_at"),
        _big("person"),
        *[sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("keys", "private_keys", "body", "private")],
        _big("etag"),
        _big("opened_at"),
        _big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("case_file_number", "case_file", ["room", "number"], unique=True)
    op.create_index("case_file_person", "case_file", ["person"])
    op.create_table(
        "case_file_event",
        _text("file"),
        _big("entry"),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file", "entry"),
    )
    op.create_table("credential_lock", _big("person"), _text("report"), _big("at"), sa.PrimaryKeyConstraint("person"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)
