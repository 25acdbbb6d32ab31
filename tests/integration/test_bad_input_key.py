"""RegisterKey: a bad key or signature registers nothing, and the key in use stays in use."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sluss.v1 import disclosure_pb2
from sluss_client.profile import Profile

from broker.agreements import MAX_KEYS
from broker.sealing import SUITE_X25519, SUITE_XWING, RecipientPrivateKey
from tests.integration.bad_input import ACME, BETA, TIMEOUT_S, Row, check_refused, ledger_size, open_book, rows

METHOD = "/sluss.v1.DisclosureService/RegisterKey"
LABEL = b"sluss/v1 key\x00"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with open_book(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def world(shared_broker):
    """A live contract, stubs for its subcontractor and another one, and the ledger."""
    contract, _ = shared_broker.live_contract()
    stubs = {name: shared_broker.disclosures(name) for name in (ACME, BETA)}
    return SimpleNamespace(broker=shared_broker, contract=contract, stubs=stubs, ledger=shared_broker.ledger())


X25519 = RecipientPrivateKey.generate(SUITE_X25519).public()
XWING = RecipientPrivateKey.generate(SUITE_XWING).public()
KEYS = [
    Row("unspecified-suite", "UNSUPPORTED_VERSION", {"suite": 0}, logged=False),
    Row("unknown-suite", "UNSUPPORTED_VERSION", {"suite": 3}, logged=False),
    Row("negative-suite", "UNSUPPORTED_VERSION", {"suite": -1}, logged=False),
    Row("huge-suite", "UNSUPPORTED_VERSION", {"suite": 2**31 - 1}, logged=False),
    Row("no-key", "MALFORMED", {"public_key": b""}, logged=False),
    Row("short-key", "MALFORMED", {"public_key": XWING.data[:-1]}, logged=False),
    Row("long-key", "MALFORMED", {"public_key": XWING.data + b"\0"}, logged=False),
    Row("key-of-the-other-suite", "MALFORMED", {"suite": SUITE_X25519}, logged=False),
    Row("point-of-low-order", "MALFORMED", {"suite": SUITE_X25519, "public_key": bytes(32)}, logged=False),
    Row("xwing-with-point-of-low-order", "MALFORMED", {"public_key": XWING.data[:1184] + bytes(32)}, logged=False),
    Row("lattice-key-out-of-range", "MALFORMED", {"public_key": b"\xff" * 1184 + XWING.data[1184:]}, logged=False),
    Row("private-key-in-its-place", "MALFORMED", {"public_key": b"-----BEGIN PRIVATE KEY-----"}, logged=False),
    Row("no-signature", "INVALID_SIGNATURE", {"signature": b""}),
    Row("garbage-signature", "INVALID_SIGNATURE", {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"}),
    Row("long-signature", "INVALID_SIGNATURE", {"signature": b"\x30" * 100_000}),
    Row("signature-of-another-key", "INVALID_SIGNATURE", {"suite": SUITE_X25519, "public_key": X25519.data}),
    Row("signature-by-another-principal", "INVALID_SIGNATURE", {}, who=BETA),
]


def sign(world, name, message):
    return Profile.load(world.broker.profile(name)).sign(message)


@rows(KEYS)
def test_a_bad_key_is_refused_by_name_and_does_not_take_the_place_of_the_good_one(world, row):
    before = scope_key(world)
    signature = sign(world, ACME, LABEL + bytes([XWING.suite]) + XWING.data)
    values = {"suite": XWING.suite, "public_key": XWING.data, "signature": signature, **row.request}
    request = disclosure_pb2.RegisterKeyRequest(**values)
    check_refused(world.ledger, row, world.stubs[row.who].RegisterKey, METHOD, request)
    assert scope_key(world) == before


def scope_key(world):
    request = disclosure_pb2.DescribeScopeRequest(contract_id=world.contract)
    return world.stubs[ACME].DescribeScope(request, timeout=TIMEOUT_S).key_id


SIGNED = [
    ("without the label", lambda key: bytes([key.suite]) + key.data),
    ("without the suite", lambda key: LABEL + key.data),
    ("with the suite of another", lambda key: LABEL + bytes([SUITE_X25519]) + key.data),
    ("with the label of contracts", lambda key: b"sluss/v1 contract\x00" + bytes([key.suite]) + key.data),
]


@pytest.mark.parametrize("message", [build for _, build in SIGNED], ids=[name for name, _ in SIGNED])
def test_a_signature_over_other_bytes_registers_nothing(world, message):
    request = disclosure_pb2.RegisterKeyRequest(
        suite=XWING.suite, public_key=XWING.data, signature=sign(world, ACME, message(XWING))
    )
    row = Row("", "INVALID_SIGNATURE")
    check_refused(world.ledger, row, world.stubs[ACME].RegisterKey, METHOD, request)


def test_a_key_of_another_subcontractor_or_one_that_was_replaced_is_refused_by_its_id(world):
    who, stub = "subcontractor/rotating", world.broker.disclosures("subcontractor/rotating")
    first, second = (RecipientPrivateKey.generate().public() for _ in range(2))

    def request(key, signer=who):
        signature = sign(world, signer, LABEL + bytes([key.suite]) + key.data)
        return disclosure_pb2.RegisterKeyRequest(suite=key.suite, public_key=key.data, signature=signature)

    stub.RegisterKey(request(first), timeout=TIMEOUT_S)
    stub.RegisterKey(request(second), timeout=TIMEOUT_S)
    check_refused(world.ledger, Row("", "KEY_UNKNOWN", who=who), stub.RegisterKey, METHOD, request(first))
    beta = world.stubs[BETA]
    check_refused(world.ledger, Row("", "KEY_UNKNOWN", who=BETA), beta.RegisterKey, METHOD, request(second, BETA))
    before = ledger_size(world.ledger)
    stub.RegisterKey(request(second), timeout=TIMEOUT_S)
    assert ledger_size(world.ledger) == before


def test_keys_beyond_24_a_day_are_refused_and_grow_the_ledger_by_nothing(world):
    who, stub = "subcontractor/spinning", world.broker.disclosures("subcontractor/spinning")
    keys = [RecipientPrivateKey.generate(SUITE_X25519).public() for _ in range(MAX_KEYS + 1)]

    def request(key):
        signature = sign(world, who, LABEL + bytes([key.suite]) + key.data)
        return disclosure_pb2.RegisterKeyRequest(suite=key.suite, public_key=key.data, signature=signature)

    before = ledger_size(world.ledger)
    for key in keys[:-1]:
        stub.RegisterKey(request(key), timeout=TIMEOUT_S)
    assert ledger_size(world.ledger) == before + MAX_KEYS
    row = Row("", "RATE_EXCEEDED", who=who, logged=False, retry=True)
    told, _ = check_refused(world.ledger, row, stub.RegisterKey, METHOD, request(keys[-1]))
    assert 86_000 < told.retry_s <= 86_400
    # The key in use is not one more, and another subcontractor has keys of its own.
    stub.RegisterKey(request(keys[-2]), timeout=TIMEOUT_S)
    assert ledger_size(world.ledger) == before + MAX_KEYS
    key = keys[-1]
    signature = sign(world, BETA, LABEL + bytes([key.suite]) + key.data)
    beta = disclosure_pb2.RegisterKeyRequest(suite=key.suite, public_key=key.data, signature=signature)
    world.stubs[BETA].RegisterKey(beta, timeout=TIMEOUT_S)
