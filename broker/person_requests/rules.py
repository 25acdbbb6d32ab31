"""The rules of persons' requests. Pure: no store, no clock, no keys.

A state is derived from what happened; nobody can set one. `done` follows from two things only: what was
asked for has been done to the data, and every recipient who owes for it has answered for good.
"""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from broker.errors import Reason, SlussError, invalid
from broker.person_requests.model import Identity, Kind, State, ToTell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.person_requests.model import Facts, Telling

MONTHS: Final = 1
"""The time to answer (GDPR Art. 12(3))."""
MAX_FURTHER_MONTHS: Final = 2
FINAL: Final = frozenset({State.DONE, State.REFUSED, State.WITHDRAWN})
OWED_FOR: Final = frozenset({Kind.RECTIFICATION, Kind.ERASURE})
"""Kinds that recipients have to follow (GDPR Art. 19)."""
PROVEN_FIRST: Final = frozenset({Kind.ACCESS, Kind.RECTIFICATION, Kind.ERASURE})
"""Kinds that only the person may ask for. An objection harms nobody, and must be as easy as saying yes was."""
_ALL: Final = frozenset(Kind)

ERASED: Final = "erased"
"""The ground on which the broker closes what an erased person had asked for, and an answer to who comes after that."""
NOTHING: Final = "nothing_on_record"
NOT_ON_RECORD: Final = frozenset({ERASED, NOTHING})
"""Grounds that are false for whoever is on record."""
NOT_PROVEN: Final = "identity_not_proven"
GROUNDS: Final[Mapping[str, frozenset[Kind]]] = {
    "manifestly_unfounded": _ALL,
    "excessive": _ALL,
    NOT_PROVEN: _ALL,
    NOTHING: _ALL,
    ERASED: _ALL,
    "rights_of_others": frozenset({Kind.ACCESS}),
    "accurate_as_it_is": frozenset({Kind.RECTIFICATION}),
    "freedom_of_expression": frozenset({Kind.ERASURE}),
    "legal_obligation": frozenset({Kind.ERASURE}),
    "public_interest": frozenset({Kind.ERASURE}),
    "legal_claims": frozenset({Kind.ERASURE, Kind.OBJECTION}),
    "overriding_grounds": frozenset({Kind.OBJECTION}),
    "contract_or_legal_duty": frozenset({Kind.OBJECTION}),
}
"""Why a request may be refused, and which kinds: GDPR Art. 12(2), 12(5), 15(4), 17(3), 21(1).

`overriding_grounds` is for what rests on a legitimate interest, `contract_or_legal_duty` for what does not: there is no
right to object to it.
"""


class Step(StrEnum):
    """What can happen to a request."""

    CHECK = "identity_noted"
    WORK = "worked_on"
    EXTEND = "extended"
    REFUSE = "refused"
    WITHDRAW = "withdrawn"
    EXPORT = "exported"
    HAND_OVER = "handed_over"
    RECTIFY = "rectified"
    ERASE = "erased"
    OBJECT = "objected"
    TELL = "recipient_told"
    COMPLETE = "completed"


_KINDS: Final[Mapping[Step, frozenset[Kind]]] = {
    Step.EXPORT: frozenset({Kind.ACCESS}),
    Step.HAND_OVER: frozenset({Kind.ACCESS}),
    Step.RECTIFY: frozenset({Kind.RECTIFICATION}),
    Step.ERASE: frozenset({Kind.ERASURE}),
    Step.OBJECT: frozenset({Kind.OBJECTION}),
}
_DOING: Final = frozenset({Step.WORK, Step.EXPORT, Step.HAND_OVER, Step.RECTIFY, Step.ERASE, Step.OBJECT})

UNLOCKED_FIRST: Final = _DOING - {Step.WORK, Step.OBJECT} | {Step.CHECK}
"""Steps that an internal service can't take while the person's credential is reported as stolen: what the thief of a
password could ask for, or pass a check with. An objection only ever protects; taking a request back does not."""


def needs_unlocked(kind: Kind, step: Step | None) -> bool:
    """Whether a step of a request of a kind (None: to open it) waits for a stolen credential to be reinstated."""
    if step is Step.WITHDRAW:
        return True
    return kind is not Kind.OBJECTION and (step is None or step in UNLOCKED_FIRST)


def state(facts: Facts, *, answered: bool) -> State:
    """Where a request stands.

    Args:
        facts: what happened.
        answered: whether every recipient who owes for it has answered for good, and everybody who has to be told by
            people is; nobody counts as that.
    """
    if facts.withdrawn:
        return State.WITHDRAWN
    if facts.ground:
        return State.REFUSED
    if facts.completed is not None:
        return State.DONE
    if facts.fulfilled is not None:
        return State.DONE if answered or facts.kind not in OWED_FOR else State.WAITING
    if facts.begun:
        return State.IN_PROGRESS
    return State.IDENTITY_CHECKED if facts.identity is Identity.PASSED else State.RECEIVED


def require(facts: Facts, step: Step, request: str) -> None:
    """Refuse a step that a request can't take as it stands.

    Raises:
        SlussError: PERSON_REQUEST_WRONG_STATE, with the kind or the state; IDENTITY_NOT_PROVEN.
    """
    if step is Step.COMPLETE:
        raise _wrong(facts, request, "nobody can say that it is done: the broker finds out")
    if step is Step.TELL:
        # What was corrected before a request was taken back is corrected: its recipients are to be told all the same.
        ended = facts.fulfilled is not None or facts.withdrawn or facts.ground
        if not ended or all(each.outcome for each in facts.tell):
            raise _wrong(facts, request, "there is nobody to be told")
        return
    kinds = _KINDS.get(step, _ALL)
    if facts.kind not in kinds:
        raise _wrong(facts, request, f"a request for {facts.kind} is not for this")
    if facts.withdrawn or facts.ground:
        raise _wrong(facts, request, f"the request was {'withdrawn' if facts.withdrawn else 'refused'}")
    if facts.fulfilled is not None:
        raise _wrong(facts, request, "what it asked for has been done")
    if step in _DOING and facts.kind in PROVEN_FIRST and facts.identity is not Identity.PASSED:
        raise SlussError(Reason.IDENTITY_NOT_PROVEN, request=request)
    if step is Step.HAND_OVER and not facts.exports:
        raise _wrong(facts, request, "nothing was exported for it")


def possible(facts: Facts) -> list[Step]:
    """The steps that a request could take."""
    found = []
    for step in Step:
        try:
            require(facts, step, "")
        except SlussError:
            continue
        found.append(step)
    return found


def checked(facts: Facts, result: Identity, method: str, today: date) -> Facts:
    """After a check of the identity. While more is needed the deadline stands still (GDPR Art. 12(6))."""
    since = facts.paused_since
    facts = replace(facts, identity=result, method=method)
    if result is Identity.MORE_NEEDED:
        return facts if since else replace(facts, paused_since=today)
    if since is None:
        return facts
    return replace(facts, paused_since=None, paused_days=facts.paused_days + max((today - since).days, 0))


def extended(facts: Facts, months: int, today: date, request: str) -> Facts:
    """With a later deadline; the person has to hear of it within the first month (GDPR Art. 12(3)).

    Raises:
        SlussError: INVALID_REQUEST; PERSON_REQUEST_WRONG_STATE, when it is too late or too much.
    """
    if not 1 <= months <= MAX_FURTHER_MONTHS:
        raise invalid("months", "1 or 2")
    if facts.months + months > MAX_FURTHER_MONTHS:
        raise _wrong(facts, request, "at most two further months in all")
    if (facts.paused_since or today) > deadline(replace(facts, months=0)):
        raise _wrong(facts, request, "the first month has passed: it is too late to extend")
    return replace(facts, months=facts.months + months)


def refused(facts: Facts, ground: str) -> Facts:
    """Refused on a ground.

    Raises:
        SlussError: INVALID_REQUEST for none that there is for this kind, and for `identity_not_proven` after a check
            that passed: a person is told no reason that is not so.
    """
    if facts.kind not in GROUNDS.get(ground, ()):
        known = ", ".join(sorted(name for name, kinds in GROUNDS.items() if facts.kind in kinds))
        raise invalid("ground", f"one of {known}")
    if ground == NOT_PROVEN and facts.identity is Identity.PASSED:
        raise invalid("ground", "the last check of the identity passed")
    return replace(facts, ground=ground)


def owing(facts: Facts, cases: Iterable[str]) -> Facts:
    """With the recipients of these legal cases to be told, each once."""
    known = {each.case for each in facts.tell}
    return replace(facts, tell=(*facts.tell, *(ToTell(case) for case in sorted(set(cases) - known))))


def told(facts: Facts, case: str, outcome: Telling, reason: str) -> Facts:
    """With the recipient of a legal case told, or why that can't be.

    Raises:
        SlussError: INVALID_REQUEST if that recipient is not to be told.
    """
    waiting = {each.case for each in facts.tell if not each.outcome}
    if case not in waiting:
        raise invalid("case_id", "nobody of this case is to be told")
    now = ToTell(case, outcome, reason)
    return replace(facts, tell=tuple(now if each.case == case else each for each in facts.tell))


def months_after(day: date, months: int) -> date:
    """The same date so many months later, or the last day of that month if it has no such date.

    Regulation (EEC, Euratom) No 1182/71, Art. 3(1) and 3(2)(c). That a period which ends on a Saturday, Sunday or
    holiday ends with the next working day (Art. 3(4)) is not used: which days are holidays differs by place, and
    a deadline that comes earlier than the law's harms nobody.
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def deadline(facts: Facts) -> date:
    """The last day on which to answer."""
    return months_after(facts.received + timedelta(days=facts.paused_days), MONTHS + facts.months)


def overdue(facts: Facts, now_state: State, today: date) -> bool:
    """Whether the deadline has passed; never while it stands still."""
    return now_state not in FINAL and facts.paused_since is None and today > deadline(facts)


def late(facts: Facts, ended: date) -> bool:
    """Whether a request ended after its deadline, however it did: a refusal has the same month (GDPR Art. 12(4)).

    One that ended while the deadline stood still is late only if it was when that began.
    """
    return (facts.paused_since or ended) > deadline(facts)


def _wrong(facts: Facts, request: str, why: str) -> SlussError:
    return SlussError(Reason.PERSON_REQUEST_WRONG_STATE, why, request=request, kind=facts.kind)
