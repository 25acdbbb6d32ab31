"""Person requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the two tables."""
    op.create_table(
        "person_request",
        text("id"),
        big("number"),
        big("person"),
        text("kind"),
        text("state"),
        text("deadline"),
        data("facts"),
        data("keys"),
        data("body"),
        big("etag"),
        big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("person_request_number", "person_request", ["number"], unique=True)
    op.create_index("person_request_person", "person_request", ["person", "number"])
    op.create_index("person_request_state", "person_request", ["state", "number"])
    op.create_table(
        "person_request_event",
        text("request"),
        big("entry"),
        data("text"),
        sa.PrimaryKeyConstraint("request", "entry"),
    )
