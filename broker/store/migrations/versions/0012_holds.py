"""All legal holds are found in the ledger at once, whoever they are about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

HOLDS = sa.text("type = 'hold'")


def upgrade() -> None:
    """Makes the index."""
    op.create_index("ledger_entry_holds", "ledger_entry", ["id"], sqlite_where=HOLDS, postgresql_where=HOLDS)
