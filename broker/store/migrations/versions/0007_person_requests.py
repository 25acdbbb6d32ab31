"""Person requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the two tables."""
    op.create_table(
        "person_request",
        _text("id"),
        _big("number"),
        _big("person"),
        _text("kind"),
        _text("state"),
        _text("deadline"),
        _bytes("facts"),
        _bytes("keys"),
        _bytes("body"),
        _big("etag"),
        _big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("person_request_number", "person_request", ["number"], unique=True)
    op.create_index("person_request_person", "person_request", ["person", "number"])
    op.create_index("person_request_state", "person_request", ["state", "number"])
    op.create_table(
        "person_request_event",
        _text("request"),
        _big("entry"),
        _bytes("text"),
        sa.PrimaryKeyConstraint("request", "entry"),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)
