"""Durable appends, and what a receipt costs in a large tree."""

from __future__ import annotations

from random import Random
from time import perf_counter

from broker.ledger.receipt import verify_receipt
from tests.benchmarks import stores
from tests.benchmarks.measure import alone, compared
from tests.unit.ledger.world import VERIFIER, disclosure

BATCH = 64
LEAST_APPENDS = 10_000
MOST_GROWTH = 2.0
SMALL = 10_000


def append(folder, *, quick):
    """Rounds of transactions with 64 disclosures of a person each: entry, tiles, head, signature, fsync."""
    rounds, batches = (5, 20) if quick else (15, 60)
    engine = stores.new_store(folder / "append.db")
    ledger, rates, number = stores.ledger_on(engine), [], 0
    ledger.genesis()
    for _ in range(rounds):
        made = [[(disclosure(number := number + 1), number) for _ in range(BATCH)] for _ in range(batches)]
        begun = perf_counter()
        for batch in made:
            with ledger.transaction() as tx:
                for entry, person in batch:
                    tx.append(entry, persons=(person,))
        rates.append(batches * BATCH / (perf_counter() - begun))
    engine.dispose()
    return [alone("ledger append", "entries/s", rates, least=LEAST_APPENDS, note=f"commits of {BATCH}, SQLite, fsync")]


def receipts(folder, *, quick):
    """Receipts from a large tree and from one of ten thousand, in turn."""
    large, rounds = (1_000_000, 40) if quick else (10_000_000, 100)
    engines = [stores.synthetic(folder / f"{size}.db", size) for size in (large, SMALL)]
    ledgers = [stores.ledger_on(engine) for engine in engines]
    fresh = [tuple(_of_new(ledger) for ledger in ledgers) for _ in range(rounds)]
    draws = [Random(size) for size in (large, SMALL)]
    cold = [tuple(_cold(*each) for each in zip(engines, draws, strict=True)) for _ in range(rounds)]
    warm = [tuple(_warm(*each) for each in zip(ledgers, draws, strict=True)) for _ in range(rounds)]
    for engine in engines:
        engine.dispose()
    against = f"at {large:,} entries; against {SMALL:,}"
    return [
        compared("receipt of a new entry", "us", fresh, most=MOST_GROWTH, note=against),
        compared("receipt of any entry, cold", "us", cold, most=MOST_GROWTH, note=f"{against}; nothing cached"),
        compared("receipt of any entry, warm", "us", warm, note=f"{against}, which fits the cache"),
    ]


def _of_new(ledger):
    """Microseconds per receipt of the entries of one commit, as every disclosure gets it."""
    with ledger.transaction() as tx:
        indexes = [tx.append(stores.ENTRY) for _ in range(BATCH)]
    return _timed(tx.receipt, indexes)


def _cold(engine, draw):
    """Microseconds of the first receipt that a broker is asked for."""
    state = stores.ledger_on(engine).state()
    return _timed(state.receipt, [_any(state, draw)])


def _warm(ledger, draw):
    """Microseconds per receipt for a broker that has given many."""
    state = ledger.state()
    return _timed(state.receipt, [_any(state, draw) for _ in range(BATCH)])


def _any(state, draw):
    return draw.randrange(state.tree.size)


def _timed(receipt, indexes):
    begun = perf_counter()
    made = [receipt(index) for index in indexes]
    took = perf_counter() - begun
    verify_receipt(made[0], stores.ENTRY, VERIFIER)
    return 1e6 * took / len(indexes)
