"""LedgerService: every bad input gets its precise reason; looking at the ledger writes nothing but a refusal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sluss.v1 import ledger_pb2

from tests.integration.bad_input import (
    ACME,
    BETA,
    CONTRACT_IDS,
    NUL,
    RLM,
    TIMEOUT_S,
    Row,
    check_refused,
    ledger_size,
    open_book,
    rows,
)

SERVICE = "/sluss.v1.LedgerService/"
LEGAL = "legal/anna"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """Entries of two subcontractors, and a stub per caller."""
    contract, _ = shared_broker.live_contract()
    shared_broker.live_contract(subcontractor=BETA)
    stubs = {name: shared_broker.ledger(name) for name in (ACME, BETA, LEGAL, "internal/import", "operator/admin")}
    return SimpleNamespace(broker=shared_broker, contract=contract, stubs=stubs, ledger=stubs[LEGAL])


def refuse(world, row, method, request):
    return check_refused(world.ledger, row, getattr(world.stubs[row.who], method), f"{SERVICE}{method}", request)


def listed(world, who, **values):
    return world.stubs[who].ListEntries(ledger_pb2.ListEntriesRequest(**values), timeout=TIMEOUT_S)


CHECKPOINT = [
    Row("impossible", "INVALID_REQUEST", {"seen_size": 2**53 + 1}, {"field": "seen_size"}, "seen_size", logged=False),
    Row("2^64-1", "INVALID_REQUEST", {"seen_size": 2**64 - 1}, {"field": "seen_size"}, "seen_size", logged=False),
    Row("far-ahead", "LEDGER_INCONSISTENT", {"seen_size": 2**53}, {"seen_size": str(2**53)}),
    Row("ahead", "LEDGER_INCONSISTENT", {"seen_size": 1_000_000}, {"seen_size": "1000000"}),
]


@rows(CHECKPOINT)
def test_a_tree_that_this_ledger_never_was_is_refused(world, row):
    refuse(world, row, "GetCheckpoint", ledger_pb2.GetCheckpointRequest(**row.request))


def test_a_tree_one_larger_than_the_ledger_is_refused_with_both_sizes(world):
    size = ledger_size(world.ledger)
    row = Row("", "LEDGER_INCONSISTENT", metadata={"seen_size": str(size + 1), "size": str(size)}, who=LEGAL)
    refuse(world, row, "GetCheckpoint", ledger_pb2.GetCheckpointRequest(seen_size=size + 1))


@pytest.mark.parametrize("who", [ACME, LEGAL])
@pytest.mark.parametrize("index", [10_000, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1])
def test_an_entry_that_is_not_there_is_unknown(world, who, index):
    row = Row("", "ENTRY_UNKNOWN", metadata={"index": str(index)}, who=who, logged=False)
    refuse(world, row, "GetReceipt", ledger_pb2.GetReceiptRequest(index=index))


def test_a_subcontractor_can_not_tell_someone_elses_entry_from_none(world):
    foreign = [found.index for found in listed(world, LEGAL, recipient=BETA).entries]
    answers = set()
    for index in (0, *foreign, 9_999):
        row = Row("", "ENTRY_UNKNOWN", metadata={"index": str(index)}, logged=False)
        told, _ = refuse(world, row, "GetReceipt", ledger_pb2.GetReceiptRequest(index=index))
        answers.add((told.code, told.message, frozenset(told.metadata)))
    assert len(foreign) > 2
    assert len(answers) == 1


def bad_list(name, field, **request):
    return Row(name, "INVALID_REQUEST", request, {"field": field}, field, logged=False)


LIST = [
    *(bad_list(f"contract-{n}", "contract_id", contract_id=text)
      for n, text in enumerate(CONTRACT_IDS) if text not in {"", "C-2026-9999"}),
    *(bad_list(f"type-{n}", "type", type=text)
      for n, text in enumerate(["Disclosure", "disclosures", "*", f"key{NUL}", f"{RLM}key", "x" * 100_000])),
    *(bad_list(f"recipient-{n}", "recipient", recipient=text)
      for n, text in enumerate(["x" * 81, "x" * 100_000, "acme", "spiffe://example.com/subcontractor/acme",
                                f"subcontractor/acme{NUL}", f"subcontractor/acme{RLM}", "subcontractor/"])),
    bad_list("page-of-501", "page_size", page_size=501),
    bad_list("page-of-2^32-1", "page_size", page_size=2**32 - 1),
    *(bad_list(f"token-{n}", "page_token", page_token=text)
      for n, text in enumerate(["x", "A" * 64, "åäö", NUL, "====", "A" * 100_000, "17"])),
]  # fmt: skip


@rows(LIST)
def test_a_filter_that_no_entry_can_match_is_refused(world, row):
    refuse(world, Row(**{**row.__dict__, "who": LEGAL}), "ListEntries", ledger_pb2.ListEntriesRequest(**row.request))


@pytest.mark.parametrize("recipient", [BETA, "subcontractor/nobody", "legal/anna", "unknown"])
def test_a_subcontractor_may_not_ask_for_someone_elses_entries(world, recipient):
    row = Row("", "ROLE_NOT_ALLOWED", metadata={"kind": "subcontractor"})
    refuse(world, row, "ListEntries", ledger_pb2.ListEntriesRequest(recipient=recipient))


def test_a_subcontractor_gets_its_own_entries_only_whatever_the_start(world):
    size = ledger_size(world.ledger)
    for start in (0, 1, size - 1, size, 2**63, 2**64 - 1):
        indices = [found.index for found in listed(world, ACME, start=start, page_size=500).entries]
        own = [found.index for found in listed(world, LEGAL, recipient=ACME, page_size=500).entries]
        assert indices == [index for index in own if index >= start]


def test_a_token_is_good_for_its_caller_and_filter_only(world):
    mine = {"recipient": ACME, "type": "contract"}
    token = listed(world, LEGAL, page_size=1, **mine).next_page_token
    assert listed(world, LEGAL, page_token=token, **mine).entries
    others = [
        (ACME, mine),
        ("operator/admin", mine),
        (LEGAL, {"recipient": BETA, "type": "contract"}),
        (LEGAL, {"recipient": ACME, "type": "key"}),
        (LEGAL, {"recipient": ACME}),
        (LEGAL, {**mine, "contract_id": world.contract}),
    ]
    for who, changed in others:
        row = Row("", "INVALID_REQUEST", field="page_token", who=who, logged=False)
        refuse(world, row, "ListEntries", ledger_pb2.ListEntriesRequest(page_token=token, **changed))


@pytest.mark.parametrize("method", ["GetReceipt", "ListEntries"])
def test_internal_services_see_no_entries(world, method):
    row = Row(
        "", "ROLE_NOT_ALLOWED", metadata={"kind": "internal", "method": f"{SERVICE}{method}"}, who="internal/import"
    )
    refuse(world, row, method, getattr(ledger_pb2, f"{method}Request")())
