"""DisclosureService: every bad input gets its precise reason, and nothing is written but the refusal."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest
from sluss.v1 import contract_pb2, disclosure_pb2

from broker.catalogue import default_catalogue
from broker.identity import parse_principal
from broker.operator import pins
from broker.operator.office import opened
from tests.integration.bad_input import (
    ACME,
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
    entries_since,
    grant,
    ledger_size,
    new_id,
    open_book,
    proposed,
    refused,
    rich,
    rows,
)

SERVICE = "/sluss.v1.DisclosureService/"
NEW = "subcontractor/newcomer"
CATALOGUE = default_catalogue()
LONG = "x" * 100_000


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """Contracts in every state, persons, and one stub per caller."""
    broker = shared_broker
    live, client = broker.live_contract(
        grant(fields=("email=full", "payment.iban=last4"), volumes=[contract_pb2.Volume(window="day", persons=10**6)]),
        grant("support", ("email=full", "invoice.amount=rounded")[:1]),
    )
    other, _ = broker.live_contract(subcontractor=BETA)
    suspended, terminated = accepted(broker), accepted(broker)
    stub = broker.contracts()
    stub.SuspendContract(contract_pb2.SuspendContractRequest(contract_id=suspended, reason="audit"), timeout=TIMEOUT_S)
    stub.TerminateContract(
        contract_pb2.TerminateContractRequest(contract_id=terminated, reason="over"), timeout=TIMEOUT_S
    )
    people = [broker.register(email=f"zq{number}canary@example.com") for number in range(4)]
    tiny = accepted(broker, grants=[grant(volumes=[contract_pb2.Volume(window="month", persons=2)])])
    contracts = {
        "live": live,
        "other": other,
        "proposed": proposed(broker),
        "suspended": suspended,
        "terminated": terminated,
        "early": accepted(broker, valid_from="2098-01-01"),
        "late": accepted(broker, valid_until="2020-06-30"),
        "tiny": tiny,
        "keyless": accepted(broker, subcontractor=NEW),
    }
    return SimpleNamespace(
        broker=broker,
        client=client,
        contracts=contracts,
        handles={name: broker.handles(contract, *people) for name, contract in contracts.items()},
        stubs={name: broker.disclosures(name) for name in (ACME, BETA, NEW, "operator/admin", "legal/anna")},
        ledger=broker.ledger(),
    )


def named(world, values):
    """The values, with the names of contracts and of their handles in place of `{live}` and the like."""
    found = dict(values)
    if found.get("contract_id", "").startswith("{"):
        found["contract_id"] = world.contracts[found["contract_id"].strip("{}")]
    if isinstance(found.get("handles"), str):
        found["handles"] = world.handles[found["handles"].strip("{}")]
    return found


def expected(world, row):
    """The row with names in its metadata filled in."""
    metadata = {key: value.format(**world.contracts) for key, value in row.metadata.items()}
    return Row(**{**row.__dict__, "metadata": metadata})


def many(count):
    return [number.to_bytes(16, "big") for number in range(1, count + 1)]


# --- Disclose --------------------------------------------------------------------------------------

NAMES = ("", "X" * 10_000, "B I", "Billing", "billing.", ".billing", f"bill{NUL}ing", f"bill{RLM}ing", f"{RLO}billing")
DISCLOSE = [
    *(
        Row(f"request-id-{n}", "INVALID_REQUEST", {"request_id": text}, {"field": "request_id"}, "request_id")
        for n, text in enumerate(REQUEST_IDS)
    ),
    *(Row(f"contract-{n}", "NOT_YOUR_CONTRACT", {"contract_id": text}) for n, text in enumerate(CONTRACT_IDS)),
    Row("contract-of-another", "NOT_YOUR_CONTRACT", {"contract_id": "{other}"}, {"contract": "{other}"}),
    Row("contract-of-another-by-newcomer", "NOT_YOUR_CONTRACT", {}, {"contract": "{live}"}, who=NEW),
    Row("not-accepted", "CONTRACT_NOT_ACCEPTED", {"contract_id": "{proposed}"}, {"contract": "{proposed}"}),
    Row("suspended", "CONTRACT_SUSPENDED", {"contract_id": "{suspended}"}, {"contract": "{suspended}"}),
    Row("terminated", "CONTRACT_TERMINATED", {"contract_id": "{terminated}"}, {"contract": "{terminated}"}),
    Row(
        "not-yet-valid",
        "CONTRACT_NOT_YET_VALID",
        {"contract_id": "{early}"},
        {"contract": "{early}", "valid_from": "2098-01-01"},
    ),
    Row("expired", "CONTRACT_EXPIRED", {"contract_id": "{late}"}, {"contract": "{late}", "valid_until": "2020-06-30"}),
    Row("no-key", "RECIPIENT_KEY_MISSING", {"contract_id": "{keyless}"}, {"principal": NEW}, who=NEW),
    *(Row(f"purpose-{n}", "PURPOSE_UNKNOWN", {"purpose": text}) for n, text in enumerate(NAMES)),
    Row("purpose-misspelt", "PURPOSE_UNKNOWN", {"purpose": "billing.colection"}, {"purpose": "billing.colection"}),
    Row(
        "purpose-not-granted",
        "PURPOSE_OUT_OF_SCOPE",
        {"purpose": "offers"},
        {"contract": "{live}", "purpose": "offers"},
    ),
    Row("purpose-beside", "PURPOSE_OUT_OF_SCOPE", {"purpose": "service"}, {"contract": "{live}", "purpose": "service"}),
    Row("purpose-third-party", "PURPOSE_OUT_OF_SCOPE", {"purpose": "partners.email"}, {"purpose": "partners.email"}),
    Row("purpose-legal", "PURPOSE_OUT_OF_SCOPE", {"purpose": "legal.process"}, {"purpose": "legal.process"}),
    Row("purpose-anonymous", "PURPOSE_OUT_OF_SCOPE", {"purpose": "anonymous"}, {"purpose": "anonymous"}),
    Row("no-fields", "INVALID_REQUEST", {"fields": []}, {"field": "fields"}, "fields"),
    Row("65-fields", "INVALID_REQUEST", {"fields": [f"f{n}" for n in range(65)]}, {"field": "fields"}, "fields"),
    Row("duplicate-fields", "INVALID_REQUEST", {"fields": ["email", "email"]}, {"field": "fields"}, "fields"),
    *(Row(f"field-{n}", "FIELD_UNKNOWN", {"fields": ["email", text]}) for n, text in enumerate(NAMES)),
    Row("field-misspelt", "FIELD_UNKNOWN", {"fields": ["shoe_size"]}, {"field": "shoe_size"}),
    Row("field-in-capitals", "FIELD_UNKNOWN", {"fields": ["EMAIL"]}),
    Row("field-with-transform", "FIELD_UNKNOWN", {"fields": ["email=full"]}),
    Row("field-star", "FIELD_UNKNOWN", {"fields": ["*"]}),
    Row(
        "field-not-granted",
        "FIELD_OUT_OF_SCOPE",
        {"fields": ["email", "phone"]},
        {"contract": "{live}", "purpose": "billing", "field": "phone"},
    ),
    Row(
        "field-of-another-grant",
        "FIELD_OUT_OF_SCOPE",
        {"purpose": "support", "fields": ["payment.iban"]},
        {"contract": "{live}", "purpose": "support", "field": "payment.iban"},
    ),
    Row(
        "security-code",
        "FIELD_FORBIDDEN",
        {"fields": ["payment.card_security_code"]},
        {"field": "payment.card_security_code"},
        "payment.card_security_code",
    ),
    Row("security-code-by-another-name", "FIELD_FORBIDDEN", {"fields": ["cvc2"]}, {"field": "cvc2"}, "cvc2"),
    Row("no-handles", "INVALID_REQUEST", {"handles": []}, {"field": "handles"}, "handles"),
    Row("10001-handles", "INVALID_REQUEST", {"handles": many(10_001)}, {"field": "handles"}, "handles"),
    Row("empty-handle", "INVALID_REQUEST", {"handles": [b""]}, {"field": "handles"}, "handles"),
    Row("short-handle", "INVALID_REQUEST", {"handles": [bytes(15)]}, {"field": "handles"}, "handles"),
    Row("long-handle", "INVALID_REQUEST", {"handles": [bytes(16), bytes(17)]}, {"field": "handles"}, "handles"),
    Row(
        "handle-as-text", "INVALID_REQUEST", {"handles": [b"h_AAAAAAAAAAAAAAAAAAAAAA"]}, {"field": "handles"}, "handles"
    ),
    Row("duplicate-handles", "INVALID_REQUEST", {"handles": [bytes(16)] * 2}, {"field": "handles"}, "handles"),
    Row("seen-size-impossible", "INVALID_REQUEST", {"seen_size": 2**64 - 1}, {"field": "seen_size"}, "seen_size"),
    Row("seen-size-too-large", "LEDGER_INCONSISTENT", {"seen_size": 2**53}),
    Row(
        "volume",
        "VOLUME_EXCEEDED",
        {"contract_id": "{tiny}", "handles": "{tiny}"},
        {"contract": "{tiny}", "purpose": "billing", "window": "month", "limit": "2", "left": "2"},
        retry=True,
    ),
]


def disclose_request(world, row, **changes):
    values = {
        "request_id": new_id(),
        "contract_id": "{live}",
        "purpose": "billing",
        "fields": ["email"],
        "handles": "{live}",
    }
    values = {**values, **row.request, **changes}
    return disclosure_pb2.DiscloseRequest(**named(world, values))


@rows(DISCLOSE)
def test_a_bad_disclosure_is_refused_by_name_and_only_the_refusal_is_written(world, row):
    request = disclose_request(world, row)
    _, entry = check_refused(
        world.ledger, expected(world, row), world.stubs[row.who].Disclose, f"{SERVICE}Disclose", request
    )
    assert entry["persons"] == len(request.handles)
    assert entry["contract"] == (request.contract_id if request.contract_id in world.contracts.values() else "")
    assert entry["purpose"] == (request.purpose if request.purpose in CATALOGUE.purposes else "")
    assert entry["fields"] == [name for name in request.fields if name in CATALOGUE.fields]


DRY = [row for row in DISCLOSE if not row.name.startswith("request-id") and row.name != "seen-size-too-large"]


@rows(DRY)
def test_a_dry_run_is_refused_with_the_error_of_the_real_call_and_writes_nothing(world, row):
    request = disclose_request(world, row, dry_run=True, request_id="")
    dry = Row(**{**expected(world, row).__dict__, "logged": False})
    check_refused(world.ledger, dry, world.stubs[row.who].Disclose, f"{SERVICE}Disclose", request)


def test_names_that_a_caller_made_up_stay_out_of_the_ledger(world):
    # FORMAT.md, refusal: a caller may put a phone number or a name where a code belongs, and an entry is for ever.
    before = ledger_size(world.ledger)
    stub = world.stubs[ACME]
    good = Row("", "")
    for changes in (
        {"purpose": "46701740605"},
        {"purpose": "asa.lindqvist"},
        {"fields": ["198504121234"]},
        {"contract_id": "C-1985-04121234"},
    ):
        refused(stub.Disclose, disclose_request(world, good, **changes))
    written = entries_since(world.ledger, before)
    assert len(written) == 4
    for made_up in ("46701740605", "asa.lindqvist", "198504121234", "C-1985-04121234"):
        assert made_up not in str(written)


def test_nobody_available_is_told_flatly_and_logged_as_a_refusal(world):
    before = ledger_size(world.ledger)
    forged, foreign = bytes(16), world.handles["other"][0]
    request = disclose_request(world, Row("", ""), handles=[forged, foreign])
    answer = world.stubs[ACME].Disclose(request, timeout=TIMEOUT_S)
    assert not answer.disclosures
    assert [(status.handle, status.reason) for status in answer.unavailable] == [
        (forged, "PERSON_UNAVAILABLE"),
        (foreign, "PERSON_UNAVAILABLE"),
    ]
    (entry,) = entries_since(world.ledger, before)
    assert (entry["type"], entry["reason"], entry["persons"]) == ("refusal", "PERSON_UNAVAILABLE", 2)


REUSED = [
    {"purpose": "billing.collection"},
    {"fields": ["payment.iban"]},
    {"fields": ["email", "payment.iban"]},
    {"handles": many(1)},
    {"contract_id": "{tiny}", "handles": many(1)},
]


@pytest.mark.parametrize("changes", REUSED, ids="-".join)
def test_a_request_id_with_another_body_is_refused_and_the_same_body_is_answered_again(world, changes):
    stub, first = world.stubs[ACME], disclose_request(world, Row("", ""))
    given = stub.Disclose(first, timeout=TIMEOUT_S)
    other = disclose_request(world, Row("", ""), request_id=first.request_id, **changes)
    row = Row("", "REQUEST_ID_REUSED", metadata={"request_id": first.request_id})
    check_refused(world.ledger, row, stub.Disclose, f"{SERVICE}Disclose", other)
    before = ledger_size(world.ledger)
    again = stub.Disclose(first, timeout=TIMEOUT_S)
    assert [found.slices for found in again.disclosures] == [found.slices for found in given.disclosures]
    assert ledger_size(world.ledger) == before


# --- DiscloseBulk ----------------------------------------------------------------------------------

NOT_IN_BULK = ("10001-handles", "volume")
BULK = [
    *(row for row in DISCLOSE if row.name not in NOT_IN_BULK),
    Row("100001-handles", "INVALID_REQUEST", {"handles": many(100_001)}, {"field": "handles"}, "handles"),
    Row("nobody-named", "INVALID_REQUEST", {"handles": None}, {"field": "handles"}, "handles"),
    Row("not-everyone", "INVALID_REQUEST", {"everyone": False}, {"field": "persons"}, "persons"),
    Row("chunk-of-257", "INVALID_REQUEST", {"chunk_size": 257}, {"field": "chunk_size"}, "chunk_size"),
    Row("chunk-of-2^32-1", "INVALID_REQUEST", {"chunk_size": 2**32 - 1}, {"field": "chunk_size"}, "chunk_size"),
    *(
        Row(f"cursor-{n}", "INVALID_REQUEST", {"resume_after": text}, {"field": "resume_after"}, "resume_after")
        for n, text in enumerate(["x", "A" * 64, "åäö", NUL, "=" * 9, LONG])
    ),
    Row("volume", "VOLUME_EXCEEDED", {"contract_id": "{tiny}", "handles": "{tiny}"}, {"limit": "2"}, retry=True),
]


def bulk_request(world, row, **changes):
    values = {
        "request_id": new_id(),
        "contract_id": "{live}",
        "purpose": "billing",
        "fields": ["email"],
        "handles": "{live}",
    }
    values = named(world, {**values, **row.request, **changes})
    handles = values.pop("handles")
    if handles is not None and "everyone" not in values:
        values["handles"] = disclosure_pb2.HandleList(handles=handles)
    return disclosure_pb2.DiscloseBulkRequest(**values)


@rows(BULK)
def test_a_bad_bulk_disclosure_is_refused_by_name_and_only_the_refusal_is_written(world, row):
    request = bulk_request(world, row)
    check_refused(
        world.ledger, expected(world, row), world.stubs[row.who].DiscloseBulk, f"{SERVICE}DiscloseBulk", request
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "billing.collection"},
        {"fields": ["payment.iban"]},
        {"everyone": True},
        {"handles": many(3)},
        {"contract_id": "{tiny}"},
    ],
    ids="-".join,
)
def test_a_cursor_of_another_stream_is_refused(world, changes):
    stub = world.stubs[ACME]
    stream = stub.DiscloseBulk(bulk_request(world, Row("", ""), chunk_size=2), timeout=TIMEOUT_S)
    cursor, _ = (message.cursor for message in stream)
    row = Row("", "INVALID_REQUEST", metadata={"field": "resume_after"}, field="resume_after")
    request = bulk_request(world, row, resume_after=cursor, **changes)
    check_refused(world.ledger, row, stub.DiscloseBulk, f"{SERVICE}DiscloseBulk", request)


def test_a_revocation_ends_an_open_bulk_stream_and_names_its_principal(world):
    who = "subcontractor/careless"
    contract, _ = world.broker.live_contract(subcontractor=who)
    handles = world.broker.handles(contract, *(world.broker.register(email=f"r{n}@example.com") for n in range(3)))
    ids = handles + many(50_000)
    request = disclosure_pb2.DiscloseBulkRequest(
        request_id=new_id(),
        contract_id=contract,
        purpose="billing",
        fields=["email"],
        handles=disclosure_pb2.HandleList(handles=ids),
        chunk_size=1,
    )
    stream = world.broker.disclosures(who).DiscloseBulk(request, timeout=60)
    assert next(stream).disclosure.slices
    with opened(world.broker.home) as office:
        pins.revoke(office.ledger, pins.selected(principal=parse_principal(who).name), "lost")
    with pytest.raises(grpc.RpcError) as caught:
        for _ in stream:
            pass
    told = rich(caught.value)
    assert (told.code, told.reason, told.metadata) == ("UNAUTHENTICATED", "CERTIFICATE_REVOKED", {"principal": who})
    ledger = world.ledger
    last = entries_since(ledger, ledger_size(ledger) - 1)[0]
    assert (last["type"], last["reason"], last["principal"]) == ("refusal", "CERTIFICATE_REVOKED", who)


def test_a_suspension_ends_an_open_bulk_stream(world):
    contract, _ = world.broker.live_contract()
    request = disclosure_pb2.DiscloseBulkRequest(
        request_id=new_id(),
        contract_id=contract,
        purpose="billing",
        fields=["email"],
        handles=disclosure_pb2.HandleList(handles=many(50_000)),
        chunk_size=1,
    )
    stream = world.stubs[ACME].DiscloseBulk(request, timeout=60)
    next(stream)
    suspend = contract_pb2.SuspendContractRequest(contract_id=contract, reason="audit")
    world.broker.contracts().SuspendContract(suspend, timeout=TIMEOUT_S)
    with pytest.raises(grpc.RpcError) as caught:
        for _ in stream:
            pass
    told = rich(caught.value)
    assert (told.reason, told.metadata, told.preconditions) == (
        "CONTRACT_SUSPENDED",
        {"contract": contract},
        [("CONTRACT_SUSPENDED", contract)],
    )


# --- DescribeScope ---------------------------------------------------------------------------------

SCOPE = [
    *(Row(f"contract-{n}", "NOT_YOUR_CONTRACT", {"contract_id": text}) for n, text in enumerate(CONTRACT_IDS)),
    Row("of-another", "NOT_YOUR_CONTRACT", {"contract_id": "{other}"}, {"contract": "{other}"}),
    *(
        Row(f"operator-{n}", "CONTRACT_UNKNOWN", {"contract_id": text}, who="operator/admin", logged=False)
        for n, text in enumerate(CONTRACT_IDS)
    ),
    Row(
        "legal-unknown",
        "CONTRACT_UNKNOWN",
        {"contract_id": "C-2026-9999"},
        {"contract": "C-2026-9999"},
        who="legal/anna",
        logged=False,
    ),
]


@rows(SCOPE)
def test_a_scope_that_the_caller_may_not_see_is_refused_by_name(world, row):
    request = disclosure_pb2.DescribeScopeRequest(**named(world, row.request))
    check_refused(
        world.ledger, expected(world, row), world.stubs[row.who].DescribeScope, f"{SERVICE}DescribeScope", request
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("live", ""),
        ("proposed", "CONTRACT_NOT_ACCEPTED"),
        ("suspended", "CONTRACT_SUSPENDED"),
        ("terminated", "CONTRACT_TERMINATED"),
        ("early", "CONTRACT_NOT_YET_VALID"),
        ("late", "CONTRACT_EXPIRED"),
    ],
)
def test_a_scope_says_what_a_disclosure_would_be_refused_with(world, name, reason):
    request = disclosure_pb2.DescribeScopeRequest(contract_id=world.contracts[name])
    found = world.stubs[ACME].DescribeScope(request, timeout=TIMEOUT_S)
    assert (found.live, found.not_live_reason) == (not reason, reason)
