"""Usage events in the store: what a person used on which day, and nothing that identifies a device (POLICY 8).

A row names its person by a tag, HMAC-SHA256(person secret, USAGE_LABEL) cut to 62 bits. The tag goes with the
person's keys: once they are destroyed, nobody can tell whose a row in an old backup was. Of the time only the day is
kept, as questions are about days. Everything here happens under the head's lock, so no event is stored for a person
whose erasure has begun.

The same event counts once, in whatever request or file it is sent again: it is known by its sender's id for it, or
without one by all that it says, and the row's own id is an HMAC of that under the person's secret.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import delete, func, select, tuple_

from broker import requests
from broker.catalogue.forbidden import is_technical_identifier
from broker.clock import DAY, SECOND, day_of
from broker.errors import Reason, SlussError, invalid
from broker.persons.model import ACTIVE
from broker.store import tables
from broker.store.driver import change as write
from broker.store.driver import fetch
from broker.store.queries import read_persons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from broker.catalogue import Catalogue
    from broker.desk import Change, View
    from broker.vault import PersonRow, Vault

USAGE_LABEL: Final = b"sluss/v1 usage\x00"
EVENT_LABEL: Final = b"sluss/v1 usage event\x00"
COMBINATION = tables.core(tables.UsageCombination)
EVENT = tables.core(tables.UsageEvent)
FIRST_DAY: Final = date(1970, 1, 1)
"""Day 0, as the store counts days."""
MAX_SECONDS: Final = 86_400
MAX_SKEW_US: Final = 300 * SECOND
"""How far an event's time may lie ahead: the clocks of machines differ."""
FORGET: Final = 5_000
"""Rows that one transaction of the maintenance takes away."""
_INSERT: Final = "INSERT INTO usage_event (person, id, combination, day, seconds) VALUES (?, ?, ?, ?, ?)"
_ADD: Final = "INSERT INTO usage_combination (id, event, attributes) VALUES (?, ?, ?)"
_FIND: Final = "SELECT id FROM usage_combination WHERE event = ? AND attributes = ?"
_FORGOT: Final = (
    "INSERT INTO usage_state (id, forgotten, restored) VALUES (1, 1, 0) "
    "ON CONFLICT (id) DO UPDATE SET forgotten = usage_state.forgotten + 1"
)
_HELD: Final = (
    "SELECT c.event, e.day, c.attributes, COUNT(*), SUM(e.seconds) FROM usage_event e "
    "JOIN usage_combination c ON c.id = e.combination WHERE e.person = ? "
    "GROUP BY e.day, c.event, c.attributes ORDER BY e.day, c.event, c.attributes"
)
_EXPIRE: Final = (
    "DELETE FROM usage_event WHERE (person, id) IN (SELECT person, id FROM usage_event WHERE day < ? LIMIT ?)"
)


@dataclass(frozen=True, slots=True)
class Used:
    """An event to record.

    Attributes:
        person: None is nobody known.
        event: its name in the catalogue.
        at_us: in microseconds since 1970 UTC.
        seconds: how long it lasted.
        attributes: all that the catalogue declares for it.
        id: its sender's own, of one event of the person; empty if it has none.
    """

    person: int | None
    event: str
    at_us: int
    seconds: int
    attributes: Mapping[str, str]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Usage of a person on a day, as it is on record: so many events with the same attributes."""

    event: str
    day: date
    attributes: Mapping[str, str]
    events: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the event at `index` is not stored; repeats no value."""

    index: int
    reason: str
    detail: str
    field: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch; `repeated` events were on record, or stood before in it."""

    recorded: int
    repeated: int
    without_person: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Owner:
    """A person on record, as usage knows the person."""

    tag: int
    secret: bytes

    def id_of(self, used: Used, sender: str) -> int:
        """The id of a row: of the sender's id, or else of all that the event says."""
        said = [sender, used.id] if used.id else [used.event, used.at_us, used.seconds, dict(used.attributes)]
        return _number_of(self.secret, EVENT_LABEL + orjson.dumps(said, option=orjson.OPT_SORT_KEYS))


def record(change: Change, request_id: bytes, events: Sequence[Used | SlussError], retention_months: int) -> Recorded:
    """Store what can be stored; the same request stores once.

    Args:
        change: a transaction of an internal service.
        request_id: 16 bytes.
        events: what to record, or what is wrong with it already.
        retention_months: how long events are kept.

    Raises:
        SlussError: REQUEST_ID_REUSED.
    """
    body = _body(events)
    known = requests.find_one(change, request_id, body)
    if known is not None:
        told = orjson.loads(known.reply)
        return Recorded(told[0], told[1], told[2], tuple(Fault(*fault) for fault in told[3]))
    oldest = oldest_day(change.now_us, retention_months)
    owners = _owners(change, {each.person for each in events if isinstance(each, Used) and each.person is not None})
    batch = _Batch(change.connection)
    faults, nobody = [], 0
    for index, each in enumerate(events):
        try:
            used = _checked(each, change.snapshot.catalogue, change.now_us, oldest)
            if used.person is None:
                nobody += 1
            else:
                owner = _owner(owners, used.person)
                batch.add(index, owner.tag, owner.id_of(used, change.principal.name), used)
        except SlussError as error:
            faults.append(_fault(index, error))
    recorded, repeated, reused = batch.write()
    done = Recorded(recorded, repeated, nobody, tuple(sorted([*faults, *reused], key=lambda fault: fault.index)))
    told_faults = [[f.index, f.reason, f.detail, f.field] for f in done.faults]
    reply = orjson.dumps([done.recorded, done.repeated, nobody, told_faults])
    requests.remember_one(change, request_id, requests.Known(body, change.tx.size, 0, reply))
    return done


def tag_of(vault: Vault, row: PersonRow) -> int:
    """The tag of a person who is on record.

    Raises:
        SlussError: PERSON_UNAVAILABLE for an erased person.
    """
    return _owner_of(vault, row).tag


def tags_of(view: View, persons: set[int]) -> dict[int, int]:
    """The tags of those of the persons who are on record."""
    return {person: owner.tag for person, owner in _owners(view, persons).items()}


def forget(change: Change, person: int) -> int:
    """Take away all usage events of a person, before the person's keys are destroyed; how many there were.

    An answer that is being counted meanwhile is counted anew. Answers that were given stay: they are anonymous.
    """
    tags = tags_of(change, {person})
    gone = 0
    for tag in tags.values():
        gone += change.connection.execute(delete(EVENT).where(EVENT.c.person == tag)).rowcount
    if gone:
        write(change.connection, _FORGOT, [()])
    return gone


def held(view: View, person: int) -> list[Held]:
    """What is on record of a person's usage, by day, for the person's own access (POLICY 3); empty for nobody known."""
    found: list[Held] = []
    for tag in tags_of(view, {person}).values():
        for event, day, attributes, events, seconds in fetch(view.connection, _HELD, (tag,)):
            used = FIRST_DAY + timedelta(days=day)
            found.append(Held(event, used, orjson.loads(attributes), int(events), int(seconds)))
    return found


def forgotten(connection: Connection) -> int:
    """How often events were taken away from a person's record so far."""
    found = fetch(connection, "SELECT forgotten FROM usage_state WHERE id = 1")
    return int(found[0][0]) if found else 0


def oldest_day(now_us: int, retention_months: int) -> int:
    """The first day that is kept (days since 1970 UTC): that of a month, so that whole months can be asked about."""
    today = day_of(now_us)
    months = max(today.year * 12 + today.month - 1 - retention_months, 12)
    return day_number(date(months // 12, months % 12 + 1, 1))


def first_kept_day(now_us: int, retention_months: int) -> date:
    """The same day as a date."""
    return date(1970, 1, 1) + timedelta(days=oldest_day(now_us, retention_months))


def require_kept(first_day: date, now_us: int, retention_months: int) -> None:
    """All events of a day are still on record.

    Raises:
        SlussError: INVALID_REQUEST with the first day that is.
    """
    kept = first_kept_day(now_us, retention_months)
    if first_day < kept:
        raise invalid("first_day", f"events before {kept.isoformat()} are no longer kept")


def expire(connection: Connection, before_day: int) -> int:
    """Delete some of the events before a day; how many."""
    found = connection.exec_driver_sql(
        _EXPIRE if connection.dialect.paramstyle == "qmark" else _EXPIRE.replace("?", "%s"), (before_day, FORGET)
    )
    return found.rowcount


def day_number(day: date) -> int:
    """A day as the store counts it."""
    return (day - FIRST_DAY).days


def _checked(each: Used | SlussError, catalogue: Catalogue, now_us: int, oldest: int) -> Used:
    if isinstance(each, SlussError):
        raise each
    for name in sorted(each.attributes):
        if is_technical_identifier(name):
            raise _wrong(Reason.TECHNICAL_IDENTIFIER, f"attributes.{_shown(name)}", "identifies a device: not recorded")
    event = catalogue.event(each.event)
    if each.attributes.keys() != set(event.attributes):
        told = f"{event.name} has exactly the attributes {', '.join(event.attributes) or 'none'}"
        raise _wrong(Reason.FIELD_UNKNOWN, "attributes", told)
    for name, value in each.attributes.items():
        if value not in catalogue.attributes[name].values:
            raise _wrong(Reason.INVALID_VALUE, f"attributes.{name}", "not one of the catalogue's values")
    if each.seconds > (MAX_SECONDS if event.max_seconds else 0):
        raise _wrong(Reason.INVALID_VALUE, "seconds", f"at most {MAX_SECONDS:,}, and 0 for an event without a duration")
    if each.at_us > now_us + MAX_SKEW_US or each.at_us // DAY < oldest:
        raise _wrong(Reason.INVALID_VALUE, "at", "in the future, or before what is kept")
    return each


def _shown(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace(".", "").isalnum() and len(name) <= 64 else "(name)"  # noqa: PLR2004 - a name's length


def _owners(view: View, persons: set[int]) -> dict[int, _Owner]:
    """Those of the persons who are on record."""
    rows = read_persons(view.connection, sorted(persons)) if persons else []
    return {row.id: _owner_of(view.snapshot.vault, row) for row in rows if row.state == ACTIVE}


def _owner_of(vault: Vault, row: PersonRow) -> _Owner:
    secret = vault.person_secret(row)
    return _Owner(_number_of(secret, USAGE_LABEL), secret)


def _number_of(secret: bytes, said: bytes) -> int:
    """62 bits: what every store's whole numbers hold."""
    return int.from_bytes(hmac.digest(secret, said, "sha256")[:8], "big") >> 2


def _owner(owners: Mapping[int, _Owner], person: int) -> _Owner:
    if person not in owners:
        raise _wrong(Reason.PERSON_UNKNOWN, "person_id", "no such person")
    return owners[person]


def _fault(index: int, error: SlussError) -> Fault:
    return Fault(index, str(error.reason), error.detail, error.metadata.get("field", ""))


def _wrong(reason: Reason, field: str, why: str) -> SlussError:
    return SlussError(reason, f"{field}: {why}", field=field)


def _body(events: Sequence[Used | SlussError]) -> bytes:
    """A digest of what was asked; names of persons are random, so a plain one tells nothing."""
    told = [
        [str(each.person), each.event, each.at_us, each.seconds, dict(each.attributes), each.id]
        if isinstance(each, Used)
        else [str(each)]
        for each in events
    ]
    return hashlib.sha256(b"usage\x00" + orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()


class _Batch:
    """Events on their way into the store, each there once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._combinations: dict[tuple[str, str], int] = {}
        self._added: list[tuple[int, tuple[int, int], tuple[int, int, int]]] = []

    def add(self, index: int, tag: int, row_id: int, used: Used) -> None:
        """An event; `index` is its place in the request."""
        text = orjson.dumps(dict(used.attributes), option=orjson.OPT_SORT_KEYS).decode()
        name = used.event, text
        if name not in self._combinations:
            self._combinations[name] = _number(self._connection, *name)
        said = self._combinations[name], used.at_us // DAY, used.seconds
        self._added.append((index, (tag, row_id), said))

    def write(self) -> tuple[int, int, list[Fault]]:
        """How many are new, how many were there, and those whose id stands for another event."""
        known = self._known({name for _, name, _ in self._added})
        new, repeated, faults = [], 0, []
        for index, name, said in self._added:
            if name not in known:
                known[name] = said
                new.append((*name, *said))
            elif known[name] == said:
                repeated += 1
            else:
                why = "the sender has given it to another event of this person"
                faults.append(_fault(index, _wrong(Reason.INVALID_VALUE, "id", why)))
        write(self._connection, _INSERT, new)
        return len(new), repeated, faults

    def _known(self, names: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int, int]]:
        found = self._connection.execute(
            select(EVENT.c.person, EVENT.c.id, EVENT.c.combination, EVENT.c.day, EVENT.c.seconds).where(
                tuple_(EVENT.c.person, EVENT.c.id).in_(sorted(names))
            )
        )
        return {(row.person, row.id): (row.combination, row.day, row.seconds) for row in found}


def _number(connection: Connection, event: str, attributes: str) -> int:
    found = fetch(connection, _FIND, (event, attributes))
    if found:
        return int(found[0][0])
    number = int(connection.execute(select(func.coalesce(func.max(COMBINATION.c.id), 0) + 1)).scalar_one())
    write(connection, _ADD, [(number, event, attributes)])
    return number
