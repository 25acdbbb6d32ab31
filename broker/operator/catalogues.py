"""Putting a field catalogue and its policy version in force, with their ledger entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from broker.catalogue import Catalogue, parse_catalogue
from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.operator.office import BY
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Container

    from sqlalchemy import Connection

    from broker.ledger.log import Tx

CATALOGUE = tables.core(tables.Catalogue)
POLICY = tables.core(tables.PolicyVersion)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a new catalogue changes.

    Attributes:
        added: names of fields and purposes that it brings.
        removed: names that it no longer has; contracts and records that use them come to nothing.
        policy: the policy version that it founds, if it is the first catalogue.
        unchanged: it is the catalogue in force, byte by byte.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    policy: str = ""
    unchanged: bool = False


def in_force(connection: Connection) -> tuple[int, str] | None:
    """Serial and TOML text of the catalogue in force; None before the first."""
    newest = select(CATALOGUE.c.serial, CATALOGUE.c.toml).order_by(CATALOGUE.c.serial.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else (row.serial, row.toml)


def compare(connection: Connection, toml: str) -> Difference:
    """What putting `toml` in force would change.

    Raises:
        SlussError: as `parse_catalogue`; INVALID_TERMS for a policy version that is not on record, though others
            are, or has another effective time, and for a purpose that asks for the acceptance of one that is not.
    """
    new = parse_catalogue(toml)
    known = in_force(connection)
    old = parse_catalogue(known[1]) if known else None
    if old and old.digest == new.digest:
        return Difference(unchanged=True)
    before, after = _names(old), _names(new)
    return Difference(
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
        "" if _policy_known(connection, new) else new.policy.version,
    )


def put_in_force(tx: Tx, toml: str, by: str = BY) -> list[int]:
    """Puts the catalogue in force, and its policy version on record if it is the founding one; the entries' indexes.

    Raises:
        SlussError: as `compare`.
    """
    connection = tx.connection
    new = parse_catalogue(toml)
    known = in_force(connection)
    row = {"serial": known[0] + 1 if known else 1, "digest": new.digest, "toml": toml, "loaded_at": tx.at}
    indexes = []
    if not _policy_known(connection, new):
        effective = _effective(new)
        version = {"id": new.policy.version, "effective_at": effective, "digest": new.digest}
        connection.execute(insert(POLICY).values(version))
        indexes.append(tx.append(entry.policy(tx.at, new.policy.version, effective, new.digest, by)))
    connection.execute(insert(CATALOGUE).values(row))
    indexes.append(tx.append(entry.catalogue(tx.at, new.digest, by)))
    tx.bump_rights()
    return indexes


def _policy_known(connection: Connection, catalogue: Catalogue) -> bool:
    """Whether the catalogue's policy version is on record; if none is, it founds the first.

    Further versions have texts and a time of their own: they are published, not imported.
    """
    known = {row.id: row.effective_at for row in connection.execute(select(POLICY.c.id, POLICY.c.effective_at))}
    version = catalogue.policy.version
    _check_accepted_since(catalogue, {version, *known})
    if not known:
        return False
    if version not in known:
        raise SlussError(
            Reason.INVALID_TERMS,
            f"policy version {version} is not on record: publish it first (`sluss policy publish`)",
        )
    if known[version] != _effective(catalogue):
        raise SlussError(Reason.INVALID_TERMS, f"policy version {version} is on record with another effective time")
    return True


def _check_accepted_since(catalogue: Catalogue, versions: Container[str]) -> None:
    for purpose in catalogue.purposes.values():
        if purpose.accepted_since and purpose.accepted_since not in versions:
            raise SlussError(
                Reason.INVALID_TERMS,
                f"purpose {purpose.code} asks for policy version {purpose.accepted_since}, which is not on record",
            )


def _effective(catalogue: Catalogue) -> int:
    return round(datetime.fromisoformat(catalogue.policy.effective).timestamp() * SECOND)


def _names(catalogue: Catalogue | None) -> frozenset[str]:
    if catalogue is None:
        return frozenset()
    usable = (name for name, field in catalogue.fields.items() if not field.forbidden)
    return frozenset(usable) | {f"purpose {code}" for code in catalogue.purposes}
