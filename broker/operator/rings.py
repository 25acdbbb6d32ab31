"""The steps of `sluss keys`: a ring gets a version, what is kept goes under it, the old ones are destroyed.

    rotate        a new version, in the file first, then in the ledger; from then on brokers wrap under it
    rewrap        the store's keys go under the newest versions, while brokers serve
    destroy_old   the ledger says so first, then the versions go: what is under them opens no more, and nothing in the
                  store may be

Between the two halves of `rotate` a crash leaves a version of which the ledger does not tell; it works like any other.
Between those of `destroy_old`, the ledger tells of what is about to happen: run again, it happens.

One of these at a time on a home, and no restore beside it (`alone`). Operators on several machines meet at the ledger's
head, under which a version gets its number: whoever has an older file than the ledger tells of adds none.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker import ring_checks
from broker.errors import Reason, SlussError
from broker.keys.file import FileProvider
from broker.keys.provider import INDEX, RINGS
from broker.keys.secret_file import sole_writer
from broker.ledger import entry
from broker.operator.office import BY, require_unconnected, stopped
from broker.store.engine import reading
from broker.store.wrapped import Rewrapped, counted, rewrap_all
from broker.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from broker.ledger.log import Tx
    from broker.operator.office import Office
    from broker.settings import Settings

ROTATING: Final = tuple(name for name in RINGS if name != INDEX)
ROUNDS: Final = 10
"""A broker that serves may put a key under an old version while a round passes; so many rounds settle it."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a ring.

    Attributes:
        ring: the ring's name.
        number: the version.
        newest: whether keys are wrapped under it now.
        kept: how many keys in the store are under it.
        there: whether the ring has it; without it, what is kept under it does not open.
    """

    ring: str
    number: int
    newest: bool
    kept: int
    there: bool = True


def versions(office: Office) -> list[Version]:
    """Every version of the rings that rotate, and any other that something in the store is under.

    Raises:
        SlussError: KEYS_UNAVAILABLE, LEDGER_UNAVAILABLE.
    """
    rings = FileProvider(office.settings.folder.rings).rings
    kept = counted(office.engine)
    found = []
    for name in ROTATING:
        known = rings[name].versions
        found += [
            Version(name, number, number == known[-1], kept[name][number], number in known)
            for number in sorted({*known, *kept[name]})
        ]
    return found


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Wait until no other process rotates, destroys or restores on this home."""
    with sole_writer(settings.folder.settings):
        yield


def rotate(office: Office, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Give rings a new version: name, version, and the index of its entry.

    With an old copy of the rings' file, or another's, a version would get the number of one that is elsewhere: so a
    file that does not open everything, or lacks a version that the ledger tells of, is refused.

    Raises:
        SlussError: INVALID_REQUEST for a ring that does not rotate; KEYS_UNAVAILABLE; LEDGER_UNAVAILABLE.
    """
    for name in names:
        _require_rotating(name)
    with alone(office.settings):
        provider = FileProvider(office.settings.folder.rings)
        require_openable(office.engine, provider)
        return [(name, *_added(office, provider, name)) for name in names]


def _added(office: Office, provider: FileProvider, name: str) -> tuple[int, int]:
    """A new version and its entry. The head's lock is held while it comes into the file: no other gets its number."""
    made: list[int] = []

    def work(tx: Tx) -> tuple[int, int]:
        said = ring_checks.told(tx.connection)[name]
        lacking = _lacking(provider, name, said)
        if lacking:
            tells = f"the ledger tells of version {lacking[-1]} of the ring {name}, which keys/rings.json does not have"
            cure = "copy the newest file here first; if it is lost for good, sluss keys destroy-old says so"
            raise SlussError(Reason.KEYS_UNAVAILABLE, f"{tells}: {cure}")
        if not made:
            made.append(provider.rotate(name, said.last))
        return made[0], tx.append(entry.key_ring(tx.at, "rotated", name, made[0], BY))

    return office.ledger.run(work)


def _lacking(provider: FileProvider, name: str, said: ring_checks.Told) -> list[int]:
    return sorted(said.rotated - said.destroyed - set(provider.rings[name].versions))


def rewrap(office: Office) -> Rewrapped:
    """Bring every key in the store under the newest version of its ring, as far as it opens.

    Raises:
        SlussError: KEYS_UNAVAILABLE, LEDGER_UNAVAILABLE.
    """
    vault = Vault(FileProvider(office.settings.folder.rings).rings)
    changed = 0
    for _ in range(ROUNDS):
        done = rewrap_all(office.engine, vault)
        changed += done.changed
        if not done.changed:
            break
    return Rewrapped(changed, done.broken)


def destroy_old(office: Office, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Destroy all versions of rings but the newest: name, version, and the index of the entry.

    Nothing may serve: a broker that has not seen the newest version yet would wrap under one that is destroyed. A
    version that the ledger tells of and the file does not have is destroyed as well: nobody is to wait for it.

    Raises:
        SlussError: INVALID_REQUEST: a broker runs, or something in the store is under an old version, or the ring does
            not rotate; KEYS_UNAVAILABLE; LEDGER_UNAVAILABLE.
    """
    for name in names:
        _require_rotating(name)
    with stopped(office.settings), alone(office.settings):
        require_unconnected(office.engine)
        provider = FileProvider(office.settings.folder.rings)
        require_openable(office.engine, provider)
        with reading(office.engine) as connection:
            said = ring_checks.told(connection)
        going = {
            name: sorted({*provider.rings[name].versions[:-1], *_lacking(provider, name, said[name])}) for name in names
        }
        _require_unused(office.engine, going)
        done = []
        for name, old in going.items():
            indexes = _destruction(office, name, old)
            # These and no others: a version that came meanwhile makes the one before it no older than it was.
            provider.destroy(name, old)
            done += [(name, version, index) for version, index in zip(old, indexes, strict=True)]
        return done


def require_openable(engine: Engine, provider: FileProvider) -> None:
    """Refuse a store with keys under versions that the rings do not have, and rings that open none of its keys.

    Raises:
        SlussError: KEYS_UNAVAILABLE, LEDGER_UNAVAILABLE.
    """
    for name, kept in counted(engine).items():
        for version in sorted(kept.keys() - set(provider.rings[name].versions)):
            raise SlussError(
                Reason.KEYS_UNAVAILABLE,
                f"{kept[version]} keys are under version {version} of the ring {name}, which keys/rings.json does not"
                " have: they can't be opened",
            )
    with reading(engine) as connection:
        ring_checks.require_ours(connection, Vault(provider.rings))


def _require_rotating(name: str) -> None:
    if name not in ROTATING:
        raise SlussError(Reason.INVALID_REQUEST, f"no key ring {name!r} that rotates: {', '.join(ROTATING)}")


def _require_unused(engine: Engine, going: dict[str, list[int]]) -> None:
    kept = counted(engine)
    for name, old in going.items():
        for version in old:
            if kept[name][version]:
                under = f"{kept[name][version]} keys are under version {version} of the ring {name}"
                raise SlussError(Reason.INVALID_REQUEST, f"{under}: sluss keys rewrap comes first")


def _destruction(office: Office, name: str, numbers: Sequence[int]) -> list[int]:
    """Put it into the ledger; the entries' indexes."""

    def work(tx: Tx) -> list[int]:
        return [tx.append(entry.key_ring(tx.at, "destroyed", name, number, BY)) for number in numbers]

    return office.ledger.run(work) if numbers else []
