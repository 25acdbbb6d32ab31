"""Bulk disclosure: everybody, 5 fields, a receipt per chunk; against PostgreSQL alone and against bare AES-GCM."""

from __future__ import annotations

from contextlib import ExitStack

from tests.benchmarks import limit, postgres_alone
from tests.benchmarks.measure import alone, compared, cpu_seconds, unmeasured
from tests.benchmarks.stage import FIELDS

LEAST_PER_CORE = 15_000
LEAST_OF_POSTGRES = 1.0
LEAST_OF_LIMIT = 0.35


def run(stage, *, quick):
    """Rounds of the broker, PostgreSQL and the bare loop in turn."""
    rounds = 3 if quick else 7
    values = [[person[field] for field in FIELDS] for person in stage.people]
    bare = limit.Loop(values, FIELDS, [chunk.entry for chunk in stage.chunks])
    with ExitStack() as stack:
        postgres = postgres_alone.start(stack, values)
        measured = [_round(stage, postgres, bare) for _ in range(rounds)]
    wall, ours, theirs, raw = zip(*measured, strict=True)
    of_postgres = "bulk disclosure, of PostgreSQL alone"
    unit = "persons/s/core"
    return [
        alone("bulk disclosure", "persons/s", wall, note=f"{stage.count} persons, one stream, on the clock"),
        alone("bulk disclosure, per core", unit, ours, least=LEAST_PER_CORE, note="CPU time of the broker's process"),
        compared(
            of_postgres,
            unit,
            list(zip(ours, theirs, strict=True)),
            least=LEAST_OF_POSTGRES,
            note=f"pgcrypto in {postgres.version}; CPU time of broker and backend",
        )
        if postgres
        else unmeasured(of_postgres, unit, LEAST_OF_POSTGRES, "no PostgreSQL with pgcrypto on this machine"),
        compared(
            "bulk disclosure, of the limit",
            unit,
            list(zip(ours, raw, strict=True)),
            least=LEAST_OF_LIMIT,
            note="AES-GCM open and seal, SHA-256, in a bare loop",
        ),
    ]


def _round(stage, postgres, bare):
    """Persons per second on the clock, then per second of CPU: the broker, PostgreSQL (0 without one), the loop."""
    before = cpu_seconds(stage.pid)
    got = stage.tell(do="bulk")
    used = cpu_seconds(stage.pid) - before
    if got["persons"] != stage.count:
        raise AssertionError(got)
    theirs = stage.count / postgres.disclose() if postgres else 0.0
    return got["persons"] / got["seconds"], got["persons"] / used, theirs, stage.count / bare.run()
