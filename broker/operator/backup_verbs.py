"""`sluss backup` and `sluss restore`: the database without keys, and back, with every erasure kept."""

from pathlib import Path
from typing import Annotated

import typer

from broker.errors import Reason, SlussError
from broker.operator.console import reporting
from broker.operator.options import DEFAULT_HOME, Home, Json, examples

BACKUP = examples(
    "sluss backup backups/2026-11-26",
    "sluss backup /mnt/backups/$(date +%F) --home /var/lib/sluss",
)
RESTORE = examples(
    "sluss restore backups/2026-11-26",
    "sluss restore backups/2026-11-26 --replace",
    "sluss restore backups/2026-11-26 --old-database postgresql+psycopg://sluss@db/sluss_before",
    "sluss restore --erase-again --old-database sluss.db.before-2026-11-26-1",
)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command("backup", epilog=BACKUP)(backup)
    app.command("restore", epilog=RESTORE)(restore)


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DIR")],
    *,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Copy the database, as of one moment, into a folder; the broker may go on serving.

    No key is in it. Keep the folder keys/ of the home elsewhere: with it a backup is people's data, without it nothing.
    """
    from broker.operator.backup import take
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        taken = take(office.engine, folder, office.settings.origin)
        console.result({"folder": str(folder), "size": taken.size, "at": taken.at, "rows": taken.rows})
        persons = taken.rows["person"]
        console.line(f"Wrote {folder}: {taken.size} entries, {persons} persons' rows, as of {taken.at}.")
        console.line("It holds no key. It brings nobody back who is erased later: see sluss restore --help.")


def restore(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="The backup; none with --erase-again.", metavar="DIR")] = None,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the SQLite database that is there aside, and keep it.")
    ] = False,
    erase_again: Annotated[
        bool,
        typer.Option("--erase-again", help="The database was restored by other means: only erase again."),
    ] = False,
    old_database: Annotated[
        str,
        typer.Option(
            "--old-database",
            help="The database that is replaced, a file or URL, if it is not the SQLite database that is there.",
            metavar="URL",
        ),
    ] = "",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Put a backup back, erase again whoever was erased since, and forbid again what was forbidden since.

    The broker must be stopped. Who was erased is known from keys/erased.jsonl in the home folder, which belongs to the
    key rings, and from the database that is replaced; what was forbidden, from the latter: opt-outs, revoked
    certificates, retired keys, suspended and terminated contracts, compromise reports, holds. What was permitted since
    is told, not brought back.
    Entries behind the backup are lost: clients that saw a later checkpoint will say so, and must be told.
    """
    from broker.operator import restoring, rings
    from broker.operator.carrying import nothing_known
    from broker.operator.office import opened, stopped
    from broker.operator.restored import tell
    from broker.settings import load

    with reporting(context, as_json=as_json) as console:
        if (folder is None) == (not erase_again):
            raise SlussError(Reason.INVALID_REQUEST, "name a backup, or --erase-again")
        if replace and erase_again:
            raise SlussError(Reason.INVALID_REQUEST, "--replace goes with a backup")
        settings = load(home)
        taken = carried = None
        with stopped(settings), rings.alone(settings):
            if folder:
                taken, carried = restoring.put_back(settings, folder, replace=replace, old=old_database)
            with opened(home) as office:
                if old_database and not folder:
                    carried = restoring.carry_over(office, old_database)
                erased = restoring.erase_again(office)
                tell(console, taken, erased, carried or nothing_known(), office.ledger.state().tree.size)
