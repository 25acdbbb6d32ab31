"""The `sluss` command: global options, the verbs of every client, and the plug-ins of where it is installed."""

from copy import copy
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as installed
from typing import Annotated

import typer

from sluss_cli import (
    aggregate,
    canary,
    choice,
    complaint,
    compromise,
    console,
    contract,
    disclose,
    hold,
    imports,
    key,
    ledger,
    legal,
    obligation,
    outbox,
    person,
    person_request,
    policy,
    profile,
    trace,
)
from sluss_cli.exits import table
from sluss_cli.verb import JsonOption, ProfileOption

PLUGINS = "sluss.commands"
"""Entry-point group of functions that take this app and add verbs: the operator's, the demo's."""

_OURS = {"broker", "sluss", "sluss_cli", "sluss_client", "sluss_legal"}

HELP = f"""Personal data to subcontractors: a slice at a time, under contract, every disclosure in a ledger.

\b
Exit codes:
{table()}
"""


def build(plugins: str = PLUGINS) -> typer.Typer:
    """The whole command, with the plug-ins of an entry-point group."""
    app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_show_locals=False, rich_markup_mode="rich")
    app.callback()(_options)
    for name, group in (
        ("contract", contract.app),
        ("person", person.app),
        ("hold", hold.app),
        ("choice", choice.app),
        ("key", key.app),
        ("ledger", ledger.app),
        ("compromise", compromise.app),
        ("complaint", complaint.app),
        ("legal", legal.app),
        ("obligation", obligation.app),
        ("policy", policy.app),
        ("outbox", outbox.app),
        ("aggregate", aggregate.app),
        ("profile", profile.app),
        ("canary", canary.app),
        ("request", person_request.app),
    ):
        app.add_typer(_own(group), name=name)
    imports.register(app)
    disclose.register(app)
    trace.register(app)
    console.register(app)
    for plugin in sorted(entry_points(group=plugins), key=lambda point: point.name, reverse=True):
        _plug_in(app, plugin)
    return app


def _own(group: typer.Typer) -> typer.Typer:
    """A copy of a group: a plug-in that adds to it changes this command only."""
    own = copy(group)
    own.registered_commands = [*group.registered_commands]
    return own


def _plug_in(app: typer.Typer, plugin: EntryPoint) -> None:
    """Adds a plug-in's verbs; one whose own requirements are not installed here (the server's) is left out."""
    try:
        add = plugin.load()
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in _OURS:
            raise
        return
    add(app)


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the value alone
    if value:
        typer.echo(f"sluss {installed('sluss')}")
        raise typer.Exit


def _options(
    profile_dir: ProfileOption = None,
    *,
    as_json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that every verb takes as well, before or after its name."""


def main() -> None:
    """The entry point."""
    build()(prog_name="sluss")
