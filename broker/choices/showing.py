"""What a person has chosen: in force, what it comes to for each purpose, and the history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from broker import own_keys
from broker.channels import CHANNELS
from broker.choices import history
from broker.choices.model import Line, Listed, Reach, Standing
from broker.choices.rule import CHOICE_RULES, OPTED_IN, ChoiceRule, Question, allowed, covers
from broker.persons import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Row

    from broker.catalogue import Catalogue, Purpose
    from broker.choices.rule import InForce
    from broker.desk import View

_LAST: Final = (1 << 63) - 1


def listed(view: View, person: int, before: int, limit: int) -> Listed:
    """A person's choices, with up to `limit` of the history from before an entry on; 0 is the end of the history.

    Raises:
        SlussError: PERSON_UNKNOWN.
    """
    row = rows.active(view.connection, person)
    page = history.of_person(view.connection, person, before or _LAST, limit + 1)
    more = page[limit - 1].entry if len(page) > limit else 0
    reaching = reach(view.snapshot.catalogue, own_keys.choices(view.snapshot.vault, row))
    return Listed(in_force(view, row), reaching, page[:limit], more)


def in_force(view: View, row: Row[Any]) -> list[Standing]:
    """The choices in force, by purpose, with the channels for which nothing newer stands."""
    made = own_keys.choices(view.snapshot.vault, row)
    if not made:
        return []
    lines = in_force_of(made, history.of_persons(view.connection, [row.id])[row.id])
    return [_standing(view.snapshot.catalogue, made, line) for line in lines]


def in_force_of(made: InForce, lines: Sequence[Line]) -> list[Line]:
    """The choices of a history that are in force, by purpose, with the channels for which they still stand."""
    found = history.deciding(lines, made)
    standing = [
        replace(line, choice=replace(line.choice, channels=found[line.entry])) for line in lines if line.entry in found
    ]
    return sorted(standing, key=lambda line: (line.choice.purpose, line.entry))


def _standing(catalogue: Catalogue, made: InForce, line: Line) -> Standing:
    choice = line.choice
    decides = choice.channels or [each for each in CHANNELS if each not in made[choice.purpose]]
    return Standing(line, decides, [purpose.code for purpose in chosen(catalogue) if bears_on(line, purpose)])


def bears_on(line: Line, purpose: Purpose) -> bool:
    """Whether a choice has a say on a purpose of the present catalogue (see `rule.allowed`)."""
    code = line.choice.purpose
    if line.choice.state == OPTED_IN:
        return covers(code, purpose.code) and line.chosen_at > purpose.since
    return covers(code, purpose.code) or covers(purpose.code, code)


def chosen(catalogue: Catalogue) -> Iterator[Purpose]:
    """The purposes that heed choices, by code."""
    for code in sorted(catalogue.purposes):
        purpose = catalogue.purposes[code]
        if CHOICE_RULES.get(purpose.kind, ChoiceRule.NONE) is not ChoiceRule.NONE:
            yield purpose


def reach(catalogue: Catalogue, made: InForce) -> list[Reach]:
    """What choices come to for each purpose that heeds them."""
    found = []
    for purpose in chosen(catalogue):
        question = Question(
            CHOICE_RULES[purpose.kind], purpose.code, purpose.channel, purpose.since, catalogue.formed, {}
        )
        channels = allowed(question, made)
        if purpose.channel:
            channels &= {purpose.channel}
        found.append(Reach(purpose.code, purpose.kind, sorted(channels)))
    return found
