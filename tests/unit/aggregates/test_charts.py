"""Charts of an answer: whatever noise does to a number, they are drawn."""

from __future__ import annotations

from sluss_cli import aggregate
from sluss_client.aggregates import Counted, CountedCell


def test_a_cell_whose_noise_left_no_events_has_no_mean_and_the_chart_is_drawn(tmp_path):
    question = {
        "event": "meeting.joined",
        "group_by": ["country"],
        "quantities": ["events", "persons", "seconds"],
        "first_day": "2026-10-01",
        "last_day": "2026-10-31",
        "noise": "laplace",
    }
    cells = (
        CountedCell({"country": "NO"}, False, {"persons": 160, "events": 0, "seconds": 100}),
        CountedCell(
            {"country": "SE"}, False, {"persons": 160, "events": 10, "seconds": 100, "mean_milliseconds": 10_000}
        ),
    )
    scales = {"persons": "12", "events": "60", "seconds": "10800"}
    aggregate._draw(Counted(cells, question, 150, scales, 1, 1, 0, 1, 0, b""), tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text()
    assert (drawn.count(">NO<"), drawn.count(">SE<")) == (3, 4)
