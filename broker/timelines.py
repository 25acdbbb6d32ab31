"""What was written at each step of a case: sealed in a row, and the ledger's entry of the step commits to it.

Legal cases, complaints, compromise reports and requests of persons have a timeline each. Their rows, and what their
entries say besides, are their rooms' own; what is here is the same for all: how a text is sealed and read back, and
that the ledger knows of no step but those in the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from broker.ledger import entry
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Select

    from broker.desk import View
    from broker.errors import SlussError
    from broker.keeping import CaseKeys

ENTRY: Final = tables.core(tables.LedgerEntry)


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the timeline.

    Attributes:
        at: RFC 3339.
        by: who took the step.
        event: the step.
        text: what was written; empty once it is destroyed.
        index: of the step's entry in the ledger.
        proven: the entry commits to the text.
    """

    at: str
    by: str
    event: str
    text: str
    index: int
    proven: bool


def seal(keys: CaseKeys, index: int, text: str) -> bytes:
    """A text as it is stored beside the entry of its step."""
    return keys.seal(_place(index), text.encode())


def event(said: Mapping[str, Any], index: int, keys: CaseKeys | None, sealed: bytes) -> Event:
    """A line, of what the entry says and the sealed text; without keys or text, of what was destroyed.

    Raises:
        SlussError: INTERNAL if the text does not open.
    """
    text, proven = "", False
    if keys and sealed:
        text = keys.open(_place(index), sealed).decode()
        proven = said["text"] == entry.base64url(keys.commit_text(said["at"], text))
    return Event(said["at"], said["by"], said["event"], text, index, proven)


def timeline(
    view: View,
    case: str,
    type: str,  # noqa: A002 - the member's name in the entry
    keys: CaseKeys | None,
    rows: Select[Any],
    otherwise: SlussError,
) -> list[Event]:
    """What happened to a case whose entries name it, oldest first, each text checked against its entry.

    Args:
        view: to read with.
        case: its id.
        type: of its entries.
        keys: of its texts; None once they are destroyed.
        rows: selects its steps, oldest first: entry and sealed text.
        otherwise: the refusal if rows and ledger do not have the same steps (`differs`).

    Raises:
        SlussError: `otherwise`; LEDGER_INCONSISTENT if an entry is not in the tree.
    """
    kept = view.connection.execute(rows).all()
    steps = select(ENTRY.c.id).where(ENTRY.c.contract == case, ENTRY.c.type == type).order_by(ENTRY.c.id)
    if [index for index, _ in kept] != list(view.connection.execute(steps).scalars()):
        raise otherwise
    found = [(view.snapshot.standing.entry(view.connection, index, otherwise), sealed) for index, sealed in kept]
    return [event(entry.parse(row.entry), row.index, keys, sealed) for row, sealed in found]


def last_said(
    view: View,
    case: str,
    type: str,  # noqa: A002 - the member's name in the entry
    otherwise: SlussError,
) -> dict[str, Any]:
    """What the last entry of a case says.

    Raises:
        SlussError: `otherwise` if there is none; LEDGER_INCONSISTENT if it is not in the tree.
    """
    query = select(func.max(ENTRY.c.id)).where(ENTRY.c.contract == case, ENTRY.c.type == type)
    index = view.connection.execute(query).scalar_one()
    return entry.parse(view.snapshot.standing.entry(view.connection, index, otherwise).entry)


def _place(index: int) -> str:
    return f"event {index}"
