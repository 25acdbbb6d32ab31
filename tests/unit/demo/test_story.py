import io
import os
import sys

import orjson
import pytest
import typer

from broker.demo import play
from broker.demo.stage import MARKER, NotAsToldError, Stage, plain_environment, prepare
from broker.errors import SlussError
from broker.exits import Exit


@pytest.fixture
def app():
    """A command without the verbs that the story needs."""
    made = typer.Typer()
    made.callback()(lambda: None)

    @made.command("answer")
    def answer(number: int, *, as_json: bool = typer.Option(False, "--json")):
        typer.echo(b'{"number": %d}' % number)
        raise typer.Exit(number)

    return made


def test_story_that_does_not_go_as_told_ends_with_1_and_says_where(app, tmp_path, capsys):
    assert play.play(app, tmp_path / "demo", 10, as_json=True, keep=True) == Exit.FOUND_WRONG
    document = orjson.loads(capsys.readouterr().out)
    assert not document["ok"]
    assert "A broker of its own" in document["error"]
    assert document["chapters"][0]["ok"] is False
    assert "explore" not in document


def test_commands_run_as_typed_and_an_unexpected_exit_code_stops_the_story(app, tmp_path):
    stage = Stage(app, tmp_path)
    assert stage.run("answer", 3, exits=3).document == {"number": 3}
    assert stage.steps[0].command == "sluss answer 3"
    with pytest.raises(NotAsToldError, match="ended with 3 instead of 0"):
        stage.run("answer", 3)


def test_standard_output_is_given_back_after_a_command(app, tmp_path):
    before = sys.stdout
    Stage(app, tmp_path).run("answer", 0)
    assert sys.stdout is before
    assert not isinstance(sys.stdout, io.BytesIO)


@pytest.mark.parametrize("content", ["thesis.txt", ".git"])
def test_folder_of_somebody_else_is_never_touched(tmp_path, content):
    (tmp_path / content).write_text("mine")
    with pytest.raises(SlussError, match="--dir"):
        prepare(tmp_path)
    assert (tmp_path / content).read_text() == "mine"


def test_folder_that_is_a_link_to_somewhere_else_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / MARKER).touch()
    (target / "mine").touch()
    (tmp_path / "demo").symlink_to(target)
    with pytest.raises((SlussError, OSError)):
        prepare(tmp_path / "demo")
    assert (target / "mine").exists()


def test_empty_folder_is_taken_and_nothing_is_said_to_be_replaced(tmp_path):
    assert prepare(tmp_path) is False
    assert (tmp_path / MARKER).is_file()


def test_earlier_demo_is_replaced_unless_it_is_to_be_kept(tmp_path):
    prepare(tmp_path)
    (tmp_path / "slice.sealed").touch()
    with pytest.raises(SlussError, match="--no-replace"):
        prepare(tmp_path, replace=False)
    assert (tmp_path / "slice.sealed").exists()
    assert prepare(tmp_path) is True
    assert not (tmp_path / "slice.sealed").exists()


def test_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(SlussError, match="--dir"):
        prepare(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


def test_replacing_is_told_to_people_and_programs(app, tmp_path, capsys):
    for as_json, said in ((False, ""), (False, "Replaced"), (True, '"replaced": true')):
        play.play(app, tmp_path / "demo", 10, as_json=as_json, keep=True)
        assert said in capsys.readouterr().out
    assert play.play(app, tmp_path / "demo", 10, as_json=True, keep=True, replace=False) == Exit.USAGE


def test_settings_of_another_broker_are_put_aside_and_given_back(monkeypatch):
    monkeypatch.setenv("SLUSS_DATABASE", "postgresql+psycopg://elsewhere/production")
    with plain_environment():
        assert "SLUSS_DATABASE" not in os.environ
    assert os.environ["SLUSS_DATABASE"].endswith("production")


def test_nothing_is_left_when_the_folder_is_not_kept(app, tmp_path):
    play.play(app, tmp_path / "demo", 10, as_json=True, keep=False)
    assert not (tmp_path / "demo").exists()
