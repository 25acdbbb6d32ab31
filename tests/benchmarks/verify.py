"""`sluss ledger verify` against SHA-256 over the same entries."""

from __future__ import annotations

from hashlib import sha256
from time import process_time

from broker.ledger.verify import verify_store
from tests.benchmarks import stores
from tests.benchmarks.measure import compared
from tests.unit.ledger.world import VERIFIER

MOST = 12


def run(folder, *, quick):
    """A ledger of single disclosures, then one of bulk's chunks."""
    rounds, few = (3, 5) if quick else (7, 1)
    measured = []
    for persons, count in ((1, 40_000 // few), (256, 2_000 // few)):
        engine, entries = stores.filled(folder / f"verify{persons}.db", count, persons)
        pairs = [(_verify(engine, count), _hash(entries)) for _ in range(rounds)]
        engine.dispose()
        size = sum(map(len, entries)) / 1e6
        note = f"{count} entries, {size:.0f} MB; against bare SHA-256; CPU time"
        measured.append(compared(f"verify, {persons} per entry", "s", pairs, most=MOST, note=note))
    return measured


def _verify(engine, count):
    begun = process_time()
    report = verify_store(engine, VERIFIER)
    took = process_time() - begun
    if not report.ok or report.size != count + 1:
        raise AssertionError(report)
    return took


def _hash(entries):
    begun = process_time()
    for entry in entries:
        sha256(entry).digest()
    return process_time() - begun
