"""`sluss demo` as a reader runs it: real processes, real certificates, in a folder of its own."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import orjson
import pytest

SLUSS = [sys.executable, "-m", "sluss_cli"]
CHAPTERS = 13


@pytest.fixture
def environment(tmp_path):
    """No settings of another broker, and a database URL that would break the demo if it were listened to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUSS_")}
    return kept | {"SLUSS_DATABASE": "postgresql+psycopg://nowhere/none", "COLUMNS": "100"}


def run(words, folder, environment, **options):
    return subprocess.run(
        [*SLUSS, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(document):
    return int(document["chapters"][0]["facts"]["address"].rpartition(":")[2])


@pytest.mark.timeout(600)
def test_every_chapter_goes_as_told_and_what_it_leaves_can_be_explored_and_told_again(tmp_path, environment):
    """One telling for all, since it takes a broker's life each time."""
    done = run(["demo", "--json", "--persons", "60"], tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    told = orjson.loads(done.stdout)
    goes_as_told(told)
    every_command_works(told["explore"], tmp_path, environment)
    own_folder_is_replaced_by_a_readable_story(tmp_path, environment)


def goes_as_told(told):
    assert told["ok"]
    assert [chapter["ok"] for chapter in told["chapters"]] == [True] * CHAPTERS
    refused = {command["reason"] for chapter in told["chapters"] for command in chapter["commands"]} - {""}
    assert refused == {
        "PURPOSE_OUT_OF_SCOPE", "FIELD_OUT_OF_SCOPE", "CONTRACT_SUSPENDED", "SECOND_PERSON_NEEDED", "LEGAL_HOLD",
        "CERTIFICATE_REVOKED", "RECIPIENT_KEY_MISSING",
    }  # fmt: skip
    assert told["chapters"][-1]["facts"]["finding"] == "altered"
    assert not listens(port_of(told))


def every_command_works(explore, folder, environment):
    serve, *others = explore
    words = shlex.split(serve.removesuffix("&"))[1:]
    plain = {name: value for name, value in environment.items() if name != "SLUSS_DATABASE"}
    with subprocess.Popen([*SLUSS, *words], cwd=folder, env=plain, stdout=subprocess.PIPE, text=True) as broker:
        try:
            assert broker.stdout.readline().startswith("listening on")
            for command in others:
                done = run(shlex.split(command)[1:], folder, plain)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                assert done.stdout
        finally:
            broker.terminate()


def own_folder_is_replaced_by_a_readable_story(folder, environment):
    again = run(["demo", "--persons", "20", "--no-keep"], folder, environment)
    assert again.returncode == 0, again.stdout + again.stderr
    assert not (folder / "sluss-demo").exists()
    assert "\x1b" not in again.stdout
    prose = [line for line in again.stdout.splitlines() if not line.lstrip().startswith(("$", ">", "x"))]
    assert max(map(len, prose)) <= 100


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path, environment):
    foreign = tmp_path / "sluss-demo"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    refused = run(["demo", "--json"], tmp_path, environment)
    assert refused.returncode == 2
    assert "--dir" in orjson.loads(refused.stdout)["error"]
    assert (foreign / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_story_leaves_no_broker_behind(tmp_path, environment, signal_):
    words = [*SLUSS, "demo", "--persons", "3000"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as story:
        port = next(int(line.rsplit(":", 1)[1]) for line in story.stdout if "listens on 127.0.0.1:" in line)
        assert listens(port)
        story.send_signal(signal_)
        story.stdout.read()
        assert story.wait(30) == 130
    deadline = time.monotonic() + 5
    while listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not listens(port)
