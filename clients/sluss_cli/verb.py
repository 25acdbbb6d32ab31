"""The frame of every verb: `--profile`, `--json`, examples in the help, a sentence on failure, an exit code.

A verb is a function whose first parameter is a `Session`; the decorator gives the rest its options:

    @verb(app, "show", examples=("sluss person show P-04CVZ6HGRM5PX",))
    def show(session: Session, person: Annotated[str, typer.Argument(help="The person's id.")]) -> None:
"""

import functools
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.errors import SlussError
from sluss_cli.output import Output
from sluss_cli.problems import TRACEBACK, Problem, of_bug, of_sluss, of_system, usage
from sluss_cli.session import Session, of_client

MAX_NUMBER = (1 << 63) - 1
"""What 64 bits with a sign hold: a larger number fits no message and no column of the broker."""

ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        "-p",
        envvar="SLUSS_PROFILE",
        help="The profile folder: who calls, and where.",
        metavar="DIR",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]

_SHARED = (
    inspect.Parameter("profile_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ProfileOption),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
    inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
)


def group(help_text: str, *, tour: Sequence[str] = ()) -> typer.Typer:
    """A group of verbs that shows its help when called bare.

    Args:
        help_text: names the verbs.
        tour: how the verbs go together, step by step: command lines and sentences; they end the help.
    """
    # A word in brackets would be markup.
    epilog = "\n\n".join(["From beginning to end:", *tour]).replace("[", r"\[") if tour else None
    return typer.Typer(help=help_text, epilog=epilog, no_args_is_help=True, pretty_exceptions_show_locals=False)


def verb(
    app: typer.Typer, name: str, *, examples: Sequence[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers a function as a verb of `app`.

    Args:
        app: the group.
        name: the verb as it is typed.
        examples: command lines that work; they end the help, and a test parses each.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        framed = _framed(function)
        framed.examples = tuple(examples)  # type: ignore[attr-defined] # read by the test of the examples
        return app.command(name, help=_reflowed(function), epilog="\n\n".join(["Examples:", *examples]))(framed)

    return register


def _reflowed(function: Callable[..., None]) -> str:
    """A function's docstring in paragraphs of one line each, so that a terminal breaks them where it ends."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n"))


def _framed(function: Callable[..., None]) -> Callable[..., None]:
    own = [*inspect.signature(function, eval_str=True).parameters.values()][1:]

    @functools.wraps(function)
    def framed(*, context: typer.Context, profile_dir: Path | None, as_json: bool, **arguments: Any) -> None:
        inherited = context.find_root().params
        output = Output(as_json=as_json or bool(inherited.get("as_json")))
        folder = profile_dir or inherited.get("profile_dir")
        with _terminable(), reported(output), Session(folder, output) as session:
            _check_carried(context, {"profile_dir": folder, **arguments})
            function(session, **arguments)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    framed.__signature__ = inspect.Signature([*parameters, *_SHARED])  # type: ignore[attr-defined] # typer reads it
    framed.__annotations__ = {each.name: each.annotation for each in (*parameters, *_SHARED)}
    del framed.__wrapped__  # typer would follow it to the signature without the shared options
    return framed


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does: files are closed, and a stream says how it goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_carried(context: typer.Context, arguments: Mapping[str, object]) -> None:
    """Refuses what no message can carry, whatever the verb does with it: text that is not UTF-8, 65-bit numbers.

    Raises:
        Problem: USAGE, naming the argument or the option as it is typed.
    """
    for parameter in context.command.params:
        given = arguments.get(parameter.name or "")
        for each in given if isinstance(given, (list, tuple)) else [given]:
            problem = _uncarried(each)
            if problem:
                raise usage(f"{problem}: {_typed(parameter)}")


def _uncarried(value: object) -> str:
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return "a number that is too large"
    if isinstance(value, (str, Path)):
        try:
            str(value).encode()
        except UnicodeEncodeError:
            return "text that is not UTF-8"
    return ""


def _typed(parameter: object) -> str:
    opts = [option for option in getattr(parameter, "opts", ()) if option.startswith("--")]
    return opts[0] if opts else str(getattr(parameter, "metavar", "") or getattr(parameter, "name", "")).upper()


@contextmanager
def reported(output: Output) -> Iterator[None]:
    """Ends the command with one sentence and its exit code when something goes wrong."""
    try:
        yield
    except Problem as problem:
        _end(output, problem)
    except SlussError as error:
        _end(output, of_sluss(error))
    except BrokenPipeError:
        _quiet_pipe()
    except OSError as error:
        _end(output, of_system(error))
    except UnicodeError:
        _end(output, usage("the file is not UTF-8 text"))
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except Exception as error:  # the last frame: whatever comes here is told, without values
        if os.environ.get(TRACEBACK):
            raise
        _end(output, of_client(error) or of_bug(error))


def _end(output: Output, problem: Problem) -> None:
    output.result(problem.document())
    output.note(problem.sentence())
    raise typer.Exit(int(problem.exit)) from None


def _quiet_pipe() -> None:
    """The reader (`| head`) has gone: nothing more to say, and no error about saying it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise typer.Exit(0)
