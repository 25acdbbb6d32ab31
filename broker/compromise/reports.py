"""Compromise reports in the store: what is stolen is cut off in the transaction that logs the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from broker import case_files, requests
from broker.agreements import retire_key
from broker.clock import SECOND
from broker.compromise import locks
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ledger import entry
from broker.outbox.queue import queue
from broker.persons import rows as person_rows
from broker.rights import CERTIFICATE, KEY

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from broker.case_files import File
    from broker.desk import Change

ROOM: Final = "compromise"
REASON: Final = "reported as compromised"
"""What the ledger says of a certificate or a key that is cut off."""
NOTICE_US: Final = 72 * 3_600 * SECOND
"""Within this time from awareness the authority is notified (GDPR Art. 33(1))."""


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is reported. `subject`: certificate, principal, key or person; times in microseconds since 1970 UTC."""

    subject: str
    spki: bytes
    principal: str
    person: int
    suspect_from: int
    suspect_until: int
    noticed_at: int
    how: str


def report(change: Change, new: NewReport, request_id: bytes) -> tuple[File, int]:
    """Report; gives the report and its entry's index. The same request reports once.

    Raises:
        SlussError: ROLE_NOT_ALLOWED for another's credential; FILE_UNKNOWN, PERSON_UNKNOWN, REQUEST_ID_REUSED.
    """
    _require_own(change, new)
    name = change.principal.name
    said = repr((new.subject, new.spki, new.principal, new.person, new.suspect_from, new.how))
    digest = person_rows.request_body(change.snapshot.vault, "compromise", said)
    known = requests.find_one(change, request_id, digest)
    if known is not None:
        return case_files.load(change, ROOM, known.reply.decode("ascii")), known.first_entry
    principal = _principal(change.connection, new)
    if new.person:
        person_rows.active(change.connection, new.person)
    revoked = _revoke(change, new, principal)
    retired = principal.startswith("subcontractor/") and _retire(change, principal)
    file = case_files.create(
        change,
        ROOM,
        "open",
        handler=name,
        due_at=new.noticed_at + NOTICE_US,
        person=new.person,
        body={
            "subject": new.subject,
            "principal": principal,
            "suspect_from": new.suspect_from,
            "suspect_until": new.suspect_until,
            "noticed_at": new.noticed_at,
            "revoked": revoked,
            "key_retired": retired,
            "locked": bool(new.person),
        },
        private={"how": new.how},
    )
    if new.person:
        locks.lock(change.connection, new.person, file.id, change.now_us)
        queue(change, new.person, "credential_reset", {"report": file.id})
    index = case_files.log(change, file, "reported", "")
    requests.remember_one(change, request_id, requests.Known(digest, index, 1, file.id.encode("ascii")))
    return file, index


def reinstate(change: Change, report_id: str, etag: str, why: str) -> tuple[File, int]:
    """Unlock a person's credential.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE if nothing is locked.
    """
    file = case_files.based_on(case_files.load(change, ROOM, report_id), etag)
    if not file.body["locked"]:
        raise _wrong(file, "reinstate", "no person's credential is locked by it")
    if file.person and locks.locked_by(change.connection, file.person) == file.id:
        locks.unlock(change.connection, file.person)
    return case_files.write(change, file, "reinstated", why, body={**file.body, "locked": False})


def close(change: Change, report_id: str, etag: str, why: str) -> tuple[File, int]:
    """Close a report.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE if it is closed, or a credential still locked.
    """
    file = case_files.based_on(case_files.load(change, ROOM, report_id), etag)
    if file.state != "open":
        raise _wrong(file, "close", "it is closed")
    if file.body["locked"] and file.person:
        raise _wrong(file, "close", "the person's credential is locked: reinstate it first")
    return case_files.write(change, file, "closed", why, state="closed")


def _require_own(change: Change, new: NewReport) -> None:
    who = change.principal
    if who.kind == "internal" and new.subject != "person":
        raise SlussError(Reason.ROLE_NOT_ALLOWED, "an internal service reports persons' credentials", kind=who.kind)
    if who.kind != "subcontractor":
        return
    owner = new.principal
    if new.subject == "certificate":
        owner = _owner(change.connection, new.spki)
    if new.subject == "person" or owner != who.name:
        raise SlussError(Reason.ROLE_NOT_ALLOWED, "a subcontractor reports its own credentials", kind=who.kind)


def _owner(connection: Connection, spki: bytes) -> str:
    query = select(CERTIFICATE.c.principal).where(CERTIFICATE.c.spki == spki)
    return connection.execute(query).scalar_one_or_none() or ""


def _principal(connection: Connection, new: NewReport) -> str:
    """Whose credential it is; empty for a person's.

    Raises:
        SlussError: FILE_UNKNOWN: nobody has, or had, such a credential.
    """
    if new.subject == "person":
        return ""
    if new.subject == "certificate":
        owner = _owner(connection, new.spki)
    else:
        owner = parse_principal(new.principal).name
        table = KEY.c.subcontractor if new.subject == "key" else CERTIFICATE.c.principal
        if connection.execute(select(table).where(table == owner).limit(1)).first() is None:
            owner = ""
    if not owner:
        raise SlussError(Reason.FILE_UNKNOWN, "no such credential is, or was, on record")
    return owner


def _revoke(change: Change, new: NewReport, principal: str) -> int:
    """Revoke the certificates; gives how many were good until now."""
    if new.subject not in ("certificate", "principal"):
        return 0
    which = CERTIFICATE.c.spki == new.spki if new.subject == "certificate" else CERTIFICATE.c.principal == principal
    good = change.connection.execute(
        select(CERTIFICATE.c.spki).where(which, CERTIFICATE.c.revoked_at == 0).order_by(CERTIFICATE.c.spki)
    ).scalars().all()  # fmt: skip
    for spki in good:
        change.connection.execute(
            update(CERTIFICATE).where(CERTIFICATE.c.spki == spki).values(revoked_at=change.now_us, reason=REASON)
        )
        change.tx.append(
            entry.certificate(change.now_us, "revoked", principal, bytes(spki), change.principal.name, REASON)
        )
    return len(good)


def _retire(change: Change, principal: str) -> bool:
    """Retire the encryption key: whoever has the certificate could have registered it. Whether there was one."""
    return retire_key(change, principal, REASON)


def _wrong(file: File, step: str, why: str) -> SlussError:
    return SlussError(Reason.FILE_WRONG_STATE, why, case=file.id, state=file.state, step=step)
