"""Recipients of legal releases, whom people have to tell of a rectification or an erasure (GDPR Art. 19).

They have no contract under which they could owe. A request keeps the numbers of their cases, which name no person, so
that an erasure does not lose them; who it is, the case says whenever the request is shown. What the law keeps hidden is
left out, as in `legal.recipients`: at the step, and again whenever the request is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.legal import recipients
from broker.legal.rows import load
from broker.person_requests.model import CORRECTION
from broker.person_requests.rules import Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from broker.desk import View
    from broker.person_requests.model import Facts, ToTell
    from broker.person_requests.rows import Held
    from broker.timelines import Event

PAGE: Final = 500
ALWAYS: Final = (0, 1 << 62)


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who is to be told, and how that ended: a word of `Telling`, empty while it has not."""

    case: str
    name: str
    address: str
    outcome: str
    reason: str


def cases(view: View, person: int, fields: Collection[str] | None) -> set[str]:
    """The legal cases in which one of some fields of a person, or any (None), was released.

    Raises:
        SlussError: PERSON_UNKNOWN; LEDGER_INCONSISTENT.
    """
    found: set[str] = set()
    after = -1
    while True:
        page = recipients.received(view, person, ALWAYS, after, PAGE, recipients.RELEASES)
        for each in page:
            if each.case is not None and (fields is None or not each.fields.keys().isdisjoint(fields)):
                found.add(each.case.id)
        if len(page) < PAGE:
            return found
        after = page[-1].index


def noted(case: str, reason: str) -> str:
    """What the timeline says of a telling: by the case it is known whether it may be shown later."""
    return f"{case}: {reason}" if reason else case


def visible(held: Held, events: Iterable[Event]) -> list[Event]:
    """The timeline without what was told to recipients that are hidden by now.

    After an erasure nobody can tell which of them a line is about: then none is shown while one is hidden.
    """
    cases = {each.case for each in held.legal}
    all_of_them = len(cases) == len(held.facts.tell)
    return [each for each in events if each.event != Step.TELL or all_of_them or each.text.partition(":")[0] in cases]


def shows(held: Held) -> bool:
    """Whether a request may be shown: one that the broker opened for recipients who are all hidden by now may not."""
    return held.facts.channel != CORRECTION or bool(held.legal)


def shown(view: View, facts: Facts) -> tuple[Addressee, ...]:
    """Whom a request has to have told, as their cases name them.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    return addressees(view, facts.tell)


def addressees(view: View, tell: Iterable[ToTell]) -> tuple[Addressee, ...]:
    """Who they are, but for those that are hidden.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    found = []
    for each in tell:
        case = load(view, each.case).case
        if not case.hidden(view.now_us):
            who = case.body.requester
            found.append(Addressee(case.id, who.name, who.address, each.outcome, each.reason))
    return tuple(found)
