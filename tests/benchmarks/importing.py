"""Import: the demo's population through gRPC, as `sluss import` sends it."""

from __future__ import annotations

from tests.benchmarks.measure import alone


def run(stage, *, quick):
    """The import that filled the stage."""
    note = f"{stage.count} rows in batches of 500, one stream, an empty store"
    return [alone("import", "rows/s", [stage.count / stage.import_s], note=note)]
