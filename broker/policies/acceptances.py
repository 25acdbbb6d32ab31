"""Acceptances of policy versions: in the ledger before the call returns, and in the same spine as choices (POLICY 10).

The entry names the person by HMAC-SHA256(person secret, COMMITMENT_LABEL + the entry's own `at` text). The newest
version that a person accepted stands in the person's row, under a MAC of the person's own, where a disclosure reads
it at no extra query; `head.rights` moves with it.

Going on to use the service counts as acceptance (clause 10) where it can be shown that the person knew: the version is
in force, and a message about it was delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from broker import own_keys, requests
from broker.clock import rfc3339
from broker.compromise import locks
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.entry import base64url
from broker.ledger.standing import differs
from broker.persons import checking, rows
from broker.policies import notices
from broker.policies.model import CONTINUED_USE, AcceptanceShown, Accepted, check_version
from broker.store import tables
from broker.store.queries import PERSON
from broker.vault import commitment

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from broker.desk import Change, View
    from broker.policies.model import Accepting
    from broker.vault import PersonRow

ACCEPTANCE: Final = tables.core(tables.Acceptance)
PLACE: Final = "acceptance"
MAY_SEE_EVIDENCE: Final = frozenset({"internal", "privacy"})


def record(change: Change, asked: Accepting) -> Accepted:
    """Record an acceptance; the same request records once.

    Raises:
        SlussError: PERSON_UNKNOWN, POLICY_UNKNOWN, NOTICE_MISSING, INVALID_REQUEST, REQUEST_ID_REUSED,
            CREDENTIAL_LOCKED.
    """
    # 1. a retry gives the first answer
    vault = change.snapshot.vault
    said = (asked.person, asked.version, asked.source, asked.evidence)
    body = rows.request_body(vault, "acceptance", *said)
    known = requests.find_one(change, asked.request_id, body)
    if known is not None:
        return Accepted(known.first_entry, known.reply.decode())
    # 2. whether it can be accepted so
    checking.check_source(asked.source)
    check(change, asked.version)
    row = rows.active(change.connection, asked.person)
    locks.require_unlocked(change, row.id)
    if asked.source == CONTINUED_USE:
        _require_told(change, row.id, asked.version)
    # 3. the entry, the history, and what disclosures go by
    index = append(change, row, asked.version, asked.source, asked.evidence)
    newest = _newer(change, own_keys.accepted_version(vault, row), asked.version)
    text = own_keys.accepted_text(vault, row, newest)
    change.connection.execute(update(PERSON).where(PERSON.c.id == row.id).values(accepted=text))
    change.tx.bump_rights()
    # 4. remember the answer
    requests.remember_one(change, asked.request_id, requests.Known(body, index, 1, newest.encode()))
    return Accepted(index, newest)


def check(change: Change, version: str) -> None:
    """Refuse a version that nobody published.

    Raises:
        SlussError: POLICY_UNKNOWN, INVALID_REQUEST.
    """
    if check_version(version) not in change.snapshot.versions:
        raise SlussError(Reason.POLICY_UNKNOWN, version=version)


def append(change: Change, row: PersonRow, version: str, source: str, evidence: str) -> int:
    """Append an acceptance's entry and its line in the history; the entry's index."""
    vault, at = change.snapshot.vault, rfc3339(change.now_us)
    secret = vault.person_secret(row)
    shown = own_keys.evidence_commitment(secret, at, evidence) if evidence else b""
    body = entry.acceptance(change.now_us, commitment(secret, at), version, source, shown, change.principal.name)
    index = change.tx.append(body, persons=[row.id])
    sealed = own_keys.seal_note(vault, row, f"{PLACE} {index}", evidence.encode()) if evidence else b""
    change.connection.execute(
        insert(ACCEPTANCE).values(
            person=row.id, entry=index, version=version, source=source, evidence=sealed, at=change.now_us
        )
    )
    return index


def history(view: View, person: int, before: int, size: int) -> tuple[list[AcceptanceShown], int]:
    """A page of a person's acceptances with entries below `before` (0 for all), newest first, each proven.

    Returns:
        The page, and the entry to go on below; 0 after the last.

    Raises:
        SlussError: PERSON_UNKNOWN; LEDGER_INCONSISTENT for one that the ledger does not have.
    """
    row = rows.active(view.connection, person)
    query = select(ACCEPTANCE).where(ACCEPTANCE.c.person == person).order_by(ACCEPTANCE.c.entry.desc()).limit(size + 1)
    if before:
        query = query.where(ACCEPTANCE.c.entry < before)
    lines = view.connection.execute(query).all()
    shown = [_proven(view, row, line) for line in lines[:size]]
    return shown, shown[-1].entry if len(lines) > size else 0


def forget(connection: Connection, person: int) -> None:
    """Destroy what was kept of a person's acceptances and notices, and the digests of what they were recorded with."""
    of = ACCEPTANCE.c.person == person
    answered = requests.REQUEST.c.first_entry.in_(select(ACCEPTANCE.c.entry).where(of))
    requests.forget_digests(connection, select(ACCEPTANCE.c.at).where(of), answered)
    connection.execute(delete(ACCEPTANCE).where(ACCEPTANCE.c.person == person))
    connection.execute(delete(notices.NOTICE).where(notices.NOTICE.c.person == person))
    connection.execute(update(PERSON).where(PERSON.c.id == person).values(accepted=None))


def _require_told(change: Change, person: int, version: str) -> None:
    in_force = change.snapshot.policy(change.now_us)
    if version != in_force or not notices.was_told(change.connection, person, version):
        raise SlussError(Reason.NOTICE_MISSING, version=version)


def _newer(change: Change, before: str, version: str) -> str:
    """Of two versions the one that takes effect later."""
    order = [name for _, name in change.snapshot.policies]
    return max((each for each in (before, version) if each in order), key=order.index)


def _proven(view: View, row: Row[Any], line: Row[Any]) -> AcceptanceShown:
    vault, at = view.snapshot.vault, rfc3339(line.at)
    secret = vault.person_secret(row)
    evidence = ""
    if line.evidence:
        evidence = own_keys.open_note(vault, row, f"{PLACE} {line.entry}", line.evidence).decode()
    said = entry.parse(view.snapshot.standing.entry(view.connection, line.entry, differs("acceptance")).entry)
    shown = own_keys.evidence_commitment(secret, at, evidence) if evidence else b""
    expected = (at, base64url(commitment(secret, at)), line.version, line.source, base64url(shown))
    if tuple(said.get(name) for name in ("at", "person", "version", "source", "evidence")) != expected:
        raise differs("acceptance")
    may_see = view.principal.kind in MAY_SEE_EVIDENCE
    return AcceptanceShown(line.version, line.source, evidence if may_see else "", line.at, line.entry)
