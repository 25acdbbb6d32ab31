"""`sluss aggregate`: anonymous counts for subcontractors and the company's own analysis, and what they are made of."""

import csv
import hashlib
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import aggregate_pb2 as pb
from sluss_client.aggregates import MEASURES, NOISES, Counted, CountedCell, proven, question
from sluss_client.errors import InvalidRequest
from sluss_legal.cells import cell
from sluss_legal.charts import Chart, chart, sheet
from sluss_legal.dates import is_day

from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.receipt import parse_receipt
from sluss_cli.entry_text import moment
from sluss_cli.print_csv import Csv, not_both
from sluss_cli.problems import usage
from sluss_cli.row_file import check_new, write_private
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.usage_file import register
from sluss_cli.verb import group, verb
from sluss_cli.watching import Watch

app = group("Anonymous counts: describe, query, budget; record what they are made of.")

ContractOption = Annotated[
    str, typer.Option("--contract", help="The contract; left out for the company's own analysis.", metavar="CONTRACT")
]
OptionalContract = Annotated[
    str, typer.Argument(help="The contract; left out for the company's own analysis.", metavar="CONTRACT")
]
MeasureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        help="persons, events, seconds or mean_seconds; repeatable; default: persons.",
        metavar="MEASURE",
        autocompletion=lambda: list(MEASURES),
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", help="Group by a dimension, day or month; repeatable.", metavar="DIMENSION"),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", help="Look at these values only; repeatable.", metavar="DIMENSION=VALUES"),
]
NoiseOption = Annotated[
    str, typer.Option("--noise", help="laplace or gaussian; default: as the catalogue says.", metavar="NOISE")
]
ChartOption = Annotated[
    Path | None, typer.Option("--chart", help="Draw each measure into a new FILE.svg or FILE.png.", metavar="FILE")
]
COUNT_S = 60.0
"""Seconds that a question may take."""
_SHOWN = 12
_QUESTIONS = [
    f"sluss aggregate query {line}"
    for line in (
        "anonymous.advertising advertisement.visited --contract C-2026-0001 --from 2026-10-01 --until 2026-10-31",
        "anonymous.improvement meeting.joined --by month --from 2026-07-01 --until 2026-09-30 --chart minutes.svg",
        "anonymous.improvement meeting.joined --measure seconds --from 2026-07-01 --until 2026-07-31 --csv",
    )
]
_WHOSE = {
    "recipient": "All contracts of the recipient together:",
    "everybody": "All contracts and the company's own analysis together:",
}
_DEVIATIONS = 1.96
"""Of a normal distribution, for 95 of 100."""
_DIGITS, _DIGIT_WIDTH = 6, 10
_CHARTS = (".svg", ".png")
_MINUTES, _MEAN_SECONDS = 600, 10_000
"""From where on seconds are drawn as minutes, and milliseconds as seconds."""


@verb(app, "describe", examples=("sluss aggregate describe C-2026-0001", "sluss aggregate describe --json"))
def describe(session: Session, contract: OptionalContract = "") -> None:
    """Show what may be asked, what it costs and what is left. No personal data."""
    reply = session.aggregates.DescribeAggregates(
        pb.DescribeAggregatesRequest(contract_id=contract), timeout=DEADLINE_S
    )
    session.output.result(_scope_document(reply))
    if reply.not_live_reason:
        session.output.line(f"Every question is refused now: {reply.not_live_reason}.")
    for scope in reply.scopes:
        session.output.heading(f"{scope.purpose}: {scope.label_en}")
        session.output.line(f"At least {scope.min_persons} distinct persons behind a published number.")
        session.output.table(
            ("event", "by", "costs per measure", "of a person at most", "persons needed"),
            [(e.event, _by(e), _costs(e), _bounds(e), e.persons_needed or "") for e in scope.events],
            empty="nothing to count",
        )
        session.output.line()
    session.output.line(f"Days from {reply.first_kept_day} to {reply.last_closed_day} may be asked about.")
    _print_budget(session, reply.budget)


def _by(event: pb.AggregateEvent) -> str:
    return "; ".join(["day or month", *(_dimension(each) for each in event.dimensions)])


def _dimension(dimension: pb.Dimension) -> str:
    values = dimension.values
    shown = ", ".join(values[:_SHOWN]) + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
    return f"{dimension.name} ({shown})"


def _bounds(event: pb.AggregateEvent) -> str:
    seconds = f", {event.max_seconds} s" if event.max_seconds else ""
    return f"{event.cells_per_person} cells; in each {event.max_events} events{seconds}"


def _costs(event: pb.AggregateEvent) -> str:
    return f"{_cost(event.epsilon_micro, 0)}; gaussian also delta {_delta(event.delta_nano)}"


def _cost(micro: int, delta_nano: int) -> str:
    delta = f" and delta {_delta(delta_nano)}" if delta_nano else ""
    return f"epsilon {micro / 1_000_000:g}{delta}"


def _delta(nano: int) -> str:
    return f"{nano / 1_000_000_000:g}"


@verb(app, "query", examples=_QUESTIONS)
def query(
    session: Session,
    purpose: Annotated[str, typer.Argument(help="The purpose, of class anonymous.", metavar="PURPOSE")],
    event: Annotated[str, typer.Argument(help="The event to count.", metavar="EVENT")],
    *,
    first: Annotated[str, typer.Option("--from", help="The first day.", metavar="DAY")],
    last: Annotated[str, typer.Option("--until", help="The last day; it must be over and closed.", metavar="DAY")],
    contract: ContractOption = "",
    measure: MeasureOption = None,
    by: ByOption = None,
    where: WhereOption = None,
    noise: NoiseOption = "",
    as_csv: Csv = False,
    chart_file: ChartOption = None,
) -> None:
    """Ask a question; the same question gets the same answer and costs once. What comes back is proven."""
    not_both(session, as_csv=as_csv)
    if chart_file is not None and chart_file.suffix.lower() not in _CHARTS:
        raise usage("a chart is a file that ends in .svg or .png")
    if chart_file is not None:
        check_new(chart_file.parent, [chart_file.name])
    if noise not in NOISES:
        raise usage("--noise is laplace or gaussian")
    try:
        asked = question(
            contract,
            purpose,
            event,
            list(dict.fromkeys(measure or ["persons"])),
            first_day=_day(first, "--from"),
            last_day=_day(last, "--until"),
            by=by or (),
            where=_filters(where or ()),
            noise=noise,
        )
    except InvalidRequest as error:
        raise usage(str(error)) from None
    counted, left = _counted(session, asked)
    if chart_file is not None:
        _draw(counted, chart_file)
    if as_csv:
        sys.stdout.write(_csv(counted))
        return
    session.output.result(_answer_document(counted))
    _print_answer(session, counted, left)
    if chart_file is not None:
        session.output.line(f"Wrote {chart_file}.")


def _counted(session: Session, asked: pb.QueryAggregateRequest) -> tuple[Counted, pb.Budget]:
    """The answer, proven against the ledger as this machine has seen it; and what is left of the budget."""
    reply = session.aggregates.QueryAggregate(asked, timeout=COUNT_S)
    counted, _ = proven(reply, asked, session.profile.principal, session.profile.verifier())
    note = parse_receipt(reply.receipt).note
    Watch(session).meet([open_checkpoint(note, session.profile.verifier())])
    return counted, reply.budget


def _day(text: str, option: str) -> str:
    if not is_day(text):
        raise usage(f"{option} takes a day such as 2026-10-31")
    return text


def _filters(items: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        name, equals, values = item.partition("=")
        if not equals or not name or not all(values.split(",")) or name in found:
            raise usage("--where takes DIMENSION=VALUE,VALUE, each dimension once")
        found[name] = values.split(",")
    return found


def _columns(counted: Counted) -> tuple[list[str], list[str]]:
    names = [str(name) for name in counted.question["group_by"]]
    values = [str(name) for name in counted.question["quantities"]]
    mean = ["mean_milliseconds"] if {"events", "seconds"} <= set(values) else []
    return names, [*values, *mean]


def _print_answer(session: Session, counted: Counted, budget: pb.Budget) -> None:
    names, values = _columns(counted)
    published = [each for each in counted.cells if not each.suppressed]
    rows = [(*(each.key[name] for name in names), *(each.values.get(v, "") for v in values)) for each in published]
    session.output.table((*names, *values), rows, empty="no cell is published")
    hidden = len(counted.cells) - len(published)
    session.output.line()
    if hidden:
        session.output.line(
            f"Not published: {hidden} of {len(counted.cells)} cells, behind which, with the noise, fewer than"
            f" {counted.question['min_persons']} persons may be. A cell is published from"
            f" {counted.threshold} persons on, noise included."
        )
    most = ", ".join(f"{name} {within:,}" for name, within in sorted(_within(counted).items()))
    session.output.line(f"Noise: discrete {counted.question['noise']}; it moves 19 of 20 numbers by at most: {most}.")
    session.output.line(f"Proven: ledger entry {counted.entry_index}.")
    cost = _cost(counted.spent_micro, counted.spent_delta_nano)
    cost = cost if counted.spent_micro else "nothing: it was answered before"
    session.output.line(f"It has cost {cost}.")
    _print_budget(session, budget)


def _within(counted: Counted) -> dict[str, int]:
    """How far noise goes in 95 of 100 numbers, by measure."""
    times = _DEVIATIONS if counted.question["noise"] == "gaussian" else math.log(20)
    return {name: math.ceil(times * float(scale)) for name, scale in counted.scales.items()}


def _answer_document(counted: Counted) -> dict[str, Any]:
    return {
        "cells": [{"key": dict(each.key), "suppressed": each.suppressed, **each.values} for each in counted.cells],
        "question": dict(counted.question),
        "threshold": counted.threshold,
        "scales": dict(counted.scales),
        "within_95_percent": _within(counted),
        "answer_sha256": hashlib.sha256(counted.sealed).hexdigest(),
        "entry_index": counted.entry_index,
        "spent_micro": counted.spent_micro,
        "spent_delta_nano": counted.spent_delta_nano,
        "left_micro": counted.left_micro,
        "left_delta_nano": counted.left_delta_nano,
        "proven": True,
    }


def _csv(counted: Counted) -> str:
    """The cells; beside each measure that has noise of its own, how far 19 of 20 numbers are moved at most."""
    names, values = _columns(counted)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    noise = {f"{name}_within_95_percent": within for name, within in sorted(_within(counted).items())}
    writer.writerow([*names, "published", *values, *noise])
    for each in counted.cells:
        key = [cell(each.key[name]) for name in names]
        shown = [each.values.get(value, "") for value in values]
        writer.writerow([*key, "no" if each.suppressed else "yes", *shown, *noise.values()])
    return text.getvalue()


def _draw(counted: Counted, path: Path) -> None:
    """Each measure of the published cells as a chart of its own, whose title tells how far noise goes."""
    names, values = _columns(counted)
    published = [each for each in counted.cells if not each.suppressed]
    charts = [_measure_chart(counted, names, measure, published) for measure in values]
    text = sheet(charts)
    width = max(each.width for each in charts)
    write_private(path, text.encode() if path.suffix.lower() == ".svg" else _png(width, text))


def _measure_chart(counted: Counted, names: Sequence[str], measure: str, published: Sequence[CountedCell]) -> Chart:
    # A cell whose noise left no events has no mean.
    measured = [each for each in published if measure in each.values]
    shown, divisor = _unit(measure, max((each.values[measure] for each in measured), default=0))
    rows = [
        (", ".join(each.key[name] for name in names) or "all", [round(each.values[measure] / divisor)])
        for each in measured
    ]
    said = counted.question
    within = _within(counted)
    noise = f" ± {round(within[measure] / divisor):,}" if measure in within else ""
    title = f"{said['event']}: {shown}{noise}, {said['first_day']} to {said['last_day']}"
    drawn = chart(measure, title, [shown], rows)
    digits = max((len(str(bar.total)) for bar in drawn.bars), default=0)
    return replace(drawn, width=drawn.width + max(digits - _DIGITS, 0) * _DIGIT_WIDTH)


def _unit(measure: str, largest: int) -> tuple[str, int]:
    """In what a measure is drawn, and how many of what was answered make one: durations as large as they are read."""
    if measure == "seconds":
        return ("minutes", 60) if largest >= _MINUTES else ("seconds", 1)
    if measure == "mean_milliseconds":
        return ("mean seconds", 1000) if largest >= _MEAN_SECONDS else ("mean milliseconds", 1)
    return measure, 1


def _png(width: int, text: str) -> bytes:
    try:
        import typst  # noqa: PLC0415 - an extra
    except ImportError:
        raise usage("a chart as PNG needs typst: pip install 'sluss[legal]', or draw FILE.svg") from None
    source = (
        f"#set page(width: {width + 24}pt, height: auto, margin: 12pt)\n"
        '#image(bytes(sys.inputs.chart), format: "svg", width: 100%)\n'
    )
    made = typst.compile(source.encode(), format="png", ppi=144.0, sys_inputs={"chart": text})
    if not isinstance(made, bytes):
        raise TypeError("typst gave no PNG")
    return made


@verb(app, "budget", examples=("sluss aggregate budget C-2026-0001", "sluss aggregate budget"))
def budget(session: Session, contract: OptionalContract = "") -> None:
    """Show what has been spent of a privacy budget in the present period."""
    reply = session.aggregates.GetBudget(pb.GetBudgetRequest(contract_id=contract), timeout=DEADLINE_S)
    told = {name: getattr(reply, name) for name in ("budget", "recipient", "everybody") if reply.HasField(name)}
    session.output.result({name: _budget_document(found) for name, found in told.items()})
    for name, found in told.items():
        if name != "budget":
            session.output.line(_WHOSE[name])
        _print_budget(session, found)


def _print_budget(session: Session, found: pb.Budget) -> None:
    left = 0 if found.closed else max(found.limit_micro - found.spent_micro, 0)
    delta = f" and delta {_delta(found.spent_delta_nano)} of {_delta(found.limit_delta_nano)}"
    session.output.line(
        f"Privacy budget: epsilon {found.spent_micro / 1_000_000:g} of {found.limit_micro / 1_000_000:g}"
        f"{delta if found.limit_delta_nano else ''} spent, {_cost(left, 0)} left until {moment(found.ends)}."
    )
    if found.closed:
        session.output.line("It is closed until then: a backup was restored, so what had been spent is not known.")


def _budget_document(found: pb.Budget) -> dict[str, Any]:
    return {
        "period": found.period,
        "began": found.began,
        "ends": found.ends,
        "limit_micro": found.limit_micro,
        "spent_micro": found.spent_micro,
        "limit_delta_nano": found.limit_delta_nano,
        "spent_delta_nano": found.spent_delta_nano,
        "closed": found.closed,
    }


def _scope_document(reply: pb.DescribeAggregatesResponse) -> dict[str, Any]:
    return {
        "scopes": [
            {
                "purpose": scope.purpose,
                "label_en": scope.label_en,
                "label_sv": scope.label_sv,
                "min_persons": scope.min_persons,
                "events": [
                    {
                        "event": event.event,
                        "label_en": event.label_en,
                        "label_sv": event.label_sv,
                        "dimensions": {each.name: list(each.values) for each in event.dimensions},
                        "max_events": event.max_events,
                        "max_seconds": event.max_seconds,
                        "cells_per_person": event.cells_per_person,
                        "epsilon_micro": event.epsilon_micro,
                        "delta_nano": event.delta_nano,
                        "persons_needed": event.persons_needed,
                    }
                    for event in scope.events
                ],
            }
            for scope in reply.scopes
        ],
        "budget": _budget_document(reply.budget),
        "first_kept_day": reply.first_kept_day,
        "last_closed_day": reply.last_closed_day,
        "not_live_reason": reply.not_live_reason,
    }


register(app)
