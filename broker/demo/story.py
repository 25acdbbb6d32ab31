"""`sluss demo`: the whole of Sluss in one sitting, with a real broker, real certificates and an invented population.

register   the verb, plugged into `sluss`
tell       the story: a folder, a broker, the chapters, the end
"""

# Only what registering needs is imported here: every `sluss` command loads this module.
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from broker.cli import SERVER_NEEDS

EXAMPLES = ("sluss demo", "sluss demo --dir /tmp/try --persons 10000", "sluss demo --no-replace", "sluss demo --json")


def register(app: typer.Typer) -> None:
    """Adds `demo` to the command, if what the broker needs is installed."""
    if any(find_spec(name) is None for name in SERVER_NEEDS):
        return

    def demo(
        folder: Annotated[
            Path, typer.Option("--dir", help="Where to make everything; a folder of its own.", metavar="DIR")
        ] = Path("sluss-demo"),
        count: Annotated[
            int, typer.Option("--persons", help="Persons in the customer file.", min=10, max=500_000, metavar="COUNT")
        ] = 1000,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
        keep: Annotated[
            bool, typer.Option("--keep/--no-keep", help="Leave the folder to explore, or delete it at the end.")
        ] = True,
        replace: Annotated[
            bool,
            typer.Option("--replace/--no-replace", help="Replace a folder that an earlier demo made, or refuse to."),
        ] = True,
    ) -> None:
        """See it work: a broker, a contract, slices, refusals, a suspension, and an altered ledger found out."""
        from broker.demo.play import play  # noqa: PLC0415 - the story loads only when it is told

        raise typer.Exit(play(app, folder, count, as_json=as_json, keep=keep, replace=replace))

    app.command("demo", epilog="\n\n".join(["Examples:", *EXAMPLES]))(demo)
