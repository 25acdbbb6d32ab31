"""`sluss certificate`: issue, revoke, list, renew; each change is in the ledger."""

# typer reads annotations when the command runs: no `from __future__ import annotations` here.
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.clock import rfc3339
from broker.errors import Reason, SlussError
from broker.operator.console import reporting
from broker.operator.options import DEFAULT_HOME, Home, Json, examples

if TYPE_CHECKING:
    from broker.operator.office import Office
    from broker.operator.pins import Pinned

app = typer.Typer(
    help="Certificates: issue, revoke, list, renew-server.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

ISSUE = examples(
    "sluss certificate issue subcontractor acme-pay --csr request.pem --out certificate.pem",
    "sluss certificate issue legal anna --out profiles/anna",
)
REVOKE = examples(
    'sluss certificate revoke --principal subcontractor/acme-pay --reason "laptop stolen"',
    'sluss certificate revoke --serial 5f0c1a --reason "replaced"',
    'sluss certificate revoke --profile profiles/anna --reason "left the company"',
)


@app.command("issue", epilog=ISSUE)
def issue(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="subcontractor, internal, legal, operator or privacy.", metavar="KIND")],
    identifier: Annotated[str, typer.Argument(help="The name within its kind: a-z, 0-9 and hyphens.", metavar="ID")],
    *,
    csr: Annotated[Path | None, typer.Option("--csr", help="The holder's own request, PEM.", metavar="FILE")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="With --csr: the certificate's file. Without: a profile folder to make.", metavar="PATH"
        ),
    ] = None,
    days: Annotated[int, typer.Option(help="How many days it is valid.", min=1, max=825, metavar="DAYS")] = 365,
    endpoint: Annotated[
        str, typer.Option(help="Where the profile finds the broker, if not where it listens.", metavar="HOST:PORT")
    ] = "",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Issue a certificate and pin its key: from the holder's request, or as a whole profile folder.

    A request is better: the private key then never leaves its holder.
    """
    from broker.identity import parse_principal
    from broker.operator.issuing import issue_for_request, issue_profile
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        principal = parse_principal(f"{kind}/{identifier}")
        if csr is not None:
            issued = issue_for_request(office, principal, _read(csr), days=days)
            if out is not None:
                _write(out, issued.certificate)
            elif not console.as_json:
                typer.echo(issued.certificate.decode(), nl=False)
        elif out is not None:
            issued = issue_profile(office, principal, out, endpoint=endpoint, days=days)
        else:
            raise SlussError(Reason.INVALID_REQUEST, "name a request (--csr) or a profile folder (--out)")
        console.result(issued.document())
        if out is not None:
            console.line(f"Made {out} for {principal.name}, good until {rfc3339(issued.not_after)[:10]}.")
            console.line(f"Its key is pinned by entry {issued.entry} of the ledger.")


@app.command("revoke", epilog=REVOKE)
def revoke(
    context: typer.Context,
    *,
    reason: Annotated[
        str, typer.Option(help="Why; stands in the ledger for good, so no personal data.", metavar="TEXT")
    ],
    principal: Annotated[
        str, typer.Option("--principal", help="All certificates of this principal.", metavar="KIND/ID")
    ] = "",
    serial: Annotated[
        str, typer.Option("--serial", help="The certificate with this serial number.", metavar="HEX")
    ] = "",
    profile: Annotated[
        Path | None, typer.Option("--profile", help="The certificate in this profile folder.", metavar="DIR")
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Cut off certificates at once, on open connections too, and for good."""
    from broker.operator import pins
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        which = _one_of(principal, serial, profile)
        done = pins.revoke(office.ledger, pins.selected(**which), reason.strip())
        if not done:
            raise _none_left(office, which)
        listed = [{**_document(each), "entry": index} for each, index in done]
        console.result({"revoked": listed})
        for each in listed:
            console.line(f"Revoked {each['principal']}, serial {each['serial']}: entry {each['entry']}.")


def _none_left(office: "Office", which: dict[str, Any]) -> SlussError:
    """Why nothing was revoked: everything selected is revoked already, or nothing is selected."""
    from broker.operator import pins

    known = pins.found(office.engine, pins.selected(**which))
    if not known:
        return SlussError(Reason.UNKNOWN_PRINCIPAL, "no such certificate was ever issued: nothing revoked")
    last = max(known, key=lambda each: each.revoked_at)
    told = {name: _document(last)[name] for name in ("principal", "serial", "revoked_at")}
    return SlussError(Reason.CERTIFICATE_REVOKED, "revoked already: nothing to do", **told)


@app.command("list", epilog=examples("sluss certificate list", "sluss certificate list --good --json"))
def list_(
    context: typer.Context,
    *,
    principal: Annotated[str, typer.Option("--principal", help="Only of this principal.", metavar="KIND/ID")] = "",
    good: Annotated[bool, typer.Option("--good", help="Only those that are neither revoked nor expired.")] = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """List certificates, by principal."""
    from broker.clock import system_clock
    from broker.operator import pins
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        now_us = system_clock()
        found = [(each, _state(each, now_us)) for each in pins.listed(office.engine, principal)]
        shown = [(each, state) for each, state in found if not good or state == "good"]
        console.result({"certificates": [{**_document(each), "state": state} for each, state in shown]})
        columns = ("principal", "state", "until", "serial", "reason")
        rows = [(e.principal, state, rfc3339(e.not_after)[:10], _document(e)["serial"], e.reason) for e, state in shown]
        console.table(columns, rows)


@app.command(
    "renew-server",
    epilog=examples("sluss certificate renew-server", "sluss certificate renew-server --host b.example.com"),
)
def renew_server(
    context: typer.Context,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="The broker's name or address, repeatable; as before if none is given.", metavar="HOST"
        ),
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Give the broker itself a new certificate; a running one takes it up without a restart."""
    from broker.operator.issuing import renew_server_certificate
    from broker.operator.office import opened

    with reporting(context, as_json=as_json) as console, opened(home) as office:
        hosts, not_after = renew_server_certificate(office, tuple(host or ()))
        console.result({"hosts": list(hosts), "not_after": rfc3339(not_after)})
        names, until = ", ".join(hosts), rfc3339(not_after)[:10]
        console.line(f"The broker's certificate for {names} is good until {until}.")


def _one_of(principal: str, serial: str, profile: Path | None) -> dict[str, Any]:
    """Exactly one way to select.

    Raises:
        SlussError: INVALID_REQUEST: none, or more than one.
    """
    given = {"principal": principal, "serial": serial.lower().lstrip("0"), "profile": profile}
    chosen = {name: value for name, value in given.items() if value}
    if len(chosen) != 1:
        raise SlussError(Reason.INVALID_REQUEST, "name one of --principal, --serial and --profile")
    if profile is not None:
        return {"certificate": _read(profile / "certificate.pem")}
    return chosen


def _state(each: "Pinned", now_us: int) -> str:
    if each.revoked_at:
        return "revoked"
    return "expired" if each.not_after <= now_us else "good"


def _document(each: "Pinned") -> dict[str, Any]:
    from broker.pki import serial_text

    times = {"issued_at": rfc3339(each.issued_at), "not_after": rfc3339(each.not_after)}
    if each.revoked_at:
        times |= {"revoked_at": rfc3339(each.revoked_at), "reason": each.reason}
    return {"principal": each.principal, "serial": serial_text(each.serial), "spki": each.spki.hex(), **times}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{path} can't be read") from None


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise SlussError(Reason.INVALID_REQUEST, f"{path} exists: nothing is overwritten") from None
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{path} can't be written") from None
