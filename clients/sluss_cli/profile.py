"""`sluss profile`: the folder that says who calls, where, and what it trusts."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss_client.errors import ProfileError
from sluss_client.keys import KeyStore
from sluss_client.profile import Profile

from broker import pki
from broker.clock import rfc3339
from broker.identity import parse_principal
from broker.ledger.checkpoint import parse_note
from broker.sealing import SUITE_NAMES
from sluss_cli.entry_text import moment
from sluss_cli.given_file import own_files, read_bytes, read_text
from sluss_cli.problems import usage
from sluss_cli.row_file import write_public
from sluss_cli.session import Session, load_profile
from sluss_cli.verb import group, verb

app = group("The profile folder: create, request, install, show.")

_WAITING_KEY = "key.new.pem"
"""The key whose certificate has been requested and not installed yet."""

Folder = Annotated[Path, typer.Argument(help="The profile folder.", metavar="DIR")]
Certificate = Annotated[Path, typer.Argument(help="The certificate, PEM.", metavar="FILE")]


@verb(
    app,
    "create",
    examples=(
        "sluss profile create acme --like handed-out --principal subcontractor/acme-pay",
        (
            "sluss profile create acme --principal subcontractor/acme-pay --endpoint broker.example.com:7443"
            " --origin example.com/sluss --ledger-key example.com/sluss+5cb0ea24+AQ... --ca ca.pem"
        ),
    ),
)
def create(
    session: Session,
    folder: Folder,
    *,
    principal: Annotated[str, typer.Option(help="Who calls, such as subcontractor/acme-pay.", metavar="KIND/ID")],
    like: Annotated[
        Path | None,
        typer.Option(help="A profile of the same broker; endpoint, ledger and authority are as there.", metavar="DIR"),
    ] = None,
    endpoint: Annotated[str, typer.Option(help="The broker's host:port.", metavar="HOST:PORT")] = "",
    origin: Annotated[str, typer.Option(help="The ledger's name.", metavar="NAME")] = "",
    ledger_key: Annotated[
        list[str] | None,
        typer.Option(help="A public key of the ledger, as the company publishes it; repeatable.", metavar="VKEY"),
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="The company's certificate authority, PEM.", metavar="FILE")] = None,
    server_name: Annotated[
        str,
        typer.Option(help="The name in the broker's certificate, if it is not the endpoint's host.", metavar="HOST"),
    ] = "",
) -> None:
    """Make a profile folder from what the company hands out; then request a certificate."""
    parse_principal(principal)
    base = load_profile(like) if like else None
    settings: dict[str, Any] = {
        "endpoint": endpoint or (base.endpoint if base else ""),
        "origin": origin or (base.origin if base else ""),
        "ledger_keys": ledger_key or (base.ledger_keys if base else ()),
        "ca": read_bytes(ca) if ca else base.ca() if base else b"",
        "server_name": server_name or (base.server_name if base else ""),
    }
    missing = [name for name in ("endpoint", "origin", "ledger_keys", "ca") if not settings[name]]
    if missing:
        raise usage(f"missing: {', '.join(missing)}; or name a profile to take them from with --like DIR")
    profile = Profile.create(folder, principal=principal, **settings)
    session.output.result({"profile": str(folder), "principal": profile.principal})
    session.output.line(f"Made {folder} for {profile.principal}.")
    session.output.line(f"Next: sluss profile request {folder} > request.pem")


@verb(
    app,
    "request",
    examples=("sluss profile request acme > request.pem", "sluss profile request acme --out request.pem"),
)
def request(
    session: Session,
    folder: Folder,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write the request here and not to standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Make a key that stays here, and a request for its certificate to send to the company."""
    profile = load_profile(folder)
    pem = profile.certificate_request().decode()
    session.output.result({"request": pem})
    if out:
        write_public(out, pem.encode())
        kind, _, identifier = profile.principal.partition("/")
        issue = f"sluss certificate issue {kind} {identifier} --csr {out} --out certificate.pem"
        session.output.line(f"Wrote {out}. The company signs it: {issue}")
    elif not session.output.as_json:
        sys.stdout.write(pem)


@verb(app, "install", examples=("sluss profile install acme certificate.pem",))
def install(session: Session, folder: Folder, certificate: Certificate) -> None:
    """Put the certificate that the company signed in use."""
    profile = load_profile(folder)
    pem = read_bytes(certificate)
    if not (folder / _WAITING_KEY).exists():
        raise usage(f"no certificate is awaited here: `sluss profile request {folder}` asks for one")
    replaced = profile.install_certificate(pem)
    facts, old = pki.describe(pem), pki.serial_text(replaced) if replaced else ""
    session.output.result({"principal": profile.principal, "not_after": rfc3339(facts.not_after), "replaced": old})
    session.output.line(f"{profile.principal} can call {profile.endpoint} until {rfc3339(facts.not_after)[:10]}.")
    if old:
        session.output.line("The old certificate still works. Have the company revoke it:")
        session.output.line(f'sluss certificate revoke --serial {old} --reason "replaced"')


@verb(app, "show", examples=("sluss profile show acme", "sluss profile show --profile acme --json"))
def show(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(help="The profile folder; by default, that of --profile.", metavar="DIR")
    ] = None,
) -> None:
    """Show who calls, where, with which certificate and keys, and the last checkpoint seen. No secrets."""
    profile = load_profile(folder) if folder else session.profile
    certificate, keys, seen = _certificate(profile), _keys(profile), _seen(profile)
    session.output.result(
        {
            "profile": str(profile.folder),
            "principal": profile.principal,
            "endpoint": profile.endpoint,
            "server_name": profile.server_name,
            "origin": profile.origin,
            "ledger_keys": list(profile.ledger_keys),
            "certificate": certificate,
            "keys": keys,
            "seen_size": seen,
        }
    )
    session.output.heading(profile.principal)
    session.output.facts(
        {
            "broker": profile.endpoint,
            "server name": profile.server_name,
            "ledger": profile.origin,
            "certificate": f"valid until {moment(certificate['not_after'])} UTC" if certificate else "none yet",
            "checkpoint": f"last seen at {seen} entries" if seen else "none seen yet",
        }
    )
    session.output.table(
        ("encryption key", "suite", "made"),
        [(k["key_id"], k["suite"], moment(k["created"])) for k in keys],
        empty="no encryption key yet",
    )


def _certificate(profile: Profile) -> dict[str, Any]:
    try:
        facts = pki.describe(profile.identity()[1])
    except ProfileError:
        return {}
    return {
        "uri": facts.uri,
        "serial": pki.serial_text(facts.serial),
        "spki": facts.spki.hex(),
        "not_after": rfc3339(facts.not_after),
    }


def _keys(profile: Profile) -> list[dict[str, str]]:
    stored = KeyStore(profile.keys_path).all()
    return [
        {"key_id": key.id.hex(), "suite": SUITE_NAMES[key.key.suite], "created": rfc3339(key.created)} for key in stored
    ]


def _seen(profile: Profile) -> int:
    if not profile.checkpoint_path.exists():
        return 0
    with own_files():
        return parse_note(read_text(profile.checkpoint_path)).checkpoint.size
