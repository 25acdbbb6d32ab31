"""Help that a stranger can read, and completion that a shell can use: both from the whole command."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer

from tests.support import sluss_command

APP = sluss_command.whole()


def commands(command, path=()):
    """Every group and verb with its path."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


MARKUP = re.compile(r"(?<!\\)\[[a-z]")
ALL = [
    pytest.param(path, command, id=" ".join(path)) for path, command in commands(typer.main.get_command(APP)) if path
]


def takes_a_value(parameter):
    return not getattr(parameter, "is_flag", False) and not getattr(parameter, "count", False)


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_value_is_called_by_a_word_of_the_field_and_every_parameter_is_explained(path, command):
    for parameter in command.params:
        if parameter.name == "help":
            continue
        assert parameter.help, parameter.name
        assert not MARKUP.search(parameter.help), "a word in brackets does not show"
        if takes_a_value(parameter):
            assert re.fullmatch(r"[A-Z][A-Z:/=]*(\.toml)?|in\|out", parameter.metavar or ""), parameter.name


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_help_starts_with_a_sentence_and_a_group_names_all_of_its_verbs(path, command):
    first = (command.help or "").strip().split("\n\n")[0]
    assert first.endswith((".", "..."))
    assert not MARKUP.search(f"{command.help} {command.epilog}"), "a word in brackets does not show"
    shown = sluss_command.invoke(APP, [*path, "--help"])
    assert shown.exit_code == 0
    assert "Traceback" not in shown.output
    for name in getattr(command, "commands", {}):
        assert re.search(rf"\b{name}\b", first), (path, name)


def typed(words):
    """The words of a command line, without what a shell does with its output."""
    line = shlex.split(re.sub(r"\$\(.*?\)", "made", words), comments=True)
    return line[1 : next((place for place, word in enumerate(line) if word in {">", ">>", "|"}), len(line))]


EXAMPLES = [
    pytest.param(line, id=line)
    for _, command in commands(typer.main.get_command(APP))
    for line in (command.epilog or "").split("\n\n")
    if line.startswith("sluss ")
]


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_a_command_line_that_is_understood(line):
    command, words = typer.main.get_command(APP), typed(line)
    while hasattr(command, "commands"):
        assert words, line
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


def test_the_examples_are_many_and_every_verb_has_one():
    verbs = [command for _, command in commands(typer.main.get_command(APP)) if not hasattr(command, "commands")]
    assert all("Examples:" in (command.epilog or "") for command in verbs)
    assert len(EXAMPLES) > len(verbs)


BASH = """
eval "$(sluss --show-completion bash)"
COMP_WORDS=(sluss $WORDS "$LAST"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
"$(complete -p sluss | sed 's/.*-F \\([^ ]*\\).*/\\1/')" sluss
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def completed(tmp_path):
    """What bash offers after some words and the start of another, by the script that the command hands out."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    sluss = tmp_path / "sluss"
    sluss.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sluss_cli "$@"\n')
    sluss.chmod(0o700)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}

    def complete(words, last):
        asked = environment | {"WORDS": words, "LAST": last}
        done = subprocess.run([bash, "--norc", "-c", BASH], env=asked, capture_output=True, text=True, check=True)
        return done.stdout.split()

    return complete


@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("", "cat", {"catalogue"}),
        ("contract", "s", {"suspend", "show"}),
        ("ledger", "", {"show", "checkpoint", "receipt", "verify", "export"}),
        ("disclose", "--pu", {"--purpose"}),
    ],
)
def test_bash_completes_groups_verbs_and_options(completed, words, last, offered):
    assert set(completed(words, last)) == offered
