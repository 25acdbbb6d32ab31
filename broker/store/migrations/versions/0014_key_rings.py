"""What the ledger says of key rings is found at once, like what rights stand on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "ledger_entry_rights"
RIGHTS = sa.text("type IN ('catalogue', 'certificate', 'contract', 'key', 'key_ring', 'policy')")


def upgrade() -> None:
    """Makes the index anew, with one type more."""
    op.drop_index(INDEX, "ledger_entry")
    columns = ["type", "contract", "recipient", "id"]
    op.create_index(INDEX, "ledger_entry", columns, sqlite_where=RIGHTS, postgresql_where=RIGHTS)
