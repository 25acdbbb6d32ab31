"""Unary disclosure: one person, 5 fields, durable entry, receipt; against an echo of the same sizes."""

from __future__ import annotations

from tests.benchmarks.measure import compared

IN_FLIGHT = 64
LEAST = 0.5
MOST_P99 = 2.5


def run(stage, *, quick):
    """Rounds of the broker and the echo in turn."""
    rounds, seconds = (3, 1.0) if quick else (8, 2.0)
    for target in ("broker", "echo"):
        stage.tell(do="unary", target=target, seconds=seconds / 2, in_flight=IN_FLIGHT)
    rates, tails = [], []
    for _ in range(rounds):
        ours, bare = (
            stage.tell(do="unary", target=target, seconds=seconds, in_flight=IN_FLIGHT) for target in ("broker", "echo")
        )
        rates.append((ours["calls"] / ours["seconds"], bare["calls"] / bare["seconds"]))
        tails.append((ours["p99_ms"], bare["p99_ms"]))
    against = f"{IN_FLIGHT} in flight; against a bare echo"
    return [
        compared("unary disclosure", "calls/s", rates, least=LEAST, note=against),
        compared("unary disclosure, p99", "ms", tails, most=MOST_P99, note=against),
    ]
