"""What the operator's verbs print, and how they end: with the codes of `broker.exits`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import typer

from broker.errors import Reason, SlussError
from broker.exits import exit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Console:
    """Standard output: one JSON document with `--json`, text for people without.

    Attributes:
        as_json: which of the two.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, document: Mapping[str, Any]) -> None:
        """The result for programs."""
        if self.as_json:
            typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            typer.echo(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns; a terminal gets a heading in bold."""
        if self.as_json or not rows:
            return
        if sys.stdout.isatty():
            _rich_table(columns, rows)
            return
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in ([name.upper() for name in columns], *rows):
            typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # rich costs a tenth of a second: only who needs it pays
    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    RichConsole(highlight=False).print(table)


@contextmanager
def reporting(context: typer.Context, *, as_json: bool) -> Iterator[Console]:
    """The frame of a verb: `--json` before or after its name, and one sentence when something goes wrong."""
    console = Console(as_json=as_json or bool(context.find_root().params.get("as_json")))
    try:
        _check_text(context)
        yield console
    except SlussError as error:
        code = exit_of(error.reason)
        told = {"reason": error.reason.value, "detail": error.detail, "metadata": error.metadata}
        console.result({"error": told, "exit": int(code)})
        facts = ", ".join(f"{name}={value}" for name, value in sorted(error.metadata.items()))
        typer.echo(f"{error.reason}: {error.detail}" + (f" ({facts})" if facts else ""), err=True)
        raise typer.Exit(int(code)) from None


def _check_text(context: typer.Context) -> None:
    """Refuses text that no database and no ledger entry can hold.

    Raises:
        SlussError: INVALID_REQUEST, naming the parameter.
    """
    for name, given in context.params.items():
        for each in given if isinstance(given, (list, tuple)) else (given,):
            try:
                str(each).encode()
            except UnicodeEncodeError:
                raise SlussError(Reason.INVALID_REQUEST, f"text that is not UTF-8: {name}") from None
