"""Options that the operator's verbs share."""

from pathlib import Path
from typing import Annotated

import typer

HOME_VARIABLE = "SLUSS_HOME"

Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="The broker's home folder.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]

DEFAULT_HOME = Path("sluss-home")


def examples(*lines: str) -> str:
    """The end of a verb's help."""
    return "\n\n".join(["Examples:", *lines])
