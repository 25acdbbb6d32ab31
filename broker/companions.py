"""The rooms whose rows `sluss ledger verify --home` compares with the entries that they follow from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.aggregates.verifying import Aggregates
from broker.case_rows import Cases
from broker.choices.verifying import Choices
from broker.obligations.verifying import Obligations

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from broker.ledger.findings import Report
    from broker.ledger.verify import Follower

ROOMS: Final[tuple[Callable[[Connection, Report], Follower], ...]] = (Choices, Obligations, Cases, Aggregates)
"""What compares them, in the order in which they report."""
