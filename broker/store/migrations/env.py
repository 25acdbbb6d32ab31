"""What alembic runs: the revisions, over the connection and inside the transaction that `migrate` opened."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from broker.store import tables  # noqa: F401 - fills the metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata)
context.run_migrations()
