"""What the tables of bad inputs share: a call that must fail, what it must say, and what the ledger must hold of it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sluss.v1 import contract_pb2, ledger_pb2

from broker.errors import CATALOGUE, Reason
from tests.support.broker import BrokerProcess

RLM, RLO, NUL, BELL = "\u200f", "\u202e", "\x00", "\x07"
LEAKS = ("Traceback", "sqlalchemy", "sqlite3", "psycopg", "KeyError", "ValueError", "TypeError", ".py", "SELECT ")
TIMEOUT_S = 10
ACME, BETA = "subcontractor/acme", "subcontractor/beta"
CONTRACT_IDS = (
    "",
    "C-2026-9999",
    "c-2026-0001",
    "C" * 100_000,
    f"C-2026-0001{NUL}",
    f"{RLM}C-2026-0001",
    "C-\u0662\u0660\u0662\u0666-\u0660\u0660\u0660\u0661",
    "' OR 1=1",
)
"""Texts that are no contract of anybody, nearly one, or an attack."""
GOOD_ID = "3f6c1c5e-6f0e-4d1c-9c1b-0d9f2f3f9e55"
REQUEST_IDS = (
    "",
    "not-a-uuid",
    GOOD_ID.upper(),
    f"{{{GOOD_ID}}}",
    GOOD_ID + " ",
    "00000000-0000-0000-0000-000000000000",
    "12345678-1234-1234-8234-123456789012",
    "x" * 100_000,
    GOOD_ID[:-1] + BELL,
)
"""Texts that are no UUID4 in canonical form."""


def open_book(folder, **settings) -> BrokerProcess:
    """A broker whose ledger shows every refusal as an entry of its own: nothing is folded."""
    return BrokerProcess(folder / "home", environment={"SLUSS_REFUSAL_ENTRIES": "10000", **settings})


@dataclass(frozen=True)
class Told:
    """What a caller was told: the status, its ErrorInfo, and what BadRequest, PreconditionFailure, RetryInfo say."""

    code: str
    reason: str
    metadata: dict[str, str]
    message: str
    violations: list[str] = field(default_factory=list)
    preconditions: list[tuple[str, str]] = field(default_factory=list)
    retry_s: float | None = None


def rich(error) -> Told:
    """Read a failed call; a status that is not of the catalogue fails the test."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no rich status: {error.code()} {error.details()}"
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "sluss.v1"
    assert CATALOGUE[Reason(info.reason)].code.value == error.code().name
    assert error.code() is not grpc.StatusCode.INTERNAL
    told = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    assert not [leak for leak in LEAKS if leak in told], told
    found: dict[str, Any] = {}
    for packed in status.details[1:]:
        _read_detail(packed, found)
    return Told(error.code().name, info.reason, dict(info.metadata), status.message, **found)


def _read_detail(packed, found):
    bad, failed, retry = (
        error_details_pb2.BadRequest(),
        error_details_pb2.PreconditionFailure(),
        error_details_pb2.RetryInfo(),
    )
    if packed.Unpack(bad):
        found["violations"] = [violation.field for violation in bad.field_violations]
    elif packed.Unpack(failed):
        found["preconditions"] = [(violation.type, violation.subject) for violation in failed.violations]
    elif packed.Unpack(retry):
        found["retry_s"] = retry.retry_delay.ToNanoseconds() / 1e9
    else:
        raise AssertionError(packed.type_url)


def refused(rpc, request) -> Told:
    """Call, unary or stream; it must fail before the first answer."""
    with pytest.raises(grpc.RpcError) as caught:
        first_answer(rpc, request)
    return rich(caught.value)


def first_answer(rpc, request, timeout=TIMEOUT_S):
    """The answer, or the first of a stream's."""
    answer = rpc(request, timeout=timeout)
    return next(answer) if hasattr(answer, "__next__") else answer


def ledger_size(ledger) -> int:
    return ledger.ListEntries(ledger_pb2.ListEntriesRequest(start=1 << 40, page_size=1), timeout=TIMEOUT_S).size


def entries_since(ledger, start) -> list[dict[str, Any]]:
    page = ledger.ListEntries(ledger_pb2.ListEntriesRequest(start=start, page_size=500), timeout=TIMEOUT_S)
    return [json.loads(found.entry) for found in page.entries]


@dataclass(frozen=True)
class Row:
    """One bad input.

    Attributes:
        name: of the test.
        reason: that must be told.
        request: the fields of the request that differ from a good one.
        metadata: that must be in ErrorInfo, at least.
        field: that BadRequest names; None where the status has no BadRequest.
        who: the caller.
        logged: whether a refusal is in the ledger; nothing else may be.
        retry: whether RetryInfo says when.
    """

    name: str
    reason: str
    request: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    field: str | None = None
    who: str = "subcontractor/acme"
    logged: bool = True
    retry: bool = False


def check_refused(ledger, row: Row, rpc, method: str, request) -> tuple[Told, dict[str, Any] | None]:
    """The whole promise of DESIGN 10 for one row; gives what was told and the refusal's entry."""
    before = ledger_size(ledger)
    told = refused(rpc, request)
    since = entries_since(ledger, before)
    assert told.reason == row.reason, told
    assert row.metadata.items() <= told.metadata.items(), told
    assert told.violations == ([row.field] if row.field else []), told
    assert (told.retry_s is not None) == row.retry, told
    if told.code == "FAILED_PRECONDITION":
        assert [kind for kind, _ in told.preconditions] == [row.reason]
    assert [entry["type"] for entry in since] == ["refusal"] * row.logged, since
    if not row.logged:
        return told, None
    (entry,) = since
    assert (entry["principal"], entry["reason"], entry["method"]) == (row.who, row.reason, method)
    return told, entry


def new_id() -> str:
    return str(uuid.uuid4())


def rows(table):
    """Parameters of a test: one per row, under the row's name."""
    names = [row.name for row in table]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("row", table, ids=names)


def terms(subcontractor="subcontractor/acme", **changes) -> contract_pb2.ContractTerms:
    """Good terms, changed."""
    given = {
        "subcontractor": subcontractor,
        "recipient_name": "Acme Pay AB",
        "recipient_address": "Storgatan 1, 111 22 Stockholm, SE",
        "valid_from": "2020-01-01",
        "valid_until": "2099-12-31",
        "grants": [grant()],
        "reference": "archive 4711",
    }
    return contract_pb2.ContractTerms(**{**given, **changes})


def grant(purpose="billing", fields=("email=full", "name.given=full"), **changes) -> contract_pb2.Grant:
    """A good grant, changed."""
    given = {
        "purpose": purpose,
        "fields": [contract_pb2.FieldGrant(field=f.split("=")[0], transform=f.split("=")[1]) for f in fields],
        "population": contract_pb2.Population(everyone=True),
        "retention_days": 30,
        "volumes": [contract_pb2.Volume(window="day", persons=1_000_000)],
    }
    return contract_pb2.Grant(**{**given, **changes})


def proposed(broker, **changes) -> str:
    """A contract that waits for acceptance."""
    request = contract_pb2.ProposeContractRequest(terms=terms(**changes), request_id=new_id())
    return broker.contracts().ProposeContract(request, timeout=TIMEOUT_S).contract.contract_id


def accepted(broker, **changes) -> str:
    """A contract that its subcontractor has accepted."""
    contract = proposed(broker, **changes)
    broker.subcontractor(changes.get("subcontractor", "subcontractor/acme")).accept_contract(contract)
    return contract
