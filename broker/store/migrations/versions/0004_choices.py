"""Choices per channel: the history tells channels, medium, evidence and when the person chose.

What is in force becomes per channel, too. A choice of before was about all channels, and was made when it was recorded.
"""

from __future__ import annotations

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ALL = "*"
CHUNK = 1000


def upgrade() -> None:
    """Makes the table of choices anew, since the order of columns is part of the schema; rewrites what is in force."""
    op.rename_table("choice", "choice_before")
    op.create_table(
        "choice",
        _big("person"),
        _big("entry"),
        _text("purpose"),
        _text("state"),
        _text("channels"),
        _text("medium"),
        _text("source"),
        _text("evidence"),
        _text("policy"),
        _big("chosen_at"),
        _big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO choice (person, entry, purpose, state, channels, medium, source, evidence, policy, chosen_at, at)"
        " SELECT person, entry, purpose, state, '[]', channel, source, '', policy, at, at FROM choice_before"
    )
    op.drop_table("choice_before")
    _rewrite_in_force()


def _rewrite_in_force() -> None:
    connection = op.get_bind()
    person = sa.table("person", sa.column("id", sa.BigInteger), sa.column("choices", sa.Text))
    after = 0
    while True:
        query = (
            sa.select(person).where(person.c.id > after, person.c.choices != "{}").order_by(person.c.id).limit(CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        times = _times(connection, rows[0].id, rows[-1].id)
        for row in rows:
            found = orjson.loads(row.choices)
            stand = {purpose: {ALL: [state, times.get((row.id, purpose), 0)]} for purpose, state in found.items()}
            text = orjson.dumps(stand, option=orjson.OPT_SORT_KEYS).decode()
            connection.execute(sa.update(person).where(person.c.id == row.id).values(choices=text))
        after = rows[-1].id


def _times(connection: sa.Connection, first: int, last: int) -> dict[tuple[int, str], int]:
    """When the newest choice of each person on each purpose was recorded."""
    text = sa.text(
        "SELECT person, purpose, max(at) AS at FROM choice"
        " WHERE person BETWEEN :first AND :last GROUP BY person, purpose"
    )
    rows = connection.execute(text, {"first": first, "last": last})
    return {(row.person, row.purpose): row.at for row in rows}


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)
