"""One vocabulary for all verbs of `sluss`: an option of one name means one thing, and one thing has one name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from sluss_cli import main

from tests.integration.bad_command_lines import verbs

ROOT = Path(__file__).resolve().parents[2]
EVERY = dict(verbs(typer.main.get_command(main.build())))
OPTIONS = [
    pytest.param(verb, parameter, id=f"{verb} {parameter.opts[0]}")
    for verb, command in EVERY.items()
    for parameter in command.params
    if parameter.opts[0].startswith("--") and parameter.name not in {"help", "profile_dir", "as_json"}
]
# An option that stands for two kinds of value, and why nobody takes one for the other.
TWO_KINDS = {
    "--from": {"DAY", "TIME"},  # the beginning of a period; a TIME may be a day too
    "--until": {"DAY", "TIME"},  # its end
    "--out": {"FILE", "DIR", "PATH"},  # where it is written
    "--file": {"FILE", "FILE.toml"},
    "--state": {"STATE", "in|out"},  # of a case; of a choice
    "--noise": {"NUMBER", "NOISE"},  # of a trace, rows that are not the source's; of counts, the distribution
    "--key": {"FILE", "KEY"},  # of the console, as other servers call it; of a list, the field that names persons
    "--profile": {"KIND/ID", "DIR"},  # `init` makes one for a principal
}
# Names that other tools have for what has a name here.
SYNONYMS = {
    "--since": "--from",
    "--to": "--until",
    "--before-day": "--until",
    "--output": "--out",
    "--out-file": "--out",
    "--due": "--deadline",
    "--comment": "--note",
    "--why": "--reason",
    "--lang": "--language",
    "--max": "--limit",
    "--force": "--yes",
    "--channels": "--channel",
    "--fields": "--field",
    "--persons-list": "--persons-file",
    "--customer": "--customer-number",
    "--mail": "--email",
    "--json-lines": "--format",
}
VERBS = {
    "stats": "statistics",
    "ls": "list",
    "get": "show",
    "add": "open",
    "delete": "erase",
    "overdue": "list --overdue",
}


@pytest.mark.parametrize(("verb", "parameter"), OPTIONS)
def test_an_option_has_no_name_that_is_a_synonym_of_another(verb, parameter):
    assert not set(parameter.opts) & set(SYNONYMS), f"{verb}: {SYNONYMS.get(parameter.opts[0])}"


def test_a_verb_has_no_name_that_is_a_synonym_of_another():
    assert not {
        (name, word)
        for name in EVERY
        for word in name.split()[-1:]
        if word in VERBS and not name.startswith("legal document")
    }


def test_an_option_of_one_name_takes_one_kind_of_value_in_every_verb():
    kinds = {}
    for verb, parameter in (each.values for each in OPTIONS):
        kinds.setdefault(parameter.opts[0], {}).setdefault(parameter.metavar, []).append(verb)
    assert {
        name: found for name, found in kinds.items() if len(found) > 1 and not set(found) <= TWO_KINDS.get(name, set())
    } == {}


@pytest.mark.parametrize(("verb", "parameter"), OPTIONS)
def test_the_help_of_an_option_says_what_every_verb_says_of_it(verb, parameter):
    said = parameter.help
    starts = {
        "--reason": r"Why",
        "--limit": r"At most so many.*; 0 for all\.$",
        "--yes": r"Do not ask",
        "--overdue": r"Only those past their deadline\.$",
        "--csv": r"Print CSV",
        "--example": r"Print a file to start from",
        "--dry-run": r"(Ask the broker what it would do|Only say)",
        "--contract": r"(Only of this contract|The contract)",
        "--state": r"(Only in this state|Only what stands so|For rows)",
        "--seconds": r"Stop after so long; 0 for never\.$",
        "--count": r"(Stop after so many; 0 for never\.$|How many)",
        "--faulty": r"Where faulty rows go",
    }
    assert re.match(starts.get(parameter.opts[0], ""), said), said
    if parameter.multiple:
        assert re.search(r"repeatable|several|up to|again", said), f"{verb}: an option that may stand twice says so"
    if re.search(r"\w-file$", parameter.opts[0]):
        assert "standard input" in said, f"{verb}: a list or a text may come through a pipe"


def test_a_period_is_bounded_by_from_and_until_in_every_verb_that_takes_one():
    for verb, command in EVERY.items():
        names = {parameter.opts[0] for parameter in command.params}
        assert "--from" not in names or "--until" in names or verb == "obligation report", verb
    for name in ("request statistics", "complaint statistics", "legal report", "aggregate query"):
        assert {"--from", "--until"} <= {parameter.opts[0] for parameter in EVERY[name].params}


def test_every_list_of_cases_can_be_cut_off_and_says_how_to_see_the_rest():
    for name in ("request list", "complaint list", "obligation list", "compromise list", "canary list", "outbox list"):
        assert "--limit" in {parameter.opts[0] for parameter in EVERY[name].params}, name


def test_the_page_of_the_command_names_every_verb():
    page = (ROOT / "clients/sluss_cli/README.md").read_text().split("## Exit codes")[0]
    cells = [cell for line in page.splitlines() if line.startswith("| ") for cell in re.findall(r"`(.+?)`", line)]
    named = set()
    for cell in cells:
        group, _, verbs_ = cell.partition(" ")
        named |= {f"{group} {verb}" for verb in verbs_.split(", ")} | set(cell.split(", "))
    # The legal team's verbs have a page of their own, and so have the operators'.
    elsewhere = {"legal", "certificate", "catalogue", "backup", "restore"}
    assert {name for name in EVERY if name.split()[0] not in elsewhere} - named == set()
