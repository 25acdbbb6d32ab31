"""The entry point of `sluss`, and of `python -m sluss_cli`: says what is missing where only the SDK is installed."""

import sys

from sluss_cli.exits import Exit


def main() -> None:
    """Runs the command."""
    try:
        from sluss_cli.main import main as run  # noqa: PLC0415 - the SDK alone comes without what the command needs
    except ModuleNotFoundError as missing:
        if missing.name != "typer":
            raise
        sys.stderr.write("sluss: only the SDK is installed; the command needs the extra `cli`\n")
        raise SystemExit(int(Exit.USAGE)) from None
    run()


if __name__ == "__main__":
    main()
