"""Anonymous counts from the subcontractor's side: the question, and the answer once it has proved itself. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sluss.v1 import aggregate_pb2 as pb

from broker.errors import SlussError
from broker.ledger import entry as entries
from broker.ledger.receipt import parse_receipt, verify_receipt
from sluss_client.errors import InvalidRequest, ReceiptInvalid
from sluss_client.heads import Head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.ledger.checkpoint import Verifier

MEASURES: Mapping[str, pb.Measure.ValueType] = {
    "persons": pb.MEASURE_PERSONS,
    "events": pb.MEASURE_EVENTS,
    "seconds": pb.MEASURE_SECONDS,
    "mean_seconds": pb.MEASURE_MEAN_SECONDS,
}
_QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "persons": ("persons",),
    "events": ("events", "persons"),
    "seconds": ("persons", "seconds"),
    "mean_seconds": ("events", "persons", "seconds"),
}
"""What is drawn for a measure: persons always."""
NOISES: Mapping[str, pb.Noise.ValueType] = {
    "": pb.NOISE_UNSPECIFIED,
    "laplace": pb.NOISE_LAPLACE,
    "gaussian": pb.NOISE_GAUSSIAN,
}


@dataclass(frozen=True)
class CountedCell:
    """A cell of an answer.

    Attributes:
        key: the values that it stands for, by dimension.
        suppressed: whether it is not published, because too few persons may be behind it.
        values: `persons`, `events`, `seconds`, `mean_milliseconds`, with noise; none if it is suppressed.
    """

    key: Mapping[str, str]
    suppressed: bool
    values: Mapping[str, int]


@dataclass(frozen=True)
class Counted:
    """An answer that has proved itself.

    Attributes:
        cells: all cells of the question.
        question: the question in its one form, with the bounds and the epsilon that hold for it.
        threshold: a cell is published from so many noisy persons on.
        scales: the scale of the noise on each measure, as decimal text.
        entry_index: its entry in the ledger.
        spent_micro: what this call has cost, in millionths of epsilon.
        spent_delta_nano: likewise, in thousand-millionths of delta; 0 with Laplace noise.
        left_micro: what is left of the contract's budget in this period.
        left_delta_nano: likewise.
        sealed: the answer's bytes, to be kept: their SHA-256 is in the entry.
    """

    cells: tuple[CountedCell, ...]
    question: Mapping[str, Any]
    threshold: int
    scales: Mapping[str, str]
    entry_index: int
    spent_micro: int
    spent_delta_nano: int
    left_micro: int
    left_delta_nano: int
    sealed: bytes


def question(
    contract: str,
    purpose: str,
    event: str,
    measures: Sequence[str],
    *,
    first_day: str,
    last_day: str,
    by: Sequence[str],
    where: Mapping[str, Sequence[str]],
    noise: str,
) -> pb.QueryAggregateRequest:
    """The request.

    Raises:
        InvalidRequest: a measure or a kind of noise is none.
    """
    unknown = [name for name in measures if name not in MEASURES]
    if unknown or noise not in NOISES:
        raise InvalidRequest(f"measures are {', '.join(MEASURES)}; noise is laplace or gaussian")
    return pb.QueryAggregateRequest(
        contract_id=contract,
        purpose=purpose,
        event=event,
        measures=[MEASURES[name] for name in measures],
        group_by=by,
        filters=[pb.AggregateFilter(dimension=name, values=values) for name, values in where.items()],
        first_day=first_day,
        last_day=last_day,
        noise=NOISES[noise],
    )


def proven(
    reply: pb.QueryAggregateResponse, asked: pb.QueryAggregateRequest, recipient: str, verifier: Verifier
) -> tuple[Counted, Head]:
    """The answer, and the tree that its entry is in.

    Raises:
        ReceiptInvalid: the entry is not proven, or is not about this question, its asker and this answer.
    """
    try:
        tree = verify_receipt(reply.receipt, reply.entry, verifier)
        receipt = parse_receipt(reply.receipt)
        entry = entries.parse(reply.entry)
        body = orjson.loads(reply.answer)
        told = _cells(body)
        stated = _stated(body)
        threshold, scales = int(body["threshold"]), {str(name): str(scale) for name, scale in body["scales"].items()}
    except (SlussError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReceiptInvalid(error.detail if isinstance(error, SlussError) else "the answer can't be read") from None
    digest = entries.base64url(hashlib.sha256(reply.answer).digest())
    expected = ("aggregate", asked.contract_id, recipient, asked.purpose, asked.event, digest)
    found = tuple(entry.get(name) for name in ("type", "contract", "recipient", "purpose", "event", "sha256"))
    if found != expected:
        raise ReceiptInvalid("the entry is about another question, another recipient or another answer")
    if stated != _asked(asked, body["question"]["noise"]):
        raise ReceiptInvalid("the answer is to another question")
    if entry.get("question") != entries.base64url(hashlib.sha256(entries.canonical(body["question"])).digest()):
        raise ReceiptInvalid("the entry is about another question")
    filters = {each.dimension: sorted(each.values) for each in asked.filters}
    if any(filters.get(name) != values for name, values in body["question"]["filters"].items()):
        raise ReceiptInvalid("the answer is to another question")
    counted = Counted(
        told,
        body["question"],
        threshold,
        scales,
        receipt.index,
        reply.spent_micro,
        reply.spent_delta_nano,
        _left(reply.budget, reply.budget.limit_micro - reply.budget.spent_micro),
        _left(reply.budget, reply.budget.limit_delta_nano - reply.budget.spent_delta_nano),
        reply.answer,
    )
    return counted, Head(tree.size, tree.root, receipt.note)


def _left(budget: pb.Budget, left: int) -> int:
    return 0 if budget.closed else max(left, 0)


def _stated(body: Mapping[str, Any]) -> tuple[object, ...]:
    said = body["question"]
    said["filters"].items()
    return said["event"], said["group_by"], said["first_day"], said["last_day"], said["quantities"], said["noise"]


def _asked(asked: pb.QueryAggregateRequest, noise: str) -> tuple[object, ...]:
    """What the answer must state; `noise` is what it says, if the question did not."""
    names = {number: name for name, number in MEASURES.items()}
    quantities = {quantity for measure in asked.measures for quantity in _QUANTITIES[names[measure]]}
    kinds = {number: name for name, number in NOISES.items()}
    meant = kinds[asked.noise] or noise
    return asked.event, sorted(asked.group_by), asked.first_day, asked.last_day, sorted(quantities), meant


def _cells(body: Mapping[str, Any]) -> tuple[CountedCell, ...]:
    return tuple(
        CountedCell(
            each["key"],
            bool(each.get("suppressed")),
            {name: value for name, value in each.items() if name not in ("key", "suppressed")},
        )
        for each in body["cells"]
    )
