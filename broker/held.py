"""What an entry of a disclosure or a release says of one person: which of its fields the person's slice holds.

Reads canonical bytes without parsing the up to 256 slices, which stand before the terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Mapping

_TERMS: Final = b'"terms":{'
_HOLDS: Final = b'"holds":"'
_SLICE: Final = b'"sha256":'


class Held(NamedTuple):
    """What one slice holds: `place` of the slice in the entry, from 0; `fields` with their transforms, in order."""

    place: int
    fields: dict[str, str]


def terms_of(data: bytes) -> dict[str, Any]:
    """The terms in the entry of a disclosure or a release."""
    terms: dict[str, Any] = orjson.loads(b"{" + data[data.rindex(_TERMS) :])["terms"]
    return terms


def held(data: bytes, terms: Mapping[str, Any], secret: bytes) -> Held:
    """What an entry says of the person with this secret.

    Args:
        data: the entry.
        terms: those in it.
        secret: the person's.

    Raises:
        SlussError: LEDGER_INCONSISTENT, if the entry does not speak of the person.
    """
    mark = entry.base64url(commitment(secret, terms["disclosure"]))
    at = data.find(b'"person":"%b"' % mark.encode())
    if at < 0:
        raise SlussError(Reason.LEDGER_INCONSISTENT, "an entry that is tied to a person does not speak of the person")
    start = data.rindex(_HOLDS, 0, at) + len(_HOLDS)
    holds = data[start : start + len(terms["fields"])].decode()
    return Held(data.count(_SLICE, 0, at), entry.held_fields(terms["fields"], holds))
