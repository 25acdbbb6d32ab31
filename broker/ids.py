"""Identifiers in their text forms. A parser accepts exactly what its formatter writes."""

from __future__ import annotations

import re
import secrets

from broker.errors import Reason, SlussError

PERSON_BITS = 62
PERSON_DIGITS = 13
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# RFC 9562, 5.4: version 4, variant 10.
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_VALUES = {digit: value for value, digit in enumerate(CROCKFORD)}


def new_person_id() -> int:
    """A random person id in [1, 2**62): ids tell nothing about order or number."""
    return secrets.randbelow((1 << PERSON_BITS) - 1) + 1


def person_text(person: int) -> str:
    """`P-` and 13 digits of Crockford's base 32."""
    return "P-" + "".join(CROCKFORD[person >> shift & 31] for shift in range(60, -1, -5))


def parse_person(text: str) -> int:
    """The person id behind its text form.

    Raises:
        SlussError: INVALID_REQUEST if the text is not what `person_text` writes.
    """
    digits = text[2:]
    if text.startswith("P-") and len(digits) == PERSON_DIGITS and all(d in _VALUES for d in digits):
        person = 0
        for digit in digits:
            person = person << 5 | _VALUES[digit]
        if 0 < person < 1 << PERSON_BITS:
            return person
    raise SlussError(Reason.INVALID_REQUEST, "a person id is P- and 13 letters and digits", field="person_id")


def new_disclosure_id() -> str:
    """`D-` and 32 hexadecimal digits of randomness."""
    return "D-" + secrets.token_hex(16)


def parse_request_id(text: str) -> bytes:
    """The 16 bytes of a UUID4 in its canonical text form.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not _UUID4.fullmatch(text):
        raise SlussError(Reason.INVALID_REQUEST, "request_id: a UUID4 in lower case", field="request_id")
    return bytes.fromhex(text.replace("-", ""))
