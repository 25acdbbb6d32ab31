"""What is asked of the persons' room and what it answers. Texts of values are kept out of every `repr`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.choices.model import ChoiceMade
    from broker.errors import Reason
    from broker.outbox.showing import Confirmation

Given = tuple[str, str]
"""A field's name and the text given for it, both unchecked."""

ACTIVE: Final = "active"
"""The only state in which a person is visible."""
ERASED_STATE: Final = "erased"

MAX_VALUES: Final = 256
"""Values in one registration, correction or row."""
MAX_ROWS: Final = 1000
MAX_HANDLES: Final = 10_000
MAX_FOUND: Final = 100


@dataclass(frozen=True, slots=True)
class Registration:
    """A person to register; `accepted` is the policy version that the person accepted with it, or empty."""

    request_id: bytes
    values: Sequence[Given] = field(repr=False)
    source: str
    choices: Sequence[ChoiceMade] = ()
    accepted: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """Values to set and fields to remove, based on the record at `etag`.

    `rectification` says that what was on record was wrong, so that whoever received it is told (GDPR Art. 19); `cause`
    is the person's request or complaint that found it so, if there is one.
    """

    person: int
    values: Sequence[Given] = field(repr=False)
    remove: Sequence[str]
    source: str
    etag: str
    rectification: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered person, and what the person is to be told."""

    person: int
    etag: str
    confirmation: Confirmation


@dataclass(frozen=True, slots=True)
class StoredField:
    """A value on record; `collected_at` in seconds since 1970 UTC, `text` empty unless asked for.

    `category` is empty for a field that the catalogue no longer has.
    """

    name: str
    category: str
    source: str
    collected_at: int
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A person as shown: times in microseconds since 1970 UTC, choices in force in order of purpose.

    `locked_by` is the compromise report for which the person's credential is locked, or empty.
    """

    person: int
    etag: str
    created_at: int
    updated_at: int
    fields: Sequence[StoredField]
    choices: Sequence[ChoiceMade]
    locked_by: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a customer file and the line that it stands on."""

    line: int
    values: Sequence[Given] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to import together; `dry_run` stores nothing, `confirm` queues a confirmation for each new person."""

    rows: Sequence[Row]
    source: str
    dry_run: bool = False
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value: never the value itself, only its masked form."""

    field: str
    reason: Reason
    detail: str
    masked: str


class Outcome(StrEnum):
    """What became of a row; equal, name by name, to `ImportResult.Outcome`."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"
    FAULTY = "FAULTY"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a row; `person` is 0 for a faulty row and in a dry run."""

    line: int
    outcome: Outcome
    faults: Sequence[Fault] = ()
    person: int = 0
