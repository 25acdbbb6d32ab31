"""Complaints and compromise reports as rows: sealed, and proven by the ledger whenever one is loaded.

A file has a body, which is kept, and a private part: the person and what was written, which the person's erasure
destroys with its keys. The body commits to the private part, the ledger's last entry of the file to the body and to
the columns: a row that somebody changed or put back is refused (LEDGER_INCONSISTENT).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, select, update

from broker import requests, timelines
from broker.clock import day_of, rfc3339
from broker.errors import Reason, SlussError
from broker.keeping import PRIVATE, CaseKeys
from broker.ledger import entry
from broker.ledger.standing import differs
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from broker.desk import Change, View

FILE: Final = tables.core(tables.CaseFile)
EVENT: Final = tables.core(tables.CaseFileEvent)
PER_YEAR: Final = 1_000_000
LETTERS: Final = {"complaint": "K", "compromise": "B"}
"""The rooms, and with what the ids of their files begin."""
NAME: Final = re.compile(r"[BK]-[0-9]{4}-[0-9]{4,9}")
"""What a file's id looks like."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it stands.

    Attributes:
        id: such as `K-2026-0001`.
        room: one of `LETTERS`.
        due_at: microseconds since 1970 UTC, like all times here; 0 for none.
        person: who it is about; 0 for nobody on record, or one who was erased.
        body: what is kept for good.
        private: what a person's erasure destroys; None once it has.
    """

    id: str
    room: str
    number: int
    state: str
    handler: str
    due_at: int
    person: int
    etag: int
    opened_at: int
    updated_at: int
    body: dict[str, Any]
    private: dict[str, Any] | None
    keys: CaseKeys = field(repr=False)
    private_keys: CaseKeys | None = field(repr=False)

    @property
    def text_keys(self) -> CaseKeys:
        """Of the timeline's texts: the private ones while there are any, then those that are kept."""
        return self.private_keys or self.keys


def create(
    change: Change, room: str, state: str, *, handler: str, due_at: int, person: int, body: dict[str, Any],
    private: dict[str, Any],
) -> File:  # fmt: skip
    """A new file, not yet in the ledger: `log` puts it there, in the same transaction."""
    year = day_of(change.now_us).year
    first = year * PER_YEAR
    last = change.connection.execute(
        select(func.max(FILE.c.number)).where(
            FILE.c.room == room, FILE.c.number > first, FILE.c.number < first + PER_YEAR
        )
    ).scalar_one()
    number = (last or first) + 1
    name = f"{LETTERS[room]}-{year}-{number - first:04d}"
    vault = change.snapshot.vault
    keys, wrapped = CaseKeys.new(vault, name)
    private_keys, private_wrapped = CaseKeys.new(vault, _private_name(name))
    private = {**private, "person": person}
    body = {**body, "private": entry.base64url(private_keys.commit_body(_canonical(private)))}
    file = File(
        name, room, number, state, handler, due_at, person, 1, change.now_us, change.now_us, body, private, keys,
        private_keys,
    )  # fmt: skip
    change.connection.execute(
        insert(FILE).values(
            id=name,
            room=room,
            number=number,
            person=person,
            keys=wrapped,
            private_keys=private_wrapped,
            private=private_keys.seal("private", _canonical(private)),
            opened_at=change.now_us,
            **_columns(file),
        )
    )
    return file


def load(view: View, room: str, name: str) -> File:
    """A file as it stands, proven by the ledger.

    Raises:
        SlussError: FILE_UNKNOWN; LEDGER_INCONSISTENT if the ledger says otherwise than the store.
    """
    if not NAME.fullmatch(name):
        raise SlussError(Reason.FILE_UNKNOWN, f"no such {room}: its id is such as {LETTERS[room]}-2026-0001")
    row = view.connection.execute(select(FILE).where(FILE.c.id == name, FILE.c.room == room)).one_or_none()
    if row is None:
        raise SlussError(Reason.FILE_UNKNOWN, case=name)
    file = _file(view, row)
    said = timelines.last_said(view, name, room, differs(room, case=name))
    if (said["case"], said["state"], said["body"]) != (name, file.state, entry.base64url(_commitment(file))):
        raise differs(room, case=name)
    return file


def page(view: View, room: str, where: list[Any], before: int, size: int) -> tuple[list[File], int]:
    """Up to `size` files with numbers below `before` (0 for all), newest first; where to go on, 0 after the last."""
    query = select(FILE.c.id, FILE.c.number).where(FILE.c.room == room, *where).order_by(FILE.c.number.desc())
    if before:
        query = query.where(FILE.c.number < before)
    rows = view.connection.execute(query.limit(size + 1)).all()
    last = rows[size - 1].number if len(rows) > size else 0
    return [load(view, room, row.id) for row in rows[:size]], last


def timeline(view: View, file: File) -> list[timelines.Event]:
    """What happened, oldest first, each text checked against its entry.

    Raises:
        SlussError: LEDGER_INCONSISTENT if a step is missing.
    """
    kept = select(EVENT.c.entry, EVENT.c.text).where(EVENT.c.file == file.id).order_by(EVENT.c.entry)
    return timelines.timeline(view, file.id, file.room, file.text_keys, kept, differs("timeline", case=file.id))


def based_on(file: File, etag: str) -> File:
    """The file, if it is the one that the caller has seen.

    Raises:
        SlussError: ETAG_STALE.
    """
    if etag != str(file.etag):
        raise SlussError(Reason.ETAG_STALE, etag=str(file.etag))
    return file


def write(change: Change, file: File, event: str, text: str, **moved: Any) -> tuple[File, int]:
    """Write what has moved of a file, with a new etag, and its entry; gives it and the entry's index."""
    file = replace(file, etag=file.etag + 1, updated_at=change.now_us, **moved)
    change.connection.execute(update(FILE).where(FILE.c.id == file.id).values(_columns(file)))
    return file, log(change, file, event, text)


def log(change: Change, file: File, event: str, text: str) -> int:
    """Append the entry of what happened to a file as it stands now; `text` stays out of it. Gives its index."""
    keys, at = file.text_keys, change.now_us
    said = keys.commit_text(rfc3339(at), text)
    body = _commitment(file)
    by = change.principal.name
    if file.room == "complaint":
        data = entry.complaint(at, event, file.id, file.state, by, body=body, text=said)
    else:
        principal = file.body["principal"]
        data = entry.compromise(at, event, file.id, file.state, by, principal=principal, body=body, text=said)
    index = change.tx.append(data)
    # An erased person's file goes on under the keys that are kept: nothing of the person is written any more.
    change.connection.execute(insert(EVENT).values(file=file.id, entry=index, text=timelines.seal(keys, index, text)))
    change.tx.bump_rights()
    return index


def forget(connection: Connection, person: int) -> None:
    """Destroy what files hold of a person: who it is, what was said, its digest, and every text of the timeline."""
    for row in connection.execute(select(FILE.c.id, FILE.c.opened_at).where(FILE.c.person == person)).all():
        answered = requests.REQUEST.c.reply == row.id.encode("ascii")
        requests.forget_digests(connection, [row.opened_at], answered)
    files = select(FILE.c.id).where(FILE.c.person == person)
    connection.execute(update(EVENT).where(EVENT.c.file.in_(files)).values(text=b""))
    connection.execute(update(FILE).where(FILE.c.person == person).values(person=0, private=b"", private_keys=b""))


def _file(view: View, row: Row[Any]) -> File:
    vault = view.snapshot.vault
    keys = CaseKeys.load(vault, row.id, row.keys)
    body = orjson.loads(keys.open("body", row.body))
    private_keys = private = None
    if row.private_keys:
        private_keys = CaseKeys.load(vault, _private_name(row.id), row.private_keys)
        said = private_keys.open("private", row.private)
        private = orjson.loads(said)
        if body["private"] != entry.base64url(private_keys.commit_body(said)) or private["person"] != row.person:
            raise differs(row.room, case=row.id)
    return File(
        row.id, row.room, row.number, row.state, row.handler, row.due_at, row.person, row.etag, row.opened_at,
        row.updated_at, body, private, keys, private_keys,
    )  # fmt: skip


def _columns(file: File) -> dict[str, Any]:
    return {
        "state": file.state,
        "handler": file.handler,
        "due_at": file.due_at,
        "body": file.keys.seal("body", _canonical(file.body)),
        "etag": file.etag,
        "updated_at": file.updated_at,
    }


def _commitment(file: File) -> bytes:
    return file.keys.commit_body(
        _canonical({"body": file.body, "handler": file.handler, "due_at": file.due_at, "opened_at": file.opened_at})
    )


def _private_name(name: str) -> str:
    return f"{name}{PRIVATE}"


def _canonical(said: dict[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
