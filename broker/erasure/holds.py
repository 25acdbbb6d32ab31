"""Legal holds in the store: while one is in force, its person can't be erased.

The row is for lists. Whether a person may be erased is read from the ledger's own entries, each proven to be in the
tree, and the person's are those that commit to the person: a row that was deleted, or marked as lifted, frees nobody,
and neither does a tie that was. Holds are numbered without a gap, so an entry that the search does not find shows.

A legal case that is not over and names the person forbids the erasure too. All causes give one answer, LEGAL_HOLD
without any more: else a privacy team that sees no hold would know that there is a hidden case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, literal_column, select, update

from broker import requests
from broker.clock import day_of, rfc3339
from broker.erasure.hold_rules import HOLD_ID, NEVER, Hold, HoldState, ends_at, in_force
from broker.errors import Reason, SlussError
from broker.keeping import CaseKeys
from broker.ledger import entry
from broker.ledger.rows import EntryRow
from broker.ledger.standing import differs
from broker.legal.naming import cases_that_need
from broker.persons import rows
from broker.store import tables
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from sqlalchemy import ColumnElement, Connection, Row

    from broker.desk import Change, View

ENTRY: Final = tables.core(tables.LedgerEntry)
HOLD: Final = tables.core(tables.LegalHold)
ENTRIES: Final[ColumnElement[bool]] = literal_column(tables.HOLDS)
BODY: Final = "hold"
"""The place at which a hold's body is sealed."""
NOBODY: Final = 0
"""Stands in the holds of persons who were erased."""


def place(change: Change, request_id: bytes, person: int, reason: str, until: date | None) -> Hold:
    """Place a hold on a person; the same request places one.

    Raises:
        SlussError: PERSON_UNKNOWN, REQUEST_ID_REUSED; LEDGER_INCONSISTENT if a retry's hold is not as the ledger says.
    """
    by, last = change.principal.name, until.isoformat() if until else ""
    body = rows.request_body(change.snapshot.vault, "place hold", person, reason, last)
    known = requests.find_one(change, request_id, body)
    if known is not None:
        return load(change, known.reply.decode("ascii"))
    row = rows.active(change.connection, person)
    number = (change.connection.execute(select(func.max(HOLD.c.number))).scalar_one() or 0) + 1
    hold_id = f"H-{day_of(change.now_us).year}-{number:04d}"
    keys, wrapped = CaseKeys.new(change.snapshot.vault, hold_id)
    index = _append(change, keys, row, "placed", hold_id, reason, last)
    hold = Hold(hold_id, person, reason, last, by, change.now_us, index)
    change.connection.execute(
        insert(HOLD).values(
            id=hold_id,
            number=number,
            person=person,
            keys=wrapped,
            until=ends_at(last),
            placed_at=change.now_us,
            lifted_at=NEVER,
            entry=index,
            body=_sealed(keys, hold),
        )
    )
    requests.remember_one(change, request_id, requests.Known(body, index, 1, hold_id.encode("ascii")))
    return hold


def lift(change: Change, request_id: bytes, hold_id: str, reason: str) -> tuple[Hold, int]:
    """Lift a hold that is in force; gives it and the index of the entry. The same request is answered the same.

    Raises:
        SlussError: HOLD_UNKNOWN, REQUEST_ID_REUSED; LEDGER_INCONSISTENT.
    """
    body = rows.request_body(change.snapshot.vault, "lift hold", hold_id, reason)
    known = requests.find_one(change, request_id, body)
    if known is not None:
        return load(change, hold_id), known.first_entry
    stored = _row(change.connection, hold_id)
    held = _hold(change, stored)
    if held.state(change.now_us) is not HoldState.IN_FORCE:
        raise _unknown(hold_id)
    keys = CaseKeys.load(change.snapshot.vault, hold_id, stored.keys)
    person = rows.active(change.connection, held.person)
    index = _append(change, keys, person, "lifted", hold_id, reason, "")
    lifted = replace(held, lifted_by=change.principal.name, lifted_at=change.now_us, lift_reason=reason)
    change.connection.execute(
        update(HOLD).where(HOLD.c.id == hold_id).values(lifted_at=change.now_us, body=_sealed(keys, lifted))
    )
    requests.remember_one(change, request_id, requests.Known(body, index, 1, hold_id.encode("ascii")))
    return lifted, index


def load(view: View, hold_id: str) -> Hold:
    """A hold.

    Raises:
        SlussError: HOLD_UNKNOWN; LEDGER_INCONSISTENT if its row is not as the ledger says.
    """
    return _hold(view, _row(view.connection, hold_id))


def listed(view: View, person: int | None, before: int, size: int, *, include_ended: bool) -> tuple[list[Hold], int]:
    """A page of holds with numbers below `before` (0 for all), newest first.

    Returns:
        Up to `size` holds, and the number to go on below, 0 after the last.

    Raises:
        SlussError: LEDGER_INCONSISTENT if a row is not as the ledger says.
    """
    query = select(HOLD).where(HOLD.c.person != NOBODY).order_by(HOLD.c.number.desc()).limit(size + 1)
    if before:
        query = query.where(HOLD.c.number < before)
    if person is not None:
        query = query.where(HOLD.c.person == person)
    if not include_ended:
        query = query.where(HOLD.c.lifted_at == NEVER, (HOLD.c.until == NEVER) | (HOLD.c.until > view.now_us))
    found = view.connection.execute(query).all()
    return [_hold(view, row) for row in found[:size]], found[size - 1].number if len(found) > size else 0


def forbidden(view: View, person: int) -> bool:
    """Whether something forbids to erase the person.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    standing = in_force(_said(view, person), view.now_us)
    return bool(standing) or bool(cases_that_need(view, person))


def require_none(view: View, person: int) -> None:
    """Refuse an erasure that something forbids; nothing tells what.

    Raises:
        SlussError: LEGAL_HOLD, LEDGER_INCONSISTENT.
    """
    if forbidden(view, person):
        raise SlussError(Reason.LEGAL_HOLD)


def forget(connection: Connection, person: int) -> None:
    """Destroy what the holds of a person say, and the digests of what they were asked for with.

    Their ids stay, so that no other hold gets one of them. A retry of a request is refused from now on.
    """
    for row in connection.execute(select(HOLD).where(HOLD.c.person == person)).all():
        answered = requests.REQUEST.c.reply == row.id.encode("ascii")
        requests.forget_digests(connection, [row.placed_at, row.lifted_at], answered)
    gone = {"person": NOBODY, "keys": b"", "body": b"", "until": NEVER, "placed_at": 0, "entry": 0}
    connection.execute(update(HOLD).where(HOLD.c.person == person).values(**gone))


def _append(change: Change, keys: CaseKeys, person: Row[Any], event: str, hold_id: str, reason: str, until: str) -> int:
    at = rfc3339(change.now_us)
    said = commitment(change.snapshot.vault.person_secret(person), at)
    text = keys.commit_text(at, reason)
    made = entry.hold(change.now_us, event, hold_id, said, text, until, change.principal.name)
    return change.tx.append(made, persons=[person.id])


def _sealed(keys: CaseKeys, hold: Hold) -> bytes:
    written = {
        "reason": hold.reason,
        "until": hold.until,
        "placed_by": hold.placed_by,
        "lifted_by": hold.lifted_by,
        "lift_reason": hold.lift_reason,
    }
    return keys.seal(BODY, orjson.dumps(written, option=orjson.OPT_SORT_KEYS))


def _row(connection: Connection, hold_id: str) -> Row[Any]:
    if HOLD_ID.fullmatch(hold_id):
        row = connection.execute(select(HOLD).where(HOLD.c.id == hold_id)).one_or_none()
        if row is not None and row.person != NOBODY:
            return row
    raise _unknown(hold_id)


def _hold(view: View, row: Row[Any]) -> Hold:
    """A row as a hold, with what its entry of the ledger commits to."""
    keys = CaseKeys.load(view.snapshot.vault, row.id, row.keys)
    written = orjson.loads(keys.open(BODY, row.body))
    hold = Hold(
        row.id,
        row.person,
        written["reason"],
        written["until"],
        written["placed_by"],
        row.placed_at,
        row.entry,
        written["lifted_by"],
        row.lifted_at,
        written["lift_reason"],
    )
    said = entry.parse(view.snapshot.standing.entry(view.connection, row.entry, differs("hold", hold=hold.id)).entry)
    text = entry.base64url(keys.commit_text(rfc3339(hold.placed_at), hold.reason))
    told = (said.get("type"), said.get("event"), said.get("hold"), said.get("text"), said.get("until"), said.get("by"))
    if told != ("hold", "placed", hold.id, text, hold.until, hold.placed_by) or row.until != ends_at(hold.until):
        raise differs("hold", hold=hold.id)
    return hold


def _said(view: View, person: int) -> list[dict[str, Any]]:
    """What the proven `hold` entries of a person say, oldest first.

    Raises:
        SlussError: PERSON_UNKNOWN; LEDGER_INCONSISTENT.
    """
    secret = view.snapshot.vault.person_secret(rows.active(view.connection, person))
    last = view.connection.execute(select(func.max(HOLD.c.number))).scalar_one() or 0
    query = select(ENTRY).where(ENTRIES).order_by(ENTRY.c.id)
    found = [EntryRow(row.id, bytes(row.entry), *row[2:]) for row in view.connection.execute(query)]
    view.snapshot.standing.prove(view.connection, found)
    said = [entry.parse(row.entry) for row in found]
    _require_all(said, last)
    return [each for each in said if each["person"] == entry.base64url(commitment(secret, each["at"]))]


def _require_all(said: Iterable[dict[str, Any]], last: int) -> None:
    """Refuse what is not the entries of all holds from the first to the last that they or the rows know of."""
    placed = set()
    for each in said:
        if each["type"] != "hold":
            raise differs("hold")
        if each["event"] == "placed":
            placed.add(int(each["hold"].rpartition("-")[2]))
    if placed != set(range(1, max(last, *placed, 0) + 1)):
        raise differs("hold")


def _unknown(hold_id: str) -> SlussError:
    if not HOLD_ID.fullmatch(hold_id):
        return SlussError(Reason.HOLD_UNKNOWN, "no such hold in force: its id is such as H-2026-0001")
    return SlussError(Reason.HOLD_UNKNOWN, hold=hold_id)
