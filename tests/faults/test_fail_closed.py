"""Promise 9, fail closed: what this broker does not know, in a request, in a row or on its disk, is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid

import grpc
import pytest

from broker.ids import parse_person
from broker.ledger.signer import LedgerKeys
from broker.settings import Home
from tests.faults.siege import CALL_S, Siege, bulk_request, info, ledger_of, raw_unary, request
from tests.support import nursery
from tests.support.broker import ORIGIN, BrokerProcess, grant

START_S = 20


def alter(broker, statement, *values):
    """Change rows under a running broker, and tell it that rights have moved."""
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as database:
        assert database.execute(statement, values).rowcount == 1
        database.execute("UPDATE head SET rights = rights + 1")
    database.close()


def scene(broker, purpose="billing", **extra):
    contract, _ = broker.live_contract(grant(purpose, ("email=full",), **extra))
    person = broker.register(email=f"{uuid.uuid4().hex}@example.com", address__country="SE")
    return contract, person, broker.handles(contract, person)


def refusals(broker, contract, handles, purpose="billing"):
    """The reasons that a unary and a bulk call are refused with; neither gives a slice."""
    stub, found = broker.disclosures(), set()
    calls = (
        lambda: stub.Disclose(request(contract, handles, purpose), timeout=CALL_S),
        lambda: list(stub.DiscloseBulk(bulk_request(contract, purpose), timeout=CALL_S)),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        found.add(info(caught.value).reason)
    return found


TERMS = "UPDATE contract_version SET terms = CAST(replace(terms, ?, ?) AS BLOB) WHERE contract = ?"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"v":1', '"v":2'),
        ('"everyone":true', '"nearly_everyone":true'),
        ('"transform":"full"', '"transform":"rot13"'),
        ('"window":"day"', '"window":"fortnight"'),
        ('"onward_transfer":"forbidden"', '"onward_transfer":"allowed"'),
        ('"retention_days":30', '"retention_days":-1'),
        ('"grants"', '"unless":"sunday","grants"'),
    ],
)
def test_a_term_that_is_not_known_is_refused_never_skipped(shared_broker, before, after):
    contract, _, handles = scene(shared_broker)
    shared_broker.disclosures().Disclose(request(contract, handles), timeout=CALL_S)
    alter(shared_broker, TERMS, before, after, contract)
    assert_unchanged_terms_are_gone(shared_broker, contract, after)
    size = disclosed(shared_broker, contract)
    assert refusals(shared_broker, contract, handles)
    assert disclosed(shared_broker, contract) == size


def assert_unchanged_terms_are_gone(broker, contract, after):
    """The attack is in the row: had `replace` found nothing, the test could not fail."""
    with sqlite3.connect(broker.home / "sluss.db", timeout=10) as database:
        (terms,) = database.execute("SELECT terms FROM contract_version WHERE contract = ?", (contract,)).fetchone()
    database.close()
    assert after.encode() in bytes(terms)


def disclosed(broker, contract):
    """How many disclosures under the contract the ledger has."""
    told = f'"contract":"{contract}"'.encode()
    return sum(1 for data in ledger_of(broker.home) if b'"type":"disclosure"' in data and told in data)


def test_a_contract_in_an_unknown_state_is_refused_and_harms_nobody_else(shared_broker):
    contract, _, handles = scene(shared_broker)
    other, _, theirs = scene(shared_broker)
    with Siege(*[raw_unary(shared_broker.disclosures(), other, theirs) for _ in range(3)]) as siege:
        alter(shared_broker, "UPDATE contract SET state = 'weird' WHERE id = ?", contract)
        for _ in range(5):
            assert refusals(shared_broker, contract, handles)
        siege.wait_for(10)
    assert [info(error).reason for error in siege.failures] == []
    assert disclosed(shared_broker, contract) == 0


@pytest.mark.parametrize("what", ["state", "choices", "record", "keys"])
def test_a_person_whose_row_is_not_understood_is_not_disclosed_and_harms_nobody_else(shared_broker, what):
    contract, person, handles = scene(shared_broker, "offers")
    other, _, theirs = scene(shared_broker)
    values = {
        "state": "weird",
        "choices": '{"offers":"maybe"}',
        "record": os.urandom(200),
        "keys": os.urandom(100),
    }
    with Siege(*[raw_unary(shared_broker.disclosures(), other, theirs) for _ in range(3)]) as siege:
        alter(shared_broker, f"UPDATE person SET {what} = ? WHERE id = ?", values[what], parse_person(person))
        for _ in range(5):
            assert answer(shared_broker, contract, handles) != "disclosed"
        siege.wait_for(10)
    alter(shared_broker, "UPDATE person SET state = 'erased' WHERE id = ?", parse_person(person))
    assert [info(error).reason for error in siege.failures] == []
    assert disclosed(shared_broker, contract) == 0


def answer(broker, contract, handles):
    """The one reason why a person is not disclosed, or `disclosed`."""
    try:
        reply = broker.disclosures().Disclose(request(contract, handles, "offers"), timeout=CALL_S)
    except grpc.RpcError as error:
        return info(error).reason
    return reply.unavailable[0].reason if reply.unavailable else "disclosed"


def test_a_recipient_key_of_an_unknown_suite_is_refused(shared_broker):
    name = f"subcontractor/k{uuid.uuid4().hex[:6]}"
    contract, _ = shared_broker.live_contract(grant("billing", ("email=full",)), subcontractor=name)
    handles = shared_broker.handles(contract, shared_broker.register(email="k@example.com"))
    alter(shared_broker, "UPDATE recipient_key SET suite = 9 WHERE subcontractor = ?", name)
    with pytest.raises(grpc.RpcError) as caught:
        shared_broker.disclosures(name).Disclose(request(contract, handles), timeout=CALL_S)
    assert info(caught.value).reason
    assert disclosed(shared_broker, contract) == 0


def test_a_field_of_a_message_that_this_broker_does_not_know_is_refused(shared_broker):
    contract, _, handles = scene(shared_broker)
    unknown_restriction = b"\xfa\x3f\x04only"  # field 1023, a string
    data = request(contract, handles).SerializeToString() + unknown_restriction
    call = shared_broker.channel("subcontractor/acme").unary_unary("/sluss.v1.DisclosureService/Disclose")
    with pytest.raises(grpc.RpcError) as caught:
        call(data, timeout=CALL_S)
    assert info(caught.value).reason == "INVALID_REQUEST"
    assert disclosed(shared_broker, contract) == 0


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    """A home that has never been served."""
    return BrokerProcess(tmp_path_factory.mktemp("founded") / "home").home


def does_not_start(home):
    """`sluss serve` gives up, with one line and without a traceback."""
    done = nursery.run(["serve", "--home", home, "--listen", "127.0.0.1:0"], START_S)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout
    return done.stderr


def spoilt_revision(home):
    with sqlite3.connect(home.database) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999_later'")
    database.close()
    return "revision"


def foreign_ledger_keys(home):
    home.ledger_keys.unlink()
    LedgerKeys.generate(ORIGIN).save(home.ledger_keys)
    return "ledger"


def open_rings(home):
    home.rings.chmod(0o644)
    return "rings.json"


def open_ledger_keys(home):
    home.ledger_keys.chmod(0o640)
    return "ledger"


def open_server_key(home):
    home.server_key.chmod(0o644)
    return "key.pem"


def foreign_rings(home):
    home.rings.write_text("{}")
    return ""


def edited_head(home):
    with sqlite3.connect(home.database) as database:
        database.execute("UPDATE head SET size = size - 1")
    database.close()
    return "ledger"


def unknown_setting(home):
    home.settings.write_text(home.settings.read_text() + "log_values = true\n")
    return "log_values"


@pytest.mark.parametrize(
    "spoil",
    [
        spoilt_revision,
        foreign_ledger_keys,
        open_rings,
        open_ledger_keys,
        open_server_key,
        foreign_rings,
        edited_head,
        unknown_setting,
    ],
)
def test_a_broker_whose_home_is_not_right_does_not_start_and_says_why(founded, tmp_path, spoil):
    home = tmp_path / "home"
    shutil.copytree(founded, home)
    why = spoil(Home(home))
    assert why in does_not_start(home)
