"""What the verbs that list and watch share: pages to the end, or to a limit."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import MAX_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Limit = Annotated[
    int, typer.Option("--limit", help="At most so many; 0 for all.", metavar="COUNT", min=0, max=MAX_NUMBER)
]

Count = Annotated[
    int, typer.Option("--count", help="Stop after so many; 0 for never.", metavar="COUNT", min=0, max=MAX_NUMBER)
]
Seconds = Annotated[float, typer.Option("--seconds", help="Stop after so long; 0 for never.", metavar="SECONDS", min=0)]


def every(call: Callable[..., Any], request: Any, items: str) -> Iterator[Any]:
    """All items of a listing, page by page, as they are read.

    Args:
        call: the method of a stub.
        request: without a page token.
        items: the name of the reply's list.
    """
    while True:
        page = call(request, timeout=DEADLINE_S)
        yield from getattr(page, items)
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def some(found: Iterator[Any], limit: int) -> tuple[list[Any], bool]:
    """The first items, all for 0, and whether there are more."""
    listed = list(islice(found, limit or None))
    return listed, bool(limit) and next(found, None) is not None


def tell_more(session: Session, listed: int, *, more: bool) -> None:
    """Says that the limit has cut a list off."""
    if more:
        session.output.line(f"Stopped at {listed}; there are more: --limit 0 for all.")
