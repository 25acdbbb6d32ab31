"""What is left on the disk: no value of a person, ever; after erasure, not even what was sealed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text, update

from broker.store.engine import reading, truncate_log, writing
from broker.store.queries import PERSON
from broker.vault import ERASED
from tests.support.persons import CANARIES, FINANCIAL, insert_person, spellings, whole_row

PERSONS = range(1, 40)


def bytes_on_disk(engine):
    """The database file with its write-ahead log and shared memory."""
    path = Path(engine.url.database)
    return b"".join(Path(f"{path}{end}").read_bytes() for end in ("", "-wal", "-shm"))


def canaries():
    return {spelling for value in CANARIES.values() for spelling in spellings(value.text)}


@pytest.fixture
def filled(sqlite_engine, vault):
    with writing(sqlite_engine) as connection:
        for person_id in PERSONS:
            insert_person(connection, vault, person_id)
    return sqlite_engine


def store_update(engine, person_id, sealed, **columns):
    with writing(engine) as connection:
        connection.execute(update(PERSON).where(PERSON.c.id == person_id).values(**sealed._asdict(), **columns))


def test_no_canary_is_in_any_byte_of_the_sqlite_files(filled, vault):
    with reading(filled) as connection:
        row = whole_row(connection, 1)
    store_update(filled, 1, vault.update(row, {"email": None}, FINANCIAL))
    for _ in range(2):
        found = bytes_on_disk(filled)
        assert len(found) > 30_000
        assert not [canary for canary in canaries() if canary in found]
        truncate_log(filled)


def test_the_search_itself_finds_what_is_there(filled):
    with writing(filled) as connection:
        connection.execute(update(PERSON).where(PERSON.c.id == 1).values(choices=CANARIES["email"].text))
    assert any(canary in bytes_on_disk(filled) for canary in canaries())


def test_no_canary_is_in_any_column_of_any_table(store_engine, vault):
    with writing(store_engine) as connection:
        insert_person(connection, vault, 1)
    with reading(store_engine) as connection:
        rows = connection.execute(PERSON.select()).all()
    dumped = b"".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    assert not [canary for canary in canaries() if canary in dumped]


def test_erased_keys_and_record_are_in_no_page_and_no_log(filled):
    with reading(filled) as connection:
        row = whole_row(connection, 7)
    pieces = [row.keys, row.financial_keys, row.record[-120:-60], row.record[-60:], row.fingerprint]
    truncate_log(filled)
    assert all(piece in bytes_on_disk(filled) for piece in pieces)
    store_update(filled, 7, ERASED, state="erased")
    truncate_log(filled)
    found = bytes_on_disk(filled)
    assert not [piece for piece in (*pieces, row.keys[14:], row.keys[:40]) if piece in found]


def test_deleted_rows_are_overwritten(filled):
    with reading(filled) as connection:
        rows = [whole_row(connection, person_id) for person_id in PERSONS]
    with writing(filled) as connection:
        connection.execute(text("DELETE FROM person"))
    truncate_log(filled)
    found = bytes_on_disk(filled)
    assert not [row.id for row in rows if row.keys in found or row.record[-60:] in found]
