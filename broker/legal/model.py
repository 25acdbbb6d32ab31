"""What a legal case is. Pure: the body of a case as data and as the canonical JSON that is sealed and committed to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final

import orjson

from broker.contracts import FieldGrant, Population, Predicate
from broker.errors import Reason, SlussError

CASE_ID: Final = re.compile(r"L-\d{4}-\d{4,9}")
VERSION: Final = 1


class Ground(StrEnum):
    """The four grounds of POLICY 6, by the codes of their purposes."""

    PROCESS = "legal.process"
    RIGHTS = "legal.rights"
    SAFETY = "legal.safety"
    MERGER = "legal.merger"


class CaseState(StrEnum):
    """Where a case stands."""

    RECEIVED = "received"
    UNDER_REVIEW = "under_review"
    INFORMATION_ASKED = "information_asked"
    CHALLENGED = "challenged"
    REJECTED = "rejected"
    APPROVED = "approved"
    RELEASED = "released"
    CLOSED = "closed"


class CaseStep(StrEnum):
    """What can be done to a case."""

    REVIEW = "review"
    ASK_INFORMATION = "ask_information"
    CHALLENGE = "challenge"
    REJECT = "reject"
    PREPARE = "prepare"
    APPROVE = "approve"
    EMERGENCY = "emergency"
    CONFIRM = "confirm"
    DISPUTE = "dispute"
    CLOSE = "close"


INSTRUMENTS: Final = frozenset(
    {
        "court_order",
        "subpoena",
        "warrant",
        "statute",
        "regulator_order",
        "police_request",
        "claim",
        "agreement",
        "other",
    }
)
"""By what data are asked for."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks."""

    name: str
    address: str
    country: str
    contact: str


@dataclass(frozen=True, slots=True)
class Instrument:
    """By what it is asked."""

    kind: str
    reference: str
    date: date


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data, which, from when.

    Attributes:
        persons: ids, ascending; or
        population: on ground (d), in their place.
        fields: ascending by name.
        collected_from: the first day of collection; None for no limit.
        collected_until: the last day.
    """

    persons: tuple[int, ...]
    population: Population | None
    fields: tuple[FieldGrant, ...]
    collected_from: date | None = None
    collected_until: date | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that a release is sealed to."""

    suite: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a release reaches its recipient: sealed to `key`, or as a package if there is none."""

    key: Key | None
    retain_until: date


@dataclass(frozen=True, slots=True)
class Secrecy:
    """The last day of secrecy, the moment at which it ends (microseconds since 1970 UTC), and why, as last given."""

    until: date
    ends_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Emergency:
    """A release without approval. Times in microseconds since 1970 UTC; `answered_by` empty while nobody has."""

    released_by: str
    confirm_by: int
    answered_by: str = ""
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A release that has begun: when (microseconds), and the key that all of it is sealed to."""

    at: int
    key: Key


@dataclass(frozen=True, slots=True)
class Body:
    """All that is written of a case. `editors` set its scope or delivery, and can't approve them."""

    requester: Requester
    instrument: Instrument
    scope: Scope
    received: date
    deadline: date
    delivery: Delivery | None = None
    secrecy: Secrecy | None = None
    editors: tuple[str, ...] = ()
    prepared_by: str = ""
    approved_by: str = ""
    emergency: Emergency | None = None
    elsewhere: bool = False
    begun: Begun | None = None

    def edited(self, by: str, **changes: Any) -> Body:
        """With another scope or delivery: what was prepared or approved no longer is."""
        editors = tuple(sorted({*self.editors, by}))
        return replace(self, editors=editors, prepared_by="", approved_by="", **changes)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a release has come."""

    place: int
    done: int
    total: int
    released: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it stands."""

    id: str
    state: CaseState
    ground: Ground
    handler: str
    etag: int
    body: Body
    progress: Progress

    @property
    def hidden_until(self) -> int:
        """The moment at which its secrecy ends, in microseconds since 1970 UTC; 0 if it was never hidden."""
        return self.body.secrecy.ends_at if self.body.secrecy else 0

    def hidden(self, now_us: int) -> bool:
        """Whether the persons concerned may not see it now."""
        return now_us < self.hidden_until


def canonical(body: Body) -> bytes:
    """The JSON of a body, keys sorted; `parse` reads exactly this."""
    return orjson.dumps({"v": VERSION, **_plain(body)}, option=orjson.OPT_SORT_KEYS)


def parse(data: bytes) -> Body:
    """A body from its JSON.

    Raises:
        SlussError: INTERNAL for what `canonical` does not write; it was sealed by this broker.
    """
    try:
        found = orjson.loads(data)
        body = _body(found)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        body = None
    if body is None or canonical(body) != data:
        raise SlussError(Reason.INTERNAL, "a stored case does not read")
    return body


def _plain(value: Any) -> Any:
    """JSON's own types: bytes as hexadecimal digits, sets as sorted lists; dates are written by the encoder.

    By its own walk over the fields: `asdict` copies what nothing changes, and every reading of a case comes by here.
    """
    if fields := getattr(value, "__dataclass_fields__", None):
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _key(found: dict[str, Any] | None) -> Key | None:
    return None if found is None else Key(found["suite"], bytes.fromhex(found["data"]))


def _population(found: dict[str, Any] | None) -> Population | None:
    if found is None:
        return None
    predicates = tuple(Predicate(each["field"], frozenset(each["values"])) for each in found["predicates"])
    return Population(found["everyone"], frozenset(found["persons"]), predicates)


def _scope(found: dict[str, Any]) -> Scope:
    return Scope(
        tuple(found["persons"]),
        _population(found["population"]),
        tuple(FieldGrant(each["field"], each["transform"]) for each in found["fields"]),
        _date(found["collected_from"]),
        _date(found["collected_until"]),
    )


def _body(found: dict[str, Any]) -> Body:
    instrument, delivery, secrecy = found["instrument"], found["delivery"], found["secrecy"]
    emergency, begun = found["emergency"], found["begun"]
    return Body(
        requester=Requester(**found["requester"]),
        instrument=Instrument(instrument["kind"], instrument["reference"], date.fromisoformat(instrument["date"])),
        scope=_scope(found["scope"]),
        received=date.fromisoformat(found["received"]),
        deadline=date.fromisoformat(found["deadline"]),
        delivery=delivery and Delivery(_key(delivery["key"]), date.fromisoformat(delivery["retain_until"])),
        secrecy=secrecy and Secrecy(date.fromisoformat(secrecy["until"]), secrecy["ends_at"], secrecy["reason"]),
        editors=tuple(found["editors"]),
        prepared_by=found["prepared_by"],
        approved_by=found["approved_by"],
        emergency=emergency and Emergency(**emergency),
        elsewhere=found["elsewhere"],
        begun=begun and Begun(begun["at"], Key(begun["key"]["suite"], bytes.fromhex(begun["key"]["data"]))),
    )
