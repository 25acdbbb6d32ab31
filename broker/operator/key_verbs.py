"""`sluss keys`: the rings under which data is kept at rest: show, rotate, rewrap, destroy-old.

Not `sluss key`, which is about the keys that subcontractors open slices with.
"""

# typer reads annotations when the command runs: no `from __future__ import annotations` here.
from typing import TYPE_CHECKING, Annotated

import typer

from broker.errors import Reason, SlussError
from broker.exits import Exit
from broker.operator.console import Console, reporting
from broker.operator.options import DEFAULT_HOME, Home, Json, examples

if TYPE_CHECKING:
    from broker.store.wrapped import Rewrapped

app = typer.Typer(
    help="The key rings of data at rest: show, rotate, rewrap, destroy-old.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

SHOW = examples("sluss keys show", "sluss keys show --json --home /var/lib/sluss")
ROTATE = examples("sluss keys rotate", "sluss keys rotate financial", "sluss keys rotate records --add-only")
REWRAP = examples("sluss keys rewrap")
DESTROY = examples("sluss keys destroy-old records financial --yes")

Rings = Annotated[list[str] | None, typer.Argument(help="records, financial, epochs; all if none.", metavar="RING")]


@app.command("show", epilog=SHOW)
def show(context: typer.Context, *, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Print the versions of each ring, and how many keys in the database are under each."""
    from broker.keys.provider import RINGS
    from broker.operator import rings
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        found = rings.versions(office)
        console.result(
            {
                "rings": [
                    {
                        "ring": each.ring, "version": each.number, "newest": each.newest, "keys": each.kept,
                        "there": each.there, "protects": RINGS[each.ring],
                    }
                    for each in found
                ]
            }
        )  # fmt: skip
        console.table(
            ("ring", "version", "keys under it", "state"),
            [
                (each.ring, str(each.number), str(each.kept), _word(newest=each.newest, there=each.there))
                for each in found
            ],
        )


def _word(*, newest: bool, there: bool) -> str:
    if not there:
        return "MISSING in keys/rings.json: they can't be opened"
    return "wraps new keys" if newest else "old"


@app.command("rotate", epilog=ROTATE)
def rotate(
    context: typer.Context,
    ring: Rings = None,
    *,
    add_only: Annotated[
        bool,
        typer.Option("--add-only", help="Only add the version: put keys/rings.json where it is needed, then rewrap."),
    ] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Give rings a new version, and put every key in the database under it; brokers may go on serving.

    No value is opened, and none leaves memory: only what the values' keys are wrapped with is changed. The old versions
    stay until destroy-old takes them away. Brokers on other machines need the new keys/rings.json: use --add-only, copy
    it, then rewrap.
    """
    from broker.operator import rings
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        added = rings.rotate(office, _unique(ring) or rings.ROTATING)
        done = None if add_only else rings.rewrap(office)
        console.result(
            {
                "added": [{"ring": name, "version": number, "entry": index} for name, number, index in added],
                **_document(done),
            }
        )
        for name, number, index in added:
            console.line(f"{name}: version {number} wraps from now on (entry {index}).")
        _tell(console, done)
        console.line("Keep a copy of keys/rings.json, apart from the backups of the database.")


@app.command("rewrap", epilog=REWRAP)
def rewrap(context: typer.Context, *, home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Put every key in the database under its ring's newest version; brokers may go on serving."""
    from broker.operator import rings
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        done = rings.rewrap(office)
        console.result(_document(done))
        _tell(console, done)


@app.command("destroy-old", epilog=DESTROY)
def destroy_old(
    context: typer.Context,
    ring: Rings = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; for who has a backup from after the rotation.")
    ] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Destroy every version of rings but the newest; the broker must be stopped.

    What is under them opens no more, wherever it is: backups from before the rotation, an old write-ahead log, free
    pages. Refused while the database has a key under one of them, or, on PostgreSQL, while anybody else uses it. A
    version that the ledger tells of and keys/rings.json lacks is given up. Take a backup after the rotation first, and
    destroy the copies of the old keys/rings.json too.
    """
    from broker.operator import rings
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        names = _unique(ring) or rings.ROTATING
        if not yes:
            _ask(console)
        gone = rings.destroy_old(office, names)
        console.result(
            {"destroyed": [{"ring": name, "version": number, "entry": index} for name, number, index in gone]}
        )
        for name, number, index in gone:
            console.line(f"{name}: version {number} is destroyed (entry {index}).")
        console.line("Destroy the copies of the old keys/rings.json too." if gone else "There was no old version.")


def _ask(console: Console) -> None:
    if console.as_json:
        raise SlussError(Reason.INVALID_REQUEST, "--json can't ask: add --yes if it is meant")
    if not typer.confirm("No backup from before the rotation will open any more. Destroy the old versions?", err=True):
        raise typer.Exit(int(Exit.FOUND_WRONG))


def _unique(names: list[str] | None) -> list[str]:
    return list(dict.fromkeys(names or ()))


def _document(done: "Rewrapped | None") -> dict[str, int | list[str]]:
    return {} if done is None else {"rewrapped": done.changed, "broken": done.broken}


def _tell(console: Console, done: "Rewrapped | None") -> None:
    if done is None:
        return
    console.line(f"{done.changed} rows were put under the newest versions.")
    for name in done.broken:
        console.line(f"NOT opened, altered in the database: {name}")
