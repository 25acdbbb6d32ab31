"""Reading persons, on both stores."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import insert

from broker.choices.rule import Stand
from broker.errors import SlussError
from broker.own_keys import choices
from broker.store.engine import reading, writing
from broker.store.queries import (
    BLIND_INDEX,
    PERSON,
    find_persons,
    persons_after,
    read_persons,
)
from broker.vault import ERASED
from tests.support.persons import CANARIES, insert_person

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


def test_queries_outside_a_working_store_are_unavailable(store_engine):
    with writing(store_engine) as connection:
        PERSON.drop(connection)
    for query in (partial(read_persons, ids=[1]), partial(persons_after, last_id=0, limit=1)):
        with pytest.raises(SlussError), reading(store_engine) as connection:
            query(connection)
