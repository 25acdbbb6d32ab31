"""Statements of the hot path, given to the driver as text: building them anew costs more than running them.

And how many values a statement takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

T = TypeVar("T")
VALUES: Final = 500
"""Values in one statement: far below the limits of both stores."""


def fetch(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """The rows of a query; `?` marks its parameters."""
    return list(connection.exec_driver_sql(_sql(connection, text), tuple(parameters)).fetchall())


def change(connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement once per row; `?` marks its parameters."""
    if rows:
        connection.exec_driver_sql(_sql(connection, text), list(rows))


def parts(values: Sequence[T], size: int = VALUES) -> Iterator[Sequence[T]]:
    """The values in runs of at most `size`, for a statement each."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _sql(connection: Connection, text: str) -> str:
    return text if connection.dialect.paramstyle == "qmark" else text.replace("?", "%s")
