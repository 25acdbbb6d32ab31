"""An index over the entries that rights stand on: they are read whenever a right is loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As the tables said at this revision; a later list of types is a later revision's.
RIGHTS = sa.text("type IN ('catalogue', 'certificate', 'contract', 'key', 'policy')")


def upgrade() -> None:
    """Makes the index."""
    op.create_index(
        "ledger_entry_rights",
        "ledger_entry",
        ["type", "contract", "recipient", "id"],
        sqlite_where=RIGHTS,
        postgresql_where=RIGHTS,
    )
