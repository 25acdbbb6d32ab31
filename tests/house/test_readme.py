"""The pages keep their word: every command in them exists with its options, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from sluss_cli.main import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "broker/README.md",
    "broker/data/README.md",
    "broker/ledger/FORMAT.md",
    "clients/README.md",
    "clients/examples/mailing_house/README.md",
    "clients/examples/payment_processor/README.md",
    "clients/examples/registration/README.md",
    "clients/sluss_cli/README.md",
    "clients/sluss_legal/README.md",
    "protos/AGGREGATES.md",
    "protos/README.md",
    "protos/SLICE.md",
    "tests/README.md",
    "tests/benchmarks/README.md",
]
COMMANDS = sorted(
    {
        (page, line.strip().removeprefix("$ "))
        for page in PAGES
        for line in (ROOT / page).read_text().replace("\\\n", " ").splitlines()
        if re.match(r"\s*(\$ )?sluss [a-z]", line)
    }
)
INLINE = sorted(
    {(page, line) for page in PAGES for line in re.findall(r"`(sluss [a-z][^`]*)`", (ROOT / page).read_text())}
)
LINKS = sorted((page, target) for page in PAGES for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()))


def command_of(words):
    """The command behind the words and the options it knows."""
    command, path = typer.main.get_command(build()), []
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"sluss {' '.join([*path, name])}"
        path.append(name)
        command = command.commands[name]
    return command, words


def test_there_are_commands_to_look_at():
    assert len(COMMANDS) > 20
    assert len(INLINE) > 5
    assert len(LINKS) > 5


@pytest.mark.parametrize(("page", "line"), COMMANDS + INLINE)
def test_every_command_in_a_page_exists_with_its_options(page, line):
    words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)[1:]
    command, rest = command_of(words)
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help"}, (page, used - known)


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_every_link_in_a_page_leads_somewhere(page, target):
    assert ((ROOT / page).parent / target).exists()


def slugs(page):
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_heading_finds_it():
    found = [
        (page, target, anchor)
        for page in PAGES
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", (ROOT / page).read_text())
    ]
    assert len(found) > 5
    for page, target, anchor in found:
        source = ROOT / page
        assert anchor in slugs((source.parent / target).resolve() if target else source), (page, target, anchor)


def test_every_make_target_that_the_readme_names_exists():
    named = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def test_every_room_of_the_broker_stands_in_its_page():
    page = (ROOT / "broker/README.md").read_text()
    folders = {f"{path.parent.name}/" for path in (ROOT / "broker").glob("*/*") if path.suffix in {".py", ".toml"}}
    modules = {path.name for path in (ROOT / "broker").glob("*.py")} - {"__init__.py"}
    assert {"rpc/", "disclosure.py"} <= folders | modules
    assert {name for name in folders | modules if f"`{name}`" not in page} == set()


def test_every_folder_of_tests_and_every_proto_stands_in_its_page():
    tests, protos = ((ROOT / folder / "README.md").read_text() for folder in ("tests", "protos"))
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    assert {"unit", "faults"} <= folders
    assert {name for name in folders if f"`{name}/`" not in tests} == set()
    assert {path.name for path in (ROOT / "protos").rglob("*.proto") if f"[{path.name}]" not in protos} == set()
