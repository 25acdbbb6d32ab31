"""What a catalogue is and answers: fields, purposes, policy version; immutable and fail-closed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from broker import values
from broker.catalogue.forbidden import is_security_code
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.catalogue.usage import AggregateRules, Attribute, Event

MAX_TEXT: Final = 4096
MAX_NAME: Final = 64
NEVER: Final = (1 << 63) - 1
"""Later than any choice: the age of a purpose as long as nobody said since when it exists; no opt-in covers it."""
NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", re.ASCII)
"""The shape of a field's name and of a purpose's code."""

VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
"""The shape of a policy version's name."""


class Category(StrEnum):
    """What a field is about (policy 1a); `financial` fields are sealed under a key ring of their own (4)."""

    IDENTITY = "identity"
    CONTACT = "contact"
    ACCOUNT = "account"
    USAGE = "usage"
    FINANCIAL = "financial"
    TECHNICAL = "technical"


class Kind(StrEnum):
    """The class of a purpose, which decides the choice that it needs (policy 1b to 1d, 6 and 7)."""

    PRIMARY = "primary"
    SECONDARY_OWN = "secondary_own"
    SECONDARY_THIRD_PARTY = "secondary_third_party"
    LEGAL = "legal"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the catalogue.

    Attributes:
        name: dotted lower-case name, `payment.iban`.
        category: what it is about.
        type: its value type, a name from `values.TYPES`.
        label_en: what people are shown, in English.
        label_sv: the same in Swedish.
        index: `email`, `phone` or `customer_number` when persons are looked up by it, else empty.
        max_length: characters of the normal form.
        words: the words that an `enum` field may hold; empty for other types.
        forbidden: may never be stored.
        channels: by which it lets others reach the person (`broker.channels`), in order; empty for most fields.
    """

    name: str
    category: Category
    type: str
    label_en: str
    label_sv: str
    index: str = ""
    max_length: int = MAX_TEXT
    words: tuple[str, ...] = ()
    forbidden: bool = False
    channels: tuple[str, ...] = ()

    @property
    def financial(self) -> bool:
        """Whether it is sealed under the financial ring and disclosed for payment purposes only."""
        return self.category is Category.FINANCIAL

    def accept(self, text: str) -> str:
        """The normal form of `text` for this field.

        Raises:
            SlussError: INVALID_VALUE with `field` and `why`; FIELD_FORBIDDEN.
        """
        if self.forbidden:
            raise SlussError(Reason.FIELD_FORBIDDEN, f"{self.name} may never be stored", field=self.name)
        value = values.validate(self.type, text, field=self.name, max_length=self.max_length)
        if self.words and value not in self.words:
            detail = f"{self.name}: not one of {', '.join(self.words)}"
            raise SlussError(Reason.INVALID_VALUE, detail, field=self.name, why="not_a_word")
        return value


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose of processing.

    Attributes:
        code: dotted; below the purpose before its last dot.
        kind: its class.
        dpv: the IRI of the matching concept in the W3C Data Privacy Vocabulary.
        label_en: what people are shown, in English.
        label_sv: the same in Swedish.
        payment: whether financial fields may be disclosed for it (policy 4).
        channel: the one channel that it is for, such as `email`; empty for any.
        since: when it came into the catalogue in this class, in microseconds since 1970 UTC (`history.py`).
        formed: when it came into the catalogue in this class and for this channel.
        accepted_since: a policy version: only persons who accepted it, or one that took effect later, are available for
            the purpose (policy 10); empty if no acceptance is needed.
    """

    code: str
    kind: Kind
    dpv: str
    label_en: str
    label_sv: str
    payment: bool = False
    channel: str = ""
    since: int = NEVER
    formed: int = NEVER
    accepted_since: str = ""

    @property
    def parent(self) -> str:
        """The code of the purpose above, or empty."""
        return self.code.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Policy:
    """The version of the privacy policy that the catalogue serves, in force from `effective` (RFC 3339)."""

    version: str
    effective: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every field and every purpose, and the policy version that they belong to. Immutable.

    Attributes:
        fields: by name, forbidden ones too.
        purposes: by code.
        policy: the policy version.
        digest: SHA-256 of the TOML file's bytes, as reviewed.
        rules: what holds for every question about usage; None where nothing is counted.
        attributes: what events can be grouped and filtered by.
        events: what is counted.
    """

    fields: Mapping[str, Field]
    purposes: Mapping[str, Purpose]
    policy: Policy
    digest: bytes
    rules: AggregateRules | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    events: Mapping[str, Event] = field(default_factory=lambda: MappingProxyType({}))

    def event(self, name: str) -> Event:
        """The event of that name.

        Raises:
            SlussError: FIELD_UNKNOWN.
        """
        event = self.events.get(name)
        if event is None:
            raise SlussError(Reason.FIELD_UNKNOWN, f"no event {_shown(name)} in the catalogue", field=_shown(name))
        return event

    @property
    def formed(self) -> Mapping[str, int]:
        """Since when each purpose has its present form, by code."""
        return {code: purpose.formed for code, purpose in self.purposes.items()}

    def field(self, name: str) -> Field:
        """The field of that name.

        Raises:
            SlussError: FIELD_FORBIDDEN for a card's security code under any name, FIELD_UNKNOWN.
        """
        field = self.fields.get(name)
        if (field is None and is_security_code(name)) or (field is not None and field.forbidden):
            raise SlussError(Reason.FIELD_FORBIDDEN, f"{_shown(name)} may never be stored", field=_shown(name))
        if field is None:
            raise SlussError(Reason.FIELD_UNKNOWN, f"no field {_shown(name)} in the catalogue", field=_shown(name))
        return field

    def purpose(self, code: str) -> Purpose:
        """The purpose of that code.

        Raises:
            SlussError: PURPOSE_UNKNOWN.
        """
        purpose = self.purposes.get(code)
        if purpose is None:
            shown = _shown(code)
            raise SlussError(Reason.PURPOSE_UNKNOWN, f"no purpose {shown} in the catalogue", purpose=shown)
        return purpose

    def covers(self, granted: str, asked: str) -> bool:
        """Whether a grant for one purpose allows another: itself and its descendants.

        Raises:
            SlussError: PURPOSE_UNKNOWN for either.
        """
        self.purpose(granted)
        self.purpose(asked)
        return asked == granted or asked.startswith(granted + ".")

    def indexed(self, kind: str) -> tuple[Field, ...]:
        """The fields by which persons are looked up under one kind of index."""
        return tuple(field for field in self.fields.values() if field.index == kind)


def _shown(name: str) -> str:
    """A name from outside, fit for an error: a malformed one might be a value and is not repeated."""
    return name if NAME.fullmatch(name) and len(name) <= MAX_NAME else "(not a name)"
