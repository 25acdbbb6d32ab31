"""Whether a choice is one that a person can make, and may be in the ledger as it was given. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.catalogue import Kind
from broker.channels import CHANNELS
from broker.clock import micros
from broker.errors import Reason, SlussError, invalid
from broker.free_text import personal
from broker.persons.checking import check_word
from broker.plain_text import is_plain_text
from broker.values import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.catalogue import Catalogue, Purpose
    from broker.choices.model import ChoiceMade

MAX_EVIDENCE: Final = 200
"""Characters of a reference to what proves a choice."""

_CHOSEN: Final = frozenset({Kind.SECONDARY_OWN, Kind.SECONDARY_THIRD_PARTY})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def check_choice(catalogue: Catalogue, choice: ChoiceMade) -> tuple[str, ...]:
    """The channels that a choice is about, in order, as it is recorded; none means all.

    A choice on a purpose for one channel is about that channel, whether the caller says so or not: what was chosen is
    then plain from the entry, whatever becomes of the purpose.

    Raises:
        SlussError: PURPOSE_UNKNOWN; INVALID_REQUEST for a purpose of another class, a choice without a state, a
            malformed medium, or channels that are unknown, double or not the purpose's.
    """
    purpose = catalogue.purpose(choice.purpose)
    if purpose.kind not in _CHOSEN:
        detail = f"{purpose.code} is {purpose.kind}: only secondary purposes are a choice"
        raise SlussError(Reason.INVALID_REQUEST, detail, field="purpose", purpose=purpose.code)
    if not choice.state:
        raise invalid("state", "opted in or opted out")
    check_word(choice.medium, "medium")
    return _channels(purpose, choice.channels)


def _channels(purpose: Purpose, channels: Sequence[str]) -> tuple[str, ...]:
    if any(channel not in CHANNELS for channel in channels) or len(set(channels)) != len(channels):
        raise invalid("channels", f"each one of {', '.join(CHANNELS)}, once")
    if not purpose.channel:
        return tuple(sorted(channels))
    if any(channel != purpose.channel for channel in channels):
        detail = f"channels: {purpose.code} is for {purpose.channel} only"
        raise SlussError(Reason.INVALID_REQUEST, detail, field="channels", purpose=purpose.code)
    return (purpose.channel,)


def check_evidence(text: str) -> str:
    """A reference to what proves a choice, or the SHA-256 of a document in lower-case hexadecimal; may be empty.

    Raises:
        SlussError: INVALID_REQUEST: too long, not printable, or like personal data; never repeats the text.
    """
    if not text or _SHA256.fullmatch(text):
        return text
    if not is_plain_text(text, MAX_EVIDENCE):
        raise invalid("evidence", f"1 to {MAX_EVIDENCE} printable characters, or a SHA-256")
    found = personal(text)
    if found:
        raise invalid("evidence", f"has what looks like {found}; the ledger never forgets, so no personal data in it")
    return text


def parse_moment(text: str, field: str) -> int:
    """An RFC 3339 time in microseconds since 1970 UTC.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    try:
        return micros(validate("datetime", text))
    except SlussError:
        raise SlussError(
            Reason.INVALID_REQUEST, f"{field}: a time such as 2026-11-23T22:33:57Z is needed", field=field
        ) from None
