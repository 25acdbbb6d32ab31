"""One table of exit codes: help and pages show it, and no verb ends with a number of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from sluss_cli import main
from typer.testing import CliRunner

from broker.errors import CATALOGUE, Code, Reason
from broker.exits import MEANING, Exit, exit_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "clients/sluss_cli/README.md"


def numbered(path):
    """Places where a file ends the command with a number of its own."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"typer.Exit", "SystemExit", "sys.exit", "Exit"}:
            yield from (node.lineno for given in node.args if isinstance(given, ast.Constant) and given.value)


def test_every_code_has_a_meaning_and_the_page_shows_them_all():
    assert MEANING.keys() == set(Exit)
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == {int(code): MEANING[code] for code in Exit}


def test_help_shows_the_table_line_by_line_on_eighty_columns():
    shown = CliRunner().invoke(main.build(), ["--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
    lines = [line.strip() for line in shown.splitlines()]
    for code, meaning in MEANING.items():
        assert f"{code}  {meaning}" in lines


def test_no_verb_ends_with_a_number_of_its_own():
    found = [
        (path, line)
        for root in ("broker", "clients")
        for path in (ROOT / root).rglob("*.py")
        for line in numbered(path)
    ]
    assert found == []


@pytest.mark.parametrize("reason", Reason)
def test_code_tells_the_kind_of_a_mistake_whoever_noticed(reason):
    kinds = {Code.INVALID_ARGUMENT: Exit.USAGE, Code.UNAVAILABLE: Exit.UNAVAILABLE, Code.INTERNAL: Exit.UNAVAILABLE}
    expected = kinds.get(CATALOGUE[reason].code, Exit.REFUSED)
    assert exit_of(reason) is (Exit.INTEGRITY if reason is Reason.LEDGER_INCONSISTENT else expected)


@pytest.mark.parametrize(
    ("status", "code"),
    [("UNKNOWN", Exit.UNAVAILABLE), ("INVALID_ARGUMENT", Exit.USAGE), ("NEW_IN_A_LATER_VERSION", Exit.REFUSED)],
)
def test_answer_without_a_known_reason_is_told_by_its_status(status, code):
    assert exit_of(status) is code
