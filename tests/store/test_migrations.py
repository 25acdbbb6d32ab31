"""Migrations: they build exactly what the tables declare, once, however many brokers start at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import LargeBinary, text
from sqlmodel import SQLModel

from broker.errors import Reason, SlussError
from broker.store.engine import open_engine, reading, writing
from broker.store.migrations import check_revision, current_revision, migrate, newest_revision
from tests.support import postgres as postgres_support

ROOT = Path(__file__).parents[2]
STARTERS = 6
STARTER = """
import sys
from broker.store.engine import open_engine
from broker.store.migrations import check_revision, migrate
engine = open_engine(sys.argv[1])
sys.stdin.read(1)
migrate(engine)
check_revision(engine)
engine.dispose()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with postgres_support.empty_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def empty_engine(empty_url):
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


def test_migrations_build_what_the_tables_declare(store_engine):
    with reading(store_engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def schema(engine):
    with reading(engine) as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {name: re.sub(r"[\s\"]+", "", sql) for name, sql in rows if name != "alembic_version"}


def test_migrations_write_the_same_sqlite_schema_as_the_tables_to_the_letter(sqlite_engine, tmp_path):
    declared = open_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    with writing(declared) as connection:
        SQLModel.metadata.create_all(connection)
    expected, found = schema(declared), schema(sqlite_engine)
    declared.dispose()
    assert found == expected


def test_no_key_comes_from_a_sequence_and_no_default_from_the_server(postgres_engine):
    columns = "information_schema.columns WHERE table_schema = 'public' AND column_default <> ''"
    with reading(postgres_engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_sequences")).scalar_one() == 0
        assert connection.execute(text(f"SELECT count(*) FROM {columns}")).scalar_one() == 0


def test_postgresql_samples_no_content(postgres_engine):
    """Whatever is kept as bytes and never looked up by: a sample of it would stay after an erasure."""
    wanted = {("choice", "evidence"), ("person", "accepted"), ("person", "choices")}
    for name, table in SQLModel.metadata.tables.items():
        looked_up = {column for index in (*table.indexes, table.primary_key) for column in index.columns}
        wanted |= {
            (name, column.name)
            for column in table.columns
            if isinstance(column.type, LargeBinary) and column not in looked_up
        }
    query = (
        "SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attstattarget = 0"
    )
    with reading(postgres_engine) as connection:
        assert {tuple(row) for row in connection.execute(text(query))} == wanted


def test_samples_of_before_go_with_the_migration_and_erasures_are_scrubbed_again(postgres_engine):
    with writing(postgres_engine) as connection:
        connection.execute(text("ALTER TABLE person ALTER COLUMN choices SET STATISTICS 100"))
        for number in range(2):
            connection.execute(
                text(
                    "INSERT INTO person (id, state, version, keys, financial_keys, record, choices, fingerprint, "
                    "created_at, updated_at) VALUES (:id, '', 0, '', '', '', :choices, '', 0, 0)"
                ),
                {"id": number, "choices": f"choices of {number}"},
            )
        connection.execute(text("INSERT INTO erasure VALUES (1, 1, 'R-2026-0001', 1, 7)"))
        connection.execute(text("DROP INDEX ledger_person_entry"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0012'"))
        connection.execute(text("ANALYZE person"))
    samples = text("SELECT count(*) FROM pg_stats WHERE tablename = 'person' AND attname = 'choices'")
    with reading(postgres_engine) as connection:
        assert connection.execute(samples).scalar_one() == 1
    migrate(postgres_engine)
    with writing(postgres_engine) as connection:
        connection.execute(text("ANALYZE person"))
    with reading(postgres_engine) as connection:
        assert connection.execute(samples).scalar_one() == 0
        assert connection.execute(text("SELECT scrubbed_at FROM erasure")).scalar_one() == 0


def test_many_brokers_starting_at_once_migrate_once(empty_url, empty_engine):
    command = [sys.executable, "-W", "error", "-c", STARTER, empty_url]
    starters = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(STARTERS)
    ]
    for starter in starters:
        starter.stdin.write("x")
        starter.stdin.flush()
    outcomes = [(starter.communicate(timeout=60)[1], starter.returncode) for starter in starters]
    assert outcomes == [("", 0)] * STARTERS
    assert current_revision(empty_engine) == newest_revision()


def test_migrating_again_changes_nothing(store_engine):
    migrate(store_engine)
    check_revision(store_engine)


def test_empty_database_is_refused_and_the_cure_named(empty_engine):
    assert current_revision(empty_engine) == ""
    with pytest.raises(SlussError, match=f"at revision none, this broker needs {newest_revision()}") as caught:
        check_revision(empty_engine)
    assert caught.value.reason is Reason.UNSUPPORTED_VERSION


@pytest.mark.parametrize("step", [check_revision, migrate])
def test_database_of_a_newer_broker_is_refused_by_name_and_left_alone(store_engine, step):
    with writing(store_engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SlussError, match="at revision 9999, which this broker does not know") as caught:
        step(store_engine)
    assert caught.value.reason is Reason.UNSUPPORTED_VERSION
    assert current_revision(store_engine) == "9999"


def test_migration_that_fails_leaves_nothing_behind(empty_engine, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("half way")

    monkeypatch.setattr("alembic.op.create_index", fail)
    with pytest.raises(RuntimeError, match="half way"):
        migrate(empty_engine)
    monkeypatch.undo()
    assert current_revision(empty_engine) == ""
    migrate(empty_engine)
    check_revision(empty_engine)
