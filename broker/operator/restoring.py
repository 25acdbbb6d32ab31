"""The steps of `sluss restore`.

    1. nothing serves
    2. whom the replaced database knows to be erased is noted beside the rings, and what it forbids is said again in a
       copy of the backup (carrying.py)
    3. the copy's rows are put back, in one transaction; an SQLite file then takes its place, the replaced one is kept
    4. whoever was erased since is erased again (erasure/again.py)

Broken off before the end of 3, nothing has changed, or the replaced file has its new name already, and is given with
`--old-database` the next time; before the end of 4, a broker does not start.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.engine import make_url

from broker.aggregates import budget
from broker.clock import system_clock
from broker.erasure import again
from broker.erasure.register import Erased, ErasureRegister
from broker.erasure.scrubbing import Scrubber
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ids import PERSON_BITS
from broker.keys.file import FileProvider
from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.log import Ledger
from broker.ledger.rows import existing, read_head
from broker.ledger.signer import LedgerKeys
from broker.operator import backup, carrying
from broker.operator.behind import readable
from broker.operator.carrying import ERASURE, Carrier
from broker.operator.office import BY
from broker.operator.rings import require_openable
from broker.store.engine import open_engine, reading, writing
from broker.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from broker.erasure.again import ErasedAgain
    from broker.ledger.checkpoint import Signer
    from broker.operator.backup import Taken
    from broker.operator.carrying import Carried
    from broker.operator.office import Office
    from broker.settings import Settings

WORKSPACE: Final = ".restoring"
PATIENCE_S: Final = 3600.0
"""One statement on a replaced database may take so long: nobody waits for it but the restore."""


def put_back(settings: Settings, folder: Path, *, replace: bool, old: str = "") -> tuple[Taken, Carried]:
    """Put a backup into the broker's database; with `replace` the SQLite file that is there is moved aside.

    Args:
        settings: the broker's.
        folder: the backup.
        replace: whether an SQLite file that is there may be moved aside.
        old: the database that is replaced, if it is not that file; as for `old_database`.

    Returns:
        What the backup holds, and what was carried over from the replaced database.

    Raises:
        SlussError: as `backup.read`, `backup.put_back` and `old_database`; INVALID_REQUEST.
    """
    signer = LedgerKeys.load(settings.folder.ledger_keys).signer()
    taken = backup.read(folder, signer)
    place = _sqlite_file(settings.database_url)
    if place and place.exists() and not replace:
        raise SlussError(Reason.INVALID_REQUEST, f"{place} exists: --replace moves it aside")
    old_url = old_database(settings, old) if old else f"sqlite:///{place}" if place and place.exists() else ""
    carried = carrying.nothing_known()
    moved = f"sqlite:///{place}" if place and place.exists() else ""

    def prepare(restored: Engine) -> None:
        nonlocal carried
        require_openable(restored, FileProvider(settings.folder.rings))
        if old_url:
            carried = _carry_over(settings, old_url, restored, signer)
        if moved not in ("", old_url) and not _remember(settings, moved):
            carried.not_known(carrying.ERASURES)

    if place is None:
        with _workspace(settings) as within:
            backup.put_back(folder, settings.database_url, taken, prepare, within)
        return taken, carried
    staged = place.with_name(f".{place.name}.restored")
    with _workspace(settings) as within, _filled(staged):
        backup.put_back(folder, f"sqlite:///{staged}", taken, prepare, within)
    _move(place, _aside(place, taken))
    _move(staged, place)
    return taken, carried


@contextmanager
def _filled(database: Path) -> Iterator[None]:
    """While a database is filled that is not there yet: what was left of one goes first, and this one if it fails."""
    _remove(database)
    try:
        yield
    except BaseException:
        _remove(database)
        raise


@contextmanager
def _workspace(settings: Settings) -> Iterator[Path]:
    """A folder of the home for copies of people's data; what a restore that was killed left there goes first."""
    place = settings.folder.path / WORKSPACE
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir(mode=0o700)
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"the folder {WORKSPACE} of the home can't be made") from None
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def carry_over(office: Office, old: str) -> Carried:
    """Say again what another database forbids, in one that was restored by other means.

    Raises:
        SlussError: as `old_database`; LEDGER_UNAVAILABLE, KEYS_UNAVAILABLE, LEDGER_INCONSISTENT.
    """
    url = old_database(office.settings, old)
    carried = _carry_over(office.settings, url, office.engine, office.signer)
    office.ledger.publish()
    return carried


def old_database(settings: Settings, old: str) -> str:
    """The URL of a replaced database that the operator names: an SQLite file, or a URL like the broker's own.

    Raises:
        SlussError: INVALID_REQUEST: it is the broker's own, or no database; LEDGER_UNAVAILABLE; LEDGER_INCONSISTENT,
            MALFORMED, INVALID_SIGNATURE: it does not have this ledger.
    """
    url = old if "://" in old else f"sqlite:///{Path(old).absolute()}"
    place, own = _sqlite_file(url), _sqlite_file(settings.database_url)
    if place and not place.is_file():
        raise SlussError(Reason.INVALID_REQUEST, f"{place} is no file")
    if url == settings.database_url or (place and own and own.exists() and place.samefile(own)):
        raise SlussError(Reason.INVALID_REQUEST, "the old database is the broker's own: name the one that it replaced")
    engine = open_engine(url)
    try:
        with reading(engine) as connection:
            head = existing(read_head(connection))
        open_checkpoint(head.note, LedgerKeys.load(settings.folder.ledger_keys).signer().verifier)
    finally:
        engine.dispose()
    return url


def erase_again(office: Office) -> ErasedAgain:
    """Erase whoever the register names and the database has on record, and scrub. Budgets are closed.

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
    if erased.persons:
        office.ledger.publish()
    return erased


def _remember(settings: Settings, url: str) -> bool:
    """Note whom a database that is replaced knows to be erased, as its broker may have ended before it did.

    Or the database was another machine's, whose register is not this one.

    Returns:
        Whether that could be read: a database that can't be may be why it is replaced.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    engine = open_engine(url, timeout_s=PATIENCE_S)
    try:
        with readable(), reading(engine) as connection:
            rows = connection.execute(select(ERASURE.c.entry, ERASURE.c.person).order_by(ERASURE.c.entry)).all()
    except SlussError:
        return False
    finally:
        engine.dispose()
    # A line that is none would make the register unreadable.
    known = [Erased(*row) for row in rows if type(row.entry) is int and _names_a_person(row.person)]
    if known:
        ErasureRegister(settings.folder.erased).add(known)
    return len(known) == len(rows)


def _names_a_person(person: object) -> bool:
    return type(person) is int and 0 < person < 1 << PERSON_BITS


def _carry_over(settings: Settings, old_url: str, restored: Engine, signer: Signer) -> Carried:
    told = _remember(settings, old_url)
    vault = Vault(FileProvider(settings.folder.rings).rings)
    old = open_engine(old_url, timeout_s=PATIENCE_S)
    try:
        carried = Carrier(old, restored, Ledger(restored, signer, settings.origin), vault, signer.verifier).run()
    finally:
        old.dispose()
    if not told:
        carried.not_known(carrying.ERASURES)
    return carried


def _sqlite_file(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database).absolute() if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _aside(database: Path, taken: Taken) -> Path:
    """Where a replaced database is kept: a name that none has that was kept before."""
    names = (f"{database.name}.before-{taken.at[:10]}-{number}" for number in count(1))
    return next(place for place in map(database.with_name, names) if not place.exists())


def _move(database: Path, to: Path) -> None:
    for file, moved in zip(_files(database), _files(to), strict=True):
        if file.exists():
            file.rename(moved)


def _remove(database: Path) -> None:
    for file in _files(database):
        file.unlink(missing_ok=True)


def _files(database: Path) -> list[Path]:
    return [database.with_name(f"{database.name}{end}") for end in ("", "-wal", "-shm")]
