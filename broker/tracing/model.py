"""What is traced and what is found, free of protos and SQL. Texts of values are kept out of every `repr`. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from dataclasses import field as of
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.tracing.likelihood import Assumptions

MAX_ROWS: Final = 100_000
MAX_ROWS_SENT: Final = 1_000
MAX_VALUES: Final = 16
FOREVER_US: Final = 1 << 62


class Status(StrEnum):
    """What became of a value; equal, name by name, to `TracedValue.Status`."""

    RECEIVED = "RECEIVED"
    NOT_DISCLOSED = "NOT_DISCLOSED"
    DIFFERS = "DIFFERS"
    UNKNOWN = "UNKNOWN"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class Tracing:
    """What a trace is made for; `before_us` is when the list had leaked, in microseconds since 1970 UTC."""

    reason: str
    before_us: int
    assumed: Assumptions


@dataclass(frozen=True, slots=True)
class Leaked:
    """A row of a leaked list: its place, and its values by field."""

    row: int
    values: Sequence[tuple[str, str]] = of(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A value is a person's: whoever was sent `field` through one of `transforms` then could know it.

    Attributes:
        person: id.
        field: of the catalogue.
        transforms: through which it can be known.
        since: when the person's record had it, in microseconds since 1970 UTC.
        until: until when, the end not included.
        hash_of: type and value, if the text may be the value through a contract's `hashed`.
        text: that text.
    """

    person: int
    field: str
    transforms: frozenset[str]
    since: int
    until: int = FOREVER_US
    hash_of: tuple[str, str] | None = of(default=None, repr=False)
    text: str = of(default="", repr=False)


@dataclass(slots=True)
class FoundValue:
    """A value while it is traced; `got` holds who had received it, with the form: (source, field, transform)."""

    field: str
    status: Status
    claims: list[Claim] = of(default_factory=list)
    former: bool = False
    got: set[tuple[int, str, str]] = of(default_factory=set)

    @property
    def mask(self) -> int:
        """Who had received it: bit s is source s."""
        return sum(1 << source for source in {source for source, _, _ in self.got})


@dataclass(slots=True)
class FoundRow:
    """A row while it is traced: whom it speaks of, and whether they are a canary."""

    row: int
    persons: tuple[int, ...]
    canary: bool
    values: list[FoundValue]


@dataclass(frozen=True, slots=True)
class Traced:
    """A row that has been traced; of each value its field, what became of it, who had it, whether it is former."""

    row: int
    persons: tuple[int, ...]
    canary: bool
    values: tuple[tuple[str, Status, int, bool], ...]


@dataclass(slots=True)
class Source:
    """A contract, or a release on a legal ground, under which values of the list were received.

    `first_at` and `last_at` in microseconds since 1970 UTC; `forms` counts values by (field, transform).
    """

    contract: str
    case: str
    recipient: str
    name: str
    rows: int = 0
    rows_partly: int = 0
    values: int = 0
    canaries: int = 0
    held: int = 0
    estimated: bool = False
    first_at: int = FOREVER_US
    last_at: int = 0
    retain_until: str = ""
    likelihood: float = 0.0
    forms: Counter[tuple[str, str]] = of(default_factory=Counter)

    @property
    def who(self) -> str:
        """The recipient, whatever it received under."""
        return self.recipient or self.case


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient over all its contracts."""

    name: str
    rows: int
    everything: bool
    likelihood: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a trace found; `order` gives the sources, the likeliest first, by their bits in the rows' masks."""

    entry: int
    rows: int
    values: int
    found: int
    received: int
    canaries: int
    canaries_undisclosed: int
    persons: int
    sources: Sequence[Source]
    order: Sequence[int]
    recipients: Sequence[Recipient]
    elsewhere: float
    assumed: Assumptions
