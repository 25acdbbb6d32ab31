"""The steps of `sluss restore`: nothing serves, the database is put back beside its place, erasures are done again."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from broker.aggregates import budget
from broker.clock import system_clock
from broker.erasure import again
from broker.erasure.register import ErasureRegister
from broker.erasure.scrubbing import Scrubber
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ids import person_text
from broker.keys.file import FileProvider
from broker.ledger.signer import LedgerKeys
from broker.operator import backup
from broker.operator.office import BY
from broker.store.engine import open_engine, writing
from broker.vault import Vault

if TYPE_CHECKING:
    from broker.operator.backup import Taken
    from broker.operator.office import Office
    from broker.settings import Settings


def require_stopped(settings: Settings) -> None:
    """Refuse while a broker of this home serves, as far as this machine can tell.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    try:
        port = int(settings.folder.port.read_text("ascii"))
    except (OSError, ValueError):
        return
    host = settings.address.host
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        # Whoever listens everywhere answers here too.
        if probe.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port)) == 0:  # noqa: S104 - compared
            raise SlussError(Reason.INVALID_REQUEST, "the broker is running: stop it first")


def put_back(settings: Settings, folder: Path, *, replace: bool) -> Taken:
    """Put a backup into the broker's database; with `replace` the SQLite file that is there is moved aside.

    Raises:
        SlussError: as `backup.read` and `backup.put_back`; INVALID_REQUEST.
    """
    signer = LedgerKeys.load(settings.folder.ledger_keys).signer()
    taken = backup.read(folder, signer)
    place = _sqlite_file(settings.database_url)
    if place is None:
        backup.put_back(folder, settings.database_url, taken)
        return taken
    if place.exists() and not replace:
        raise SlussError(Reason.INVALID_REQUEST, f"{place} exists: --replace moves it aside")
    staged = place.with_name(f".{place.name}.restored")
    for leftover in _files(staged):
        leftover.unlink(missing_ok=True)
    backup.put_back(folder, f"sqlite:///{staged}", taken)
    if place.exists():
        _remember(settings, place)
    aside = place.with_name(f"{place.name}.before-{taken.at[:10]}-{os.getpid()}")
    for old, kept in zip(_files(place), _files(aside), strict=True):
        if old.exists():
            old.rename(kept)
    for fresh, final in zip(_files(staged), _files(place), strict=True):
        if fresh.exists():
            fresh.rename(final)
    return taken


def erase_again(office: Office) -> list[str]:
    """Erase whoever the register names and the database has on record, and scrub; their ids. Budgets are closed.

    Raises:
        SlussError: LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE.
    """
    folder = office.settings.folder
    register = ErasureRegister(folder.erased)
    vault = Vault(FileProvider(folder.rings).rings)
    # Here too, as the database may have been restored by other means.
    with writing(office.engine) as connection:
        budget.close(connection, system_clock())
    erased = again.erase_again(office.engine, office.ledger, vault, register, parse_principal(BY))
    Scrubber(office.engine, register, system_clock).run()
    if erased:
        office.ledger.publish()
    return [person_text(each.person) for each in erased]


def _remember(settings: Settings, place: Path) -> None:
    """Note whom the database that is replaced knows to be erased, should its broker have ended before it did.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    engine = open_engine(f"sqlite:///{place}")
    try:
        Scrubber(engine, ErasureRegister(settings.folder.erased), system_clock).tell()
    except SlussError as error:
        # A database that can't be read may be why it is replaced.
        if error.reason is not Reason.LEDGER_UNAVAILABLE:
            raise
    finally:
        engine.dispose()


def _sqlite_file(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database).absolute() if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _files(database: Path) -> list[Path]:
    return [database.with_name(f"{database.name}{end}") for end in ("", "-wal", "-shm")]
