"""A progress bar on standard error for a person who waits; nothing for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluss_cli.output import console

if TYPE_CHECKING:
    from sluss_cli.output import Output

Advance = Callable[[int, int], None]
"""Told how many are done and how many there are in all, 0 if that is not known."""


@contextmanager
def progress(output: Output, label: str) -> Iterator[Advance]:
    """A bar for as long as the block lasts."""
    if output.as_json or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress as rich  # noqa: PLC0415 - only a terminal pays for rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=max(total, done) if total else None)
