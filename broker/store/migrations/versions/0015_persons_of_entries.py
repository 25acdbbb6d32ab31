"""Whom an entry speaks of is found by the entry: of a breach, without reading the ties of all persons."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index."""
    op.create_index("ledger_person_entry", "ledger_person", ["entry"])
