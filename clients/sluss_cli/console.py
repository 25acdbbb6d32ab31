"""`sluss console`: the legal team's console in the browser."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from sluss_client.profile import Profile

from sluss_cli.problems import usage
from sluss_cli.session import Session  # noqa: TC001 - the same
from sluss_cli.verb import verb

NEEDS = ("babel", "jinja2", "python_multipart", "starlette", "uvicorn")


def register(app: typer.Typer) -> None:
    """Adds the verb where what it needs is installed (`pip install 'sluss[console]'`)."""
    if all(find_spec(need) for need in NEEDS):
        verb(app, "console", examples=EXAMPLES)(console)


EXAMPLES = (
    "sluss console --profile legal-anna",
    "sluss console --profile legal-anna --no-browser",
    (
        "sluss console --listen console.example.com:8443 --certificate console.pem --key console-key.pem"
        " --client-ca ca.pem --profiles legal-team"
    ),
)


def console(
    session: Session,
    *,
    listen: Annotated[
        str, typer.Option(help="Serve a team: listen here, over TLS with client certificates.", metavar="HOST:PORT")
    ] = "",
    certificate: Annotated[Path | None, typer.Option(help="The console's certificate, PEM.", metavar="FILE")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.", metavar="FILE")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="The authority of the team's certificates, PEM.", metavar="FILE")
    ] = None,
    profiles: Annotated[
        Path | None,
        typer.Option(help="A folder with one profile per user: legal-anna for legal/anna.", metavar="DIR"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open the legal team's console in the browser; or serve it to a team, each with their own certificate.

    It keeps nothing: every page asks the broker, as whoever looks at it.
    """
    team = {"--certificate": certificate, "--key": key, "--client-ca": client_ca, "--profiles": profiles}
    if not listen:
        given = [name for name, value in team.items() if value]
        if given:
            raise usage(f"{', '.join(given)}: only with --listen HOST:PORT")
        _local(session, browser=browser)
    elif certificate and key and client_ca and profiles:
        _team(session, _address(listen), (certificate, key, client_ca, profiles))
    else:
        missing = [name for name, value in team.items() if not value]
        raise usage(f"--listen needs {', '.join(missing)} too")


def _local(session: Session, *, browser: bool) -> None:
    from sluss_legal.web.serve import serve_local  # noqa: PLC0415 - help must not load the web server

    principal = session.profile.principal

    def announce(link: str) -> None:
        session.output.result({"link": link, "principal": principal})
        session.output.line(f"The console of {principal} is open. This link works once, for two minutes:")
        session.output.line(link)
        session.output.line("Ctrl-C closes it.")
        if browser:
            webbrowser.open(link)

    serve_local(session.folder, announce)


def _team(session: Session, address: tuple[str, int], files: tuple[Path, Path, Path, Path]) -> None:
    from sluss_legal.web.serve import serve_team  # noqa: PLC0415 - help must not load the web server

    certificate, key, client_ca, profiles = files
    users = [Profile.load(folder).principal for folder in sorted(profiles.glob("legal-*"))]
    if not users:
        raise usage("no profile of a legal user here: name its folder legal-anna for legal/anna", dir=str(profiles))

    def announce(place: str) -> None:
        session.output.result({"address": place, "users": users})
        session.output.line(f"The console listens at {place} for {', '.join(users)}. Ctrl-C closes it.")

    serve_team(address, certificate, key, client_ca, profiles, announce)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise usage("--listen takes HOST:PORT, such as console.example.com:8443")
    return host, int(port)
