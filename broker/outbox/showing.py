"""An item as its consumer gets it, and a confirmation of what was received.

The address is the one on record at that moment, so that a corrected one is used. A confirmation says what was
received, even if it was corrected since: it is sealed under the person's own key until it is delivered. Of financial
values it has the last four characters only: it goes out by mail. An answer has what the person is told, in the language
in which it was asked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker import own_keys
from broker.errors import Reason, SlussError
from broker.outbox import answers, holding
from broker.outbox.kinds import Kind
from broker.persons.model import ACTIVE
from broker.store.queries import WHOLE, read_persons
from broker.transforms import compile as compiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from broker.catalogue import Catalogue
    from broker.choices.model import ChoiceMade
    from broker.desk import View
    from broker.outbox.answers import Answer
    from broker.vault import PersonRow, Vault

log = logging.getLogger(__name__)

PLACE: Final = "registration confirmation"
HIDDEN: Final = "****"
LAST_FOUR: Final = "last4"
_NAMES: Final = ("name.display",)
_PARTS: Final = ("name.given", "name.family")
_LANGUAGE: Final = "language"


@dataclass(frozen=True, slots=True)
class ConfirmedValue:
    """A value as it was received, with what people are shown for its field."""

    field: str
    label_sv: str
    label_en: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class ConfirmedChoice:
    """A choice as it was made."""

    purpose: str
    label_sv: str
    label_en: str
    state: str
    medium: str
    channels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What was received with a registration; `at` in microseconds since 1970 UTC."""

    person: int
    at: int
    policy: str
    values: tuple[ConfirmedValue, ...]
    choices: tuple[ConfirmedChoice, ...]
    accepted: str

    def __repr__(self) -> str:
        """Without the values."""
        return f"Confirmation({self.policy})"


@dataclass(frozen=True, slots=True)
class Shown:
    """An item with what is needed to deliver it."""

    id: int
    kind: Kind
    at: int
    failures: int
    person: int
    email: str
    name: str
    language: str
    references: Mapping[str, str]
    confirmation: Confirmation | None
    answer: Answer | None

    def __repr__(self) -> str:
        """Without name and address."""
        return f"Shown({self.id}, {self.kind})"


def confirm(
    catalogue: Catalogue,
    person: int,
    values: Mapping[str, str],
    source: str,
    choices: Sequence[ChoiceMade],
    *,
    at: int,
    policy: str,
    accepted: str,
) -> Confirmation:
    """The confirmation of a registration with these values, which are in normal form."""
    listed = tuple(_value(catalogue, name, text, source) for name, text in sorted(values.items()))
    made = tuple(_choice(catalogue, choice) for choice in choices)
    return Confirmation(person, at, policy, listed, made, accepted)


def sealed(vault: Vault, row: PersonRow, confirmation: Confirmation) -> bytes:
    """A confirmation as it waits in the outbox."""
    return own_keys.seal_note(vault, row, PLACE, orjson.dumps(confirmation))


def show(view: View, rows: Sequence[Row[Any]]) -> list[Shown]:
    """Items as their consumer gets them.

    One whose person is not on record any more is left out, one that does not open, and one that is held back
    (`holding.py`): it stops no other.
    """
    held = holding.held_back(view, {row.person for row in rows})
    wanted = list(dict.fromkeys(row.person for row in rows if row.person not in held))
    persons = {row.id: row for row in read_persons(view.connection, wanted, WHOLE) if row.state == ACTIVE}
    shown = []
    for row in rows:
        try:
            if row.person in persons:
                shown.append(_shown(view, row, persons[row.person]))
        except SlussError as error:
            if error.reason is not Reason.INTERNAL:
                raise
            log.error("a message does not open: %s", row.id)  # noqa: TRY400 - no values in logs
    return shown


def _shown(view: View, row: Row[Any], person: Row[Any]) -> Shown:
    vault, catalogue = view.snapshot.vault, view.snapshot.catalogue
    emails = [field.name for field in catalogue.indexed("email")]
    names = [name for name in (*emails, *_NAMES, *_PARTS, _LANGUAGE) if name in catalogue.fields]
    values = vault.open_fields(person, names, allow_financial=False)
    together = " ".join(values[name] for name in _PARTS if name in values)
    confirmation = answer = None
    references = orjson.loads(row.refs)
    if row.body and row.kind == Kind.REGISTRATION_CONFIRMATION:
        confirmation = _opened(vault, person, row.body)
    elif row.body:
        answer = answers.opened(vault, person, row.body, references.get("request") or references.get("complaint", ""))
    return Shown(
        id=row.id,
        kind=Kind(row.kind),
        at=row.at,
        failures=row.attempts or 0,
        person=row.person,
        email=next((values[name] for name in emails if name in values), ""),
        name=values.get(_NAMES[0], together),
        language=(answer.language if answer else "") or values.get(_LANGUAGE, ""),
        references=references,
        confirmation=confirmation,
        answer=answer,
    )


def _opened(vault: Vault, person: PersonRow, body: bytes) -> Confirmation:
    found = orjson.loads(own_keys.open_note(vault, person, PLACE, body))
    values = tuple(ConfirmedValue(**each) for each in found.pop("values"))
    choices = tuple(ConfirmedChoice(**each) for each in found.pop("choices"))
    if found["person"] != person.id:
        raise SlussError(Reason.INTERNAL, "a message is another person's")
    return Confirmation(values=values, choices=choices, **found)


def _value(catalogue: Catalogue, name: str, text: str, source: str) -> ConfirmedValue:
    field = catalogue.field(name)
    return ConfirmedValue(
        name, field.label_sv, field.label_en, _last_four(field.type, text) if field.financial else text, source
    )


def _last_four(type_: str, text: str) -> str:
    try:
        return compiled(LAST_FOUR, type_)(text, b"")
    except SlussError:
        return HIDDEN


def _choice(catalogue: Catalogue, choice: ChoiceMade) -> ConfirmedChoice:
    purpose = catalogue.purpose(choice.purpose)
    return ConfirmedChoice(
        choice.purpose, purpose.label_sv, purpose.label_en, choice.state, choice.medium, choice.channels
    )
