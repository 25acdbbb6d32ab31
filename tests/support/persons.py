"""Persons for tests of the store: sealed records with values that are easy to search for."""

from __future__ import annotations

import unicodedata

from sqlalchemy import insert, select

from broker.own_keys import choices_text
from broker.persons.rows import kept
from broker.store.queries import PERSON, WHOLE
from broker.vault import Value

FINANCIAL = frozenset({"payment.card_number", "payment.iban"})
CANARIES = {
    "name.display": Value("Canary Zwölfhundert", "registration", 1_700_000_000),
    "email": Value("canary-zq7@example.com", "registration", 1_700_000_001),
    "payment.iban": Value("SE4550000000058398257466", "billing", 1_700_000_002),
}


def insert_person(connection, vault, person_id, values=None, *, state="active", made=None):
    """Seals `values` (or the canaries) and inserts the row."""
    sealed = vault.seal_record(person_id, CANARIES if values is None else values, FINANCIAL)
    row = {
        "id": person_id,
        "state": state,
        "version": 1,
        "choices": choices_text(vault.person_secret(kept(vault, person_id, sealed)), made or {}),
        "created_at": 1,
        "updated_at": 1,
    }
    connection.execute(insert(PERSON).values(**row, **sealed._asdict()))


def whole_row(connection, person_id):
    """All columns of a person."""
    return connection.execute(select(*WHOLE).where(PERSON.c.id == person_id)).one()


def spellings(value):
    """The ways in which a text may lie in a file."""
    forms = {value, value.lower(), value.upper(), unicodedata.normalize("NFD", value)}
    return {form.encode(code) for form in forms for code in ("utf-8", "utf-16-le")} | {value.encode().hex().encode()}
