"""What messages there are, and when one that was not delivered is tried again. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from broker.clock import SECOND
from broker.errors import invalid
from broker.plain_text import is_plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REFERENCES: Final = 16
MAX_REFERENCE: Final = 200
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
CONSUMER: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
"""A consumer's name: of the form of a principal's id, which no address and no number of a person has."""

MAX_ATTEMPTS: Final = 10
"""Failures after which a message is dead."""
LONGEST_US: Final = 6 * 3_600 * SECOND
"""The longest time between two attempts."""


class Kind(StrEnum):
    """What a message is about."""

    REGISTRATION_CONFIRMATION = "registration_confirmation"
    POLICY_CHANGED = "policy_changed"
    REQUEST_RECEIVED = "request_received"
    REQUEST_ANSWERED = "request_answered"
    CREDENTIAL_RESET = "credential_reset"
    COMPLAINT_RECEIVED = "complaint_received"
    COMPLAINT_ANSWERED = "complaint_answered"
    DEADLINE_EXTENDED = "deadline_extended"


class Failure(StrEnum):
    """Why a message was not delivered; a word and not a text, since what a mail server says repeats the address."""

    ADDRESS_MISSING = "address_missing"
    ADDRESS_REJECTED = "address_rejected"
    TEMPORARY = "temporary"
    OTHER = "other"
    EXPIRED = "expired"


FINAL: Final = frozenset({Failure.ADDRESS_MISSING, Failure.ADDRESS_REJECTED, Failure.EXPIRED})
"""Failures after which trying again is of no use."""


def is_dead(failure: Failure, attempts: int) -> bool:
    """Whether a message that failed for the `attempts`-th time is given up."""
    return failure in FINAL or attempts >= MAX_ATTEMPTS


def wait_us(attempts: int, first_us: int) -> int:
    """How long to wait after the `attempts`-th failure: doubled each time, from `first_us` to six hours."""
    return min(first_us << (attempts - 1), LONGEST_US) if attempts < MAX_ATTEMPTS else LONGEST_US


def check_references(references: Mapping[str, str]) -> None:
    """Refuse what is no set of short texts: references are stored in the clear and name no person.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if len(references) > MAX_REFERENCES:
        raise invalid("references", f"at most {MAX_REFERENCES}")
    for name, text in references.items():
        if not _NAME.fullmatch(name) or not is_plain_text(text, MAX_REFERENCE):
            raise invalid("references", "short names and texts")
