"""ContractService: every bad input gets its precise reason, and nothing is written but the refusal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sluss.v1 import contract_pb2
from sluss_client.profile import Profile

from broker.contracts import SIGNATURE_LABEL
from tests.integration.bad_input import (
    ACME,
    BELL,
    BETA,
    CONTRACT_IDS,
    NUL,
    REQUEST_IDS,
    RLM,
    RLO,
    TIMEOUT_S,
    Row,
    accepted,
    check_refused,
    grant,
    ledger_size,
    new_id,
    open_book,
    proposed,
    rows,
    terms,
)

SERVICE = "/sluss.v1.ContractService/"
OPERATOR, LEGAL = "operator/admin", "legal/anna"
SOMEBODY = "P-0000000000001"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """Contracts in every state, and a stub per caller."""
    broker = shared_broker
    stub = broker.contracts()
    suspended, terminated = accepted(broker), accepted(broker)
    stub.SuspendContract(contract_pb2.SuspendContractRequest(contract_id=suspended, reason="audit"), timeout=TIMEOUT_S)
    stub.TerminateContract(
        contract_pb2.TerminateContractRequest(contract_id=terminated, reason="over"), timeout=TIMEOUT_S
    )
    contracts = {
        "live": accepted(broker),
        "other": accepted(broker, subcontractor=BETA),
        "proposed": proposed(broker),
        "suspended": suspended,
        "terminated": terminated,
    }
    stubs = {name: broker.contracts(name) for name in (ACME, BETA, OPERATOR, LEGAL, "internal/import")}
    return SimpleNamespace(broker=broker, contracts=contracts, stubs=stubs, ledger=broker.ledger())


def shown(world, contract, who=OPERATOR):
    return world.stubs[who].GetContract(contract_pb2.GetContractRequest(contract_id=contract), timeout=TIMEOUT_S)


def refuse(world, row, method, request):
    metadata = {key: value.format(**world.contracts) for key, value in row.metadata.items()}
    row = Row(**{**row.__dict__, "metadata": metadata})
    return check_refused(world.ledger, row, getattr(world.stubs[row.who], method), f"{SERVICE}{method}", request)


# --- terms: ProposeContract and AmendContract --------------------------------------------------------


def volumes(*pairs):
    return [contract_pb2.Volume(window=window, persons=persons) for window, persons in pairs]


def people(*ids):
    return contract_pb2.Population(persons=contract_pb2.PersonList(person_ids=ids))


def predicates(*pairs):
    listed = [contract_pb2.Predicate(field=name, values=values) for name, values in pairs]
    return contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=listed))


def bad(name, place, **changes):
    """Terms that are refused with INVALID_TERMS at a place."""
    return Row(name, "INVALID_TERMS", changes, {"field": place}, place, who=OPERATOR, logged=False)


def bad_grant(name, place, *fields, **changes):
    """The same for terms with one grant."""
    made = grant(**{**changes, **({"fields": fields} if fields else {})})
    return bad(name, f"grants[0]{place}", grants=[made])


WORDS = {
    "empty": "",
    "blank": "   ",
    "too-long": "x" * 301,
    "a-megabyte": "x" * 1_000_000,
    "padded-to-a-megabyte": "x" + " " * 1_000_000,
    "nul": f"Acme{NUL}",
    "bell": f"Ac{BELL}me",
    "newline": "Acme\nBeta",
    "delete": "Acme\x7f",
    "c1-control": "Acme\x85",
    "right-to-left-mark": f"Acme{RLM}",
    "left-to-right-mark": "Acme\u200e",
    "arabic-letter-mark": "Acme\u061c",
    "right-to-left-override": f"{RLO}Acme",
    "isolate": "Acme\u2067",
    "line-separator": "Acme\u2028Beta",
    "invisible": "Ac\u200bme",
}
TERMS = [
    *(bad(f"recipient_name-{name}", "recipient_name", recipient_name=text) for name, text in WORDS.items()),
    *(bad(f"{field}-{name}", field, **{field: WORDS[name]})
      for field in ("recipient_address", "reference")
      for name in ("empty", "too-long", "nul", "right-to-left-override")),
    *(bad(f"subcontractor-{n}", "subcontractor", subcontractor=text)
      for n, text in enumerate(["", "acme", "subcontractor/", "subcontractor/Acme", "legal/anna", "subcontractor/a/b",
                                f"subcontractor/acme{NUL}", f"subcontractor/acme{RLM}", "subcontractor/" + "a" * 64,
                                "subcontractor/-a", "spiffe://example.com/subcontractor/acme", "x" * 100_000])),
    *(bad(f"{field}-{n}", field, **{field: text})
      for field in ("valid_from", "valid_until")
      for n, text in enumerate(["", "2026", "2026-13-01", "2026-02-29", "20260101", "2026-1-1", "01/01/2026",
                                "2026-W01-1", "2026-01-01T00:00:00Z", "0000-01-01", "10000-01-01",
                                f"2026-01-01{NUL}", "x" * 100_000])),
    bad("ends-before-it-begins", "valid_until", valid_from="2026-01-02", valid_until="2026-01-01"),
    bad("no-grants", "grants", grants=[]),
    bad("65-grants", "grants", grants=[grant()] * 65),
    bad("duplicate-grants", "grants", grants=[grant(), grant()]),
    bad_grant("purpose-legal", ".purpose", purpose="legal.process"),
    bad_grant("purpose-anonymous", ".purpose", purpose="anonymous"),
    bad("second-grant", "grants[1].retention_days", grants=[grant(), grant("support", retention_days=0)]),
    bad("no-fields", "grants[0].fields", grants=[grant(fields=())]),
    bad_grant("65-fields", ".fields", *[f"f{n}=full" for n in range(65)]),
    bad_grant("duplicate-fields", ".fields", "email=full", "email=masked"),
    bad_grant("no-transform", ".fields", "email="),
    bad_grant("unknown-transform", ".fields", "email=rot13"),
    bad_grant("transform-of-another-type", ".fields", "email=truncated_ip"),
    bad_grant("transform-with-nul", ".fields", f"email=full{NUL}"),
    bad_grant("financial-for-support", ".fields", "payment.iban=last4", purpose="support"),
    bad_grant("no-population", ".population", population=None),
    bad_grant("empty-population", ".population", population=contract_pb2.Population()),
    bad_grant("not-everyone", ".population", population=contract_pb2.Population(everyone=False)),
    bad_grant("no-persons", ".population", population=people()),
    bad_grant("1001-persons", ".population", population=people(*(f"P-000000000{n:04d}" for n in range(1001, 2002)))),
    bad_grant("malformed-person", ".population", population=people("P-1")),
    bad_grant("person-too-large", ".population", population=people("P-ZZZZZZZZZZZZZ")),
    bad_grant("person-zero", ".population", population=people("P-0000000000000")),
    bad_grant("duplicate-persons", ".population", population=people(SOMEBODY, SOMEBODY)),
    bad_grant("no-predicates", ".population", population=predicates()),
    bad_grant("9-predicates", ".population", population=predicates(*[("address.country", ["SE"])] * 9)),
    bad_grant("predicate-without-values", ".population", population=predicates(("address.country", []))),
    bad_grant("301-values", ".population", population=predicates(("address.city", [f"c{n}" for n in range(301)]))),
    bad_grant("financial-predicate", ".population", population=predicates(("payment.bank_name", ["Bank"]))),
    bad_grant("retention-0", ".retention_days", retention_days=0),
    bad_grant("retention-3651", ".retention_days", retention_days=3651),
    bad_grant("retention-2^32-1", ".retention_days", retention_days=2**32 - 1),
    bad_grant("no-volumes", ".volumes", volumes=[]),
    bad_grant("duplicate-volumes", ".volumes", volumes=volumes(("day", 1), ("day", 2))),
    bad_grant("unknown-window", ".volumes", volumes=volumes(("year", 1))),
    bad_grant("no-window", ".volumes", volumes=volumes(("", 1))),
    bad_grant("volume-0", ".volumes", volumes=volumes(("day", 0))),
    bad_grant("volume-too-large", ".volumes", volumes=volumes(("day", 10**9 + 1))),
    bad_grant("volume-2^64-1", ".volumes", volumes=volumes(("day", 2**64 - 1))),
    *(Row(f"purpose-unknown-{n}", "PURPOSE_UNKNOWN", {"grants": [grant(text)]}, who=OPERATOR)
      for n, text in enumerate(["", "Billing", "billing.colection", f"billing{NUL}", f"{RLM}billing", "x" * 100_000])),
    *(Row(f"field-unknown-{n}", "FIELD_UNKNOWN", {"grants": [grant(fields=(f"{text}=full",))]}, who=OPERATOR)
      for n, text in enumerate(["", "EMAIL", "shoe_size", f"email{NUL}", f"email{RLM}", "x" * 100_000])),
    Row("predicate-unknown", "FIELD_UNKNOWN", {"grants": [grant(population=predicates(("shoe_size", ["44"])))]},
        {"field": "shoe_size"}, who=OPERATOR),
    Row("predicate-value", "INVALID_VALUE", {"grants": [grant(population=predicates(("address.country", ["Sweden"])))]},
        {"field": "address.country"}, "address.country", OPERATOR, logged=False),
    Row("security-code", "FIELD_FORBIDDEN", {"grants": [grant(fields=("cvc=full",))]}, {"field": "cvc"}, "cvc",
        OPERATOR, logged=False),
]  # fmt: skip


@rows(TERMS)
def test_bad_terms_can_not_be_proposed(world, row):
    request = contract_pb2.ProposeContractRequest(terms=terms(**row.request), request_id=new_id())
    refuse(world, row, "ProposeContract", request)


@rows(TERMS)
def test_bad_terms_can_not_amend_and_the_contract_stands_as_it_was(world, row):
    before = shown(world, world.contracts["live"])
    request = contract_pb2.AmendContractRequest(
        contract_id=world.contracts["live"],
        terms=terms(**row.request),
        etag=before.contract.etag,
        request_id=new_id(),
    )
    refuse(world, row, "AmendContract", request)
    assert shown(world, world.contracts["live"]) == before


@pytest.mark.parametrize("text", REQUEST_IDS, ids=range(len(REQUEST_IDS)))
@pytest.mark.parametrize("method", ["ProposeContract", "AmendContract"])
def test_a_request_id_is_a_uuid4(world, method, text):
    row = Row("", "INVALID_REQUEST", metadata={"field": "request_id"}, field="request_id", who=OPERATOR, logged=False)
    request = {"terms": terms(), "request_id": text}
    if method == "AmendContract":
        request |= {"contract_id": world.contracts["live"], "etag": shown(world, world.contracts["live"]).contract.etag}
    refuse(world, row, method, getattr(contract_pb2, f"{method}Request")(**request))


def test_a_request_id_with_other_terms_or_of_another_method_is_refused(world):
    stub, request_id = world.stubs[OPERATOR], new_id()
    first = contract_pb2.ProposeContractRequest(terms=terms(), request_id=request_id)
    given = stub.ProposeContract(first, timeout=TIMEOUT_S)
    row = Row("", "REQUEST_ID_REUSED", metadata={"request_id": request_id}, who=OPERATOR, logged=False)
    other = contract_pb2.ProposeContractRequest(terms=terms(reference="archive 4712"), request_id=request_id)
    refuse(world, row, "ProposeContract", other)
    contract = given.contract
    amend = contract_pb2.AmendContractRequest(
        contract_id=contract.contract_id, terms=terms(), etag=contract.etag, request_id=request_id
    )
    refuse(world, row, "AmendContract", amend)
    before = ledger_size(world.ledger)
    assert stub.ProposeContract(first, timeout=TIMEOUT_S) == given
    assert ledger_size(world.ledger) == before


def amendment(world, contract, **changes):
    request = {
        "contract_id": world.contracts.get(contract, contract),
        "terms": terms(),
        "etag": "",
        "request_id": new_id(),
    }
    if contract in world.contracts and "etag" not in changes:
        request["etag"] = shown(world, world.contracts[contract]).contract.etag
    return contract_pb2.AmendContractRequest(**{**request, **changes})


@pytest.mark.parametrize("contract", CONTRACT_IDS, ids=range(len(CONTRACT_IDS)))
def test_a_contract_that_does_not_exist_can_not_be_amended(world, contract):
    refuse(world, Row("", "CONTRACT_UNKNOWN", who=OPERATOR, logged=False), "AmendContract", amendment(world, contract))


@pytest.mark.parametrize("etag", ["", "0", "999999", " 1", "x" * 100_000, NUL])
def test_an_amendment_needs_the_present_etag_and_is_told_it(world, etag):
    present = shown(world, world.contracts["live"]).contract.etag
    row = Row("", "ETAG_STALE", metadata={"etag": present}, who=OPERATOR, logged=False)
    refuse(world, row, "AmendContract", amendment(world, "live", etag=etag))


def test_a_terminated_contract_can_not_be_amended(world):
    metadata = {"contract": "{terminated}", "state": "terminated", "step": "amend"}
    row = Row("", "CONTRACT_WRONG_STATE", metadata=metadata, who=OPERATOR)
    refuse(world, row, "AmendContract", amendment(world, "terminated"))


def test_an_amendment_can_not_move_a_contract_to_another_subcontractor(world):
    refuse(
        world,
        bad("", "subcontractor"),
        "AmendContract",
        amendment(world, "live", terms=terms(subcontractor=BETA)),
    )


# --- AcceptContract ----------------------------------------------------------------------------------


def signature(world, contract, who=ACME, message=None, version=1):
    canonical = shown(world, contract).versions[version - 1].canonical_terms
    return Profile.load(world.broker.profile(who)).sign(message(canonical) if message else SIGNATURE_LABEL + canonical)


SIGNATURES = [
    ("none", lambda _, __: b""),
    ("garbage", lambda _, __: b"\x30\x06\x02\x01\x01\x02\x01\x01"),
    ("a megabyte", lambda _, __: b"\x30" * 1_000_000),
    ("by another principal", lambda world, contract: signature(world, contract, BETA)),
    ("without the label", lambda world, contract: signature(world, contract, message=lambda text: text)),
    (
        "with the label of keys",
        lambda world, contract: signature(world, contract, message=lambda text: b"sluss/v1 key\x00" + text),
    ),
    (
        "over other terms",
        lambda world, contract: signature(
            world, contract, message=lambda text: SIGNATURE_LABEL + text.replace(b'"forbidden"', b'"permitted"')
        ),
    ),
    ("over another contract", lambda world, _: signature(world, world.contracts["live"])),
    ("with a byte behind it", lambda world, contract: signature(world, contract) + b"\0"),
]


@pytest.mark.parametrize("make", [make for _, make in SIGNATURES], ids=[name for name, _ in SIGNATURES])
def test_only_a_signature_of_the_callers_key_over_these_terms_accepts(world, make):
    contract = world.contracts["proposed"]
    before = shown(world, contract)
    request = contract_pb2.AcceptContractRequest(contract_id=contract, version=1, signature=make(world, contract))
    _, entry = refuse(world, Row("", "INVALID_SIGNATURE", metadata={"contract": contract}), "AcceptContract", request)
    assert entry["contract"] == contract
    assert shown(world, contract) == before


ACCEPT = [
    *(Row(f"contract-{n}", "NOT_YOUR_CONTRACT", {"contract_id": text}) for n, text in enumerate(CONTRACT_IDS)),
    Row("of-another", "NOT_YOUR_CONTRACT", {"contract_id": "other"}, {"contract": "{other}"}),
    Row("version-0", "CONTRACT_WRONG_STATE", {"version": 0}, {"state": "proposed", "step": "accept"}),
    Row("version-2", "CONTRACT_WRONG_STATE", {"version": 2}, {"contract": "{proposed}", "state": "proposed"}),
    Row("version-2^32-1", "CONTRACT_WRONG_STATE", {"version": 2**32 - 1}, {"contract": "{proposed}"}),
    Row("accepted-already", "INVALID_SIGNATURE", {"contract_id": "live"}, {"contract": "{live}"}),
    Row("never-proposed", "CONTRACT_WRONG_STATE", {"contract_id": "live", "version": 2}, {"state": "active"}),
    Row("nothing-waits", "CONTRACT_WRONG_STATE", {"contract_id": "live", "version": 0}, {"contract": "{live}"}),
    *(Row(state, "CONTRACT_WRONG_STATE", {"contract_id": state, "version": 2}, {"state": state, "step": "accept"})
      for state in ("suspended", "terminated")),
]  # fmt: skip


@rows(ACCEPT)
def test_only_the_version_that_waits_is_accepted_by_its_subcontractor(world, row):
    values = {"contract_id": "proposed", "version": 1, "signature": b"x", **row.request}
    values["contract_id"] = world.contracts.get(values["contract_id"], values["contract_id"])
    refuse(world, row, "AcceptContract", contract_pb2.AcceptContractRequest(**values))


def test_a_version_that_was_replaced_before_it_was_accepted_can_not_be_accepted(world):
    contract = proposed(world.broker)
    old = signature(world, contract)
    etag = shown(world, contract).contract.etag
    world.stubs[OPERATOR].AmendContract(amendment(world, contract, etag=etag), timeout=TIMEOUT_S)
    row = Row("", "CONTRACT_WRONG_STATE", metadata={"contract": contract, "step": "accept"})
    refuse(
        world,
        row,
        "AcceptContract",
        contract_pb2.AcceptContractRequest(contract_id=contract, version=1, signature=old),
    )
    row = Row("", "INVALID_SIGNATURE", metadata={"contract": contract})
    refuse(
        world,
        row,
        "AcceptContract",
        contract_pb2.AcceptContractRequest(contract_id=contract, version=2, signature=old),
    )


# --- SuspendContract, ResumeContract, TerminateContract ------------------------------------------------

STEPS = ["Suspend", "Resume", "Terminate"]
GOOD_STATE = {"Suspend": "live", "Resume": "suspended", "Terminate": "live"}
REASONS = {**WORDS, "too-long": "x" * 501, "padded-to-a-megabyte": " " * 1_000_000}
del REASONS["blank"]


def step_request(world, step, contract, reason="audit", etag=""):
    made = getattr(contract_pb2, f"{step}ContractRequest")
    return made(contract_id=world.contracts.get(contract, contract), reason=reason, etag=etag)


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
@pytest.mark.parametrize("step", STEPS)
def test_a_step_needs_a_readable_reason(world, step, reason):
    # On a stale etag, so that a reason that gets through changes nothing for the other rows.
    row = Row("", "INVALID_REQUEST", metadata={"field": "reason"}, field="reason", who=OPERATOR, logged=False)
    refuse(world, row, f"{step}Contract", step_request(world, step, GOOD_STATE[step], reason, etag="0"))


PERSONAL = [
    "anna@example.com",
    "call 070-123 45 67",
    "850102-1234",
    "4111 1111 1111 1111",
    "se45 5000 0000 0583 9825 7466",
]


@pytest.mark.parametrize("text", PERSONAL)
@pytest.mark.parametrize("step", STEPS)
def test_a_steps_reason_with_personal_data_is_refused_and_goes_nowhere(world, step, text):
    row = Row("", "INVALID_REQUEST", metadata={"field": "reason"}, field="reason", who=OPERATOR, logged=False)
    refuse(world, row, f"{step}Contract", step_request(world, step, GOOD_STATE[step], f"asked by {text}"))


@pytest.mark.parametrize("contract", CONTRACT_IDS, ids=range(len(CONTRACT_IDS)))
@pytest.mark.parametrize("step", STEPS)
def test_a_contract_that_does_not_exist_takes_no_step(world, step, contract):
    row = Row("", "CONTRACT_UNKNOWN", who=LEGAL, logged=False)
    refuse(world, row, f"{step}Contract", step_request(world, step, contract))


@pytest.mark.parametrize("etag", ["0", "999999", " 1", "x" * 100_000, NUL])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_on_a_stale_etag_is_refused_and_told_the_present_one(world, step, etag):
    contract = GOOD_STATE[step]
    present = shown(world, world.contracts[contract]).contract.etag
    row = Row("", "ETAG_STALE", metadata={"etag": present}, who=OPERATOR, logged=False)
    refuse(world, row, f"{step}Contract", step_request(world, step, contract, etag=etag))


@pytest.mark.parametrize(
    ("step", "contract", "state"),
    [
        ("Suspend", "proposed", "proposed"),
        ("Suspend", "suspended", "suspended"),
        ("Suspend", "terminated", "terminated"),
        ("Resume", "proposed", "proposed"),
        ("Resume", "live", "active"),
        ("Resume", "terminated", "terminated"),
        ("Terminate", "terminated", "terminated"),
    ],
)
def test_a_step_that_the_state_does_not_allow_is_refused_by_both_names(world, step, contract, state):
    metadata = {"contract": f"{{{contract}}}", "state": state, "step": step.lower()}
    row = Row("", "CONTRACT_WRONG_STATE", metadata=metadata, who=LEGAL)
    _, entry = refuse(world, row, f"{step}Contract", step_request(world, step, contract))
    assert entry["contract"] == world.contracts[contract]


# --- GetContract and ListContracts -------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACT_IDS, ids=range(len(CONTRACT_IDS)))
@pytest.mark.parametrize(
    ("who", "reason"),
    [(ACME, "NOT_YOUR_CONTRACT"), (LEGAL, "CONTRACT_UNKNOWN"), ("internal/import", "CONTRACT_UNKNOWN")],
)
def test_a_contract_that_does_not_exist_is_not_shown(world, who, reason, contract):
    row = Row("", reason, who=who, logged=who == ACME)
    refuse(world, row, "GetContract", contract_pb2.GetContractRequest(contract_id=contract))


def test_a_subcontractor_can_not_tell_someone_elses_contract_from_none(world):
    stub = world.stubs[ACME]
    answers = []
    for contract in (world.contracts["other"], "C-2026-9999"):
        row = Row("", "NOT_YOUR_CONTRACT", metadata={"contract": contract})
        request = contract_pb2.GetContractRequest(contract_id=contract)
        told, _ = check_refused(world.ledger, row, stub.GetContract, f"{SERVICE}GetContract", request)
        answers.append((told.code, told.reason, told.message))
    assert answers[0] == answers[1]
    listed = stub.ListContracts(contract_pb2.ListContractsRequest(subcontractor=BETA), timeout=TIMEOUT_S)
    assert not listed.contracts


LIST = [
    Row("page-of-201", "INVALID_REQUEST", {"page_size": 201}, {"field": "page_size"}, "page_size"),
    Row("page-of-2^32-1", "INVALID_REQUEST", {"page_size": 2**32 - 1}, {"field": "page_size"}, "page_size"),
    *(Row(f"token-{n}", "INVALID_REQUEST", {"page_token": text}, {"field": "page_token"}, "page_token")
      for n, text in enumerate(["x", "A" * 64, "åäö", NUL, "====", "A" * 100_000, "C-2026-0001"])),
]  # fmt: skip


@rows(LIST)
def test_a_bad_page_is_refused(world, row):
    quiet = Row(**{**row.__dict__, "logged": False})
    refuse(world, quiet, "ListContracts", contract_pb2.ListContractsRequest(**row.request))


def test_a_token_of_another_caller_or_filter_is_refused(world):
    request = contract_pb2.ListContractsRequest(subcontractor=ACME, page_size=1)
    token = world.stubs[OPERATOR].ListContracts(request, timeout=TIMEOUT_S).next_page_token
    row = {"reason": "INVALID_REQUEST", "field": "page_token", "logged": False}
    with_token = contract_pb2.ListContractsRequest(subcontractor=ACME, page_token=token)
    for who, changed in [
        (LEGAL, with_token),
        (ACME, with_token),
        (OPERATOR, contract_pb2.ListContractsRequest(page_token=token)),
        (OPERATOR, contract_pb2.ListContractsRequest(subcontractor=BETA, page_token=token)),
    ]:
        refuse(world, Row("", who=who, **row), "ListContracts", changed)
    assert world.stubs[OPERATOR].ListContracts(with_token, timeout=TIMEOUT_S).contracts
