"""Making a home folder, whole or not at all: authority, keys, settings, database, first profiles.

It is made beside its place and moved there when it is complete; the database comes last. What is made once
and can't be made again is what `BACKUP` names.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from broker import pki
from broker.catalogue import default_catalogue_text
from broker.clock import system_clock
from broker.errors import Reason, SlussError
from broker.identity import Principal
from broker.keys.file import FileProvider
from broker.keys.secret_file import write_secret
from broker.ledger.log import Ledger
from broker.ledger.signer import LedgerKeys
from broker.operator.catalogues import put_in_force
from broker.operator.pins import pin
from broker.operator.profiles import Broker, write_profile
from broker.settings import Home, Settings, checked
from broker.store.engine import open_engine
from broker.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.checkpoint import Signer
    from broker.ledger.log import Tx
    from broker.pki import KeyPair

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
FIRST_PROFILES: Final = (Principal("operator", "admin"), Principal("internal", "import"))

BACKUP: Final = {
    "ca/key.pem": "signs certificates; whoever has it can pose as anybody whose key is pinned next",
    "keys/rings.json": "opens records; keep it apart from the database's backups",
    "keys/erased.jsonl": "who was erased, once somebody is; keep it with the rings, never with the database",
    "keys/ledger.json": "signs the ledger; without it the ledger can't go on",
    "the database": "records, contracts and the ledger",
}
"""What must be backed up, and why."""


@dataclass(frozen=True, slots=True)
class Charter:
    """What a new broker is to be.

    Attributes:
        home: the folder to make.
        trust_domain: the host in the URIs of certificates.
        origin: the ledger's name.
        hosts: names and addresses for the server's certificate; the local ones are added.
        listen: `host:port`.
        database: URL, or empty for SQLite in the home folder.
        profiles: whose profiles to make.
        endpoint: `host:port` that profiles name.
    """

    home: Path
    trust_domain: str
    origin: str
    hosts: tuple[str, ...] = ()
    listen: str = "127.0.0.1:7443"
    database: str = field(default="", repr=False)
    profiles: tuple[Principal, ...] = FIRST_PROFILES
    endpoint: str = ""


def found(charter: Charter) -> list[str]:
    """Makes the home folder; returns what was made, as paths relative to it.

    Raises:
        SlussError: INVALID_REQUEST: the folder exists and is not empty, the database holds a ledger already,
            or a name is malformed; LEDGER_UNAVAILABLE.
    """
    home = charter.home.expanduser().absolute()
    if home.is_symlink() or (home.exists() and (not home.is_dir() or any(home.iterdir()))):
        raise SlussError(Reason.INVALID_REQUEST, f"{home} exists: nothing is overwritten")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{home} can't be made") from None
    try:
        _fill(Home(staged), charter)
        staged.rename(home)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise SlussError(Reason.INVALID_REQUEST, f"{home} can't be made") from None
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def _fill(home: Home, charter: Charter) -> None:
    settings = _settings(home, charter)
    now_us = system_clock()
    authority = pki.make_ca(settings.trust_domain, now_us)
    server = pki.server_certificate(authority, [*charter.hosts, *LOCAL_HOSTS], now_us)
    for folder in (home.ca_key, home.server_key, home.rings):
        folder.parent.mkdir(mode=0o700)
    home.profiles.mkdir(mode=0o700)
    for path, pair in ((home.ca_key, authority), (home.server_key, server)):
        write_secret(path, pair.key, replace=False)
        path.with_name("certificate.pem").write_bytes(pair.certificate)
    FileProvider.create(home.rings)
    keys = LedgerKeys.generate(settings.origin)
    keys.save(home.ledger_keys)
    signer = keys.signer()
    identities = _identities(home, charter, settings, authority, signer)
    _make_database(settings, signer, identities)
    write_secret(home.settings, _toml(charter).encode(), replace=False)


def _settings(home: Home, charter: Charter) -> Settings:
    if charter.database:
        try:
            make_url(charter.database)
        except SQLAlchemyError:
            raise SlussError(Reason.INVALID_REQUEST, "the database's URL can't be read") from None
    return checked(
        home=home.path,
        trust_domain=charter.trust_domain,
        origin=charter.origin,
        listen=charter.listen,
        database=charter.database,
    )


def _identities(
    home: Home, charter: Charter, settings: Settings, authority: KeyPair, signer: Signer
) -> list[tuple[Principal, bytes]]:
    broker = Broker(
        charter.endpoint or default_endpoint(settings, charter.hosts),
        settings.origin,
        tuple(signer.vkeys()),
        authority.certificate,
    )
    made = []
    for principal in charter.profiles:
        request = pki.make_request()
        pem = pki.issue(authority, request.csr, principal, settings.trust_domain, system_clock())
        folder = home.profiles / f"{principal.kind}-{principal.id}"
        write_profile(folder, broker, principal, pki.KeyPair(pem, request.key))
        made.append((principal, pem))
    return made


def _make_database(settings: Settings, signer: Signer, identities: Sequence[tuple[Principal, bytes]]) -> None:
    engine = open_engine(settings.database_url)
    try:
        migrate(engine)
        ledger = Ledger(engine, signer, settings.origin)
        if not ledger.genesis():
            raise SlussError(Reason.INVALID_REQUEST, "the database holds a ledger already")
        ledger.run(lambda tx: _first_entries(tx, identities))
        ledger.publish()
    finally:
        engine.dispose()


def _first_entries(tx: Tx, identities: Sequence[tuple[Principal, bytes]]) -> None:
    put_in_force(tx, default_catalogue_text())
    for principal, certificate in identities:
        pin(tx, principal, certificate)


def default_endpoint(settings: Settings, hosts: Sequence[str] = ()) -> str:
    """Where clients find the broker, as far as the settings tell."""
    host, port = settings.address
    if hosts:
        host = hosts[0]
    elif host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return str(type(settings.address)(host, port))


def _toml(charter: Charter) -> str:
    told = {"trust_domain": charter.trust_domain, "origin": charter.origin, "listen": charter.listen}
    if charter.database:
        told["database"] = charter.database
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    return "# Settings of this broker; broker/settings.py names all of them.\n" + "\n".join(lines) + "\n"
