"""The house rules that a machine can check: who imports whom, what is pure, what stands at the top."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import stubs

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    "pyproject.toml",
    "README.md",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    "protos",
    "broker",
    "clients",
    "tests",
}
CLIENTS = {"sluss_client", "sluss_cli", "sluss_legal"}
PURE = [
    "aggregates/question",
    "aggregates/rules",
    "asks",
    "catalogue/*",
    "clock",
    "codes",
    "contract_terms",
    "contracts",
    "errors",
    "free_text",
    "handles",
    "ids",
    "intake/*",
    "ledger/checkpoint",
    "ledger/entry/*",
    "ledger/merkle",
    "ledger/receipt",
    "ledger/scan",
    "outbox/kinds",
    "pages",
    "persons/checking",
    "persons/model",
    "pki",
    "plain_text",
    "policies/model",
    "sealing",
    "signatures",
    "slice_terms",
    "tracing/forms",
    "tracing/invention",
    "tracing/likelihood",
    "tracing/model",
    "transforms",
    "turns",
    "values",
]
IMPURE = {"grpc", "sqlmodel", "sqlalchemy", "alembic", "pydantic_settings", "typer", "rich", "google", "sluss"}
# What the SDK may take from the broker: formats, and nothing that needs the server's extras.
FORMATS = {
    "broker",
    "broker.clock",
    "broker.errors",
    "broker.handles",
    "broker.ids",
    "broker.ledger",
    "broker.ledger.checkpoint",
    "broker.ledger.entry",
    "broker.ledger.merkle",
    "broker.ledger.receipt",
    "broker.pki",
    "broker.sealing",
    "broker.slice_terms",
    "broker.contract_terms",
    "broker.contracts",
    "broker.obligations",
    "broker.obligations.statement",
}
# What the command takes besides: exit codes, names of principals, readers of customer files; as pure as the formats.
READERS = {
    "broker.catalogue",
    "broker.channels",
    "broker.codes",
    "broker.exits",
    "broker.identity",
    "broker.intake.convert",
    "broker.intake.csv_reader",
    "broker.intake.faults",
    "broker.intake.guess",
    "broker.intake.lines",
    "broker.intake.mapping",
    "broker.intake.reading",
    "broker.values",
}
# What the legal team's programs take besides: the field catalogue, with the forms that a field can have.
FIELDS = {"broker.catalogue", "broker.transforms"}


def imported(path):
    """Modules that a file imports when it runs; what stands under TYPE_CHECKING is for the type checker."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def files(*roots):
    return [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]


def test_the_broker_never_imports_clients():
    """Not even the demo and the operator's verbs, which talk to clients as programs only."""
    for path in files("broker"):
        assert not {name.split(".")[0] for name in imported(path)} & CLIENTS, path


@pytest.mark.parametrize("pattern", PURE)
def test_pure_rules_import_no_io(pattern):
    found = sorted((ROOT / "broker").glob(pattern + ".py"))
    assert found, pattern
    for path in found:
        assert not {name.split(".")[0] for name in imported(path)} & IMPURE, path


def is_module(name):
    """A module or a package of this tree; not a name that stands in one."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize(
    ("client", "allowed"),
    [("sluss_client", FORMATS), ("sluss_cli", FORMATS | READERS), ("sluss_legal", FORMATS | FIELDS)],
)
def test_clients_take_stubs_and_pure_modules_only(client, allowed):
    modules = {
        path: {name for name in imported(path) if name.split(".")[0] == "broker" and is_module(name)}
        for path in files(f"clients/{client}")
    }
    assert any(modules.values())
    for path, taken in modules.items():
        assert taken <= allowed, (path, taken - allowed)


def test_the_sdk_imports_without_the_servers_extras():
    """Every module of the extras is made to fail; the SDK must not notice."""
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"sqlmodel", "sqlalchemy", "alembic", "pydantic_settings", "typer", "rich",
                                  "grpc_health", "grpc_reflection", "uvloop", "psycopg"}:
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import sluss_client
from sluss_client import AsyncSubcontractor, Subcontractor
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_else_stands_at_the_top():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert tops
    assert {name for name in tops if not name.startswith(".")} <= TOP


def test_the_committed_stubs_equal_a_fresh_generation():
    assert stubs.drift() == []


def test_no_module_grows_beyond_one_idea():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files("broker", "clients")
        if (lines := len(path.read_text().splitlines())) > 520
    }
    assert long == {}


def test_every_exception_from_a_linter_says_why():
    silent = re.compile(r"# (noqa|type: ignore)(?!(: [A-Z0-9, ]+ -|\[[a-z-]+\] #) \S)")
    for path in files("broker", "clients", "tests"):
        if path != Path(__file__):
            assert not [line for line in path.read_text().splitlines() if silent.search(line)], path


def test_no_mark_of_unfinished_work_is_left():
    marks = ("TO" + "DO", "FIX" + "ME", "for " + "now")
    for path in files("broker", "clients", "tests"):
        text = path.read_text()
        assert not [mark for mark in marks if mark in text], path
