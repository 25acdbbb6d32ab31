"""In which forms a recipient can know a leaked text. Pure.

Whoever was sent the full value can make every form of it but the keyed digest of `hashed`, which is the contract's
own. Whoever was sent a form that holds more can make one that holds less: the year from the month. What hides the value
(`****`, `yes`) tells of nobody and is no form of anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker import transforms
from broker.errors import SlussError

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL: Final = "full"
HASHED: Final = "hashed"
HASH_LENGTH: Final = 22

_SHOWS_NOTHING: Final = frozenset({"****", "***", "*", "yes", "no"})
_UNKEYED: Final = tuple(name for name in transforms.NAMES if name not in {FULL, HASHED, "presence"})
_MAKES: Final[Mapping[str, frozenset[str]]] = {
    "month": frozenset({"year", "age_band"}),
    "year": frozenset({"age_band"}),
    "last4": frozenset({"masked"}),
}
"""What can be made of a form: of the last four digits of a card or a phone their last two, and so on."""


def equal(type: str, value: str) -> dict[str, str]:  # noqa: A002 - the catalogue's word
    """Every form of a value that shows something, but for `full` and `hashed`, by transform."""
    found = {}
    for name in _UNKEYED:
        if name in transforms.allowed(type):
            made = transforms.apply(name, value, type=type)
            if made not in _SHOWS_NOTHING:
                found[name] = made
    return found


def knowing(type: str, value: str, leaked: str) -> frozenset[str]:  # noqa: A002 - the catalogue's word
    """The transforms through which a recipient of `value` could know `leaked`; none if it is no form of the value.

    Args:
        type: the field's value type.
        value: on record, in normal form.
        leaked: as it leaked.
    """
    if leaked.casefold() == value.casefold():
        return frozenset({FULL})
    found = {name for name, made in equal(type, value).items() if made.casefold() == leaked.casefold()}
    if not found:
        return frozenset()
    more = {name for name, makes in _MAKES.items() if makes & found and name in transforms.allowed(type)}
    return frozenset({FULL, *found, *more})


def is_hash(text: str) -> bool:
    """Whether it looks like a value through `hashed`."""
    return len(text) == HASH_LENGTH and text.replace("-", "").replace("_", "").isalnum() and text.isascii()


def hashed(type: str, value: str, key: bytes) -> str:  # noqa: A002 - the catalogue's word
    """The value as a contract's recipient gets it through `hashed`; empty if the type has no such form."""
    try:
        return transforms.apply(HASHED, value, type=type, key=key)
    except SlussError:
        return ""
