import subprocess
import sys
import types
from importlib.metadata import EntryPoint

import orjson
import pytest
import typer
from sluss_cli import main
from sluss_cli.exits import Exit
from sluss_cli.verb import verb
from typer.testing import CliRunner


def plugged(monkeypatch, module):
    monkeypatch.setitem(__import__("sys").modules, "a_plugin", module)
    monkeypatch.setattr(
        main, "entry_points", lambda group: [EntryPoint("x", "a_plugin:register", group)] if group else []
    )
    return main.build()


def test_plug_in_adds_verbs_and_groups_of_other_commands_stay_as_they_are(monkeypatch):
    def register(app):
        (ledger,) = [group.typer_instance for group in app.registered_groups if group.name == "ledger"]
        ledger.command("burn")(lambda: None)

    with_plugin = plugged(monkeypatch, types.SimpleNamespace(register=register))
    assert CliRunner().invoke(with_plugin, ["ledger", "burn"]).exit_code == 0
    assert CliRunner().invoke(main.build(plugins=""), ["ledger", "burn"]).exit_code == Exit.USAGE


@pytest.mark.parametrize(("missing", "left_out"), [("sqlmodel", True), ("rich.table", True), ("broker.nowhere", False)])
def test_plug_in_without_its_requirements_is_left_out_and_a_broken_one_is_not_hidden(monkeypatch, missing, left_out):
    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            raise ModuleNotFoundError(missing, name=missing)

    if left_out:
        assert plugged(monkeypatch, Lazy("a_plugin"))
    else:
        with pytest.raises(ModuleNotFoundError):
            plugged(monkeypatch, Lazy("a_plugin"))


def test_fault_of_the_program_is_one_sentence_without_its_text(monkeypatch):
    monkeypatch.delenv("SLUSS_TRACEBACK", raising=False)
    app = typer.Typer()
    app.callback()(lambda: None)

    @verb(app, "fail", examples=("sluss fail",))
    def fail(session):
        """Fail."""
        raise ValueError("canary: maria@example.com")

    for more in ((), ("--json",)):
        result = CliRunner().invoke(app, ["fail", *more])
        assert result.exit_code == Exit.BUG
        assert "canary" not in result.output
        assert "ValueError" in result.output
    assert orjson.loads(result.stdout)["exit"] == Exit.BUG


def test_command_says_what_is_missing_where_only_the_sdk_is_installed():
    program = "import sys; sys.modules['typer'] = None; from sluss_cli.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "extra `cli`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--version",), ("--help",), ()])
def test_command_alone_is_no_mystery(words):
    result = CliRunner().invoke(main.build(plugins=""), [*words])
    assert "sluss" in result.output or "Usage" in result.output
    assert "Traceback" not in result.output
