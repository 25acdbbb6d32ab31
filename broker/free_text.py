"""Free text on its way into the ledger, which never forgets: what looks like personal data is refused. Pure.

    reason("left the company", most=500)        as it is
    reason("ask anna@example.com", most=500)    INVALID_REQUEST

It errs on the side of refusing: any number of 7 digits or more may be somebody's telephone, personal, account or card
number. Dates from 2020 on and the broker's own ids are known and pass. Names of people it can't
know; whoever writes is told.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from broker.codes import IBAN_LENGTHS
from broker.errors import Reason, SlussError
from broker.plain_text import is_plain_text
from broker.values import iban_remainder, luhn

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD_DIGITS: Final = range(13, 20)
_AT: Final = re.compile(r"[^\s@]\s?@\s?[^\s@]")
_JOIN: Final = r"[\s./()+-]{0,3}"
_LONG_NUMBER: Final = re.compile(rf"\d(?:{_JOIN}\d){{6,}}")
_PERSONAL_NUMBER: Final = re.compile(r"(?:\d\d)?\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]|[6-8]\d|9[01])[-+ ]?\d{4}")
"""YYMMDD-NNNN or YYYYMMDD-NNNN (Skatteverket, SKV 704); the day of a coordination number is 60 higher."""
_DATE: Final = r"20[2-9]\d-(?:0\d|1[0-2])-[0-3]\d"
_OWN_ID: Final = r"[BCHKLR]-20[2-9]\d-\d{4,6}|C-\d{4}-\d{4,6}"
"""Ids of contracts, and of what is numbered by year: requests of persons, complaints, reports, holds, legal cases."""
_KNOWN: Final = re.compile(rf"(?<![\w-])(?:{_DATE}|{_OWN_ID})(?![\w-]|[./+]\d| \d{{4}}(?!\d))")
_IBAN_START: Final = re.compile(r"(?<![A-Za-z])(?=([A-Za-z]{2}\s?\d\s?\d))")
_DASHES: Final = dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-")


def reason(text: str, *, most: int) -> str:
    """The text, if it may be in the ledger for good.

    Args:
        text: what was given.
        most: characters at the most.

    Raises:
        SlussError: INVALID_REQUEST: empty, too long, not printable, or like personal data; names the kind of data
            and never repeats the text.
    """
    if not is_plain_text(text, most):
        raise SlussError(Reason.INVALID_REQUEST, f"reason: 1 to {most} printable characters", field="reason")
    found = personal(text)
    if found:
        told = f"reason: has what looks like {found}; the ledger never forgets, so no personal data in it"
        raise SlussError(Reason.INVALID_REQUEST, told, field="reason")
    return text


def personal(text: str) -> str:
    """What kind of personal data the text seems to have, such as `an e-mail address`; empty if none."""
    plain = _KNOWN.sub("|", unicodedata.normalize("NFKC", text).translate(_DASHES))
    if _AT.search(plain):
        return "an e-mail address"
    if any(map(_is_iban, _iban_candidates(plain))):
        return "an IBAN"
    number = _LONG_NUMBER.search(plain)
    return _kind(number[0]) if number else ""


def _kind(number: str) -> str:
    digits = "".join(str(unicodedata.digit(c)) for c in number if c.isdigit())
    if len(digits) in CARD_DIGITS and luhn(digits) == 0:
        return "a card number"
    if _PERSONAL_NUMBER.fullmatch(number):
        return "a personal number"
    return "a telephone number, or another number of 7 digits or more"


def _iban_candidates(text: str) -> Iterator[str]:
    """As many letters and digits as an IBAN of the country would have, from wherever one could begin."""
    for start in _IBAN_START.finditer(text):
        compact = "".join(c for c in text[start.start() :] if c.isascii() and c.isalnum()).upper()
        yield compact[: IBAN_LENGTHS.get(compact[:2], 0)]


def _is_iban(text: str) -> bool:
    return len(text) == IBAN_LENGTHS.get(text[:2]) and iban_remainder(text) == 1
