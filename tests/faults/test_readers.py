"""A reader that meets a commit sees the store before it or after it, and never takes it for a rollback or forgery."""

from __future__ import annotations

import threading

import pytest

from broker import case_files
from broker.ledger import entry, rows
from tests.support.world import World


@pytest.fixture
def world(store_engine, vault):
    return World(store_engine, vault)


@pytest.fixture
def ledger(world):
    return world.ledger


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


def test_a_step_between_a_row_and_its_entry_is_no_forgery(world, monkeypatch):
    caller = world.actor("privacy/team").caller()

    def opened(change):
        told = {"handler": "privacy/team", "due_at": 0, "person": 0, "body": {"notes": 0}, "private": {"about": "x"}}
        file = case_files.create(change, "complaint", "received", **told)
        case_files.log(change, file, "opened", "")
        return file.id

    name = world.desk.change(caller, opened)

    def step(change):
        file = case_files.load(change, "complaint", name)
        case_files.write(change, file, "noted", "", body=file.body | {"notes": file.body["notes"] + 1})

    loaded = case_files._file

    def meeting(view, *found):
        monkeypatch.undo()
        writer = threading.Thread(target=world.desk.change, args=(caller, step))
        writer.start()
        writer.join()
        return loaded(view, *found)

    monkeypatch.setattr(case_files, "_file", meeting)
    seen = world.desk.read(caller, lambda view: case_files.load(view, "complaint", name))
    assert seen.body["notes"] == 0
    assert world.desk.read(caller, lambda view: case_files.load(view, "complaint", name)).body["notes"] == 1
