"""Documents of a case: stored sealed, their digests in the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, select

from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.standing import differs
from broker.legal import hiding, rules
from broker.legal.model import CaseState
from broker.legal.rows import HeldCase, load, write
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.desk import Change, View
    from broker.timelines import Event

DOCUMENT: Final = tables.core(tables.LegalDocument)
MAX_DOCUMENTS: Final = 200
ADDED: Final = "document_added"


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a case: `at` in microseconds, `index` that of its entry."""

    number: int
    name: str
    media_type: str
    size: int
    sha256: bytes
    by: str
    at: int
    index: int


def add(change: Change, case_id: str, name: str, media_type: str, content: bytes) -> Document:
    """Store a document, sealed; its digest stands in the ledger.

    Raises:
        SlussError: CASE_UNKNOWN, CASE_WRONG_STATE, INVALID_REQUEST.
    """
    held = load(change, case_id)
    rules.require_not_ended(held.case, CaseState.CLOSED)
    query = select(func.count()).select_from(DOCUMENT).where(DOCUMENT.c.case == case_id)
    number = change.connection.execute(query).scalar_one() + 1
    if number > MAX_DOCUMENTS:
        raise SlussError(
            Reason.INVALID_REQUEST, f"content: a case has at most {MAX_DOCUMENTS} documents", field="content"
        )
    sha256 = hashlib.sha256(content).digest()
    _, index = write(change, held, held.case, ADDED, name, sha256)
    document = Document(number, name, media_type, len(content), sha256, change.principal.name, change.now_us, index)
    change.connection.execute(
        insert(DOCUMENT).values(
            case=case_id,
            number=number,
            entry=index,
            about=held.keys.seal(f"about {number}", _about(document)),
            content=held.keys.seal(f"content {number}", content),
        )
    )
    return document


def documents(view: View, held: HeldCase, events: Sequence[Event]) -> list[Document]:
    """The case's documents, oldest first: those that its timeline says were added.

    Raises:
        SlussError: LEDGER_INCONSISTENT if one is missing.
    """
    query = select(DOCUMENT.c.number, DOCUMENT.c.about, DOCUMENT.c.entry).where(DOCUMENT.c.case == held.case.id)
    rows: list[Row[Any]] = list(view.connection.execute(query.order_by(DOCUMENT.c.number)))
    if [row.entry for row in rows] != [event.index for event in events if event.event == ADDED]:
        raise differs("documents", case=held.case.id)
    return [_document(held, row) for row in rows]


def document(view: View, case_id: str, number: int) -> tuple[Document, bytes]:
    """A document with its content, which is what the ledger's digest says.

    Raises:
        SlussError: CASE_UNKNOWN, also for a number that the case has not; LEDGER_INCONSISTENT if the ledger's digest is
            another; INTERNAL for altered content.
    """
    held = load(view, case_id)
    row: Row[Any] | None = None
    if number <= MAX_DOCUMENTS:
        query = select(DOCUMENT).where(DOCUMENT.c.case == case_id, DOCUMENT.c.number == number)
        row = view.connection.execute(query).one_or_none()
    if row is None:
        raise SlussError(Reason.CASE_UNKNOWN, "the case has no such document", case=case_id)
    found = _document(held, row)
    content = held.keys.open(f"content {number}", row.content)
    if hashlib.sha256(content).digest() != found.sha256:
        raise SlussError(Reason.INTERNAL, "a stored document is not the one that was added")
    _require_said(view, held, found)
    return found, content


def _require_said(view: View, held: HeldCase, document: Document) -> None:
    """The document's entry is of this case, and has its digest."""
    found = view.snapshot.standing.entry(view.connection, document.index, differs("document", case=held.case.id))
    said = hiding.said(view.connection, held.case.id, held.keys, found)
    if (said.get("case"), said.get("document")) != (held.case.id, entry.base64url(document.sha256)):
        raise differs("document", case=held.case.id)


def _about(document: Document) -> bytes:
    return orjson.dumps(
        {
            "name": document.name,
            "media_type": document.media_type,
            "size": document.size,
            "sha256": document.sha256.hex(),
            "by": document.by,
            "at": document.at,
        }
    )


def _document(held: HeldCase, row: Row[Any]) -> Document:
    about = orjson.loads(held.keys.open(f"about {row.number}", row.about))
    return Document(
        row.number,
        about["name"],
        about["media_type"],
        about["size"],
        bytes.fromhex(about["sha256"]),
        about["by"],
        about["at"],
        row.entry,
    )
