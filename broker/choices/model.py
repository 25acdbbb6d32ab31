"""What is asked of the room of choices and what it answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.persons.model import Fault

MAX_ROWS: Final = 1_000
"""Rows of a list in one message."""
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class ChoiceMade:
    """A choice.

    Attributes:
        purpose: the purpose's code.
        state: `in` or `out`, or empty when the caller did not say.
        channels: the contact channels that it is about; none named means all.
        medium: how it was made: `web`, `mail`, `phone`.
    """

    purpose: str
    state: str
    channels: Sequence[str] = ()
    medium: str = "web"


@dataclass(frozen=True, slots=True)
class Recording:
    """A choice to record, where it comes from and what proves it."""

    request_id: bytes
    person: int
    choice: ChoiceMade
    source: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded choice: the index of its entry, and the policy version that it is pinned to."""

    entry: int
    policy: str


@dataclass(frozen=True, slots=True)
class Line:
    """A choice on record; times in microseconds since 1970 UTC, `chosen_at` when the person chose."""

    entry: int
    choice: ChoiceMade
    source: str
    evidence: str
    policy: str
    chosen_at: int
    recorded_at: int


@dataclass(frozen=True, slots=True)
class Reach:
    """What a person's choices come to for one purpose of the present catalogue: the channels that they allow."""

    purpose: str
    kind: str
    channels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """A choice in force: the channels that it still decides, and the purposes that it bears on now."""

    line: Line
    channels: Sequence[str]
    purposes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A person's choices: in force, what they come to, and a page of the history, newest first.

    `before` is the entry to go on before; 0 at the end.
    """

    standing: Sequence[Standing]
    reach: Sequence[Reach]
    history: Sequence[Line]
    before: int


@dataclass(frozen=True, slots=True)
class ListRow:
    """A row of a preference list: whom it is about, and the choice.

    Attributes:
        line: the line in the file.
        kind: `person`, or the kind of index that `key` is of.
        key: the person's id, customer number, e-mail address or telephone number.
        choice: what was chosen.
        source: where it was recorded.
        evidence: what proves it.
        chosen_at: when the person chose, RFC 3339 as it was given; empty when the list does not say.
    """

    line: int
    kind: str
    key: str = field(repr=False)
    choice: ChoiceMade
    source: str
    evidence: str = ""
    chosen_at: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to import together.

    `as_of` is when the list was true, for rows that do not say when the person chose; 0 is now. `dry_run` records
    nothing.
    """

    rows: Sequence[ListRow]
    as_of: int = 0
    dry_run: bool = False


class Outcome(StrEnum):
    """What became of a row; equal, name by name, to `ChoiceResult.Outcome`."""

    RECORDED = "RECORDED"
    UNCHANGED = "UNCHANGED"
    SUPERSEDED = "SUPERSEDED"
    NOBODY = "NOBODY"
    FAULTY = "FAULTY"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a row, and whose choices it is about."""

    line: int
    outcome: Outcome
    persons: Sequence[int] = ()
    faults: Sequence[Fault] = ()
