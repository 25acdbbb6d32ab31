"""`sluss ledger verify --home|--export` and `sluss ledger export`: the ledger from its own rows, offline.

A client's `ledger verify` asks a broker. Where the broker is installed, the same verb also verifies a home
folder or an export without one.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.errors import Reason, SlussError
from broker.exits import Exit
from broker.operator.console import Console, reporting
from broker.operator.options import DEFAULT_HOME, Home, Json, examples

if TYPE_CHECKING:
    from broker.ledger.findings import Report

SHOWN = 20
"""Findings shown to people; programs get all that are kept."""

HomeToVerify = Annotated[
    Path | None, typer.Option("--home", help="Verify this home folder's ledger, offline.", metavar="DIR")
]
ExportToVerify = Annotated[
    Path | None, typer.Option("--export", help="Verify this export, without a database.", metavar="DIR")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="A checkpoint kept elsewhere: finds a rollback too.", metavar="FILE"),
]
LedgerKey = Annotated[
    list[str] | None,
    typer.Option(
        "--ledger-key", help="A public key of the ledger, as the company publishes it; repeatable.", metavar="VKEY"
    ),
]

VERIFY = (
    "sluss ledger verify --home sluss-home",
    "sluss ledger verify --home sluss-home --checkpoint kept/checkpoint",
    "sluss ledger verify --export ledger-2026-11 --ledger-key example.com/sluss+5cb0ea24+AQ...",
)


def register(ledger: typer.Typer) -> None:
    """Adds `export` to the group, and the offline ways to its `verify`."""
    ledger.command("export", epilog=examples("sluss ledger export ledger-2026-11 --home sluss-home"))(export)
    client = next((found for found in ledger.registered_commands if found.name == "verify"), None)
    if client is not None and client.callback is not None:
        online, told = client.callback, client.epilog or "Examples:"
        ledger.registered_commands.remove(client)
        ledger.command("verify", epilog="\n\n".join([told, *VERIFY]))(_with_offline(online))
    else:
        ledger.command("verify", epilog=examples(*VERIFY))(verify)


def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DIR")],
    *,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Write entries, checkpoints and public keys to files that verify without the database."""
    from broker.ledger.export import export as write
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        size = write(office.engine, folder, office.signer.verifier)
        console.result({"folder": str(folder), "size": size})
        console.line(f"Wrote {size} entries to {folder}. Verify them: sluss ledger verify --export {folder}")


def verify(
    context: typer.Context,
    *,
    home: HomeToVerify = None,
    export: ExportToVerify = None,
    checkpoint: Checkpoint = None,
    ledger_key: LedgerKey = None,
    as_json: Json = False,
) -> None:
    """Re-derive the ledger from its rows and compare it with what was signed."""
    with reporting(context, as_json=as_json) as console:
        if (home is None) == (export is None):
            raise SlussError(Reason.INVALID_REQUEST, "name one of --home and --export")
        note = _read(checkpoint) if checkpoint else None
        report = _of_home(home, note) if home else _of_export(export, note, ledger_key or [])
        _tell(console, report)


def _with_offline(online: Callable[..., None]) -> Callable[..., None]:
    """The client's verb with the offline ways beside its own options."""
    ours = [p for p in inspect.signature(verify).parameters.values() if p.name not in {"context", "as_json"}]
    theirs = list(inspect.signature(online).parameters.values())

    def either(
        *,
        home: Path | None,
        export: Path | None,
        checkpoint: Path | None,
        ledger_key: list[str] | None,
        **arguments: Any,
    ) -> None:
        if home is None and export is None and checkpoint is None and not ledger_key:
            online(**arguments)
            return
        verify(
            arguments["context"],
            home=home,
            export=export,
            checkpoint=checkpoint,
            ledger_key=ledger_key,
            as_json=arguments["as_json"],
        )

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*theirs, *ours)]
    either.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads it
    either.__annotations__ = {p.name: p.annotation for p in parameters}
    either.__doc__ = f"{online.__doc__ or ''}\n\nWith --home or --export: re-derive all of it, offline."
    either.examples = (*getattr(online, "examples", ()), *VERIFY)  # type: ignore[attr-defined] # tests read it
    return either


def _of_home(home: Path, note: str | None) -> "Report":
    from broker.companions import ROOMS
    from broker.ledger.verify import verify_store
    from broker.operator.office import opened

    with opened(home) as office:
        return verify_store(office.engine, office.signer.verifier, note, ROOMS)


def _of_export(folder: Path | None, note: str | None, keys: list[str]) -> "Report":
    from broker.ledger.checkpoint import Verifier
    from broker.ledger.verify import verify_export

    return verify_export(folder or Path(), note, Verifier(keys) if keys else None)


def _tell(console: Console, report: "Report") -> None:
    found = [{"kind": f.kind.value, "index": f.index, "message": f.message} for f in report.findings]
    document = {
        "ok": report.ok,
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "findings": found,
        "more": report.more,
    }
    console.result(document)
    if report.ok:
        checked = f"{report.size} entries and {report.checkpoints} checkpoints"
        console.line(f"{checked} verified. Nothing is wrong.")
        return
    count = len(report.findings) + report.more
    console.line(f"{count} finding{'s' if count > 1 else ''}:")
    for finding in report.findings[:SHOWN]:
        console.line(f"  {finding.message}")
    if count > SHOWN:
        console.line(f"  ... and {count - SHOWN} more; --json gives them.")
    raise typer.Exit(int(Exit.FOUND_WRONG))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SlussError(Reason.INVALID_REQUEST, f"{path} can't be read") from None
