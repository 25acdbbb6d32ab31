"""A reader that meets a commit sees the tree before it or the tree after it, and never takes it for a rollback."""

from __future__ import annotations

import threading

import pytest

from broker.ledger import entry, rows
from tests.support.world import World


@pytest.fixture
def ledger(store_engine, vault):
    return World(store_engine, vault).ledger


def append(ledger):
    ledger.run(lambda tx: tx.append(entry.certificate(tx.at, "pinned", "legal/anna", bytes(32), "operator/test", "")))


@pytest.mark.parametrize("forgotten", [True, False], ids=["after_a_failed_commit", "behind_another_process"])
def test_a_commit_between_the_head_and_the_tree_is_no_fork(ledger, monkeypatch, forgotten):
    append(ledger)
    size = ledger.state().tree.size
    read_head = rows.read_head
    if forgotten:
        ledger._state = None

    def meeting(connection, **options):
        head = read_head(connection, **options)
        monkeypatch.undo()
        writer = threading.Thread(target=append, args=(ledger,))
        writer.start()
        writer.join()
        return head

    monkeypatch.setattr(rows, "read_head", meeting)
    found = ledger.state(0 if forgotten else size + 1)
    assert found.tree.size in {size, size + 1}
    assert ledger.state(size + 1).tree.size == size + 1
    append(ledger)
    assert ledger.state(size + 2).tree.consistency(size)
