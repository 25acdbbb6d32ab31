"""The ledger's writer on both stores: receipts, rollback, commits that fail in both forms, other processes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.entry import parse
from broker.ledger.log import Ledger
from broker.ledger.merkle import verify_consistency
from broker.ledger.receipt import verify_receipt
from broker.ledger.verify import verify_store
from broker.store.engine import StoreError
from tests.unit.ledger.world import ORIGIN, OTHER, SIGNER, VERIFIER, Now, disclosure, fill, new_ledger


def append(ledger, count=1):
    with ledger.transaction() as tx:
        entries = [disclosure(tx.size + i, at=tx.at) for i in range(count)]
        indices = [tx.append(data, persons=[7]) for data in entries]
    return tx, dict(zip(indices, entries, strict=True))


def check_whole(ledger, engine, size):
    """What must hold after everything that happens to a ledger."""
    report = verify_store(engine, VERIFIER)
    assert report.findings == []
    assert report.size == size
    assert open_checkpoint(ledger.latest(), VERIFIER).size == size
    for row in ledger.entries(0, 1000):
        verify_receipt(ledger.receipt(row.index), row.entry, VERIFIER)


@contextmanager
def failing_commit(engine, *, persisted):
    """The next commit fails, before or after the store has made it durable."""
    commit = engine.dialect.do_commit

    def fail(connection):
        if persisted:
            commit(connection)
        raise OperationalError("secret text of the driver", None, Exception("secret too"))

    engine.dialect.do_commit = fail
    try:
        yield
    finally:
        engine.dialect.do_commit = commit


def test_the_first_entry_names_the_ledger_and_is_made_once(store_engine):
    ledger = Ledger(store_engine, SIGNER, ORIGIN, Now())
    with pytest.raises(SlussError, match="LEDGER_UNAVAILABLE"), ledger.transaction():
        pass
    assert ledger.genesis()
    assert not ledger.genesis()
    assert not Ledger(store_engine, SIGNER, ORIGIN, Now()).genesis()
    assert parse(ledger.entry(0).entry)["origin"] == ORIGIN
    check_whole(ledger, store_engine, 1)


def test_receipts_verify_for_every_entry_of_a_commit_and_stay_good(store_engine):
    ledger = new_ledger(store_engine)
    kept = []
    for count in (1, 2, 253, 1, 300):
        tx, entries = append(ledger, count)
        kept += [(tx.receipt(index), data) for index, data in entries.items()]
        for index, data in entries.items():
            assert verify_receipt(tx.receipt(index), data, VERIFIER).size == tx.size
            assert verify_receipt(ledger.receipt(index), data, VERIFIER).size == tx.size
    for receipt, data in kept:
        verify_receipt(receipt, data, VERIFIER)
    check_whole(ledger, store_engine, 558)


def test_every_reply_can_carry_the_consistency_proof_from_any_size_seen(store_engine):
    ledger = new_ledger(store_engine)
    seen = [open_checkpoint(append(ledger, 90)[0].note, VERIFIER) for _ in range(6)]
    tx, _ = append(ledger)
    last = open_checkpoint(tx.note, VERIFIER)
    for old in seen:
        for proof in (tx.consistency(old.size), ledger.consistency(old.size)):
            verify_consistency(old.size, last.size, proof, old.root, last.root)
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        ledger.consistency(last.size + 1)


def test_an_exception_rolls_back_entries_and_the_callers_own_rows(store_engine):
    ledger = new_ledger(store_engine)
    append(ledger, 3)
    before = ledger.latest()

    def work(tx):
        tx.append(disclosure(9, at=tx.at), persons=[7])
        tx.bump_rights()
        tx.connection.execute(text("DELETE FROM ledger_tile"))
        kept.append(tx)
        raise ZeroDivisionError

    kept = []
    with pytest.raises(ZeroDivisionError):
        ledger.run(work)
    [tx] = kept
    assert ledger.latest() == before
    with pytest.raises(SlussError, match="INTERNAL"):
        tx.receipt(4)
    append(ledger, 3)
    check_whole(ledger, store_engine, 7)


@pytest.mark.parametrize("persisted", [True, False])
def test_after_a_failed_commit_the_ledger_goes_on_from_what_the_store_has(store_engine, persisted):
    ledger = new_ledger(store_engine)
    append(ledger, 300)
    with (
        failing_commit(store_engine, persisted=persisted),
        pytest.raises(StoreError) as caught,
        ledger.transaction() as tx,
    ):
        tx.append(disclosure(999, at=tx.at), persons=[7])
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert "secret" not in f"{caught.value} {caught.value.__cause__} {caught.value.detail}"
    with pytest.raises(SlussError, match="INTERNAL"):
        tx.receipt(301)
    assert append(ledger, 5)[0].size == 301 + persisted + 5
    check_whole(ledger, store_engine, 306 + persisted)


@pytest.mark.parametrize("persisted", [True, False])
def test_a_failed_commit_followed_by_another_process_forks_nothing(store_engine, persisted):
    ledger, other = new_ledger(store_engine), Ledger(store_engine, SIGNER, ORIGIN, Now())
    with failing_commit(store_engine, persisted=persisted), pytest.raises(StoreError):
        append(ledger)
    append(other)
    append(ledger, 2)
    check_whole(ledger, store_engine, 4 + persisted)


def test_two_ledgers_on_one_store_take_turns_and_agree(store_engine):
    one, two = new_ledger(store_engine), Ledger(store_engine, SIGNER, ORIGIN, Now())
    for count in (1, 5, 250, 3, 600, 2, 2600, 1):
        _, entries = append(one, count)
        for index in list(entries)[-3:]:
            verify_receipt(two.receipt(index), entries[index], VERIFIER)
        one, two = two, one
    check_whole(one, store_engine, 1 + 3462)


def test_threads_of_one_process_append_one_after_the_other(store_engine):
    ledger = new_ledger(store_engine)
    failures = []

    def work():
        try:
            for _ in range(10):
                tx, entries = append(ledger, 3)
                for index, data in entries.items():
                    verify_receipt(tx.receipt(index), data, VERIFIER)
        except SlussError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_whole(ledger, store_engine, 121)


def test_rights_and_contract_numbers_move_with_the_head_and_only_on_commit(store_engine):
    ledger = new_ledger(store_engine)
    with ledger.transaction() as tx:
        assert (tx.rights_at_start, tx.number_contract(), tx.number_contract()) == (0, 1, 2)
        tx.bump_rights()

    def fail(tx):
        assert (tx.rights_at_start, tx.number_contract()) == (1, 3)
        tx.bump_rights()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.run(fail)
    with ledger.transaction() as tx:
        assert (tx.head.rights, tx.head.contracts, tx.size) == (1, 2, 1)
    assert open_checkpoint(tx.note, VERIFIER).size == 1
    check_whole(ledger, store_engine, 1)


def test_a_transaction_without_entries_commits_the_callers_rows(store_engine):
    ledger = new_ledger(store_engine)
    with ledger.transaction() as tx:
        tx.connection.execute(text("INSERT INTO ledger_person (person, entry) VALUES (5, 0)"))
    with store_engine.connect() as connection:
        assert connection.execute(text("SELECT person FROM ledger_person")).scalars().all() == [5]


def test_search_columns_come_from_the_entry_and_a_contradiction_is_refused(store_engine):
    ledger = new_ledger(store_engine)
    with ledger.transaction() as tx:
        data = disclosure(1, at=tx.at)
        for wrong in ({"contract": "C-2026-0002"}, {"recipient": "subcontractor/other"}):
            with pytest.raises(SlussError, match="MALFORMED"):
                tx.append(data, **wrong)
        index = tx.append(data, contract="C-2026-0001", recipient="subcontractor/acme-pay", persons=[4, 4, 6])
    row = ledger.entry(index)
    assert (row.type, row.contract, row.recipient) == ("disclosure", "C-2026-0001", "subcontractor/acme-pay")
    assert [found.index for found in ledger.entries(0, 9, contract="C-2026-0001")] == [1]
    assert [found.index for found in ledger.entries(0, 9, type="genesis")] == [0]
    assert ledger.entries(0, 9, recipient="subcontractor/other") == []
    for unknown in (-1, 2):
        with pytest.raises(SlussError, match="ENTRY_UNKNOWN"):
            ledger.entry(unknown)


@pytest.mark.parametrize("data", [b"", b"{}", disclosure(persons=257), disclosure() + b" "])
def test_what_is_not_an_entry_is_not_appended(store_engine, data):
    ledger = new_ledger(store_engine)
    with pytest.raises(SlussError, match=r"MALFORMED|UNSUPPORTED"), ledger.transaction() as tx:
        tx.append(data)
    check_whole(ledger, store_engine, 1)


def test_an_entry_much_older_than_the_last_is_refused_whatever_the_clock_says(store_engine):
    ledger = new_ledger(store_engine)
    append(ledger)
    late = Ledger(store_engine, SIGNER, ORIGIN, lambda: 5)
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"), late.transaction() as tx:
        tx.append(disclosure(5, at=tx.at - 11 * SECOND))
    assert append(late)[0].at == ledger.entry(1).at
    check_whole(ledger, store_engine, 3)


def test_publishing_cosigns_each_size_once(store_engine):
    ledger = new_ledger(store_engine)
    assert ledger.published() is None
    first = ledger.publish()
    assert ledger.publish() == first == ledger.published()
    assert open_checkpoint(first, VERIFIER, cosigned=True).size == 1
    append(ledger)
    assert open_checkpoint(ledger.publish(), VERIFIER, cosigned=True).size == 2
    check_whole(ledger, store_engine, 2)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE head SET size = 100",
        "UPDATE head SET note = ''",
        "UPDATE head SET root = (SELECT hashes FROM ledger_tile WHERE level = 1)",
        "UPDATE ledger_tile SET hashes = (SELECT t.hashes FROM ledger_tile t WHERE t.id < t.level) WHERE id = 1",
        "DELETE FROM ledger_tile WHERE level = 1",
    ],
)
def test_a_damaged_store_is_never_built_on_nor_signed(store_engine, damage):
    fill(new_ledger(store_engine), 300)
    with store_engine.begin() as connection:
        connection.execute(text(damage))
    ledger = Ledger(store_engine, SIGNER, ORIGIN, Now())
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        append(ledger)


def test_a_head_signed_by_another_key_is_neither_built_on_nor_published(store_engine):
    ledger = new_ledger(store_engine)
    root = open_checkpoint(ledger.latest(), VERIFIER).root
    with store_engine.begin() as connection:
        connection.execute(text("UPDATE head SET note = :note"), {"note": OTHER.sign(1, root)})
    for attempt in (ledger.publish, lambda: append(ledger)):
        with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
            attempt()


def test_a_store_that_was_rolled_back_under_a_running_broker_is_refused(store_engine):
    ledger = new_ledger(store_engine)
    old = ledger.latest()
    append(ledger)
    root = open_checkpoint(old, VERIFIER).root
    with store_engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger_entry WHERE id = 1"))
        values = {"note": old, "root": root}
        connection.execute(text("UPDATE head SET size = 1, root = :root, note = :note"), values)
    with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
        append(ledger)


def test_run_tries_again_what_lost_against_another_and_only_that(store_engine):
    ledger = new_ledger(store_engine)
    tries = []

    def work(tx):
        tries.append(tx.append(disclosure(len(tries), at=tx.at), persons=[7]))
        if len(tries) < 3:
            raise StoreError(conflict=True)
        return tx

    tx = ledger.run(work)
    assert tries == [1, 1, 1]
    verify_receipt(tx.receipt(1), disclosure(2, at=tx.at), VERIFIER)

    def hopeless(tx):
        tries.append(0)
        raise StoreError(conflict=len(tries) > 4)

    with pytest.raises(StoreError):
        ledger.run(hopeless)
    assert len(tries) == 4
    with pytest.raises(StoreError):
        ledger.run(hopeless)
    assert len(tries) == 12
    check_whole(ledger, store_engine, 2)


def test_a_ledger_with_keys_of_another_origin_does_not_start(store_engine):
    with pytest.raises(SlussError, match="KEYS_UNAVAILABLE"):
        Ledger(store_engine, SIGNER, "example.com/other")


def test_an_index_taken_twice_is_unavailable_and_never_a_fork(store_engine):
    ledger = new_ledger(store_engine)
    append(ledger)
    with store_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ledger_entry SELECT 2, entry, type, contract, recipient, at FROM ledger_entry WHERE id = 1"
            )
        )
    with pytest.raises(StoreError):
        append(ledger)
    with store_engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger_entry WHERE id = 2"))
    append(ledger)
    check_whole(ledger, store_engine, 3)


def test_a_locked_store_is_answered_within_two_seconds_in_every_thread_and_heals(store_engine):
    ledger = new_ledger(store_engine)
    waits = []

    def work():
        started = time.monotonic()
        with pytest.raises(SlussError, match="LEDGER_UNAVAILABLE"):
            append(ledger)
        waits.append(time.monotonic() - started)

    with store_engine.begin() as connection:
        connection.execute(text("UPDATE head SET rights = rights"))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(waits) == 4
    assert max(waits) < 2
    append(ledger)
    check_whole(ledger, store_engine, 2)


def test_a_second_genesis_is_not_appended(store_engine):
    ledger = new_ledger(store_engine)
    second = ledger.entry(0).entry
    with pytest.raises(SlussError, match="MALFORMED"), ledger.transaction() as tx:
        tx.append(second)


def test_a_transaction_that_gets_no_turn_among_others_that_commit_hears_of_overload(store_engine):
    ledger = new_ledger(store_engine)
    stop = threading.Event()

    heard = set()

    def hog():
        while not stop.is_set():
            try:
                with ledger.transaction() as tx:
                    time.sleep(0.05)
                    tx.append(disclosure(tx.size, at=tx.at))
            except SlussError as error:
                heard.add(error.reason)

    hogs = [threading.Thread(target=hog) for _ in range(12)]
    for thread in hogs:
        thread.start()
    deadline = time.monotonic() + 10
    while not heard and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in hogs:
        thread.join()
    assert heard == {Reason.OVERLOADED}


def test_a_transaction_behind_one_that_hangs_hears_of_the_ledger(store_engine):
    ledger, let = new_ledger(store_engine), threading.Event()
    inside = threading.Event()

    def hang():
        with ledger.transaction():
            inside.set()
            let.wait(5)

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert inside.wait(5)
    with pytest.raises(StoreError):
        append(ledger)
    let.set()
    hanging.join()
