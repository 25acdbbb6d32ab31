"""The operator's verbs of the `sluss` command: init, serve, backup, restore, certificate, catalogue, keys, ledger.

They are plugged in through the entry point group `sluss.commands` where the server is installed. What they
need of the server is imported within them: `sluss --help` must not wait for a database library.
"""

# typer reads annotations when the command runs: no `from __future__ import annotations` here.
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.errors import Reason, SlussError
from broker.operator import backup_verbs, certificate_verbs, key_verbs, ledger_verbs
from broker.operator.console import Console, reporting
from broker.operator.options import DEFAULT_HOME, Home, Json, examples

if TYPE_CHECKING:
    from broker.operator.catalogues import Difference

SERVER_NEEDS = ("sqlmodel", "alembic", "pydantic_settings", "grpc_health", "grpc_reflection")

INIT = examples(
    "sluss init --trust-domain example.com --origin example.com/sluss",
    "sluss init --home /var/lib/sluss --trust-domain example.com --origin example.com/sluss"
    " --host broker.example.com --listen 0.0.0.0:7443 --profile legal/anna --profile privacy/team",
)
SERVE = examples("sluss serve", "sluss serve --home /var/lib/sluss --workers 2", "sluss serve --listen 127.0.0.1:0")
IMPORT = examples("sluss catalogue import catalogue.toml --dry-run", "sluss catalogue import catalogue.toml")

catalogue = typer.Typer(
    help="The catalogue of fields and purposes: show, import.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def register(app: typer.Typer) -> None:
    """Adds the verbs to the `sluss` command, once, if what the server needs is installed."""
    if any(found.name == "init" for found in app.registered_commands):
        return
    if any(find_spec(name) is None for name in SERVER_NEEDS):
        return
    app.command("init", epilog=INIT)(init)
    app.command("serve", epilog=SERVE)(serve)
    backup_verbs.register(app)
    app.add_typer(certificate_verbs.app, name="certificate")
    app.add_typer(catalogue, name="catalogue")
    app.add_typer(key_verbs.app, name="keys")
    ledger_verbs.register(_group(app, "ledger"))


def _group(app: typer.Typer, name: str) -> typer.Typer:
    """The group of that name; a new one if the command has none."""
    for found in app.registered_groups:
        if found.name == name and found.typer_instance is not None:
            return found.typer_instance
    made = typer.Typer(help="The ledger: verify, export.", no_args_is_help=True, pretty_exceptions_show_locals=False)
    app.add_typer(made, name=name)
    return made


def init(
    context: typer.Context,
    *,
    trust_domain: Annotated[
        str, typer.Option(help="The company's domain; stands in every certificate.", metavar="DOMAIN")
    ],
    origin: Annotated[
        str, typer.Option(help="The ledger's name, such as example.com/sluss; stays for good.", metavar="NAME")
    ],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="The broker's name or address, for its certificate; repeatable.", metavar="HOST"),
    ] = None,
    listen: Annotated[str, typer.Option(help="Where the broker will listen.", metavar="HOST:PORT")] = "127.0.0.1:7443",
    database: Annotated[
        str,
        typer.Option(
            help="postgresql+psycopg://..., as its owner; by default SQLite in the home folder.", metavar="URL"
        ),
    ] = "",
    endpoint: Annotated[
        str, typer.Option(help="Where clients find the broker, if not at --host and --listen.", metavar="HOST:PORT")
    ] = "",
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", help="Make a profile for this principal too; repeatable.", metavar="KIND/ID"),
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a broker: certificate authority, keys, settings, database, ledger, first profiles.

    Nothing that exists is overwritten. Profiles are made for operator/admin and internal/import, and for whom
    --profile names, such as legal/anna or privacy/team.
    """
    from broker.identity import parse_principal
    from broker.operator.founding import BACKUP, FIRST_PROFILES, Charter, found

    with reporting(context, as_json=as_json) as console:
        more = [parse_principal(name) for name in profile or ()]
        charter = Charter(
            home=home,
            trust_domain=trust_domain,
            origin=origin,
            hosts=tuple(host or ()),
            listen=listen,
            database=database,
            profiles=tuple(dict.fromkeys((*FIRST_PROFILES, *more))),
            endpoint=endpoint,
        )
        files = found(charter)
        console.result({"home": str(home), "files": files, "back_up": BACKUP})
        _tell_founded(console, home, files, BACKUP)


def _tell_founded(console: Console, home: Path, files: list[str], backup: dict[str, str]) -> None:
    console.line(f"Made {home}:")
    for file in files:
        console.line(f"  {file}")
    console.line("\nBack up, each where it can't be had together with the others:")
    for name, why in backup.items():
        console.line(f"  {name:<18}{why}")
    console.line(f"\nNext: sluss serve --home {home}")


def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option(help="Where to listen, if not as the settings say; port 0 is any free one.", metavar="HOST:PORT"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port.", min=1, max=64, metavar="COUNT")
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Prints `listening on host:port` when it is ready."""
    from broker.app import App
    from broker.settings import load
    from broker.workers import serve as run

    with reporting(context, as_json=as_json):
        code = run(load(home, listen=listen, workers=workers), App)
    raise typer.Exit(code)


@catalogue.command("import", epilog=IMPORT)
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The reviewed TOML file.", metavar="FILE")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would change.")] = False,
    allow_removal: Annotated[
        bool,
        typer.Option("--allow-removal", help="Let it take fields and purposes away that are in force."),
    ] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Put a catalogue of fields and purposes in force, with its policy version."""
    from broker.operator import catalogues
    from broker.operator.office import opened
    from broker.store.engine import reading

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        toml = _read(file)
        with reading(office.engine) as connection:
            change = catalogues.compare(connection, toml)
        if change.removed and not (allow_removal or dry_run):
            gone = ", ".join(change.removed)
            raise SlussError(Reason.INVALID_TERMS, f"it takes away {gone}: say so with --allow-removal")
        entries = [] if dry_run or change.unchanged else office.ledger.run(lambda tx: catalogues.put_in_force(tx, toml))
        document = {"added": list(change.added), "removed": list(change.removed), "policy": change.policy}
        console.result({**document, "unchanged": change.unchanged, "dry_run": dry_run, "entries": entries})
        _tell_change(console, change, entries)


def _tell_change(console: Console, change: "Difference", entries: list[int]) -> None:
    if change.unchanged:
        console.line("This catalogue is in force already.")
        return
    for sign, names in (("+", change.added), ("-", change.removed)):
        for name in names:
            console.line(f"  {sign} {name}")
    if change.policy:
        console.line(f"  + policy version {change.policy}")
    word = "entry" if len(entries) == 1 else "entries"
    console.line(f"In force: {word} {', '.join(map(str, entries))}." if entries else "Nothing was changed.")


@catalogue.command("show", epilog=examples("sluss catalogue show > catalogue.toml"))
def show(context: typer.Context, *, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Print the catalogue in force, the very file that was imported."""
    from broker.operator import catalogues
    from broker.operator.office import opened
    from broker.store.engine import reading

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        with reading(office.engine) as connection:
            found = catalogues.in_force(connection)
        if found is None:
            raise SlussError(Reason.INTERNAL, "no catalogue has been imported")
        console.result({"serial": found[0], "toml": found[1]})
        if not console.as_json:
            typer.echo(found[1], nl=False)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SlussError(Reason.INVALID_REQUEST, f"{path} can't be read") from None
