"""Verification finds every way of tampering with the stored rows, and names the entry."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from broker.clock import SECOND
from broker.errors import SlussError
from broker.ledger import companions, entry, rows, sources
from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.findings import MAX_FINDINGS, Kind
from broker.ledger.merkle import leaf_hash
from broker.ledger.shapes import ONE_PERSON
from broker.ledger.tiles import Tree
from broker.ledger.verify import verify_store
from tests.unit.ledger.world import ORIGIN, OTHER, SIGNER, START, VERIFIER, disclosure, every_type, fill, new_ledger

SIZE = 701


@pytest.fixture
def ledger(store_engine):
    ledger = new_ledger(store_engine)
    fill(ledger, SIZE - 1)
    return ledger


def change(engine, statement, **values):
    with engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount > 0


def found(engine, checkpoint=None):
    report = verify_store(engine, VERIFIER, checkpoint)
    return {(finding.kind, finding.index) for finding in report.findings}


def forged(index):
    return disclosure(index, at=1_795_473_237_000_000, purpose="partners.email")


def rewrite(engine, index, data):
    """Change an entry and everything that follows from it but the signatures, as an attacker without keys can."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger_entry SET entry = :d WHERE id = :i"), {"d": data, "i": index})
        said = entry.columns(entry.parse(data))
        connection.execute(text("UPDATE ledger_entry SET at = :at WHERE id = :i"), {"at": said.at, "i": index})
        rows = connection.execute(text("SELECT entry FROM ledger_entry ORDER BY id")).scalars().all()
        tree = Tree(None)
        tree.append([leaf_hash(bytes(row)) for row in rows])
        for (level, tile), hashes in tree.dirty_tiles().items():
            values = {"h": hashes, "l": level, "t": tile}
            connection.execute(text("UPDATE ledger_tile SET hashes = :h WHERE level = :l AND id = :t"), values)
    return tree.root()


def test_an_untouched_ledger_verifies_and_agrees_with_every_checkpoint(ledger, store_engine):
    report = verify_store(store_engine, VERIFIER, ledger.latest())
    assert report.ok
    assert (report.size, report.checkpoints) == (SIZE, 8)
    assert report.root == open_checkpoint(ledger.latest(), VERIFIER).root


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 700])
def test_an_altered_entry_is_named(ledger, store_engine, index):
    change(store_engine, "UPDATE ledger_entry SET entry = :d WHERE id = :i", d=forged(index), i=index)
    assert (Kind.ALTERED, index) in found(store_engine)
    assert not {kind for kind, _ in found(store_engine)} & {Kind.TILE, Kind.ROOT, Kind.CHECKPOINT}


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"x" * 70_000])
def test_an_entry_replaced_by_rubbish_is_named(ledger, store_engine, data):
    change(store_engine, "UPDATE ledger_entry SET entry = :d WHERE id = 300", d=data)
    assert {(Kind.ALTERED, 300), (Kind.MALFORMED, 300)} <= found(store_engine)


@pytest.mark.parametrize("index", [0, 100, 256, 600])
def test_a_deleted_entry_is_named(ledger, store_engine, index):
    change(store_engine, "DELETE FROM ledger_entry WHERE id = :i", i=index)
    assert found(store_engine) == {(Kind.MISSING, index)}


@pytest.mark.parametrize(("one", "two"), [(3, 4), (255, 256), (10, 700)])
def test_two_swapped_entries_are_both_named(ledger, store_engine, one, two):
    for was, to in ((one, -7), (two, one), (-7, two)):
        change(store_engine, "UPDATE ledger_entry SET id = :t WHERE id = :w", w=was, t=to)
    assert {(Kind.SWAPPED, one), (Kind.SWAPPED, two)} <= found(store_engine)


@pytest.mark.parametrize("keep", [0, 1, 256, 512, 700])
def test_a_truncated_ledger_is_found_with_the_first_entry_that_is_gone(ledger, store_engine, keep):
    change(store_engine, "DELETE FROM ledger_entry WHERE id >= :k", k=keep)
    assert found(store_engine) == {(Kind.TRUNCATED, keep)}


@pytest.mark.parametrize("index", [-1, SIZE, 10_000])
def test_an_entry_beyond_the_ledger_is_found(ledger, store_engine, index):
    change(
        store_engine,
        f"INSERT INTO ledger_entry SELECT {index}, entry, type, contract, recipient, at FROM ledger_entry WHERE id = 5",
    )
    assert {kind for kind, _ in found(store_engine)} == {Kind.EXTRA}


@pytest.mark.parametrize(
    ("column", "value"), [("type", "refusal"), ("contract", ""), ("recipient", "internal/x"), ("at", 5)]
)
@pytest.mark.parametrize("index", [1, 256, 700])
def test_every_altered_search_column_is_named(ledger, store_engine, column, value, index):
    change(store_engine, f"UPDATE ledger_entry SET {column} = :v WHERE id = :i", v=value, i=index)
    report = verify_store(store_engine, VERIFIER)
    assert [(f.kind, f.index) for f in report.findings] == [(Kind.COLUMN, index)]
    assert f"column {column} of entry {index} " in report.findings[0].message


@pytest.mark.parametrize(("level", "tile"), [(0, 0), (0, 1), (0, 2), (1, 0)])
@pytest.mark.parametrize("how", ["altered", "short", "long", "gone"])
def test_every_altered_tile_is_named_and_the_entries_stand(ledger, store_engine, level, tile, how):
    where = f"WHERE level = {level} AND id = {tile}"
    with store_engine.connect() as connection:
        data = bytes(connection.execute(text(f"SELECT hashes FROM ledger_tile {where}")).scalar_one())
    new = {"altered": bytes(32) + data[32:], "short": data[:-32], "long": data + bytes(32)}
    if how == "gone":
        change(store_engine, f"DELETE FROM ledger_tile {where}")
    else:
        change(store_engine, f"UPDATE ledger_tile SET hashes = :d {where}", d=new[how])
    report = verify_store(store_engine, VERIFIER)
    assert {finding.kind for finding in report.findings} == {Kind.TILE}
    assert f"tile {level}/{tile} " in report.findings[0].message
    assert report.root == open_checkpoint(ledger.latest(), VERIFIER).root


@pytest.mark.parametrize("column", ["level", "id"])
def test_a_tile_moved_elsewhere_is_found_in_both_places(ledger, store_engine, column):
    change(store_engine, f"UPDATE ledger_tile SET {column} = 7 WHERE level = 0 AND id = 1")
    assert {kind for kind, _ in found(store_engine)} == {Kind.TILE, Kind.EXTRA}


def test_an_altered_entry_and_an_altered_tile_elsewhere_are_told_apart(ledger, store_engine):
    change(store_engine, "UPDATE ledger_entry SET entry = :d WHERE id = 7", d=forged(7))
    change(store_engine, "UPDATE ledger_tile SET hashes = :h WHERE level = 0 AND id = 1", h=bytes(8192))
    assert {(Kind.ALTERED, 7), (Kind.TILE, 256)} <= found(store_engine)
    assert (Kind.ALTERED, 256) not in found(store_engine)


@pytest.mark.parametrize("index", [3, 260, 650])
def test_entry_and_tiles_rewritten_alike_contradict_the_signed_head(ledger, store_engine, index):
    rewrite(store_engine, index, forged(index))
    kinds = found(store_engine)
    # Checkpoints stand at 101, 201, ...: the last good one bounds where the first rewritten entry is.
    good = index // 100 * 100 + 1 if index > 100 else 0
    assert {(Kind.ROOT, good), (Kind.CHECKPOINT, good)} <= kinds
    assert Kind.ALTERED not in {kind for kind, _ in kinds}


def test_a_forged_head_over_a_rewritten_tree_is_found(ledger, store_engine):
    root = rewrite(store_engine, 650, forged(650))
    note = OTHER.sign(SIZE, root)
    change(store_engine, "UPDATE head SET root = :r, note = :n", r=root, n=note)
    assert (Kind.HEAD, None) in found(store_engine)
    assert (Kind.CHECKPOINT, 601) in found(store_engine)


@pytest.mark.parametrize(
    ("column", "value"), [("size", 700), ("size", SIZE + 1), ("root", bytes(32)), ("note", ""), ("note", "x\n1\n")]
)
def test_every_signed_column_of_the_head_is_checked(ledger, store_engine, column, value):
    change(store_engine, f"UPDATE head SET {column} = :v", v=value)
    assert {kind for kind, _ in found(store_engine)} == {Kind.HEAD}


def test_a_missing_head_is_found(ledger, store_engine):
    change(store_engine, "DELETE FROM head")
    assert found(store_engine) == {(Kind.HEAD, None)}


def roll_back(engine, size, *, checkpoints=True):
    """Bring the whole store back to a published size, note and all: every signature in it is good."""
    with engine.begin() as connection:
        note = connection.execute(text("SELECT note FROM ledger_checkpoint WHERE size = :s"), {"s": size}).scalar_one()
        rows = connection.execute(text("SELECT entry FROM ledger_entry ORDER BY id")).scalars().all()
        connection.execute(text("DELETE FROM ledger_entry WHERE id >= :s"), {"s": size})
        connection.execute(text("DELETE FROM ledger_person WHERE entry >= :s"), {"s": size})
        if checkpoints:
            connection.execute(text("DELETE FROM ledger_checkpoint WHERE size > :s"), {"s": size})
        connection.execute(text("DELETE FROM ledger_tile"))
        tree = Tree(None)
        tree.append([leaf_hash(bytes(row)) for row in rows[:size]])
        for (level, tile), hashes in tree.dirty_tiles().items():
            values = {"h": hashes, "l": level, "t": tile}
            connection.execute(text("INSERT INTO ledger_tile (level, id, hashes) VALUES (:l, :t, :h)"), values)
        values = {"s": size, "r": tree.root(), "n": note}
        connection.execute(text("UPDATE head SET size = :s, root = :r, note = :n"), values)


def test_a_store_rolled_back_as_a_whole_is_found_by_a_checkpoint_kept_elsewhere(ledger, store_engine):
    kept = ledger.latest()
    roll_back(store_engine, 401)
    assert found(store_engine) == set()
    assert found(store_engine, kept) == {(Kind.ROLLED_BACK, 401)}


def test_a_rollback_that_forgot_the_published_checkpoints_is_found_without_help(ledger, store_engine):
    roll_back(store_engine, 401, checkpoints=False)
    assert found(store_engine) == {(Kind.ROLLED_BACK, 401)}


def test_a_checkpoint_of_a_fork_is_found(ledger, store_engine):
    fork = SIGNER.sign(350, bytes(32))
    assert found(store_engine, fork) == {(Kind.CHECKPOINT, 301)}


@pytest.mark.parametrize(
    ("column", "value"),
    [("size", 302), ("size", 5000), ("at", 5), ("note", "x"), ("note", SIGNER.sign(301, bytes(32)))],
)
def test_every_column_of_a_published_checkpoint_is_checked(ledger, store_engine, column, value):
    change(store_engine, f"UPDATE ledger_checkpoint SET {column} = :v WHERE size = 301", v=value)
    assert found(store_engine) == {(Kind.CHECKPOINT, None)}


def test_a_checkpoint_from_elsewhere_that_is_not_this_ledgers_is_refused(ledger, store_engine):
    for note in ("", OTHER.sign(5, bytes(32))):
        if note:
            with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
                verify_store(store_engine, VERIFIER, note)


def test_an_entry_older_than_the_one_before_it_is_found(ledger, store_engine):
    with ledger.transaction() as tx:
        tx._last_at = 0
        tx.append(disclosure(1, at=tx.at - 11 * SECOND), persons=[1])
    assert found(store_engine) == {(Kind.TIME, SIZE)}


def test_a_ledger_that_does_not_begin_with_its_genesis_is_found(store_engine):
    ledger = new_ledger(store_engine)
    stranger = entry.genesis(1, "example.com/other", bytes(32), bytes(1312))
    rewrite(store_engine, 0, stranger)
    assert (Kind.MALFORMED, 0) in found(store_engine)
    assert ledger.entry(0).entry == stranger
    assert ORIGIN not in stranger.decode()


def test_findings_are_bounded_and_the_rest_is_counted(store_engine):
    ledger = new_ledger(store_engine)
    fill(ledger, 1200, batch=600)
    change(store_engine, "UPDATE ledger_entry SET contract = 'x', recipient = 'y' WHERE id > 0")
    report = verify_store(store_engine, VERIFIER)
    assert (len(report.findings), report.more) == (MAX_FINDINGS, 2400 - MAX_FINDINGS)
    assert not report.ok


def test_rows_that_other_entries_hold_alter_nothing_unseen(ledger, store_engine):
    """Duplicating one entry over another is an alteration of exactly one."""
    change(store_engine, "UPDATE ledger_entry SET entry = (SELECT entry FROM ledger_entry WHERE id = 20) WHERE id = 21")
    report = verify_store(store_engine, VERIFIER)
    altered = [f for f in report.findings if f.kind in (Kind.ALTERED, Kind.SWAPPED)]
    assert [f.index for f in altered] == [21]


@pytest.fixture
def peopled(store_engine):
    """Disclosures of 1, 3 and 256 persons at 1 to 3, a choice at 4, releases at 5 and 6, and every other type."""
    ledger = new_ledger(store_engine)
    with ledger.transaction() as tx:
        for number, persons in ((1, 1), (2, 3), (3, 256)):
            tx.append(disclosure(number, persons, at=tx.at), persons=range(1, persons + 1))
        tx.append(every_type()["choice"], persons=[7])
        for kind in ("release", "release_elsewhere"):
            tx.append(every_type()[kind], persons=[8])
        for kind, data in every_type().items():
            if kind not in {"genesis", "disclosure", "choice", "release", "release_elsewhere", "erasure"}:
                tx.append(data, persons=[9] if kind in {"sealed", *ONE_PERSON} else [])
        erasure = tx.append(entry.erasure(tx.at, bytes(32), 1, "R-2026-0001", "privacy/p"))
        rows.add_erased(tx.connection, [erasure])
        size = tx.size
    ledger.publish()
    return size


def test_an_entry_of_each_type_has_the_rows_of_the_persons_it_speaks_of(peopled, store_engine):
    assert verify_store(store_engine, VERIFIER).ok


@pytest.mark.parametrize("index", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("how", ["one", "all"])
def test_rows_of_persons_taken_from_an_entry_are_found_with_it(peopled, store_engine, index, how):
    kept = "AND person = (SELECT min(person) FROM ledger_person WHERE entry = :i)" if how == "one" else ""
    change(store_engine, f"DELETE FROM ledger_person WHERE entry = :i {kept}", i=index)
    assert found(store_engine) == {(Kind.PERSON, index)}


@pytest.mark.parametrize("index", [0, 1, 2, 4, 5, 6, 7, 14])
def test_a_row_of_a_person_added_to_an_entry_is_found_with_it(peopled, store_engine, index):
    assert index < peopled
    change(store_engine, "INSERT INTO ledger_person (person, entry) VALUES (4711, :i)", i=index)
    assert found(store_engine) == {(Kind.PERSON, index)}


def test_a_sealed_entry_tells_of_no_number_of_persons_but_of_more_than_256(peopled, store_engine):
    with store_engine.begin() as connection:
        sealed = connection.execute(text("SELECT id FROM ledger_entry WHERE type = 'sealed'")).scalar_one()
    change(store_engine, "DELETE FROM ledger_person WHERE entry = :i", i=sealed)
    assert found(store_engine) == set()
    with store_engine.begin() as connection:
        rows = [{"p": person, "i": sealed} for person in range(10_000, 10_257)]
        connection.execute(text("INSERT INTO ledger_person (person, entry) VALUES (:p, :i)"), rows)
    assert found(store_engine) == {(Kind.PERSON, sealed)}


def test_a_row_of_a_person_moved_to_another_entry_is_found_at_both(peopled, store_engine):
    change(store_engine, "UPDATE ledger_person SET entry = 1 WHERE entry = 3 AND person = 256")
    assert found(store_engine) == {(Kind.PERSON, 1), (Kind.PERSON, 3)}


@pytest.mark.parametrize("index", [-1, "size", 1 << 40])
def test_rows_of_persons_without_an_entry_are_found(peopled, store_engine, index):
    index = peopled if index == "size" else index
    change(store_engine, "INSERT INTO ledger_person (person, entry) VALUES (4711, :i), (4712, :i)", i=index)
    assert found(store_engine) == {(Kind.PERSON, index)}


@pytest.mark.parametrize(("run", "window"), [(1, 1 << 22), (7, 256), (100, 64)])
def test_rows_of_persons_are_counted_alike_in_parts_of_any_size(ledger, store_engine, monkeypatch, run, window):
    monkeypatch.setattr(sources, "PERSON_RUN", run)
    monkeypatch.setattr(companions, "WINDOW", window)
    assert found(store_engine) == set()
    change(store_engine, "DELETE FROM ledger_person WHERE entry IN (63, 256, 700)")
    change(store_engine, "INSERT INTO ledger_person (person, entry) VALUES (9, -5), (4711, 300), (9, 9000)")
    assert found(store_engine) == {(Kind.PERSON, index) for index in (-5, 63, 256, 300, 700)}


def busy(engine, entries, apart_s, *, publish_every=0):
    """A ledger whose disclosures come `apart_s` seconds from each other."""
    ledger = new_ledger(engine)
    for number in range(entries):
        with ledger.transaction() as tx:
            tx.append(disclosure(number, at=START + number * apart_s * SECOND), persons=[1])
        if publish_every and number % publish_every == 0:
            ledger.publish()


@pytest.mark.parametrize(("seconds", "kinds"), [(9, set()), (11, {(Kind.UNPUBLISHED, 0)})])
def test_a_ledger_of_more_than_ten_seconds_that_was_never_published_is_found(store_engine, seconds, kinds):
    busy(store_engine, 2, seconds)
    assert found(store_engine) == kinds


def test_checkpoints_deleted_from_more_than_a_minute_of_work_are_found_with_the_first_entry(store_engine):
    busy(store_engine, 100, 1, publish_every=1)
    assert found(store_engine) == set()
    change(store_engine, "DELETE FROM ledger_checkpoint WHERE size > 20 AND size < 85")
    assert found(store_engine) == {(Kind.UNPUBLISHED, 20)}


def test_checkpoints_deleted_from_the_end_are_found(store_engine):
    busy(store_engine, 100, 1, publish_every=1)
    change(store_engine, "DELETE FROM ledger_checkpoint WHERE size > 20")
    assert found(store_engine) == {(Kind.UNPUBLISHED, 20)}


def test_a_broker_that_stood_still_for_hours_between_entries_is_no_finding(store_engine):
    busy(store_engine, 50, 3600, publish_every=49)
    assert found(store_engine) == set()


def test_deleting_all_checkpoints_is_found(store_engine):
    busy(store_engine, 15, 1, publish_every=1)
    change(store_engine, "DELETE FROM ledger_checkpoint")
    assert found(store_engine) == {(Kind.UNPUBLISHED, 0)}
