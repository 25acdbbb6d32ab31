"""What recipients owe: obligations, their events, and the days by which disclosures are to be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
        "retention",
        _text("contract"),
        _text("until"),
        _text("recipient"),
        _big("first"),
        _big("last"),
        _big("raised"),
        sa.PrimaryKeyConstraint("contract", "until"),
        sqlite_with_rowid=False,
    )
    op.create_index("retention_recipient", "retention", ["recipient", "until"])
    op.create_table(
        "obligation",
        _text("id"),
        _big("number"),
        _text("kind"),
        _text("contract"),
        _text("recipient"),
        _big("person"),
        _bytes("handle"),
        _bytes("salt"),
        _text("fields"),
        _big("first"),
        _text("cause"),
        _text("until"),
        _text("due"),
        sa.Column("settled", sa.Integer(), nullable=False, autoincrement=False),
        _big("moved"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("obligation_number", "obligation", ["number"], unique=True)
    op.create_index("obligation_recipient", "obligation", ["recipient", "settled", "moved"])
    op.create_index("obligation_contract", "obligation", ["contract", "until"])
    op.create_index("obligation_person", "obligation", ["person"])
    op.create_index("obligation_due", "obligation", ["settled", "due"])
    op.create_index("obligation_cause", "obligation", ["cause"])
    op.create_table(
        "obligation_event",
        _text("obligation"),
        _big("entry"),
        sa.PrimaryKeyConstraint("obligation", "entry"),
        sqlite_with_rowid=False,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)
