"""What a store still says of a person who was erased: every table with a `person`, whoever owns it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlmodel import SQLModel

from broker.store import tables

assert tables

MAY_NAME = {
    "erasure": "who was erased, so that a restored backup does not bring them back; tells nothing else",
    "policy_fan_out": "how far the announcement of a policy has come: an id to go on behind",
}
"""Tables that may name an erased person, and why."""


def named_by(connection, person):
    """Table -> how many rows name the person, without those of `MAY_NAME`."""
    found = {}
    for name, table in sorted(SQLModel.metadata.tables.items()):
        if "person" in table.columns and name not in MAY_NAME:
            query = select(func.count()).select_from(table).where(table.c.person == person)
            found[name] = connection.execute(query).scalar_one()
    return {name: count for name, count in found.items() if count}
