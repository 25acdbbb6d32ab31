"""Where an obligation stands by its entries, and which recipients owe by a person's disclosures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.ledger.standing import differs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

BROKER: Final = "broker"
"""Who does what nobody asked for: reminders, escalations."""


class Kind(StrEnum):
    """What is owed."""

    DELETE_BY = "delete_by"
    CORRECT = "correct"
    ERASE = "erase"


class State(StrEnum):
    """Where an obligation stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    UNANSWERED = "unanswered"
    ANSWERED = "answered"
    NOT_CONFIRMED = "not_confirmed"


SETTLED: Final = frozenset({State.ANSWERED, State.NOT_CONFIRMED})
"""Nobody waits for these any more."""
DELETED: Final = frozenset({"deleted", "never_held_any_more"})
"""Answers after which the recipient has nothing left of what was owed."""


@dataclass(frozen=True, slots=True)
class Account:
    """An obligation by its entries. Times are RFC 3339, days YYYY-MM-DD, both empty where there are none.

    Attributes:
        created: the index of its first entry.
        moved: of its last one.
        through: the last entry that the answer covers.
        answer_entry: the entry of the answer.
        delay: the day asked for, while nobody has decided.
        delays: how many delays have been asked for.
        reminders: the times of all reminders.
        proposed_by: who proposed to close it without an answer.
    """

    id: str
    kind: Kind
    contract: str
    recipient: str
    owed: str
    fields: tuple[str, ...]
    until: str
    due: str
    created: int
    created_at: str
    moved: int
    state: State = State.OPEN
    acknowledged_at: str = ""
    acknowledged_entry: int = 0
    answer: str = ""
    answered_at: str = ""
    answer_entry: int = 0
    answer_time: str = ""
    through: int = 0
    delay: str = ""
    delay_reason: str = ""
    delay_entry: int = 0
    delay_refused: str = ""
    delays: int = 0
    reminders: tuple[tuple[str, str], ...] = ()
    escalated_at: str = ""
    proposed_by: str = ""
    closed_reason: str = ""

    @property
    def settled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.state in SETTLED


def replay(obligation: str, entries: Iterable[tuple[int, Mapping[str, Any]]]) -> Account:
    """The account after an obligation's entries, oldest first, each with its index.

    Raises:
        SlussError: LEDGER_INCONSISTENT if they do not begin with its creation, speak of another obligation, or name
            a step that was not possible.
    """
    now: Account | None = None
    for index, said in entries:
        if now is not None:
            now = step(now, index, said)
        elif (said["type"], said.get("event"), said.get("obligation")) == ("obligation", "created", obligation):
            now = _created(index, said)
        else:
            break
    if now is None:
        raise differs("obligation", obligation=obligation)
    return now


def step(now: Account, index: int, said: Mapping[str, Any]) -> Account:
    """The account after one more entry.

    Raises:
        SlussError: LEDGER_INCONSISTENT if it is about something else, or was not possible.
    """
    same = said["type"] == "obligation" and (said["obligation"], said["owed"], said["recipient"]) == (
        now.id,
        now.owed,
        now.recipient,
    )
    found = _STEPS.get(said["event"]) if same else None
    if found is None:
        raise differs("obligation", obligation=now.id)
    return replace(found(now, index, said), moved=index)


def _created(index: int, said: Mapping[str, Any]) -> Account:
    return Account(
        id=said["obligation"],
        kind=Kind(said["kind"]),
        contract=said["contract"],
        recipient=said["recipient"],
        owed=said["owed"],
        fields=tuple(said["fields"]),
        until=said["due"],
        due=said["due"],
        created=index,
        created_at=said["at"],
        moved=index,
    )


def _acknowledged(now: Account, index: int, said: Mapping[str, Any]) -> Account:
    state = State.ACKNOWLEDGED if now.state is State.OPEN else now.state
    return replace(now, state=state, acknowledged_at=said["at"], acknowledged_entry=index)


def _attested(now: Account, index: int, said: Mapping[str, Any]) -> Account:
    if now.state is State.ANSWERED:
        raise differs("obligation", obligation=now.id)
    return replace(
        now,
        state=State.ANSWERED,
        answer=said["outcome"],
        answered_at=said["at"],
        answer_time=said["time"],
        answer_entry=index,
        through=said["through"],
        delay="",
    )


def _delay_asked(now: Account, index: int, said: Mapping[str, Any]) -> Account:
    state = State.ACKNOWLEDGED if now.state is State.OPEN else now.state
    return replace(
        now,
        state=state,
        delay=said["until"],
        delay_reason=said["reason"],
        delay_entry=index,
        delay_refused="",
        delays=now.delays + 1,
    )


def _delay_granted(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    if not now.delay or said["until"] != now.delay:
        raise differs("obligation", obligation=now.id)
    return replace(now, due=now.delay, delay="", escalated_at="")


def _delay_refused(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    if not now.delay:
        raise differs("obligation", obligation=now.id)
    return replace(now, delay="", delay_refused=said["reason"])


def _reminded(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    return replace(now, reminders=(*now.reminders, (said["at"], said["by"])))


def _escalated(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    return replace(now, escalated_at=said["at"])


def _unanswered(now: Account, _index: int, _said: Mapping[str, Any]) -> Account:
    if now.settled:
        raise differs("obligation", obligation=now.id)
    return replace(now, state=State.UNANSWERED)


def _close_proposed(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    if now.state is not State.UNANSWERED:
        raise differs("obligation", obligation=now.id)
    return replace(now, proposed_by=said["by"], closed_reason=said["reason"])


def _not_confirmed(now: Account, _index: int, said: Mapping[str, Any]) -> Account:
    if now.state is not State.UNANSWERED or now.proposed_by in ("", said["by"]):
        raise differs("obligation", obligation=now.id)
    return replace(now, state=State.NOT_CONFIRMED, delay="")


_STEPS: Final[Mapping[str, Callable[[Account, int, Mapping[str, Any]], Account]]] = {
    "acknowledged": _acknowledged,
    "attested": _attested,
    "delay_asked": _delay_asked,
    "delay_granted": _delay_granted,
    "delay_refused": _delay_refused,
    "reminded": _reminded,
    "escalated": _escalated,
    "unanswered": _unanswered,
    "close_proposed": _close_proposed,
    "not_confirmed": _not_confirmed,
}


_HANDLE: Final = frozenset({""})


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A disclosure of one person: the entry's index, and what it says.

    Attributes:
        index: of the entry.
        contract: under which.
        recipient: who got it.
        fields: those that were in the person's slice.
        until: the day by which the recipient deletes it.
        asked: the fields of the terms. One that is not in `fields` had no value, or was kept back by a choice.
        at: when, in microseconds since 1970 UTC; only `Kept` asks.
    """

    index: int
    contract: str
    recipient: str
    fields: frozenset[str]
    until: str
    asked: frozenset[str]
    at: int = 0


class Kept(NamedTuple):
    """Fields that a rectification names and whose values it does not change: they were mended before, or were right.

    Attributes:
        fields: their names.
        since: microseconds since 1970 UTC; whoever got one of them later got what is on record now.
    """

    fields: frozenset[str]
    since: int

    def without(self, disclosed: Disclosed) -> Disclosed:
        """The disclosure, less what was right in it."""
        if disclosed.at <= self.since:
            return disclosed
        return replace(disclosed, fields=disclosed.fields - self.fields)


class Gone(NamedTuple):
    """What a recipient has attested that it no longer has, or need not be told of again.

    Attributes:
        contract: under which it had it.
        through: the last entry that this covers.
        fields: those concerned; None for all.
        until: only disclosures that were to be deleted by this day; None for all.
    """

    contract: str
    through: int
    fields: frozenset[str] | None = None
    until: str | None = None

    def covers(self, disclosed: Disclosed) -> bool:
        """Whether it is about this disclosure at all."""
        return (
            disclosed.contract == self.contract
            and disclosed.index <= self.through
            and (self.until is None or disclosed.until == self.until)
        )


def owing(
    disclosures: Iterable[Disclosed], gone: Collection[Gone], fields: Collection[str] | None
) -> dict[tuple[str, str], frozenset[str]]:
    """Who still has one of `fields` (None: anything): (contract, recipient) -> the fields that it has.

    A transform changes nothing: what was disclosed masked or hashed was disclosed. Whoever got a slice has the person's
    handle, which is something, even if no field was in it.
    """
    found: dict[tuple[str, str], frozenset[str]] = {}
    for disclosed in disclosures:
        left = disclosed.fields | _HANDLE if fields is None else disclosed.fields & frozenset(fields)
        for each in gone:
            if each.covers(disclosed):
                left = frozenset() if each.fields is None else left - each.fields
        if left:
            name = (disclosed.contract, disclosed.recipient)
            found[name] = found.get(name, frozenset()) | (left - _HANDLE)
    return found
