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
    from broker.desk import Change, View

ROOM: Final = "compromise"
REASON: Final = "reported as compromised"
"""What the ledger says of a certificate or a key that is cut off."""
NOTICE_US: Final = 72 * 3_600 * SECOND
"""Within this time from awareness the authority is notified (GDPR Art. 33(1))."""
MAX_IDLE: Final = 8
"""So many reports by a subcontractor in `IDLE_WINDOW_US`, and none more that cuts nothing off: each stays for ever."""
IDLE_WINDOW_US: Final = 24 * 3_600 * SECOND


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is reported. `subject`: certificate, principal, key or person; times in microseconds since 1970 UTC.

    Of times that None stands for it is now: a retry that leaves them out again asks for the same.
    """

    subject: str
    spki: bytes
    principal: str
    person: int
    suspect_from: int
    suspect_until: int | None
    noticed_at: int | None
    how: str


def report(change: Change, new: NewReport, request_id: bytes) -> tuple[File, int]:
    """Report; gives the report and its entry's index. The same request reports once.

    Raises:
        SlussError: ROLE_NOT_ALLOWED for another's credential; FILE_UNKNOWN, PERSON_UNKNOWN, REQUEST_ID_REUSED;
            RATE_EXCEEDED, with `retry_after_s`, for one too many that cuts nothing off.
    """
    _require_own(change, new)
    digest = person_rows.request_body(change.snapshot.vault, "compromise", repr(new))
    known = requests.find_one(change, request_id, digest)
    if known is not None:
        return case_files.load(change, ROOM, known.reply.decode("ascii")), known.first_entry
    principal = _principal(change.connection, new)
    if new.person:
        person_rows.active(change.connection, new.person)
    revoked = _revoke(change, new, principal)
    # Whoever has the certificate could have registered the key.
    retired = principal.startswith("subcontractor/") and retire_key(change, principal, REASON)
    if not revoked and not retired:
        _require_few(change)
    noticed_at = change.now_us if new.noticed_at is None else new.noticed_at
    file = case_files.create(
        change,
        ROOM,
        "open",
        handler=change.principal.name,
        due_at=noticed_at + NOTICE_US,
        person=new.person,
        body={
            "subject": new.subject,
            "principal": principal,
            "suspect_from": new.suspect_from,
            "suspect_until": change.now_us if new.suspect_until is None else new.suspect_until,
            "noticed_at": noticed_at,
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
    """End a report's lock on a person's credential, which is unlocked once no other report locks it.

    Raises:
        SlussError: FILE_UNKNOWN, ETAG_STALE, FILE_WRONG_STATE if nothing is locked.
    """
    file = case_files.based_on(case_files.load(change, ROOM, report_id), etag)
    if not file.body["locked"]:
        raise _wrong(file, "reinstate", "no person's credential is locked by it")
    if file.person and locks.locked_by(change.connection, file.person) == file.id:
        locks.unlock(change.connection, file.person)
        following = next((each for each in locking(change, file.person) if each.id != file.id), None)
        if following is not None:
            locks.lock(change.connection, file.person, following.id, following.opened_at)
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


def locking(view: View, person: int) -> list[File]:
    """The reports that lock a person's credential, oldest first, as the ledger has them.

    Raises:
        SlussError: LEDGER_INCONSISTENT if one is not what the ledger says.
    """
    still_open = select(case_files.FILE.c.id).where(
        case_files.FILE.c.room == ROOM, case_files.FILE.c.person == person, case_files.FILE.c.state == "open"
    )
    ids = view.connection.execute(still_open.order_by(case_files.FILE.c.number)).scalars().all()
    return [file for file in (case_files.load(view, ROOM, each) for each in ids) if file.body["locked"]]


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


def _require_few(change: Change) -> None:
    """Refuse a subcontractor a report with which nothing more is cut off, after many others."""
    if change.principal.kind != "subcontractor":
        return
    since = change.now_us - IDLE_WINDOW_US
    made = select(case_files.FILE.c.opened_at).where(
        case_files.FILE.c.room == ROOM,
        case_files.FILE.c.handler == change.principal.name,
        case_files.FILE.c.opened_at > since,
    )
    newest = change.connection.execute(made.order_by(case_files.FILE.c.number.desc()).limit(MAX_IDLE)).scalars().all()
    if len(newest) == MAX_IDLE:
        hours = IDLE_WINDOW_US // SECOND // 3_600
        detail = f"nothing is left to cut off, and at most {MAX_IDLE} such reports can be made in {hours} hours"
        raise SlussError(Reason.RATE_EXCEEDED, detail, retry_after_s=str(-(-(newest[-1] - since) // SECOND)))


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


def _wrong(file: File, step: str, why: str) -> SlussError:
    return SlussError(Reason.FILE_WRONG_STATE, why, case=file.id, state=file.state, step=step)
