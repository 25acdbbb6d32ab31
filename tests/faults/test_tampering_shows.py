"""Promise 7, tampering shows: a stopped broker's database is altered or rolled back, and somebody notices by name."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from types import SimpleNamespace

import pytest
from sluss_client import IntegrityError, Subcontractor

from tests.faults.siege import CALL_S, request
from tests.support import nursery
from tests.support.broker import BrokerProcess, grant

AT = 11
"""The entry that is attacked."""


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A stopped broker with some disclosures, the one that it was earlier, and what a client has seen of it."""
    with BrokerProcess(tmp_path_factory.mktemp("tampering") / "home") as broker:
        contract, client = broker.live_contract(grant("billing", ("email=full",)))
        handles = broker.handles(contract, broker.register(email=f"{uuid.uuid4().hex}@example.com"))
        client.disclose(contract, "billing", ["email"], handles)
        broker.stop()
        earlier = broker.home / "earlier.db"
        shutil.copy(broker.home / "sluss.db", earlier)
        broker.start()
        for _ in range(12):
            client.disclose(contract, "billing", ["email"], handles)
        seen = client.check_ledger()
        broker.stop()
        shutil.copy(broker.home / "sluss.db", broker.home / "later.db")
        yield SimpleNamespace(broker=broker, contract=contract, handles=handles, earlier=earlier, seen=seen)


@pytest.fixture
def home(history, tmp_path):
    """A copy of the stopped broker's home."""
    copy = tmp_path / "home"
    shutil.copytree(history.broker.home, copy)
    shutil.copy(copy / "later.db", copy / "sluss.db")
    return copy


def verify(home, *options):
    """Exit code and findings of `sluss ledger verify`."""
    done = nursery.run(["ledger", "verify", "--home", home, "--json", *options])
    return done.returncode, done.stdout


def alter(home, *statements):
    with sqlite3.connect(home / "sluss.db") as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    connection.close()


def test_what_nobody_altered_verifies(home):
    code, told = verify(home)
    assert code == 0, told
    assert json.loads(told)["ok"] is True


@pytest.mark.parametrize(
    "attack",
    [
        (f"UPDATE ledger_entry SET entry = CAST(replace(entry, 'acme', 'acne') AS BLOB) WHERE id = {AT}",),
        (f"DELETE FROM ledger_entry WHERE id = {AT}",),
        (
            "UPDATE ledger_entry SET id = -1 WHERE id = 11",
            "UPDATE ledger_entry SET id = 11 WHERE id = 12",
            "UPDATE ledger_entry SET id = 12 WHERE id = -1",
        ),
        (f"UPDATE ledger_entry SET contract = 'C-2026-0099' WHERE id = {AT}",),
    ],
    ids=["edited", "deleted", "reordered", "mislabelled"],
)
def test_an_altered_entry_is_found_by_its_index(home, attack):
    alter(home, *attack)
    code, told = verify(home)
    assert code != 0
    assert AT in {found["index"] for found in json.loads(told)["findings"]}


def test_a_truncated_ledger_does_not_pass(home):
    alter(home, "DELETE FROM ledger_entry WHERE id > 12")
    code, told = verify(home)
    assert code != 0
    assert json.loads(told)["findings"]


def test_a_rollback_is_found_with_a_checkpoint_that_a_client_kept(history, home):
    shutil.copy(history.earlier, home / "sluss.db")
    assert verify(home)[0] == 0
    kept = home / "profiles" / "subcontractor-acme" / "checkpoint"
    code, told = verify(home, "--checkpoint", str(kept))
    assert code != 0
    assert json.loads(told)["findings"]


@pytest.mark.parametrize("regrown", [0, 30], ids=["smaller", "regrown"])
def test_a_client_refuses_a_ledger_that_was_rolled_back_even_if_it_has_grown_again(history, regrown):
    broker = history.broker
    shutil.copy(history.earlier, broker.home / "sluss.db")
    kept = (broker.home / "profiles" / "subcontractor-acme" / "checkpoint").read_text()
    broker.start()
    try:
        stub = broker.disclosures()
        for _ in range(regrown):
            stub.Disclose(request(history.contract, history.handles), timeout=CALL_S)
        with Subcontractor.from_profile(broker.profile("subcontractor/acme")) as client:
            with pytest.raises(IntegrityError):
                client.disclose(history.contract, "billing", ["email"], history.handles)
            with pytest.raises(IntegrityError):
                list(client.bulk(history.contract, "billing", ["email"], history.handles))
            with pytest.raises(IntegrityError):
                client.check_ledger()
    finally:
        broker.stop()
    assert (broker.home / "profiles" / "subcontractor-acme" / "checkpoint").read_text() == kept
