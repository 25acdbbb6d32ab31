"""Documents as HTML: one file that asks for nothing else, runs no script, and prints well."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sluss_legal.charts import svg
from sluss_legal.documents.model import plain

if TYPE_CHECKING:
    from sluss_legal.documents.model import Document


def html(document: Document) -> bytes:
    """The page of a document."""
    blocks = [(type(block).__name__, block) for block in document.blocks]
    charts = [(chart.title, Markup(svg(chart))) for chart in document.charts]  # noqa: S704 - `svg` escapes every text
    page = _environment().get_template("document.html").render(d=document, blocks=blocks, charts=charts)
    return page.encode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
