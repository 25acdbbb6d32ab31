"""How the story looks: short chapters for a person, one JSON document for a program."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.demo.stage import Step

WIDTH = 100
INDENT = 2


class Teller:
    """Prints the story as it happens; says nothing when `silent`."""

    def __init__(self, *, silent: bool) -> None:
        self._console = Console(highlight=False, quiet=silent)
        self._width = min(WIDTH, self._console.width)

    def title(self, text: str, below: str) -> None:
        """The head of the story."""
        self._console.print()
        self._print(text, "bold")
        self._wrapped(below)

    def chapter(self, number: int, title: str, clause: str) -> None:
        """A chapter begins; `clause` is the clause of the policy that it is about."""
        self._console.print()
        head = Text(f"{number:>2}  {title}", style="bold cyan")
        if clause:
            head.append(f"   policy {clause}", style="dim")
        self._console.print(head, no_wrap=True, overflow="ellipsis", width=self._width)

    def say(self, text: str) -> None:
        """What happens and why it matters."""
        self._wrapped(text)

    def ran(self, step: Step) -> None:
        """A command, as it can be typed; never broken, so that it can be copied."""
        line = Text(" " * (INDENT + 2) + "$ ", style="dim")
        line.append(step.command, style="green")
        self._console.print(line, soft_wrap=True)

    def found(self, text: str, *, bad: bool = False) -> None:
        """What came of it."""
        mark = Text("x " if bad else "> ", style="bold red" if bad else "bold green")
        body = textwrap.wrap(text, self._width - INDENT - 4) or [""]
        for number, line in enumerate(body):
            lead = Text(" " * (INDENT + 2)) + (mark if number == 0 else Text("  "))
            self._console.print(lead + Text(line), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A small table."""
        table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, INDENT + 4), expand=False), width=self._width)

    def line(self, text: str = "") -> None:
        """A line as it is, such as a command to copy."""
        self._console.print(Text(text), soft_wrap=True)

    def _wrapped(self, text: str) -> None:
        for line in textwrap.wrap(text, self._width - INDENT):
            self._print(" " * INDENT + line)

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)
