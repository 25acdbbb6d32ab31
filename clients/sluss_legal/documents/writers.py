"""A document as PDF and as a web page. What makes them is of the extra `legal`, and loaded when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sluss_legal.documents.model import Document


def pdf(document: Document, made: datetime) -> bytes:
    """The PDF, which says when it was made."""
    from sluss_legal.documents import pdf as writer  # noqa: PLC0415 - typst is of the extra `legal`

    return writer.pdf(document, made)


def html(document: Document) -> bytes:
    """The page."""
    from sluss_legal.documents import html as writer  # noqa: PLC0415 - jinja2 is of the extra `legal`

    return writer.html(document)
