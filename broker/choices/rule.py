"""What a person's choices allow: one pure rule, which the spine asks for each person of a disclosure (POLICY 1c-d, 2).

    made       purpose -> channel, or `*` for all of them -> (state, when the person chose)
    merge      a further choice: per purpose and channel the newest stands, and of two at one time the opt-out
    allowed    the channels by which a person may be contacted for a purpose
    left_out   the fields that a disclosure leaves out for a person, or None if it leaves out the person

Opt-outs are kept wherever they stand on the purpose's line (itself, above, below), each for its channels. An opt-in
covers its purpose and what was below that when the person chose. Times, in microseconds since 1970 UTC, are compared
with those of the catalogues' ledger entries: `Purpose.since` and `Purpose.formed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from broker.channels import CHANNELS

OPTED_IN: Final = "in"
OPTED_OUT: Final = "out"
ANY: Final = "*"
"""All channels, in the record of choices in force."""
NO_FIELDS: Final[frozenset[str]] = frozenset()

_EVERY: Final = frozenset(CHANNELS)
_KEYS: Final = frozenset({ANY, *CHANNELS})
_STATES: Final = frozenset({OPTED_IN, OPTED_OUT})


class Stand(NamedTuple):
    """What stands for a purpose and a channel: the state, and when the person chose it."""

    state: str
    at: int


OfPurpose = Mapping[str, Stand]
"""Channel, or `ANY`, -> what stands. `ANY` is for the channels that have nothing newer of their own."""
InForce = Mapping[str, OfPurpose]
"""Purpose -> what stands."""


class ChoiceRule(StrEnum):
    """How a person's choices bear on a class of purposes (POLICY 1b, 1c, 1d)."""

    NONE = "none"
    UNLESS_OPTED_OUT = "unless_opted_out"
    ONLY_IF_OPTED_IN = "only_if_opted_in"


CHOICE_RULES: Mapping[str, ChoiceRule] = {
    "primary": ChoiceRule.NONE,
    "secondary_own": ChoiceRule.UNLESS_OPTED_OUT,
    "secondary_third_party": ChoiceRule.ONLY_IF_OPTED_IN,
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a disclosure asks of each person's choices.

    Attributes:
        rule: how choices bear on the purpose.
        purpose: its code.
        channel: the channel that the purpose is for, or empty.
        since: an opt-in made by then is older than the purpose and does not cover it.
        formed: purpose -> an opt-out of it made by then is older than its present form and is for all channels.
        needs: the fields asked for that reach a person -> the channels that must be allowed for each.
    """

    rule: ChoiceRule
    purpose: str
    channel: str
    since: int
    formed: Mapping[str, int]
    needs: Mapping[str, frozenset[str]]


NOTHING_ASKED: Final = Question(ChoiceRule.NONE, "", "", 0, MappingProxyType({}), MappingProxyType({}))
"""For what no choice of a person can forbid: a release by law (POLICY 6)."""


def covers(granted: str, asked: str) -> bool:
    """Whether `asked` is `granted` or a descendant of it."""
    return asked == granted or asked.startswith(granted + ".")


def needed(channels: Collection[str], channel: str) -> frozenset[str]:
    """The channels that must be allowed for a field with `channels` to leave for a purpose that is for `channel`.

    All of the field's, since nobody can see which one its recipient uses, unless the purpose is for one of them.
    """
    return frozenset({channel} if channel in channels else channels)


def allowed(question: Question, made: InForce) -> frozenset[str]:
    """The channels by which a person who made these choices may be contacted for the purpose of the question."""
    if question.rule is ChoiceRule.NONE:
        return _EVERY
    opened: set[str] = set(_EVERY if question.rule is ChoiceRule.UNLESS_OPTED_OUT else ())
    closed: set[str] = set()
    for purpose, stands in made.items():
        above = covers(purpose, question.purpose)
        if not above and not covers(question.purpose, purpose):
            continue
        for key, stand in stands.items():
            if stand.state != OPTED_IN:
                outdated = stand.at <= question.formed.get(purpose, stand.at)
                closed |= _reach(stands, ANY if outdated else key, stand.at)
                if key != ANY:
                    closed.add(key)
            elif above and stand.at > question.since:
                opened |= _reach(stands, key, stand.at)
    return frozenset(opened - closed)


def _reach(stands: OfPurpose, key: str, at: int) -> frozenset[str]:
    """The channels of a choice that have nothing newer of their own."""
    if key != ANY:
        return frozenset({key})
    return frozenset(each for each in CHANNELS if each not in stands or stands[each].at < at)


def left_out(question: Question, made: InForce) -> frozenset[str] | None:
    """The fields that are left out for a person who made these choices; None if the person is not available at all.

    A person is not available whose choices allow no channel, not the one that the purpose is for, or none of the fields
    asked for that could reach them.
    """
    if question.rule is ChoiceRule.NONE:
        return NO_FIELDS
    if not made:
        # Nobody waits for those who never chose: most persons of a large list.
        return NO_FIELDS if question.rule is ChoiceRule.UNLESS_OPTED_OUT else None
    channels = allowed(question, made)
    if not channels or (question.channel and question.channel not in channels):
        return None
    out = frozenset(field for field, needs in question.needs.items() if not needs <= channels)
    return None if out and len(out) == len(question.needs) else out


def merge(stands: OfPurpose, channels: Collection[str], state: str, at: int) -> OfPurpose:
    """What stands for a purpose once a person has chosen for some channels; none named means all.

    The newer stands; of two at one time the opt-out.
    """
    new = Stand(state, at)
    after = dict(stands)
    if channels:
        for channel in channels if stands.get(ANY) != new else ():
            if not any(_outlasts(stands[key], new) for key in (channel, ANY) if key in stands):
                after[channel] = new
    elif ANY not in stands or not _outlasts(stands[ANY], new):
        after = {key: stand for key, stand in stands.items() if key != ANY and _outlasts(stand, new)}
        after[ANY] = new
    return after


def _outlasts(old: Stand, new: Stand) -> bool:
    return (old.at, old.state == OPTED_OUT) > (new.at, new.state == OPTED_OUT)


def latest(stands: OfPurpose) -> int:
    """When the newest choice that stands was made; 0 if none does."""
    return max((stand.at for stand in stands.values()), default=0)


def dump(made: InForce) -> str:
    """Choices in force as JSON."""
    plain = {purpose: {key: list(stand) for key, stand in stands.items()} for purpose, stands in made.items()}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=4096)
def load(text: str) -> InForce:
    """Choices in force from JSON.

    Raises:
        ValueError: it is something else; a choice that can't be read must not count as none.
    """
    found = orjson.loads(text)
    if type(found) is not dict:
        raise ValueError("choices in force are an object")
    return MappingProxyType({purpose: _of_purpose(stands) for purpose, stands in found.items()})


def _of_purpose(stands: object) -> OfPurpose:
    if type(stands) is not dict or not stands or not stands.keys() <= _KEYS:
        raise ValueError("choices in force are by channel")
    return MappingProxyType({key: _stand(stand) for key, stand in stands.items()})


def _stand(stand: object) -> Stand:
    if type(stand) is not list or len(stand) != len(Stand._fields):
        raise ValueError("a choice in force is a state and a time")
    state, at = stand
    if state not in _STATES or type(at) is not int:
        raise ValueError("a choice in force is `in` or `out`, and a time")
    return Stand(state, at)
