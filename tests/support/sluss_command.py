"""The `sluss` command in this process, as a person types it: built once, run many times."""

from __future__ import annotations

import functools
import sys

import typer
from sluss_cli import main
from typer.testing import CliRunner, Result

built = functools.cache(typer.main.get_command)
"""A command from an app. Building it reads the signature of every verb, which takes longer than most verbs do."""


@functools.cache
def whole():
    """The app with every verb, the operator's and the demo's too."""
    return main.build()


@functools.cache
def clients():
    """The app with the verbs of every client, and no plug-ins."""
    return main.build(plugins="")


def invoke(app, words, **options):
    """Runs an app with words, as `CliRunner.invoke` does; gives its `Result`."""
    runner, raised = CliRunner(), None
    with runner.isolation(**options) as (out, err, both):
        try:
            built(app).main(args=[str(word) for word in words], prog_name="sluss")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the test is told
            raised = error
        sys.stdout.flush()
        sys.stderr.flush()
        said = out.getvalue(), err.getvalue(), both.getvalue()
    ended = not raised or isinstance(raised, SystemExit)
    code = (raised.code or 0 if raised else 0) if ended else 1
    return Result(runner, *said, None, code, raised if code else None)
