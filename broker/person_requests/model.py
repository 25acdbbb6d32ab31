"""What a person's request is. Pure.

Facts hold nothing of the person and stay after an erasure, to account for the request. Words are the person's own and
whatever is told to the person: sealed under the request's keys, which the erasure destroys.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Final

import orjson

from broker.errors import Reason, SlussError

REQUEST_ID: Final = re.compile(r"R-\d{4}-\d{4,9}")
VERSION: Final = 1


class Kind(StrEnum):
    """What is asked for."""

    ACCESS = "access"
    RECTIFICATION = "rectification"
    ERASURE = "erasure"
    OBJECTION = "objection"


class State(StrEnum):
    """Where a request stands; nobody sets it, it follows from the facts."""

    RECEIVED = "received"
    IDENTITY_CHECKED = "identity_checked"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting_for_recipients"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Identity(StrEnum):
    """How the last check of the requester's identity ended."""

    NONE = "none"
    PASSED = "passed"
    FAILED = "failed"
    MORE_NEEDED = "more_needed"


class Telling(StrEnum):
    """How it ended to tell the recipient of a legal release (GDPR Art. 19)."""

    TOLD = "told"
    IMPOSSIBLE = "impossible"
    DISPROPORTIONATE = "disproportionate"


CHANNELS: Final = frozenset({"web", "app", "email", "post", "phone", "in_person", "other"})
"""How a request came in."""
CORRECTION: Final = "correction"
"""Stands where a channel does: nobody asked, the company corrected what was wrong, and people have to tell of it."""
METHODS: Final = frozenset({"account_login", "eid", "id_document_seen", "call_back", "known_contact", "other"})
"""How an identity was checked; what was seen is not kept."""


@dataclass(frozen=True, slots=True)
class ToTell:
    """A recipient of a legal release, who has no contract and is told by people.

    Attributes:
        case: the legal case, which knows who it is.
        outcome: a word of `Telling`; empty while nobody has said that it is told.
        reason: how, or why it can't be; checked to hold no personal data.
    """

    case: str
    outcome: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What happened to a request, without a word of the person's.

    Attributes:
        kind: what is asked for.
        channel: how it came in.
        received: the day on which it came.
        identity: how the last check ended.
        method: how that was made.
        paused_since: the day from which the deadline stands still until the identity is proven.
        paused_days: for how many days it has stood still before.
        months: by how many further months the deadline was extended, 0 to 2.
        begun: whether work has begun.
        exports: how many exports have left.
        fulfilled: the day on which what was asked for was done to the data.
        completed: the day on which it was done by everybody: an entry says so, made once all had answered.
        ground: why it was refused.
        withdrawn: whether the person took it back.
        tell: recipients of legal releases who have to be told what was done, by their cases.
    """

    kind: Kind
    channel: str
    received: date
    identity: Identity = Identity.NONE
    method: str = ""
    paused_since: date | None = None
    paused_days: int = 0
    months: int = 0
    begun: bool = False
    exports: int = 0
    fulfilled: date | None = None
    completed: date | None = None
    ground: str = ""
    withdrawn: bool = False
    tell: tuple[ToTell, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """What goes with the person.

    Attributes:
        person: id; 0 while nobody knows whose request it is.
        asked: what is asked, in the requester's words.
        requester: who asks and where to reach them; for one not yet identified.
        language: in which to answer, `sv` or `en`.
        told: what the person was told of a refusal.
    """

    person: int
    asked: str
    requester: str
    language: str
    told: str = ""


def facts_json(facts: Facts) -> bytes:
    """The canonical JSON of the facts."""
    said = {"v": VERSION, **asdict(facts)}
    if facts.completed is None:
        del said["completed"]
    if not facts.tell:
        del said["tell"]
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def parse_facts(data: bytes) -> Facts:
    """Facts from their JSON.

    Raises:
        SlussError: LEDGER_INCONSISTENT for what `facts_json` does not write.
    """
    try:
        found = orjson.loads(data)
        found.pop("v")
        for name in ("received", "paused_since", "fulfilled", "completed"):
            found[name] = found.get(name) and date.fromisoformat(found[name])
        found["tell"] = tuple(ToTell(**each) for each in found.get("tell", ()))
        facts = Facts(**{**found, "kind": Kind(found["kind"]), "identity": Identity(found["identity"])})
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        facts = None
    if facts is None or facts_json(facts) != data:
        raise SlussError(Reason.LEDGER_INCONSISTENT, "a stored request of a person does not read")
    return facts


def words_json(words: Words) -> bytes:
    """The canonical JSON of the words."""
    return orjson.dumps({"v": VERSION, **asdict(words)}, option=orjson.OPT_SORT_KEYS)


def parse_words(data: bytes) -> Words:
    """Words from their JSON, which was sealed by this broker."""
    found = orjson.loads(data)
    found.pop("v")
    return Words(**found)
