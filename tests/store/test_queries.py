"""Reading persons and re-wrapping their keys, on both stores."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

from broker.choices.rule import Stand
from broker.errors import Reason, SlussError
from broker.own_keys import choices
from broker.store import queries, tables
from broker.store.engine import reading, writing
from broker.store.queries import (
    BLIND_INDEX,
    CASE_KEYS,
    CONTRACT,
    EPOCH,
    PERSON,
    find_persons,
    persons_after,
    read_persons,
    rewrap_all,
)
from broker.vault import ERASED
from tests.support.persons import CANARIES, insert_person, whole_row

LARGEST_ID = (1 << 62) - 1


def insert_bare(engine, ids, state="active"):
    """Rows without a record, for questions about ids only."""
    row = {
        "state": state,
        "version": 1,
        "choices": "{}",
        "created_at": 1,
        "updated_at": 1,
        **ERASED._asdict(),
    }
    with writing(engine) as connection:
        connection.execute(insert(PERSON), [{"id": person_id, **row} for person_id in ids])


@pytest.mark.parametrize("asked", [0, 1, 2, 999, 1000, 1001, 2500])
def test_any_number_of_persons_is_read_whole(store_engine, asked):
    ids = [LARGEST_ID - 7 * step for step in range(2500)]
    insert_bare(store_engine, ids)
    with reading(store_engine) as connection:
        assert {row.id for row in read_persons(connection, ids[:asked])} == set(ids[:asked])


def test_unknown_and_repeated_ids_give_no_row_and_one_row(store_engine):
    insert_bare(store_engine, [5])
    with reading(store_engine) as connection:
        assert [row.id for row in read_persons(connection, [5, 5, 6, 0, -1])] == [5]


def test_rows_for_a_disclosure_open(store_engine, vault):
    with writing(store_engine) as connection:
        insert_person(connection, vault, 11, made={"marketing.own": {"*": Stand("out", 7)}})
    with reading(store_engine) as connection:
        (row,) = read_persons(connection, [11])
    values, _ = vault.open_for_disclosure(row, ["email"], allow_financial=False)
    assert (row.state, values) == ("active", {"email": CANARIES["email"].text})
    assert choices(vault, row) == {"marketing.own": {"*": ("out", 7)}}


def test_one_statement_serves_every_number_of_ids(store_engine):
    insert_bare(store_engine, range(1, 50))
    with reading(store_engine) as connection:
        cached = {}
        counted = connection.execution_options(compiled_cache=cached)
        for asked in (1, 2, 10, 49):
            read_persons(counted, list(range(1, asked + 1)))
    assert len(cached) == 1


def test_pages_cover_every_active_person_once_in_order(store_engine):
    insert_bare(store_engine, range(10, 500, 7))
    insert_bare(store_engine, range(11, 500, 70), state="erased")
    seen, last = [], 0
    with reading(store_engine) as connection:
        while page := persons_after(connection, last, 9):
            seen += [row.id for row in page]
            last = page[-1].id
    assert seen == list(range(10, 500, 7))


def test_persons_are_found_by_digest_of_the_right_kind(store_engine):
    with writing(store_engine) as connection:
        rows = [
            ("email", b"a" * 16, 3),
            ("email", b"a" * 16, 2),
            ("phone", b"a" * 16, 9),
            ("email", b"b" * 16, 8),
        ]
        connection.execute(insert(BLIND_INDEX), [dict(zip(("kind", "digest", "person"), r, strict=True)) for r in rows])
    with reading(store_engine) as connection:
        assert find_persons(connection, "email", b"a" * 16) == [2, 3]
        assert find_persons(connection, "email", b"c" * 16) == []


@pytest.fixture
def filled(store_engine, vault, monkeypatch):
    """Persons, one of them erased, a contract and an epoch, all wrapped under version 1; small pages."""
    monkeypatch.setattr(queries, "CHUNK", 2)
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
    assert rewrap_all(filled, vault) == 6
    assert rewrap_all(filled, vault) == 0
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


@pytest.mark.parametrize(("table", "column", "suffix"), CASE_KEYS, ids=lambda given: getattr(given, "name", given))
def test_rewrap_takes_the_keys_of_every_kind_of_case(store_engine, vault, key_provider, table, column, suffix):
    blank = {each.name: each.type.python_type() for each in table.columns}
    wrapped = vault.wrap_case_keys(f"X-2026-0001{suffix}", b"k" * 64)
    with writing(store_engine) as connection:
        connection.execute(insert(table).values({**blank, "id": "X-2026-0001", column: wrapped}))
    key_provider.rotate("records")
    assert rewrap_all(store_engine, vault) == 1
    assert rewrap_all(store_engine, vault) == 0
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
    others = {("person", "keys"), ("person", "financial_keys"), ("contract", "handle_key"), ("epoch", "secret")}
    assert found == others | {(table.name, column) for table, column, _ in CASE_KEYS}


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


def test_rewrap_stops_at_an_altered_key(filled, vault, key_provider):
    key_provider.rotate("records")
    with writing(filled) as connection:
        connection.execute(update(PERSON).where(PERSON.c.id == 3).values(keys=b"\x00\x01" + bytes(94)))
    with pytest.raises(SlussError) as caught:
        rewrap_all(filled, vault)
    assert caught.value.reason is Reason.INTERNAL


def test_queries_outside_a_working_store_are_unavailable(store_engine):
    with writing(store_engine) as connection:
        PERSON.drop(connection)
    for query in (partial(read_persons, ids=[1]), partial(persons_after, last_id=0, limit=1)):
        with pytest.raises(SlussError), reading(store_engine) as connection:
            query(connection)
