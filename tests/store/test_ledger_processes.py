"""Several processes append to one store at once."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.entry import parse
from broker.ledger.merkle import verify_consistency
from broker.ledger.verify import verify_store
from tests.unit.ledger.world import VERIFIER, new_ledger

ROOT = Path(__file__).parents[2]
WORK = """
import sys
from broker.clock import system_clock
from broker.ledger.log import Ledger
from broker.ledger.receipt import verify_receipt
from broker.store.engine import open_engine
from tests.unit.ledger.world import ORIGIN, SIGNER, VERIFIER, disclosure

url, name, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ledger = Ledger(open_engine(url), SIGNER, ORIGIN, system_clock)
for number in range(count):
    def work(tx):
        data = disclosure(name * 1_000_000 + number, at=tx.at)
        return tx, data, [tx.append(data, persons=[7]) for _ in range(1 + number % 7)]
    tx, data, indices = ledger.run(work)
    for index in indices:
        verify_receipt(tx.receipt(index), data, VERIFIER)
    print(tx.note, end="\\0", flush=True)
"""


def test_processes_that_append_at_once_never_fork_the_tree(store_engine, store_url):
    ledger = new_ledger(store_engine)
    ledger.publish()
    command = [sys.executable, "-c", WORK, store_url]
    workers = [
        subprocess.Popen([*command, str(name), "40"], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in range(3)
    ]
    notes = [note for worker in workers for note in worker.communicate(timeout=90)[0].split("\0")[:-1]]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    checkpoints = sorted((open_checkpoint(note, VERIFIER) for note in notes), key=lambda found: found.size)
    assert len({found.size for found in checkpoints}) == len(checkpoints) == 120
    for old, new in pairwise(checkpoints):
        proof = ledger.consistency(old.size, new.size)
        verify_consistency(old.size, new.size, proof, old.root, new.root)
    report = verify_store(store_engine, VERIFIER)
    assert report.findings == []
    appended = 3 * sum(1 + number % 7 for number in range(40))
    assert report.size == checkpoints[-1].size == 1 + appended
    assert all(parse(row.entry) for row in ledger.entries(0, 1000))
