"""python -m tests.benchmarks [--quick] [--only NAME]: measures the budgets of the design on this machine.

Prints a table and writes build/bench.json. The README beside this file says what each row is and how far to
trust it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from tests.benchmarks import bulk, importing, ledger, unary, verify
from tests.benchmarks.stage import Stage

OUT = Path(__file__).parents[2] / "build" / "bench.json"
SERVED = {"import": importing.run, "unary": unary.run, "bulk": bulk.run}
"""What needs a broker process; they share one."""
STORED = {"ledger": ledger.append, "receipt": ledger.receipts, "verify": verify.run}
"""What needs a folder for stores."""
PERSONS, QUICK_PERSONS = 24_000, 20_000


def main(words=None):
    """Measure, print, write. Exits with 1 under --strict if a budget is not met."""
    asked = _parser().parse_args(words)
    command = shlex.join(["python", "-m", "tests.benchmarks", *(sys.argv[1:] if words is None else words)])
    chosen = asked.only or [*SERVED, *STORED]
    begun = perf_counter()
    measures = _measure(chosen, quick=asked.quick)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([_row(measure, command) for measure in measures], indent=1) + "\n")
    _show(measures, perf_counter() - begun)
    return int(asked.strict and any(measure.met is False for measure in measures))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under a minute")
    parser.add_argument("--only", action="append", choices=[*SERVED, *STORED], help="this one; may be repeated")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a budget is not met")
    return parser


def _measure(chosen, *, quick):
    found = []
    with tempfile.TemporaryDirectory(prefix="sluss-bench-") as name:
        folder = Path(name)
        with ExitStack() as stack:
            served = [SERVED[name] for name in chosen if name in SERVED]
            stage = Stage(folder, stack, QUICK_PERSONS if quick else PERSONS) if served else None
            for benchmark in served:
                found += benchmark(stage, quick=quick)
        for benchmark in [STORED[name] for name in chosen if name in STORED]:
            found += benchmark(folder, quick=quick)
    return found


def _row(measure, command):
    names = ("name", "value", "baseline", "ratio", "budget", "met", "unit")
    return {**{name: getattr(measure, name) for name in names}, "command": command}


def _show(measures, seconds):
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    table = Table(title=f"{os.cpu_count()} cores, load {load}, {seconds:.0f} s, Python {sys.version.split()[0]}")
    table.add_column("name")
    for column in ("value", "baseline", "ratio", "budget"):
        table.add_column(column, justify="right")
    for column in ("unit", "met", "note"):
        table.add_column(column)
    for measure in measures:
        table.add_row(
            measure.name,
            *(_figure(number) for number in (measure.value, measure.baseline, measure.ratio)),
            _budget(measure),
            measure.unit,
            {True: "yes", False: "[bold red]no", None: ""}[measure.met],
            measure.note,
        )
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def _budget(measure):
    if measure.budget is None:
        return ""
    return ("<= " if measure.most else ">= ") + _figure(measure.budget)


def _figure(number):
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


if __name__ == "__main__":
    sys.exit(main())
