"""Usage events, answers about them, and the privacy budgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the six tables."""
    op.create_table("usage_combination", _int("id"), _text("event"), _text("attributes"), sa.PrimaryKeyConstraint("id"))
    op.create_index("usage_combination_values", "usage_combination", ["event", "attributes"], unique=True)
    op.create_table(
        "usage_event",
        _big("person"),
        _int("combination"),
        _int("day"),
        _big("id"),
        _int("seconds"),
        sa.PrimaryKeyConstraint("person", "combination", "day", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_event_day", "usage_event", ["day"])
    op.create_table("usage_state", _int("id"), _big("forgotten"), sa.PrimaryKeyConstraint("id"))
    op.create_table(
        "aggregate_answer", _bytes("question"), _bytes("answer"), _big("at"), sa.PrimaryKeyConstraint("question")
    )
    op.create_table(
        "aggregate_release",
        _text("owner"),
        _text("recipient"),
        _text("purpose"),
        _bytes("question"),
        _big("entry"),
        sa.PrimaryKeyConstraint("owner", "recipient", "purpose", "question"),
    )
    op.create_table(
        "aggregate_spent",
        _text("owner"),
        _big("start"),
        _big("micro"),
        sa.PrimaryKeyConstraint("owner", "start"),
        sqlite_with_rowid=False,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)
