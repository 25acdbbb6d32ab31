"""A broker that lies about an answer: the SDK believes nothing that the ledger's entry does not name."""

from __future__ import annotations

import hashlib
from datetime import date

import orjson
import pytest
from sluss.v1 import aggregate_pb2 as pb
from sluss_client import aggregates
from sluss_client.errors import InvalidRequest, ReceiptInvalid

from broker.aggregates import answers
from broker.ledger import entry
from tests.unit.aggregates.world import EVENT, question
from tests.unit.ledger.world import VERIFIER, new_ledger

ACME, CONTRACT, PURPOSE = "subcontractor/acme", "C-2026-0001", "anonymous.advertising"
ASKED = aggregates.question(
    CONTRACT,
    PURPOSE,
    EVENT,
    ["persons"],
    first_day="2026-10-01",
    last_day="2026-10-31",
    by=["advertisement"],
    where={"country": ["SE", "NO"]},
    noise="",
)
ANSWER = answers.draw(question(filters=(("country", ("NO", "SE")),)), {"persons": [1_000, 0, 0, 2_000, 0]})

SAID = orjson.loads(ANSWER.data)


def asked_in(data):
    """The digest of the question that an answer's bytes state, if they state any."""
    try:
        stated = orjson.loads(data)["question"]
    except (ValueError, KeyError, TypeError):
        return bytes(32)
    return hashlib.sha256(orjson.dumps(stated, option=orjson.OPT_SORT_KEYS)).digest()


@pytest.fixture
def reply(sqlite_engine):
    """What an honest broker answers, or one that has signed something else."""
    ledger = new_ledger(sqlite_engine)

    def make(data=ANSWER.data, **changes):
        said = {
            "contract": CONTRACT,
            "contract_version": 1,
            "recipient": ACME,
            "purpose": PURPOSE,
            "event": EVENT,
            "question": asked_in(data),
            "answer": hashlib.sha256(data).digest(),
            "cells": 2,
            "suppressed": 3,
            "min_persons": 20,
            "noise": "laplace",
            "epsilon_micro": 250_000,
            "delta_nano": 0,
            "spent_micro": 250_000,
            "spent_delta_nano": 0,
            "period": "2026-11",
            "policy": "2026-01",
            **changes,
        }
        with ledger.transaction() as tx:
            body = entry.aggregate(tx.at, **said)
            index = tx.append(body)
        return pb.QueryAggregateResponse(answer=data, entry=body, receipt=tx.receipt(index), spent_micro=250_000)

    return make


def test_an_honest_answer_is_taken(reply):
    counted, head = aggregates.proven(reply(), ASKED, ACME, VERIFIER)
    assert len(counted.cells) == 5
    assert [cell.suppressed for cell in counted.cells] == [False, True, True, False, True]
    assert (head.size, counted.entry_index) == (2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"contract": "C-2026-0002"},
        {"recipient": "subcontractor/beta"},
        {"purpose": "anonymous.improvement"},
        {"event": "meeting.joined"},
        {"answer": bytes(32)},
        {"question": bytes(32)},
        {"data": answers.draw(question(measures=("events",)), {"persons": [0] * 5, "events": [0] * 5}).data},
        {"data": answers.draw(question(filters=(("country", ("DE",)),)), {"persons": [0] * 5}).data},
        {"data": answers.draw(question(group_by=("country",)), {"persons": [0] * 250}).data},
        {"data": answers.draw(question(first_day=date(2026, 10, 2)), {"persons": [0] * 5}).data},
        {"data": orjson.dumps({"cells": []})},
        {"data": orjson.dumps(SAID | {"threshold": None})},
        {"data": orjson.dumps({name: said for name, said in SAID.items() if name != "scales"})},
        {"data": orjson.dumps(SAID | {"question": SAID["question"] | {"filters": [["country", ["NO", "SE"]]]}})},
        {"data": b"not JSON"},
        {"data": b"[]"},
    ],
)
def test_an_entry_or_an_answer_about_something_else_is_not(reply, changes):
    message = reply(**changes)
    with pytest.raises(ReceiptInvalid):
        aggregates.proven(message, ASKED, ACME, VERIFIER)


def test_altered_bytes_are_not(reply):
    message = reply()
    for altered in (
        pb.QueryAggregateResponse(answer=message.answer + b" ", entry=message.entry, receipt=message.receipt),
        pb.QueryAggregateResponse(answer=message.answer, entry=message.entry + b" ", receipt=message.receipt),
        pb.QueryAggregateResponse(answer=message.answer, entry=message.entry, receipt=message.receipt[:-2]),
    ):
        with pytest.raises(ReceiptInvalid):
            aggregates.proven(altered, ASKED, ACME, VERIFIER)


def test_a_measure_that_is_none_is_not_sent():
    with pytest.raises(InvalidRequest):
        aggregates.question("", "a", "b", ["median"], first_day="", last_day="", by=(), where={}, noise="")


def test_noise_of_another_kind_than_was_asked_for_is_not_taken(reply):
    asked = pb.QueryAggregateRequest()
    asked.CopyFrom(ASKED)
    asked.noise = pb.NOISE_GAUSSIAN
    with pytest.raises(ReceiptInvalid):
        aggregates.proven(reply(), asked, ACME, VERIFIER)
