"""`--csv`: what a verb lists as CSV on standard output, for programs and for spreadsheets."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sluss_legal.cells import cell

from sluss_cli.problems import usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sluss_cli.session import Session

Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, with the names that programs know.")]


def not_both(session: Session, *, as_csv: bool) -> None:
    """USAGE for `--csv` with `--json`."""
    if as_csv and session.output.as_json:
        raise usage("--csv or --json, not both")


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows under a header; no cell is one that a spreadsheet would run as a formula."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\r\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: cell(str(row[name])) for name in columns} for row in rows)
