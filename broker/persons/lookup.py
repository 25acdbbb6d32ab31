"""What is on record, who is behind an address or a number, and the handles under a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker.catalogue.model import MAX_TEXT
from broker.choices.showing import in_force
from broker.compromise import locks
from broker.contracts import safe_contract
from broker.errors import Reason, SlussError
from broker.handles import handles_of
from broker.persons import rows
from broker.persons.model import ACTIVE, MAX_FOUND, Shown, StoredField
from broker.store.queries import BLIND_INDEX, PERSON
from broker.values import index_form, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.catalogue import Catalogue
    from broker.desk import View

MAY_SEE_VALUES: Final = frozenset({"internal", "privacy"})
_TYPES: Final = {"email": "email", "phone": "phone", "customer_number": "text"}


def get(view: View, person: int, *, include_values: bool) -> Shown:
    """A person's fields with source and time; without values, no value is opened.

    Raises:
        SlussError: ROLE_NOT_ALLOWED to who may not see values; PERSON_UNKNOWN.
    """
    if include_values and view.principal.kind not in MAY_SEE_VALUES:
        raise SlussError(
            Reason.ROLE_NOT_ALLOWED, "values are for internal services and the privacy team", kind=view.principal.kind
        )
    row = rows.active(view.connection, person)
    texts = _texts(view, row) if include_values else {}
    fields = [
        StoredField(name, _category(view, name), origin.source, origin.collected_at, texts.get(name, ""))
        for name, origin in sorted(view.snapshot.vault.metadata(row).items())
    ]
    choices = [standing.line.choice for standing in in_force(view, row)]
    locked = locks.locked_by(view.connection, row.id)
    return Shown(row.id, str(row.version), row.created_at, row.updated_at, fields, choices, locked)


def look_up(view: View, kind: str, text: str) -> list[int]:
    """The persons behind an address or a number, at most 100, in order; none for one that nobody has.

    Raises:
        SlussError: INVALID_VALUE for what is no such address or number, without repeating it.
    """
    digest = view.snapshot.vault.index_digest(kind, look_up_form(view.snapshot.catalogue, kind, text))
    query = (
        select(PERSON.c.id)
        .select_from(BLIND_INDEX.join(PERSON, PERSON.c.id == BLIND_INDEX.c.person))
        .where(BLIND_INDEX.c.kind == kind, BLIND_INDEX.c.digest == digest, PERSON.c.state == ACTIVE)
        .order_by(PERSON.c.id)
        .limit(MAX_FOUND)
    )
    return list(view.connection.execute(query).scalars())


def look_up_form(catalogue: Catalogue, kind: str, text: str) -> str:
    """The form of an address or a number under which its digest is kept.

    Raises:
        SlussError: INVALID_VALUE for what is no such address or number, without repeating it.
    """
    most = max((field.max_length for field in catalogue.indexed(kind)), default=MAX_TEXT)
    return index_form(kind, validate(_TYPES[kind], text, field=kind, max_length=most))


def handles(view: View, contract: str, persons: Sequence[int]) -> list[bytes]:
    """The handles of persons under a contract, in order.

    Raises:
        SlussError: CONTRACT_UNKNOWN; PERSON_UNKNOWN with the `position` of the first such person, from 0.
    """
    if safe_contract(contract) != contract:
        raise SlussError(Reason.CONTRACT_UNKNOWN, contract=safe_contract(contract))
    held = view.snapshot.contract(view.connection, contract)
    known = rows.versions(view.connection, list(dict.fromkeys(persons)))
    for position, person in enumerate(persons):
        if person not in known:
            raise SlussError(Reason.PERSON_UNKNOWN, position=str(position))
    return handles_of(held.handle_key, persons)


def _texts(view: View, row: Row[Any]) -> dict[str, str]:
    return {name: value.text for name, value in view.snapshot.vault.open_record(row).items()}


def _category(view: View, name: str) -> str:
    field = view.snapshot.catalogue.fields.get(name)
    return "" if field is None else field.category.value
