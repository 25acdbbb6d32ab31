"""A home folder opened for the operator: settings, store and ledger; a broker may run beside it."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from broker import occupied
from broker import settings as told
from broker.errors import Reason, SlussError
from broker.keys.secret_file import read_secret
from broker.ledger.log import Ledger
from broker.ledger.signer import LedgerKeys
from broker.pki import KeyPair
from broker.store.engine import open_engine, reading
from broker.store.migrations import check_revision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from broker.ledger.checkpoint import Signer
    from broker.settings import Settings

BY: Final = "operator/host"
"""In entries, who did it: whoever holds the home folder. Names of people stay out of the ledger."""

LIST_TIMEOUT_S: Final = 1.5
_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Office:
    """An open home.

    Attributes:
        settings: the broker's settings.
        engine: its store.
        signer: its ledger's keys.
        ledger: its ledger.
    """

    settings: Settings
    engine: Engine
    signer: Signer
    ledger: Ledger

    def authority(self) -> KeyPair:
        """The certificate authority with its private key.

        Raises:
            SlussError: KEYS_UNAVAILABLE.
        """
        folder = self.settings.folder
        try:
            return KeyPair(folder.ca_certificate.read_bytes(), read_secret(folder.ca_key))
        except OSError:
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the authority's certificate can't be read") from None


@contextmanager
def opened(home: Path) -> Iterator[Office]:
    """Opens the home folder; gives the store back at the end.

    Raises:
        SlussError: INVALID_REQUEST: not a home; KEYS_UNAVAILABLE; LEDGER_UNAVAILABLE; UNSUPPORTED_VERSION.
    """
    settings = told.load(home)
    signer = LedgerKeys.load(settings.folder.ledger_keys).signer()
    engine = open_engine(settings.database_url, timeout_s=LIST_TIMEOUT_S)
    try:
        check_revision(engine)
        yield Office(settings, engine, signer, Ledger(engine, signer, settings.origin))
    finally:
        engine.dispose()


@contextmanager
def stopped(settings: Settings) -> Iterator[None]:
    """Keep brokers of this home from serving, and refuse if one does, as far as this machine can tell.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    with occupied.alone(settings.folder):
        _require_silent(settings)
        yield


def _require_silent(settings: Settings) -> None:
    """The lock is not seen on every file system that is shared: so it is asked, too.

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


def require_unconnected(engine: Engine) -> None:
    """Refuse while another process of Sluss has the database open, on whichever machine, as far as PostgreSQL tells.

    Raises:
        SlussError: INVALID_REQUEST, LEDGER_UNAVAILABLE.
    """
    if engine.dialect.name != "postgresql":
        return
    with reading(engine) as connection:
        others = connection.execute(_OTHERS).scalar_one()
    if others:
        raise SlussError(Reason.INVALID_REQUEST, "a broker, or another command, uses the database: stop it first")
