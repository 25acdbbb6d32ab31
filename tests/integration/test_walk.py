"""The walk through the README, typed from top to bottom into a real shell in a fresh folder, with a real broker.

The shell is bash, and the blocks are run as they stand. `sluss serve` is a process of its own; the other verbs run in
this one, on behalf of a small command that stands in the PATH, since loading Python forty times would take longer than
all the rest.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from sluss_cli.main import build

from tests.support.broker import free_port

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(sh|text|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUT = "@@ next block"
# What differs from run to run: identifiers, times, hashes; and how wide a column is.
VARYING = [
    (r"\bP-[0-9A-Z]{13}\b", "P"),
    (r"\bh_[\w-]{22}", "h"),
    (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?\b", "DATE"),
    (r"\b\d+ checkpoints", "CHECKPOINTS"),
    (r" +", " "),
]
STAND_IN = """\
import json, os, socket, sys
if sys.argv[1] == "serve":
    os.execv(sys.executable, [sys.executable, "-m", "sluss_cli", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as line:
    line.connect(os.environ["WALK"])
    line.sendall(json.dumps({"cwd": os.getcwd(), "argv": sys.argv[1:]}).encode())
    line.shutdown(socket.SHUT_WR)
    done = json.loads(line.makefile().read())
sys.stdout.write(done["out"]); sys.stderr.write(done["err"])
sys.exit(done["exit"])
"""


def page():
    """The README's blocks from "Use it" on, in order; what is numbered by year has that of today."""
    text = (ROOT / "README.md").read_text()
    text = re.sub(r"\b([BCHKLOR])-2026-", rf"\1-{datetime.now(UTC).year}-", text[text.index("## Use it") :])
    return FENCE.findall(text)


def steps(blocks):
    """Each block of commands with what stands below it as its output, and the program above it."""
    program = ""
    for (kind, text), (below, output) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            program = text
        elif kind == "sh":
            yield text, output if below == "text" else None, program


def plain(text):
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.strip().splitlines()]


def agrees(shown, printed):
    """Whether what the page shows is what was printed; `...` stands for any number of lines."""
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in plain(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in plain(printed)))


def answer(app, asked):
    """Runs a verb as the command would; "y" is the answer to what it asks."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    os.chdir(asked["cwd"])
    sys.stdin = io.StringIO("y\n")
    with redirect_stdout(out), redirect_stderr(err):
        try:
            typer.main.get_command(app).main(args=asked["argv"], prog_name="sluss")
        except SystemExit as ended:
            code = ended.code or 0
    return {"out": out.getvalue(), "err": err.getvalue(), "exit": code}


class Walk:
    """A fresh folder with an environment to activate, as `make demo` leaves it, and what was run in it."""

    def __init__(self, folder):
        self.folder, self.codes = folder, []
        self.port = free_port()
        self.socket = folder / "line"
        commands = folder / ".venv" / "bin"
        commands.mkdir(parents=True)
        (commands / "activate").write_text(f'PATH="{commands}:$PATH"\n')
        (folder / "stand_in.py").write_text(STAND_IN)
        self._command(commands / "sluss", f'"{sys.executable}" -S "{folder / "stand_in.py"}" "$@"')
        self._command(commands / "python", f'"{sys.executable}" "$@"')

    def _command(self, path, line):
        path.write_text(f"#!/bin/sh\nexec {line}\n")
        path.chmod(0o700)

    def script(self):
        """All blocks as one script: a reader waits for the broker, and saves the program where it is shown."""
        ready = f"until (exec 3<>/dev/tcp/127.0.0.1/{self.port}) 2>/dev/null; do sleep 0.05; done"
        lines = ["set -m", "trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
        for text, _, program in steps(page()):
            if "collect.py" in text:
                lines.append(f"cat > collect.py <<'END'\n{program}END")
            lines.append(text.replace("7443", str(self.port)))
            lines += [ready] if text.rstrip().endswith("&") else []
            lines += [f"echo '{CUT}'; echo '{CUT}' >&2"]
        return "\n".join(lines)

    def run(self):
        """What each block printed."""
        app = build()
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "WALK": str(self.socket)}
        environment["PYTHONPATH"] = ":".join(path for path in sys.path if path)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(self.socket))
            door.listen()
            door.settimeout(0.05)
            with subprocess.Popen(
                ["bash", "--norc", "-c", self.script()],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as shell:
                try:
                    self._serve(app, door, shell)
                finally:
                    shell.terminate()
                printed = shell.stdout.read()
        return printed.replace(f"{CUT}\n{CUT}\n", CUT).split(CUT)

    def _serve(self, app, door, shell):
        while shell.poll() is None:
            try:
                line, _ = door.accept()
            except TimeoutError:
                continue
            with line:
                asked = json.loads(line.makefile().read())
                done = answer(app, asked)
                self.codes.append((" ".join(asked["argv"]), done["exit"], done["err"]))
                line.sendall(json.dumps(done).encode())


@pytest.fixture
def walk(tmp_path, monkeypatch):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    for name in [name for name in os.environ if name.startswith("SLUSS_")]:
        monkeypatch.delenv(name)
    return Walk(tmp_path)


def test_a_stranger_who_types_the_readme_from_top_to_bottom_sees_what_it_shows(walk):
    printed = walk.run()
    expected = [
        int(code.group(1)) if (code := re.search(r"# exit code (\d+)", line)) else 0
        for text, _, _ in steps(page())
        for line in text.splitlines()
        if re.match(r"sluss (?!serve)", line)
    ]
    assert [code for _, code, _ in walk.codes] == expected, (walk.codes, printed)
    assert len(expected) > 30
    for (text, shown, _), block in zip(steps(page()), printed, strict=False):
        if shown is not None:
            assert agrees(shown, block), f"{text}\nshown:\n{shown}\nprinted:\n{block}"


def test_a_page_that_shows_something_else_is_noticed():
    assert agrees("entry 1\n...\nend\n", "entry 1\nx\ny\nend\n")
    assert agrees("h_FssWbYOe4hYyG53NFK6-Qg  a\n", "h_xDv6OOK_NMrzh6BpgVxbqA    a\n")
    assert not agrees("entry 1\nend\n", "entry 1\nx\nend\n")
    assert not agrees("7 entries\n", "8 entries\n")
