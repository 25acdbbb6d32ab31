"""What the verbs of `sluss legal` share: arguments, the case as it stands, days, what must be installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer
from sluss.v1 import legal_pb2 as pb
from sluss_legal.dates import is_day

from sluss_cli.exits import Exit
from sluss_cli.problems import Problem, usage
from sluss_cli.session import DEADLINE_S, Session

CaseId = Annotated[str, typer.Argument(help="The case, such as L-2026-0001.", metavar="CASE")]
Why = Annotated[str, typer.Option("--reason", help="Why; the ledger commits to it.", metavar="TEXT")]
Etag = Annotated[
    str, typer.Option("--etag", help="Refuse if the case has moved on since; default: as it stands.", metavar="ETAG")
]
LANGUAGES = ("en", "sv")
Language = Annotated[
    str, typer.Option("--language", help="sv or en.", metavar="LANGUAGE", autocompletion=lambda: LANGUAGES)
]
First = Annotated[str, typer.Option("--from", help="First day; default: the beginning.", metavar="DAY")]
Last = Annotated[str, typer.Option("--until", help="Last day; default: today.", metavar="DAY")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for who has read the case.")]


def get_case(session: Session, case: str) -> pb.GetCaseResponse:
    """A case as it stands."""
    return session.legal.GetCase(pb.GetCaseRequest(case_id=case), timeout=DEADLINE_S)


def etag_of(session: Session, case: str, etag: str) -> str:
    """The etag given, or that of the case as it stands."""
    return etag or get_case(session, case).case.etag


def day(text: str, option: str) -> str:
    """A day, or an empty text; USAGE for anything else."""
    if text and not is_day(text):
        raise usage(f"{option} takes a day such as 2026-11-25")
    return text


def period(first: str, last: str) -> tuple[str, str]:
    """First and last day; USAGE if they are none, or in the wrong order."""
    day(first, "--from")
    day(last, "--until")
    if first and last and last < first:
        raise usage("the period ends before it begins")
    return first, last


def text(value: str, option: str) -> str:
    """A text with something in it; USAGE for an empty one."""
    if not value.strip():
        raise usage(f"{option} must not be empty")
    return value


def language_of(language: str) -> str:
    """`sv` or `en`; USAGE for anything else."""
    if language not in LANGUAGES:
        raise usage(f"--language is one of {', '.join(LANGUAGES)}")
    need("babel") if language != "en" else None
    return language


def need(*modules: str) -> None:
    """USAGE, with what to install, if one of these is missing."""
    missing = [module for module in modules if not find_spec(module)]
    if missing:
        raise usage(f"this needs {', '.join(missing)}: pip install 'sluss[legal]'")


def counted(number: int, one: str, more: str) -> str:
    """A number with its noun: `1 person`, `3 persons`."""
    return f"{number} {one if number == 1 else more}"


def confirm(session: Session, question: str, *, yes: bool) -> None:
    """Asks, unless `yes`; FOUND_WRONG if the answer is no."""
    if yes:
        return
    if session.output.as_json:
        raise usage("--json can't ask: add --yes if it is meant")
    if not typer.confirm(question, err=True):
        raise Problem(Exit.FOUND_WRONG, "NOT_CONFIRMED", "nothing was done")
