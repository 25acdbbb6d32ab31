"""Heads: no tree that was seen is ever dropped before something that is proven to extend it has taken its place."""

import threading
import time

import pytest
from sluss_client.errors import LedgerInconsistent, ProfileError
from sluss_client.heads import CheckpointFile, Heads

from broker.ledger.checkpoint import Checkpoint
from tests.unit.client.memory_broker import ORIGIN, MemoryLedger, rows_root


class Log(MemoryLedger):
    def grow(self, to, mark=b""):
        while len(self.entries) < to:
            self.append(mark + b"%d" % len(self.entries))

    def advance(self, lane):
        checkpoint = Checkpoint(ORIGIN, len(self.entries), rows_root(self.leaves))
        old = lane.head.size
        lane.advance(checkpoint, self.note(), self.consistency(old) if old else [])


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def heads(tmp_path, log):
    return make(tmp_path, log)


def make(folder, log):
    return Heads(CheckpointFile(folder / "checkpoint", log.signer.verifier))


def sizes(heads):
    return sorted(head.size for head in heads._idle)


def test_one_call_after_another_keeps_one_head(heads, log):
    for size in (2, 3, 9):
        log.grow(size)
        with heads.lane() as lane:
            log.advance(lane)
    assert sizes(heads) == [9]


def test_a_call_that_fails_hands_its_head_back(heads, log):
    log.grow(3)
    with heads.lane() as lane:
        log.advance(lane)
    with pytest.raises(KeyError), heads.lane():
        raise KeyError
    assert sizes(heads) == [3]


def test_a_copy_that_did_not_move_is_dropped_for_what_extends_it(heads, log):
    with heads.lane() as one, heads.lane():
        log.grow(5)
        log.advance(one)
    assert sizes(heads) == [5]
    assert heads.unsettled() == 0


def test_calls_side_by_side_leave_heads_that_are_unsettled(heads, log):
    log.grow(2)
    with heads.lane() as first:
        log.advance(first)
    with heads.lane() as one, heads.lane() as two:
        log.grow(5)
        log.advance(one)
        log.grow(7)
        log.advance(two)
        assert heads.unsettled() == 0, "calls are in flight"
    assert sizes(heads) == [5, 7]
    assert heads.unsettled() == 2
    with heads.lane() as lane:
        assert lane.head.size == 5, "the smallest moves first"
        log.advance(lane)
    assert sizes(heads) == [7]


def test_heads_on_two_branches_never_meet(heads, log, tmp_path):
    log.grow(3)
    other = Log()
    other.entries = list(log.entries)
    with heads.lane() as one:
        log.advance(one)
    with heads.lane() as one, heads.lane() as two:
        log.grow(5, b"a")
        log.advance(one)
        other.grow(6, b"b")
        other.advance(two)
    with pytest.raises(LedgerInconsistent), heads.lane() as lane:
        other.advance(lane)
    log.grow(6, b"a")
    with pytest.raises(LedgerInconsistent), heads.lane() as lane:
        log.advance(lane)


def test_a_size_that_was_passed_with_another_root_is_a_fork(heads, log):
    log.grow(4)
    with heads.lane() as lane:
        log.advance(lane)
    with heads.lane() as ahead, heads.lane() as behind:
        log.grow(6)
        log.advance(ahead)
        log.grow(8)
        log.advance(ahead)
        branch = Log()
        branch.entries = [*log.entries[:4], b"x", b"y"]
        with pytest.raises(LedgerInconsistent):
            branch.advance(behind)


def test_the_head_of_another_process_is_taken_up_and_has_to_be_proven(tmp_path, heads, log):
    log.grow(3)
    with heads.lane() as lane:
        log.advance(lane)
    elsewhere = make(tmp_path, log)
    log.grow(5)
    with elsewhere.lane() as lane:
        log.advance(lane)
    log.grow(8)
    with heads.lane() as lane:
        log.advance(lane)
    assert sizes(heads) == [5, 8]
    with heads.lane() as lane:
        log.advance(lane)
    assert sizes(heads) == [8]


def test_a_fork_between_processes_is_found(tmp_path, heads, log):
    log.grow(3)
    with heads.lane() as lane:
        log.advance(lane)
    elsewhere, branch = make(tmp_path, log), Log()
    branch.entries = list(log.entries)
    branch.grow(6, b"b")
    with elsewhere.lane() as lane:
        branch.advance(lane)
    log.grow(8, b"a")
    with heads.lane() as lane:
        log.advance(lane)
    assert sizes(heads) == [6, 8]
    with pytest.raises(LedgerInconsistent), heads.lane() as lane:
        log.advance(lane)


def test_a_head_that_could_not_be_saved_is_not_taken(heads, log, monkeypatch):
    log.grow(3)
    with heads.lane() as lane:
        log.advance(lane)
    log.grow(5)

    def full(_head):
        raise ProfileError("full")

    with monkeypatch.context() as patch:
        patch.setattr(heads._file, "save", full)
        with pytest.raises(ProfileError), heads.lane() as lane:
            log.advance(lane)
    assert sizes(heads) == [3]
    with heads.lane() as lane:
        log.advance(lane)
    assert sizes(heads) == [5]


def test_writers_that_wait_are_covered_by_one_write(heads, log, monkeypatch):
    entered, go, saved = threading.Event(), threading.Event(), []
    honest = heads._file.save

    def slow(head):
        saved.append(head.size)
        entered.set()
        go.wait(10)
        return honest(head)

    monkeypatch.setattr(heads._file, "save", slow)
    logs = [Log() for _ in range(4)]
    log.grow(9)
    for size, part in zip((3, 5, 7, 9), logs, strict=True):
        part.entries = log.entries[:size]
    all_seen = threading.Barrier(4)

    def work(part):
        with heads.lane() as lane:
            all_seen.wait(10)
            part.advance(lane)

    threads = [threading.Thread(target=work, args=(part,)) for part in logs]
    for thread in threads:
        thread.start()
    entered.wait(10)
    deadline = time.monotonic() + 10
    while heads._largest.size < 9 and time.monotonic() < deadline:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert len(saved) <= 2
    assert saved[-1] == 9
