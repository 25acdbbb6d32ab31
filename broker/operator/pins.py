"""The certificate table: pinning and revoking, each in one transaction with its ledger entry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from broker import free_text, pki
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ledger import entry
from broker.operator.office import BY
from broker.store import tables
from broker.store.engine import reading

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine

    from broker.identity import Principal
    from broker.ledger.log import Ledger, Tx

MAX_REASON = 500
CERTIFICATE = tables.core(tables.Certificate)
_COLUMNS = [
    CERTIFICATE.c[name] for name in ("spki", "principal", "serial", "not_after", "issued_at", "revoked_at", "reason")
]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A row of the certificate table; times in microseconds since 1970 UTC, `revoked_at` 0 if it is good."""

    spki: bytes
    principal: str
    serial: str
    not_after: int
    issued_at: int
    revoked_at: int
    reason: str


def pin(tx: Tx, principal: Principal, certificate: bytes, by: str = BY) -> int:
    """Pins the certificate's key to the principal; returns the index of the entry that says so.

    A renewed certificate for the same key takes the place of the one before.

    Raises:
        SlussError: CERTIFICATE_MISMATCH: the key is another principal's; CERTIFICATE_REVOKED: it was revoked,
            and a revoked key never comes back.
    """
    facts = pki.describe(certificate)
    known = tx.connection.execute(
        select(CERTIFICATE.c.principal, CERTIFICATE.c.revoked_at).where(CERTIFICATE.c.spki == facts.spki)
    ).one_or_none()
    row = {"serial": facts.serial, "not_after": facts.not_after, "issued_at": tx.at}
    if known is None:
        fresh = {"spki": facts.spki, "principal": principal.name, "revoked_at": 0, "reason": "", **row}
        tx.connection.execute(insert(CERTIFICATE).values(fresh))
    elif known.principal != principal.name:
        raise SlussError(Reason.CERTIFICATE_MISMATCH, "the key is another principal's: make a new one")
    elif known.revoked_at:
        raise SlussError(Reason.CERTIFICATE_REVOKED, "the key was revoked: make a new one")
    else:
        tx.connection.execute(update(CERTIFICATE).where(CERTIFICATE.c.spki == facts.spki).values(row))
    tx.bump_rights()
    return tx.append(entry.certificate(tx.at, "pinned", principal.name, facts.spki, by, ""))


def revoke(ledger: Ledger, which: ColumnElement[bool], reason: str, by: str = BY) -> list[tuple[Pinned, int]]:
    """Revokes every good certificate that `which` selects, at once and for good.

    Returns:
        The certificates with the indexes of their entries: no disclosure to them stands after those.

    Raises:
        SlussError: INVALID_REQUEST: the reason is not one, or looks like personal data.
    """
    free_text.reason(reason, most=MAX_REASON)

    def work(tx: Tx) -> list[tuple[Pinned, int]]:
        found = _select(tx.connection, which & (CERTIFICATE.c.revoked_at == 0))
        done = []
        for each in found:
            tx.connection.execute(
                update(CERTIFICATE).where(CERTIFICATE.c.spki == each.spki).values(revoked_at=tx.at, reason=reason)
            )
            index = tx.append(entry.certificate(tx.at, "revoked", each.principal, each.spki, by, reason))
            done.append((each, index))
        if done:
            tx.bump_rights()
        return done

    return ledger.run(work)


def keep_revoked(tx: Tx, pinned: Pinned, reason: str, by: str = BY) -> bool:
    """Keep a key out that was pinned and revoked in a ledger that is lost; False if it is known here."""
    if _select(tx.connection, CERTIFICATE.c.spki == pinned.spki):
        return False
    row = asdict(pinned) | {"revoked_at": tx.at, "reason": reason}
    tx.connection.execute(insert(CERTIFICATE).values(row))
    tx.bump_rights()
    tx.append(entry.certificate(tx.at, "revoked", pinned.principal, pinned.spki, by, reason))
    return True


def stored(connection: Connection, spki: bytes) -> list[Pinned]:
    """The row of a key; none if it was never pinned."""
    return _select(connection, CERTIFICATE.c.spki == spki)


def listed(engine: Engine, principal: str = "") -> list[Pinned]:
    """All certificates, or a principal's, by principal and time of issue."""
    with reading(engine) as connection:
        return _select(connection, CERTIFICATE.c.principal == principal if principal else None)


def found(engine: Engine, which: ColumnElement[bool]) -> list[Pinned]:
    """The certificates that `which` selects, good or revoked."""
    with reading(engine) as connection:
        return _select(connection, which)


def selected(*, principal: str = "", serial: str = "", certificate: bytes = b"") -> ColumnElement[bool]:
    """The certificates of a principal, with a serial number, or with the key of a PEM certificate.

    Raises:
        SlussError: INVALID_REQUEST, MALFORMED.
    """
    which: ColumnElement[bool]
    if principal:
        which = CERTIFICATE.c.principal == parse_principal(principal).name
    elif serial:
        which = CERTIFICATE.c.serial == serial
    else:
        which = CERTIFICATE.c.spki == pki.spki_sha256(certificate)
    return which


def _select(connection: Connection, which: ColumnElement[bool] | None) -> list[Pinned]:
    query = select(*_COLUMNS).order_by(CERTIFICATE.c.principal, CERTIFICATE.c.issued_at, CERTIFICATE.c.spki)
    rows = connection.execute(query if which is None else query.where(which)).all()
    return [Pinned(*row) for row in rows]
