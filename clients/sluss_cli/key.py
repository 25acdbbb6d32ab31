"""`sluss key`: the encryption keys to which slices are sealed."""

from typing import Annotated

import typer
from sluss_client.keys import KeyStore
from sluss_client.results import RegisteredKey

from broker.clock import rfc3339
from broker.sealing import SUITE_NAMES, suite_named
from sluss_cli.problems import usage
from sluss_cli.session import Session
from sluss_cli.verb import group, verb

app = group("Encryption keys: register, rotate, list.")

SuiteOption = Annotated[
    str, typer.Option("--suite", help=f"One of {', '.join(SUITE_NAMES.values())}.", metavar="SUITE")
]


@verb(app, "register", examples=("sluss key register",))
def register(session: Session, *, suite: SuiteOption = "X-Wing") -> None:
    """Register this profile's encryption key; the first is made here and its private half stays here."""
    chosen = _suite(suite)
    _registered(session, session.subcontractor.register_key(chosen))


@verb(app, "rotate", examples=("sluss key rotate", "sluss key rotate --suite X25519"))
def rotate(session: Session, *, suite: SuiteOption = "X-Wing") -> None:
    """Make a new key and register it; old slices stay readable with the old keys."""
    chosen = _suite(suite)
    _registered(session, session.subcontractor.rotate_key(chosen))


def _suite(name: str) -> int:
    if name not in SUITE_NAMES.values():
        raise usage(f"the suite is one of {', '.join(SUITE_NAMES.values())}")
    return suite_named(name)


def _registered(session: Session, key: RegisteredKey) -> None:
    session.output.result({"key_id": key.key_id.hex(), "entry_index": key.entry_index})
    session.output.line(f"Slices are sealed to key {key.key_id.hex()[:16]}... from ledger entry {key.entry_index} on.")


@verb(app, "list", examples=("sluss key list", "sluss key list --json"))
def list_(session: Session) -> None:
    """List the keys in this profile, oldest first; the last one is in use. No secrets."""
    keys = KeyStore(session.profile.keys_path).all()
    rows = [(key.id.hex(), SUITE_NAMES[key.key.suite], rfc3339(key.created)) for key in keys]
    session.output.result({"keys": [dict(zip(("key_id", "suite", "created"), row, strict=True)) for row in rows]})
    session.output.table(("key", "suite", "made"), rows, empty="no encryption key yet: sluss key register")
