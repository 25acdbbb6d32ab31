"""Since when each purpose is what it is, by the catalogues that were in force one after the other. Pure.

A choice is about what its purpose was when the person chose (POLICY 2). A purpose that left the catalogue and came
back, or is of another class now, is another purpose: it exists since it came back, or changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.catalogue.model import Catalogue, Purpose


ALWAYS: Final = 0


@dataclass(frozen=True, slots=True)
class Age:
    """Since when a purpose exists in its class, and in its class and for its channel; microseconds since 1970 UTC."""

    since: int
    formed: int


def ages(editions: Iterable[tuple[int, Catalogue]]) -> Mapping[str, Age]:
    """The ages of the purposes in the last of some catalogues.

    Those of the first have always existed: a company brings choices along that are older than its ledger.

    Args:
        editions: (when it came into force, catalogue), oldest first, without a gap.
    """
    purposes: Mapping[str, Purpose] = {}
    found: dict[str, Age] = {}
    for number, (at, catalogue) in enumerate(editions):
        came = at if number else ALWAYS
        found = {code: _age(purposes.get(code), found.get(code), now, came) for code, now in catalogue.purposes.items()}
        purposes = catalogue.purposes
    return found


def _age(before: Purpose | None, age: Age | None, now: Purpose, at: int) -> Age:
    if before is None or age is None or before.kind is not now.kind:
        return Age(at, at)
    return age if before.channel == now.channel else Age(age.since, at)


def with_ages(catalogue: Catalogue, found: Mapping[str, Age]) -> Catalogue:
    """The catalogue, its purposes with their ages."""
    purposes = {
        code: replace(purpose, since=found[code].since, formed=found[code].formed)
        for code, purpose in catalogue.purposes.items()
    }
    return replace(catalogue, purposes=MappingProxyType(purposes))
