"""Both stores: durable commits, readers beside writers, and an answer within 2 s whatever happens."""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError

from broker.errors import Reason, SlussError
from broker.store import tables
from broker.store.engine import StoreError, open_engine, reading, store_errors, truncate_log, writing

HEAD = tables.Head.__table__
POLICY = tables.PolicyVersion.__table__
ROW = {"id": 1, "size": 0, "root": b"r", "note": "", "rights": 0, "contracts": 0}
LIMIT_S = 2.0


@contextmanager
def unavailable_in_time():
    """The block fails with LEDGER_UNAVAILABLE, within 2 s, and says nothing that the driver said."""
    started = time.monotonic()
    with pytest.raises(SlussError) as caught:
        yield
    assert time.monotonic() - started < LIMIT_S
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert caught.value.__cause__ is None
    assert caught.value.detail == "the ledger can't be written: nothing has left the broker, retry later"


@contextmanager
def locked_head(engine):
    """Another transaction holds the head row."""
    with writing(engine) as connection:
        connection.execute(select(HEAD).where(HEAD.c.id == 1).with_for_update())
        yield


@pytest.fixture
def store(store_engine):
    with writing(store_engine) as connection:
        connection.execute(insert(HEAD).values(**ROW))
    return store_engine


def rights(engine):
    with reading(engine) as connection:
        return connection.execute(select(HEAD.c.rights)).scalar_one()


def set_rights(engine, count):
    with writing(engine) as connection:
        connection.execute(select(HEAD).where(HEAD.c.id == 1).with_for_update())
        connection.execute(update(HEAD).values(rights=count))


def divide_by_zero_after(_done):
    raise ZeroDivisionError


def test_committed_is_seen_and_rolled_back_is_not(store):
    set_rights(store, 7)
    with pytest.raises(ZeroDivisionError), writing(store) as connection:
        divide_by_zero_after(connection.execute(update(HEAD).values(rights=8)))
    assert rights(store) == 7


def test_writing_in_a_reading_block_is_refused(store):
    with pytest.raises(SlussError), reading(store) as connection:
        connection.execute(update(HEAD).values(rights=9))
    assert rights(store) == 0
    set_rights(store, 1)
    assert rights(store) == 1


def test_readers_do_not_wait_for_a_writer_and_see_what_is_committed(store):
    with locked_head(store):
        started = time.monotonic()
        assert rights(store) == 0
        assert time.monotonic() - started < 0.5


def test_a_reading_transaction_is_of_one_moment_and_the_next_sees_what_came_meanwhile(store):
    for count in range(1, 4):
        with reading(store) as connection:
            before = connection.execute(select(HEAD.c.rights)).scalar_one()
            set_rights(store, count)
            assert connection.execute(select(HEAD.c.rights)).scalar_one() == before == count - 1
        assert rights(store) == count


def test_a_writer_that_waited_for_the_head_sees_what_its_holder_committed(postgres_engine):
    with writing(postgres_engine) as connection:
        connection.execute(insert(HEAD).values(**ROW))
    assert rights(postgres_engine) == 0  # its connection is used again by a writer

    def add():
        with writing(postgres_engine) as connection:
            connection.execute(select(POLICY)).all()
            seen = connection.execute(select(HEAD.c.rights).where(HEAD.c.id == 1).with_for_update()).scalar_one()
            connection.execute(update(HEAD).values(rights=seen + 1))

    with locked_head(postgres_engine):
        waiting = [threading.Thread(target=add) for _ in range(4)]
        for thread in waiting:
            thread.start()
        time.sleep(0.1)
    for thread in waiting:
        thread.join()
    assert rights(postgres_engine) == 4


def test_locked_head_is_reported_within_two_seconds(store):
    with locked_head(store), unavailable_in_time():
        set_rights(store, 1)
    set_rights(store, 2)
    assert rights(store) == 2


def test_exhausted_pool_is_reported_within_two_seconds(store_url):
    engine = open_engine(store_url, pool_size=1)
    held = [engine.connect() for _ in range(3)]
    try:
        with unavailable_in_time(), reading(engine):
            pass
    finally:
        for connection in held:
            connection.close()
        engine.dispose()


def test_row_that_is_there_already_is_an_integrity_error_without_values(store):
    twice = [{"id": "canary-zq7", "effective_at": 1, "digest": b"canary"}] * 2
    with pytest.raises(IntegrityError) as caught, writing(store) as connection:
        connection.execute(insert(POLICY), twice)
    assert "[SQL parameters hidden" in str(caught.value)


def test_statement_that_makes_no_sense_is_no_outage(store):
    with pytest.raises(SlussError) as caught, store_errors():
        raise ProgrammingError("select canary", {}, Exception("canary"))
    assert caught.value.reason is Reason.INTERNAL
    assert "canary" not in str(caught.value)


def test_what_is_logged_is_a_type_and_a_code(store, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(SlussError), writing(store) as connection:
        connection.execute(text("select canary_zq7 from nowhere_zq7"))
    assert "zq7" not in caplog.text
    assert "store failed" in caplog.text


def test_writers_of_many_threads_lose_no_update(store):
    def add():
        for _ in range(20):
            with writing(store) as connection:
                found = connection.execute(select(HEAD.c.rights).with_for_update()).scalar_one()
                connection.execute(update(HEAD).values(rights=found + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rights(store) == 80


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://localhost/x",
        "postgresql+psycopg2://x/y",
        "sqlite+aiosqlite:///x",
    ],
)
def test_other_stores_are_refused(url):
    with pytest.raises(SlussError) as caught:
        open_engine(url)
    assert caught.value.reason is Reason.INVALID_REQUEST


# SQLite.


def database_path(engine):
    return Path(engine.url.database)


def test_sqlite_file_and_its_logs_are_for_the_owner_alone(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with writing(engine) as connection:
        connection.execute(text("create table t (x)"))
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["new.db", "new.db-shm", "new.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    engine.dispose()


def test_sqlite_is_set_for_durability_and_overwrites_what_is_deleted(sqlite_engine):
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "busy_timeout": 1500,
    }
    with reading(sqlite_engine) as connection:
        for name, value in wanted.items():
            assert connection.execute(text(f"PRAGMA {name}")).scalar_one() == value


def test_sqlite_path_may_hold_any_characters(tmp_path):
    path = tmp_path / "a b?mode=memory&#%41.db"
    engine = open_engine(f"sqlite:///{str(path).replace('?', '%3F')}")
    with writing(engine) as connection:
        connection.execute(text("create table t (x)"))
    engine.dispose()
    assert len(list(tmp_path.glob("a b*.db"))) == 1


def test_sqlite_file_that_can_not_be_made_is_reported(tmp_path):
    with unavailable_in_time():
        open_engine(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}")


@pytest.mark.parametrize("replaced", [False, True])
def test_sqlite_file_that_has_gone_is_noticed_and_not_made_anew(sqlite_engine, replaced):
    path = database_path(sqlite_engine)
    with writing(sqlite_engine) as connection:
        connection.execute(insert(HEAD).values(**ROW))
    path.rename(path.with_suffix(".away"))
    if replaced:
        path.write_bytes(path.with_suffix(".away").read_bytes())
        path.chmod(0o600)
    with unavailable_in_time():
        set_rights(sqlite_engine, 1)
    if not replaced:
        with unavailable_in_time():
            rights(sqlite_engine)
        assert not path.exists()
        path.with_suffix(".away").rename(path)
        set_rights(sqlite_engine, 3)
        assert rights(sqlite_engine) == 3


def test_full_disk_is_reported_and_leaves_the_store_as_it_was(sqlite_engine):
    with writing(sqlite_engine) as connection:
        connection.execute(insert(HEAD).values(**ROW))
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()

    @event.listens_for(sqlite_engine, "begin")
    def fill(connection):
        connection.connection.driver_connection.execute(f"PRAGMA max_page_count={pages}")

    with unavailable_in_time(), writing(sqlite_engine) as connection:
        connection.execute(update(HEAD).values(rights=5))
        connection.execute(insert(POLICY).values(id="x" * 100_000, effective_at=1, digest=b""))
    assert rights(sqlite_engine) == 0


def test_read_only_store_is_reported(sqlite_engine):
    @event.listens_for(sqlite_engine, "begin")
    def make_read_only(connection):
        connection.connection.driver_connection.execute("PRAGMA query_only=ON")  # a mode would not stop root

    with unavailable_in_time():
        set_rights(sqlite_engine, 1)


def test_damaged_file_is_reported(sqlite_engine):
    truncate_log(sqlite_engine)
    sqlite_engine.dispose()
    database_path(sqlite_engine).write_bytes(b"no database" * 1000)
    with unavailable_in_time():
        rights(sqlite_engine)


def test_truncated_log_is_empty_and_a_busy_one_is_reported(sqlite_engine):
    with writing(sqlite_engine) as connection:
        connection.execute(insert(HEAD).values(**ROW))
    wal = Path(f"{database_path(sqlite_engine)}-wal")
    assert wal.stat().st_size > 0
    with reading(sqlite_engine) as connection:
        connection.execute(select(HEAD)).all()
        set_rights(sqlite_engine, 1)
        with unavailable_in_time():
            truncate_log(sqlite_engine)
    truncate_log(sqlite_engine)
    assert wal.stat().st_size == 0


# PostgreSQL.


def test_postgres_session_is_durable_and_bounded(postgres_engine):
    wanted = {
        "synchronous_commit": "on",
        "statement_timeout": "1500ms",
        "lock_timeout": "1500ms",
    }
    for block, isolation, read_only in ((reading, "repeatable read", "on"), (writing, "read committed", "off")) * 2:
        told = wanted | {"transaction_isolation": isolation, "transaction_read_only": read_only}
        with block(postgres_engine) as connection:
            for name, value in told.items():
                assert connection.execute(text(f"SHOW {name}")).scalar_one() == value


def test_slow_statement_is_given_up_and_the_connection_stays_good(postgres_engine):
    with reading(postgres_engine) as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with unavailable_in_time(), reading(postgres_engine) as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
    with reading(postgres_engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == before


def test_server_process_that_hangs_is_given_up_and_its_connection_never_used_again(postgres_engine):
    with reading(postgres_engine) as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    os.kill(backend, signal.SIGSTOP)
    try:
        with unavailable_in_time(), reading(postgres_engine) as connection:
            connection.execute(text("SELECT 1"))
        with reading(postgres_engine) as connection:
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != backend
    finally:
        os.kill(backend, signal.SIGCONT)


def test_server_that_accepts_and_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_engine(f"postgresql+psycopg://x@127.0.0.1:{silent.getsockname()[1]}/x")
        with unavailable_in_time(), reading(engine):
            pass
        engine.dispose()


def test_server_that_is_not_there_is_reported():
    engine = open_engine("postgresql+psycopg://x@127.0.0.1:1/x")
    with unavailable_in_time(), writing(engine):
        pass
    engine.dispose()


def test_connection_that_the_server_ended_is_reported_once_and_replaced(postgres_engine, postgres_url):
    with reading(postgres_engine) as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = open_engine(postgres_url)
    with reading(other) as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 1000)"), {"pid": backend})
    other.dispose()
    with unavailable_in_time(), reading(postgres_engine) as connection:
        connection.execute(text("SELECT 1"))
    with reading(postgres_engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != backend


def test_deadlock_is_named_a_conflict(postgres_engine):
    with writing(postgres_engine) as connection:
        connection.execute(insert(POLICY), [{"id": name, "effective_at": 0, "digest": b""} for name in "ab"])
    meet = threading.Barrier(2)
    failures = []

    def cross(first, second):
        try:
            with writing(postgres_engine) as connection:
                connection.execute(update(POLICY).where(POLICY.c.id == first).values(effective_at=1))
                meet.wait(5)
                connection.execute(update(POLICY).where(POLICY.c.id == second).values(effective_at=1))
        except StoreError as error:
            failures.append(error.conflict)

    threads = [threading.Thread(target=cross, args=pair) for pair in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [True]
