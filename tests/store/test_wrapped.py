"""Wrapped keys in the store: under the newest versions after a rotation, and counted, on both stores."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import insert, select, text, update
from sqlmodel import SQLModel

from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.keeping import PRIVATE
from broker.keys.provider import EPOCHS, FINANCIAL, RECORDS
from broker.ledger.rows import HeadRow, insert_head, read_head
from broker.store import tables, wrapped
from broker.store.engine import reading, writing
from broker.store.queries import CONTRACT, EPOCH, PERSON
from broker.store.wrapped import PLACES, counted, rewrap_all
from broker.vault import ERASED
from tests.support.persons import CANARIES, insert_person, whole_row

CASES = [
    (place.table, column, PRIVATE if column == "private_keys" else "")
    for place in PLACES
    for column in place.columns
    if place.table not in (PERSON, CONTRACT, EPOCH)
]
"""Table, column, and what follows the row's id in the name that the keys are bound to."""


@pytest.fixture
def filled(store_engine, vault, monkeypatch):
    """Persons, one of them erased, a contract and an epoch, all wrapped under version 1; small pages."""
    monkeypatch.setattr(wrapped, "CHUNK", 2)
    with writing(store_engine) as connection:
        for person_id in range(1, 6):
            insert_person(connection, vault, person_id)
        connection.execute(update(PERSON).where(PERSON.c.id == 4).values(state="erased", **ERASED._asdict()))
        contract = tables.Contract(
            id="C-2026-0001",
            subcontractor="subcontractor/a",
            state="active",
            version=1,
            proposed=1,
            handle_key=vault.wrap_handle_key("C-2026-0001", b"h" * 32),
            reason="",
            etag=1,
            updated_at=1,
        )
        connection.execute(insert(CONTRACT).values(**contract.model_dump()))
        secret = vault.wrap_epoch(b"e" * 16, b"s" * 32)
        epoch = tables.Epoch(
            id=b"e" * 16, contract="C-2026-0001", key=b"", secret=secret, encapsulation=b"", started_at=1
        )
        connection.execute(insert(EPOCH).values(**epoch.model_dump()))
    return store_engine


def test_rewrap_brings_every_key_to_the_newest_version_and_ends(filled, vault, key_provider):
    for ring in ("records", "financial", "epochs"):
        key_provider.rotate(ring)
    assert rewrap_all(filled, vault).changed == 6
    assert rewrap_all(filled, vault).changed == 0
    with reading(filled) as connection:
        for person_id in (1, 2, 3, 5):
            row = whole_row(connection, person_id)
            assert row.keys[:2] == row.financial_keys[:2] == b"\x00\x02"
            assert vault.open_record(row) == CANARIES
        erased = whole_row(connection, 4)
        assert (erased.keys, erased.financial_keys) == (b"", b"")
        handle_key = connection.execute(select(CONTRACT.c.handle_key)).scalar_one()
        secret = connection.execute(select(EPOCH.c.secret)).scalar_one()
    assert (handle_key[:2], secret[:2]) == (b"\x00\x02", b"\x00\x02")
    assert vault.unwrap_handle_key("C-2026-0001", handle_key) == b"h" * 32
    assert vault.unwrap_epoch(b"e" * 16, secret) == b"s" * 32


@pytest.mark.parametrize(("table", "column", "suffix"), CASES, ids=lambda given: getattr(given, "name", given))
def test_rewrap_takes_the_keys_of_every_kind_of_case(store_engine, vault, key_provider, table, column, suffix):
    blank = {each.name: each.type.python_type() for each in table.columns}
    kept = vault.wrap_case_keys(f"X-2026-0001{suffix}", b"k" * 64)
    with writing(store_engine) as connection:
        connection.execute(insert(table).values({**blank, "id": "X-2026-0001", column: kept}))
    key_provider.rotate("records")
    assert rewrap_all(store_engine, vault).changed == 1
    assert rewrap_all(store_engine, vault).changed == 0
    with reading(store_engine) as connection:
        fresh = connection.execute(select(table.c[column])).scalar_one()
    assert fresh[:2] == b"\x00\x02"
    assert vault.unwrap_case_keys(f"X-2026-0001{suffix}", fresh) == b"k" * 64


def test_rewrap_forgets_no_column_with_wrapped_keys():
    found = {
        (table.name, column.name)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("keys") or column.name in {"handle_key", "secret"}
    }
    assert found == {(place.table.name, column) for place in PLACES for column in place.columns}


def test_rewrap_never_brings_back_a_person_erased_meanwhile(filled, vault, key_provider, monkeypatch):
    key_provider.rotate("records")
    rewrap = vault.rewrap

    def erase_then_rewrap(row):
        if row.id == 2:
            with writing(filled) as connection:
                connection.execute(update(PERSON).where(PERSON.c.id == 2).values(state="erased", **ERASED._asdict()))
        return rewrap(row)

    monkeypatch.setattr(vault, "rewrap", erase_then_rewrap)
    rewrap_all(filled, vault)
    with reading(filled) as connection:
        assert whole_row(connection, 2).keys == b""


def test_a_key_that_changes_meanwhile_stays_as_it_then_is(filled, vault, key_provider, monkeypatch):
    key_provider.rotate("records")
    rewrap, others = vault.rewrap, iter([b"\x00\x01" + bytes(94)])

    def change_then_rewrap(row):
        fresh = rewrap(row)
        if row.id == 2 and (changed := next(others, b"")):
            with writing(filled) as connection:
                connection.execute(update(PERSON).where(PERSON.c.id == 2).values(keys=changed))
        return fresh

    monkeypatch.setattr(vault, "rewrap", change_then_rewrap)
    rewrap_all(filled, vault)
    with reading(filled) as connection:
        assert whole_row(connection, 2).keys == b"\x00\x01" + bytes(94)
    assert rewrap_all(filled, vault).broken == [person_text(2)]


def test_an_altered_key_is_named_stays_and_keeps_no_other_from_moving(filled, vault, key_provider):
    key_provider.rotate("records")
    key_provider.rotate("epochs")
    altered = b"\x00\x01" + bytes(94)
    with writing(filled) as connection:
        connection.execute(update(PERSON).where(PERSON.c.id == 3).values(keys=altered))
        connection.execute(update(EPOCH).values(secret=altered[:62]))
    done = rewrap_all(filled, vault)
    assert (done.changed, done.broken) == (4, [person_text(3), f"epoch {b'e'.hex() * 16}"])
    with reading(filled) as connection:
        assert whole_row(connection, 3).keys == altered
    assert counted(filled)[RECORDS] == {1: 1, 2: 4}


def test_a_ring_that_can_not_be_had_ends_the_run(filled, vault, key_provider, tmp_path):
    key_provider.rotate("records")
    (tmp_path / "keys.json").unlink()
    with pytest.raises(SlussError) as caught:
        rewrap_all(filled, vault)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_keys_are_counted_by_ring_and_version(filled, vault, key_provider):
    before = {RECORDS: {1: 5}, FINANCIAL: {1: 4}, EPOCHS: {1: 1}}
    assert counted(filled) == before
    key_provider.rotate("financial")
    with writing(filled) as connection:
        insert_person(connection, vault, 6)
    assert counted(filled) == {**before, RECORDS: {1: 6}, FINANCIAL: {1: 4, 2: 1}}
    rewrap_all(filled, vault)
    assert counted(filled) == {**before, RECORDS: {1: 6}, FINANCIAL: {2: 5}}


def test_whoever_holds_the_heads_lock_is_waited_for_and_never_blocked(postgres_engine, vault, key_provider):
    """A broker that changes several persons, in an order of its own: the two would deadlock over the rows.

    On PostgreSQL alone: SQLite has one writer at a time.
    """
    with writing(postgres_engine) as connection:
        insert_head(connection, HeadRow(0, b"", "", 0, 0))
        for person_id in (1, 2):
            insert_person(connection, vault, person_id)
    key_provider.rotate("records")
    done = []
    with writing(postgres_engine) as connection:
        read_head(connection, lock=True)
        connection.execute(update(PERSON).where(PERSON.c.id == 2).values(version=7))
        rewrapping = threading.Thread(target=lambda: done.append(rewrap_all(postgres_engine, vault)))
        rewrapping.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with reading(postgres_engine) as watching:
            while not watching.execute(waiting).scalar_one():
                time.sleep(0.01)
        connection.execute(update(PERSON).where(PERSON.c.id == 1).values(version=7))
    rewrapping.join()
    assert done[0].changed == 2
