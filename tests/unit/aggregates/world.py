"""What the tests of anonymous counts share: a small catalogue of events, questions, and persons' events as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from broker.aggregates.question import Asked, canonical
from broker.catalogue import default_catalogue

CATALOGUE = default_catalogue()
EVENT = "advertisement.visited"
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
ASKED = Asked(EVENT, ("persons",), ("advertisement",), (), FIRST, LAST)
ADS = CATALOGUE.attributes["advertisement"].values


def question(min_persons=0, catalogue=CATALOGUE, **changes):
    """A question in its one form."""
    return canonical(replace(ASKED, **changes), catalogue, min_persons)


def with_rules(**changes):
    """The catalogue with other rules."""
    return replace(CATALOGUE, rules=replace(CATALOGUE.rules, **changes))
