"""Bad command lines of every verb, against a broker in a process of its own: exit code 2 or 3, and one sentence."""

import pytest
import typer
from sluss_cli import main
from sluss_cli.contract_file import EXAMPLE
from sluss_cli.legal.case_file import EXAMPLE as LEGAL_EXAMPLE
from sluss_cli.policy_file import EXAMPLE as POLICY_EXAMPLE

from tests.integration.bad_command_lines import (
    CONTRACT,
    FILTERS,
    LINES,
    OPERATOR,
    PERSON,
    SERVING,
    attacks,
    lay_out,
    verbs,
)
from tests.integration.test_cli import ASK, Place

CLIENT = dict(verbs(typer.main.get_command(main.build(plugins=""))))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("bad"))
    made.found()
    lay_out(made.folder)
    (made.folder / "terms.toml").write_text(EXAMPLE, encoding="utf-8")
    (made.folder / "policy.toml").write_text(POLICY_EXAMPLE, encoding="utf-8")
    (made.folder / "rows.csv").write_text("customer_number,email\nK-1,m@example.com\n", encoding="utf-8")
    (made.folder / "a.pem").write_bytes((made.acme / "certificate.pem").read_bytes())
    with made.serving():
        mapping = made.run("import", made.folder / "rows.csv", "--guess").stdout
        (made.folder / "mapping.toml").write_text(mapping, encoding="utf-8")
        assert made.agree() == CONTRACT
        made.run("import", made.folder / "rows.csv", "--mapping", made.folder / "mapping.toml", profile=made.internal)
        look_up = ("person", "look-up", "--customer-number", "K-1")
        (person,) = made.json(*look_up, profile=made.internal)["persons"]
        (handle,) = made.json("person", "handles", CONTRACT, person, profile=made.internal)["handles"]
        kept = ("--handle", handle["handle"], "--sealed", made.folder / "kept.sealed")
        made.run("disclose", CONTRACT, *ASK, *kept, profile=made.acme)
        asked = LEGAL_EXAMPLE.replace(PERSON, person)
        (made.folder / "request.toml").write_text(asked, encoding="utf-8")
        made.run("legal", "open", made.folder / "request.toml", profile=made.legal)
        yield made


@pytest.mark.parametrize("name", LINES)
def test_no_bad_command_line_of_a_client_is_taken_or_crashes(place, name):
    verb, failures = CLIENT[name], []
    profile = getattr(place, LINES[name][0])
    for kind, parameter, words in attacks(name, verb):
        filled = [word.replace("{place}", str(place.folder)) for word in words]
        result = place.tried(*name.split(), "--profile", str(profile), *filled)
        harmless = (name, parameter) in FILTERS and kind != "not UTF-8" and result.exit_code == 0
        said = result.exit_code in {2, 3} and result.stderr.strip() and "\x1b" not in result.output
        if not harmless and not said:
            failures.append((kind, parameter, result.exit_code, repr(result.exception), result.output[-200:]))
    assert not failures, "\n".join(map(str, failures))


@pytest.mark.parametrize("name", OPERATOR | SERVING)
def test_no_bad_command_line_of_the_operator_is_taken_or_crashes(place, name):
    failures = []
    for words in (OPERATOR | SERVING)[name]:
        result = place.tried(*name.split(), *(word.replace("{place}", str(place.folder)) for word in words))
        if result.exit_code not in {2, 3} or "Traceback" in result.output:
            failures.append((words, result.exit_code, repr(result.exception), result.output[-200:]))
    assert not failures, "\n".join(map(str, failures))
