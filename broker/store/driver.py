"""Statements of the hot path, given to the driver as text: building them anew costs more than running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def fetch(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """The rows of a query; `?` marks its parameters."""
    return list(connection.exec_driver_sql(_sql(connection, text), tuple(parameters)).fetchall())


def change(connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement once per row; `?` marks its parameters."""
    if rows:
        connection.exec_driver_sql(_sql(connection, text), list(rows))


def _sql(connection: Connection, text: str) -> str:
    return text if connection.dialect.paramstyle == "qmark" else text.replace("?", "%s")
