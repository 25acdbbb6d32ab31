"""Unary disclosure: one person, 5 fields, durable entry, receipt; against an echo of the same sizes."""

from __future__ import annotations

import os
from statistics import median

from tests.benchmarks.measure import compared, cpu_seconds, machine_seconds

IN_FLIGHT = 64
LEAST = 0.5
MOST_P99 = 2.5
CROWDED = 0.1
"""Share of the machine that others may take: with more, the echo loses more than the broker, and the ratio flatters."""


def run(stage, *, quick):
    """Rounds of the broker and the echo in turn."""
    rounds, seconds = (3, 1.0) if quick else (8, 2.0)
    _turns(stage, seconds / 2)
    measured = [_turns(stage, seconds) for _ in range(rounds)]
    rates, tails, per_core = ([tuple(turn[i] for turn in turns) for turns in measured] for i in range(3))
    others = median(turn[3] for turns in measured for turn in turns)
    calm = others <= CROWDED
    crowd = f"others took {others:.0%} of the machine" + ("" if calm else ": not judged")
    against = f"{IN_FLIGHT} in flight; against a bare echo; {crowd}"
    return [
        compared("unary disclosure", "calls/s", rates, least=LEAST, judged=calm, note=against),
        compared("unary disclosure, p99", "ms", tails, most=MOST_P99, judged=calm, note=against),
        compared("unary disclosure, per core", "calls/s/core", per_core, note="CPU time of either server's process"),
    ]


def _turns(stage, seconds):
    """The broker, then the echo: calls per second, p99 in milliseconds, calls per second of CPU, others' share."""
    return [_turn(stage, *target, seconds) for target in (("broker", stage.pid), ("echo", stage.echo.pid))]


def _turn(stage, target, pid, seconds):
    ours = (stage.pid, stage.echo.pid, stage.load.pid, os.getpid())
    busy, idle = machine_seconds()
    known, before = sum(map(cpu_seconds, ours)), cpu_seconds(pid)
    got = stage.tell(do="unary", target=target, seconds=seconds, in_flight=IN_FLIGHT)
    used, known = cpu_seconds(pid) - before, sum(map(cpu_seconds, ours)) - known
    busy, idle = (after - at for after, at in zip(machine_seconds(), (busy, idle), strict=True))
    others = max(0.0, busy - known) / (busy + idle)
    return got["calls"] / got["seconds"], got["p99_ms"], got["calls"] / used, others
