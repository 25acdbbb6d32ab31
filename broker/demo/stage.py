"""What the demo stands on: a folder of its own, a broker in a process of its own, and the `sluss` command itself.

Every verb of the story is the very command that a reader can type afterwards; it runs in this process, with `--json`
added, so that the story can check what it says.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any

import orjson
import typer

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = ".made-by-sluss-demo"
START_S = 30.0
"""Seconds that the broker may take to listen."""
STOP_S = 10.0
"""Seconds that it may take to stop before it is killed."""
MAINTAIN_S = 1
"""Seconds between rounds of the broker's maintenance, which scrubs the store after an erasure; a minute by default."""
_READY = "listening on "


class NotAsToldError(Exception):
    """A chapter did not go as the story says it must."""


def must(true: object, otherwise: str) -> None:
    """Fails the chapter unless what it tells is so.

    Raises:
        NotAsToldError: it is not.
    """
    if not true:
        raise NotAsToldError(otherwise)


@dataclass(frozen=True)
class Step:
    """One command that was run.

    Attributes:
        command: as a reader can type it.
        exit: its exit code.
        seconds: how long it took.
        document: what it printed with `--json`.
    """

    command: str
    exit: int
    seconds: float
    document: dict[str, Any]

    @property
    def reason(self) -> str:
        """The reason of a refusal or failure; empty if there was none."""
        return str(self.document.get("error", {}).get("reason", ""))


@dataclass
class Stage:
    """The command, the folder and the broker of one run.

    Attributes:
        app: the `sluss` command.
        folder: where everything is made.
        steps: what has been run so far.
    """

    app: typer.Typer
    folder: Path
    steps: list[Step] = field(default_factory=list)
    broker: subprocess.Popen[str] | None = None

    def run(self, *words: object, exits: int = 0, profile: Path | None = None) -> Step:
        """Runs a verb.

        Args:
            words: the verb and its arguments.
            exits: the exit code that the story expects.
            profile: the profile folder of who calls.

        Raises:
            NotAsToldError: another exit code.
        """
        argv = [str(word) for word in words]
        if profile is not None:
            argv += ["--profile", str(profile)]
        step = self._invoke(argv)
        self.steps.append(step)
        if step.exit != exits:
            error = step.document.get("error", step.document)
            raise NotAsToldError(f"`{step.command}` ended with {step.exit} instead of {exits}: {error}")
        return step

    @cached_property
    def _command(self) -> Any:
        return typer.main.get_command(self.app)

    def _invoke(self, argv: list[str]) -> Step:
        started, code = time.perf_counter(), 0
        out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(errors):
            try:
                self._command.main(args=[*argv, "--json"], prog_name="sluss")
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
        seconds = time.perf_counter() - started
        return Step("sluss " + shlex.join(argv), code, seconds, _document(out))

    # --- the broker's process ---

    @contextmanager
    def serving(self, home: Path) -> Iterator[str]:
        """A broker for as long as the block lasts, whatever ends it; gives its address."""
        log = self.folder / "broker.log"
        with log.open("wb") as errors:
            words = [sys.executable, "-m", "sluss_cli", "serve", "--home", str(home)]
            # A session of its own: Ctrl-C reaches the story first, which then stops the broker in order.
            self.broker = subprocess.Popen(  # noqa: S603 - our own command, no shell
                words,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "SLUSS_MAINTAIN_S": str(MAINTAIN_S)},
            )
        try:
            yield self._address(self.broker, log)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stops the broker, if it runs: first asked, then killed."""
        process, self.broker = self.broker, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _address(self, process: subprocess.Popen[str], log: Path) -> str:
        if process.stdout is None:
            raise NotAsToldError("the broker has no output")
        with DefaultSelector() as selector:
            selector.register(process.stdout, EVENT_READ)
            ready = selector.select(START_S)
        line = process.stdout.readline() if ready else ""
        if not line.startswith(_READY):
            raise NotAsToldError(f"the broker did not start; {log} tells why")
        return line.removeprefix(_READY).strip()


def _document(printed: io.TextIOWrapper) -> dict[str, Any]:
    printed.seek(0)
    try:
        document = orjson.loads(printed.read())
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def prepare(folder: Path, *, replace: bool = True) -> bool:
    """Makes the demo's folder: a new or an empty one, or one that the demo made earlier, which is replaced.

    Args:
        folder: where.
        replace: an earlier demo's folder may be deleted.

    Returns:
        Whether an earlier demo's folder was replaced.

    Raises:
        SlussError: INVALID_REQUEST: the folder is somebody else's, or an earlier demo's that is to be kept.
    """
    made_here = (folder / MARKER).is_file() and not folder.is_symlink()
    filled = folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))
    if filled and not made_here:
        raise SlussError(
            Reason.INVALID_REQUEST, f"{folder} exists and was not made by this demo: name another with --dir"
        )
    if made_here and not replace:
        raise SlussError(
            Reason.INVALID_REQUEST, f"{folder} is an earlier demo's: name another with --dir, or leave out --no-replace"
        )
    if made_here:
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / MARKER).write_text("`sluss demo` made this folder and replaces it when it runs again.\n")
    return made_here


@contextmanager
def plain_environment() -> Iterator[None]:
    """Settings of another broker in the environment must not steer the demo's."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("SLUSS_")}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """SIGTERM ends the story as Ctrl-C does, so that its broker is stopped too."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
