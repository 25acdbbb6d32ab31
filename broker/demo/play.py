"""The story from its first line to its last: a folder, a broker, the chapters, and how to go on."""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from broker.demo.stage import NotAsToldError, Stage, plain_environment, prepare, stopped_in_order
from broker.demo.tale import CHAPTERS, Chapter, Tale
from broker.demo.telling import Teller
from broker.errors import SlussError
from broker.exits import Exit

if TYPE_CHECKING:
    import typer

FIRST_PORT = 20_000
PORTS = 10_000
ATTEMPTS = 100


def play(app: typer.Typer, folder: Path, count: int, *, as_json: bool, keep: bool, replace: bool = True) -> int:
    """Tells the story; gives the exit code: 0, or 1 if a chapter did not behave.

    Args:
        app: the `sluss` command.
        folder: where everything is made.
        count: persons in the customer file.
        as_json: one JSON document instead of the story.
        keep: leave the folder to the reader.
        replace: a folder that an earlier demo made may be deleted.
    """
    try:
        replaced = prepare(folder, replace=replace)
    except (SlussError, OSError) as error:
        why = error.detail if isinstance(error, SlussError) else str(error)
        return _end({"ok": False, "error": why}, as_json=as_json, exits=Exit.USAGE)
    tale = Tale(Stage(app, folder), Teller(silent=as_json), count)
    if replaced:
        tale.teller.line(f"Replaced {folder}, which an earlier demo had made; --no-replace would have kept it.")
    try:
        with plain_environment(), stopped_in_order():
            document, code = _tell(tale)
    except KeyboardInterrupt:
        document, code = {"ok": False, "error": "interrupted"}, Exit.INTERRUPTED
    finally:
        tale.stage.stop()
    if code == 0 and keep:
        document["explore"] = _explore(tale)
        _farewell(tale)
    if not keep:
        shutil.rmtree(folder)
    return _end(document | {"replaced": replaced}, as_json=as_json, exits=code)


def _end(document: dict[str, Any], *, as_json: bool, exits: int) -> int:
    if as_json:
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif "error" in document:
        sys.stderr.write(f"sluss demo: {document['error']}\n")
    return exits


def _tell(tale: Tale) -> tuple[dict[str, Any], int]:
    started = time.perf_counter()
    tale.teller.title(
        "Sluss: personal data to subcontractors, a slice at a time",
        f"A telephone-conferencing company lets a debt collector have what it needs, and no more. Everything is made"
        f" in {tale.stage.folder}/ and every command below is one that you can type.",
    )
    told: list[dict[str, Any]] = []
    error = ""
    try:
        _found(tale, told)
        with tale.stage.serving(tale.home) as address:
            tale.found(f"a broker of its own process listens on {address}", address=address)
            for chapter in CHAPTERS:
                _one(tale, chapter, told)
    except NotAsToldError as failed:
        error = f"{told[-1]['title'] if told else 'start'}: {failed}"
    seconds = round(time.perf_counter() - started, 2)
    document = {"ok": not error, "seconds": seconds, "dir": str(tale.stage.folder), "chapters": told}
    return (document | {"error": error}, Exit.FOUND_WRONG) if error else (document, 0)


def _found(tale: Tale, told: list[dict[str, Any]]) -> None:
    """The first chapter: what the others stand on."""

    def happens(tale: Tale) -> None:
        tale.teller.say(
            "A certificate authority, key rings, a database and an empty ledger with its signing keys; profiles for"
            " an operator and for the company's own import. Every call goes over mutual TLS."
        )
        tale.run(
            "init", "--home", tale.home, "--trust-domain", "example.com", "--origin", "example.com/sluss",
            "--listen", f"127.0.0.1:{_free_port()}",
        )  # fmt: skip
        tale.teller.line(f"    $ sluss serve --home {tale.home}")

    _one(tale, Chapter("A broker of its own", "4, 9", happens), told)


def _one(tale: Tale, chapter: Chapter, told: list[dict[str, Any]]) -> None:
    started, before = time.perf_counter(), len(tale.stage.steps)
    entry: dict[str, Any] = {"title": chapter.title, "clause": chapter.clause, "ok": False}
    told.append(entry)
    tale.teller.chapter(len(told), chapter.title, chapter.clause)
    tale.facts = {}
    try:
        chapter.happens(tale)
        entry["ok"] = True
    finally:
        entry["seconds"] = round(time.perf_counter() - started, 3)
        entry["facts"] = tale.facts
        entry["commands"] = [
            {"command": step.command, "exit": step.exit, "seconds": round(step.seconds, 3), "reason": step.reason}
            for step in tale.stage.steps[before:]
        ]


def _free_port() -> int:
    """A free port below those that the system hands out: settings and profiles name it, afterwards too.

    By chance, so that two stories told at once do not meet.
    """
    for _ in range(ATTEMPTS):
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotAsToldError("no free port")


def _farewell(tale: Tale) -> None:
    tale.teller.line()
    tale.teller.say("All of it went as told. The broker is stopped and the folder is yours:")
    tale.teller.line()
    if shutil.which("sluss") is None:
        tale.teller.line(f"    $ . {_activate()}    # puts `sluss` on the PATH")
    for command in _explore(tale):
        tale.teller.line(f"    $ {command}")
    tale.teller.line()


def _activate() -> Path:
    """The script that puts this environment's commands on the PATH, from here if it lies below."""
    script = Path(sys.prefix) / "bin" / "activate"
    return script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script


def _explore(tale: Tale) -> list[str]:
    """What a reader can try next; every command works, those with a profile once the broker serves again."""
    home, folder = tale.home, tale.stage.folder
    ask = f"sluss disclose {tale.contract} --purpose billing -f email --handle {tale.handles[2]}"
    return [
        f"sluss serve --home {home} &",
        f"sluss contract explain {tale.contract} --profile {tale.acme}",
        f"{ask} --profile {tale.acme}",
        f"sluss request list --profile {folder / 'privacy-team'}",
        f"sluss ledger show --type refusal --profile {tale.operator}",
        f"sluss ledger verify --profile {tale.acme}",
        f"sluss ledger verify --home {home} --checkpoint {tale.acme / 'checkpoint'}",
        f"sluss open {tale.sealed} --profile {tale.acme}",
    ]
