"""Execution options by which a connection or a statement tells its store how it will be used."""

from __future__ import annotations

from typing import Final

READING: Final = "sluss_reading"
"""On a connection: its transactions only read."""

BULK: Final = "sluss_bulk"
"""On a statement: its answer is big. PostgreSQL sends it in binary, a third faster."""
