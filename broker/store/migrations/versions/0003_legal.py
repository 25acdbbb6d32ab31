"""Legal cases, their timelines and documents, and what opens sealed entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CASES = sa.text("type = 'case'")


def upgrade() -> None:
    """Makes the four tables, and an index over the steps of cases."""
    op.create_table(
        "legal_case",
        _text("id"),
        _big("number"),
        _text("state"),
        _text("ground"),
        _text("handler"),
        _big("hidden_until"),
        _bytes("keys"),
        _bytes("body"),
        _big("etag"),
        _big("place"),
        _big("done"),
        _big("total"),
        _big("released"),
        _int("complete"),
        _big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("legal_case_number", "legal_case", ["number"], unique=True)
    op.create_table(
        "legal_event",
        _text("case"),
        _big("entry"),
        _bytes("text"),
        sa.PrimaryKeyConstraint("case", "entry"),
    )
    op.create_table(
        "legal_document",
        _text("case"),
        _int("number"),
        _big("entry"),
        _bytes("about"),
        _bytes("content"),
        sa.PrimaryKeyConstraint("case", "number"),
    )
    op.create_table(
        "sealed_entry",
        _row_id("entry"),
        _text("case"),
        _bytes("opening"),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("sealed_entry_case", "sealed_entry", ["case", "entry"])
    op.create_index(
        "ledger_entry_cases", "ledger_entry", ["contract", "id"], sqlite_where=CASES, postgresql_where=CASES
    )


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
