"""The example of a payment processor, run as a programmer runs it, against a real broker."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from examples.payment_processor.__main__ import Exit, _refusal, main
from sluss.v1 import contract_pb2
from sluss_client.errors import Refused

from broker.operator import pins
from broker.operator.office import opened
from broker.sealing import handle_text
from tests.integration.test_obligations_broker import rectify
from tests.support.broker import BrokerProcess, grant
from tests.support.requests import RequestDesk

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
TIMEOUT_S = 30
FIELDS = ("name.given=full", "name.family=full", "payment.iban=full")
IBAN = "SE4550000000058398257466"
OTHER_IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


class Processor:
    """A payment processor with a contract."""

    def __init__(self, broker, folder, *grants):
        self.broker, self.folder = broker, folder / "kept"
        self.name = f"subcontractor/pay-{uuid.uuid4().hex[:8]}"
        terms = grants or (grant("billing.payment", FIELDS),)
        self.contract, self.client = broker.live_contract(*terms, subcontractor=self.name)
        self.profile = broker.profile(self.name)

    def run(self, verb, *words, given=""):
        """The exit code, and what the program says."""
        folder = [] if verb == "rotate" else [self.folder]
        told = sys.stdin
        sys.stdin = io.StringIO(given)
        try:
            with redirect_stdout(io.StringIO()) as out:
                code = main([str(word) for word in (verb, self.profile, *folder, *words)])
        finally:
            sys.stdin = told
        return code, json.loads(out.getvalue())

    def done(self, verb, *words):
        code, said = self.run(verb, *words)
        assert code == 0, said
        return said

    def payment(self, person, **changed):
        (handle,) = self.broker.handles(self.contract, person)
        payment = {
            "payment_id": str(uuid.uuid4()),
            "contract": self.contract,
            "handle": handle_text(handle),
            "amount": "120.00",
            "currency": "SEK",
        }
        return payment | changed

    def pay(self, payment):
        return self.run("pay", given=json.dumps(payment))

    def at_rest(self):
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return b"".join(str(path).encode() + path.read_bytes() for path in files)

    def sealed(self):
        return list(self.folder.glob("sealed/*/*/*.sealed"))

    def entries(self):
        return [each.last_entry for each in self.client.obligations() if each.kind == "delete_by"]


@pytest.fixture
def processor(shared_broker, tmp_path):
    return Processor(shared_broker, tmp_path)


def register(broker, **values):
    return broker.register(**{"name__given": "Åsa", "name__family": "Öberg", "payment__iban": IBAN, **values})


@pytest.fixture
def person(shared_broker):
    return register(shared_broker)


def test_a_payment_is_ordered_once_and_no_readable_value_kept(processor, person):
    payment = processor.payment(person)
    code, order = processor.pay(payment)
    assert code == 0
    assert {name: order[name] for name in ("iban", "name", "amount")} == {
        "iban": IBAN,
        "name": "Åsa Öberg",
        "amount": "120.00",
    }
    assert processor.pay(payment) == (0, order)
    assert processor.entries() == [order["entry"]]
    for value in (IBAN.encode(), "Öberg".encode()):
        assert value not in processor.at_rest()
    assert all(path.stat().st_mode & 0o077 == 0 for path in processor.folder.rglob("*.*"))


def killed(processor, payment, before="keep"):
    """Pays, and is killed when the broker has answered and nothing is kept yet; or before another step."""
    program = (
        "import os, signal, sys; from examples.payment_processor import __main__ as it, kept\n"
        f"kept.Kept.{before} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "it.main(sys.argv[1:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "pay", processor.profile, processor.folder], cwd=CLIENTS,
        input=json.dumps(payment).encode(), timeout=TIMEOUT_S, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    assert len(processor.sealed()) == (before == "_prove")


@pytest.mark.parametrize("rotated", [False, True])
def test_killed_before_it_was_kept_the_same_payment_gets_the_same_entry(processor, person, rotated):
    payment = processor.payment(person)
    killed(processor, payment)
    (entry,) = processor.entries()
    if rotated:
        processor.done("rotate")
    code, order = processor.pay(payment)
    assert (code, order["entry"]) == (0, entry)
    assert processor.entries() == [entry]


@pytest.mark.parametrize("gone", [False, True])
def test_killed_between_the_data_and_its_receipt_the_receipt_is_kept_all_the_same(processor, person, gone):
    payment = processor.payment(person)
    killed(processor, payment, before="_prove")
    assert processor.done("verify") == {"receipts": 0, "wrong": {}}
    if gone:
        assert processor.done("fulfil", "--once", "--days-ahead", 31) == {"fulfilled": 1}
    code, said = processor.pay(payment)
    assert (code, said.get("error")) == ((3, "DATA_GONE") if gone else (0, None))
    assert processor.done("verify") == {"receipts": 1, "wrong": {}}


def test_a_file_that_can_not_be_read_is_deleted_when_its_day_has_come(processor, person):
    processor.pay(processor.payment(person))
    (path,) = processor.sealed()
    path.write_bytes(b"\xff")
    for receipt in processor.folder.glob("receipts/*"):
        receipt.unlink()
    assert processor.done("fulfil", "--once", "--days-ahead", 31) == {"fulfilled": 1}
    assert processor.sealed() == []


def test_a_disk_that_takes_nothing_is_no_fault_of_the_payment(processor, person):
    payment = processor.payment(person)
    blocked = processor.folder / "sealed" / processor.contract
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    code, said = processor.pay(payment)
    assert (code, said["error"]) == (4, "OURS")
    blocked.unlink()
    assert processor.pay(payment)[0] == 0
    assert len(processor.entries()) == 1


def test_if_the_data_changed_while_it_was_dead_nothing_is_ordered_under_the_same_id(processor, person):
    payment = processor.payment(person)
    killed(processor, payment)
    rectify(processor.broker, person, payment__iban=OTHER_IBAN)
    code, said = processor.pay(payment)
    assert (code, said["error"]) == (3, "RECORD_CHANGED")
    assert "new payment_id" in said["do"]
    assert processor.sealed() == []
    assert processor.done("fulfil", "--once") == {"fulfilled": 1}
    assert processor.pay(processor.payment(person))[1]["iban"] == OTHER_IBAN


def test_receipts_are_verified_without_the_broker_and_outlive_the_data(processor, person, tmp_path):
    entry = processor.pay(processor.payment(person))[1]["entry"]
    processor.pay(processor.payment(person))
    assert processor.done("fulfil", "--once") == {"fulfilled": 0}
    assert len(processor.sealed()) == 2
    assert processor.done("fulfil", "--once", "--days-ahead", 31) == {"fulfilled": 1}
    assert processor.sealed() == []
    offline = tmp_path / "offline"
    shutil.copytree(processor.profile, offline)
    settings = (offline / "profile.toml").read_text().replace(processor.broker.endpoint, "127.0.0.1:9")
    (offline / "profile.toml").write_text(settings)
    processor.profile = offline
    assert processor.done("verify") == {"receipts": 2, "wrong": {}}
    (path,) = processor.folder.glob(f"receipts/*.{entry}.json")
    proof = json.loads(path.read_text())
    path.write_text(json.dumps(proof | {"entry": proof["entry"].replace("billing.payment", "offers")}))
    code, said = processor.run("verify")
    assert (code, list(said["wrong"])) == (5, [path.stem])
    settings = (offline / "profile.toml").read_text()
    (offline / "profile.toml").write_text(settings.replace(processor.name, "subcontractor/other"))
    assert "no disclosure to us" in processor.run("verify")[1]["wrong"].values()
    (offline / "profile.toml").write_text(settings)
    path.write_text("{}")
    assert processor.run("verify") == (5, {"receipts": 2, "wrong": {path.stem: "not a proof"}})


def test_a_rotated_key_is_used_from_then_on_and_the_older_still_opens(processor, person):
    before, payment = processor.payment(person), processor.payment(person)
    _, order = processor.pay(before)
    key = processor.done("rotate")["key"]
    assert processor.pay(before) == (0, order)
    assert processor.pay(payment)[0] == 0
    (new,) = [path for path in processor.sealed() if path.name.startswith(payment["payment_id"])]
    (found,) = processor.broker.subcontractor(processor.name).open_stored(new.read_bytes())
    assert found.terms.key.hex() == key


def test_a_suspended_contract_stops_payments_and_not_what_is_owed(processor, person):
    payment = processor.payment(person)
    assert processor.pay(payment)[0] == 0
    stub = processor.broker.contracts()
    suspend = contract_pb2.SuspendContractRequest(contract_id=processor.contract, reason="audit")
    stub.SuspendContract(suspend, timeout=10)
    code, said = processor.pay(processor.payment(person))
    assert (code, said["error"], said["contract"]) == (6, "CONTRACT_SUSPENDED", processor.contract)
    assert said["do"].startswith("stop every payment")
    # What was ordered before is answered from what is kept.
    assert processor.pay(payment)[0] == 0
    assert processor.done("fulfil", "--once", "--days-ahead", 31) == {"fulfilled": 1}
    assert processor.sealed() == []


def test_a_field_that_the_contract_does_not_grant_is_named(shared_broker, person, tmp_path):
    processor = Processor(shared_broker, tmp_path, grant("billing.payment", FIELDS[1:]))
    code, said = processor.pay(processor.payment(person))
    assert (code, said["error"], said["field"]) == (6, "FIELD_OUT_OF_SCOPE", "name.given")
    assert processor.at_rest() == str(processor.folder / "lock").encode()


def test_a_volume_that_is_used_up_says_when_to_come_back(shared_broker, person, tmp_path):
    processor = Processor(shared_broker, tmp_path, grant("billing.payment", FIELDS, persons=1))
    assert processor.pay(processor.payment(person))[0] == 0
    code, said = processor.pay(processor.payment(register(shared_broker)))
    assert (code, said["error"], said["window"], said["left"]) == (4, "VOLUME_EXCEEDED", "day", "0")
    assert 0 < said["retry_after_s"] <= 86_400


def test_a_payment_that_can_not_be_made_says_why(processor, person, shared_broker):
    payment = processor.payment(person)
    assert processor.pay(payment)[0] == 0
    other = register(shared_broker)
    reused = processor.payment(other, payment_id=payment["payment_id"])
    assert processor.pay(reused)[1]["error"] == "PAYMENT_ID_REUSED"
    unknown = processor.payment(person, handle=handle_text(bytes(16)))
    assert processor.pay(unknown) == (
        3,
        {"error": "PERSON_UNAVAILABLE", "detail": "the broker gives nothing of this person"},
    )
    poor = shared_broker.register(name__given="Bo")
    assert processor.pay(processor.payment(poor))[1]["error"] == "NO_ACCOUNT"
    for given in ("no payment", "[]", "{}", json.dumps(payment | {"amount": 120}), json.dumps(payment | {"x": ""})):
        assert processor.run("pay", given=given)[0] == 2


def test_a_fault_of_the_broker_is_no_word_against_the_payment():
    said, ends = _refusal(Refused("INTERNAL", "internal error", {"reference": "00ff00ff"}))
    assert (ends, said["reference"], said["retry_after_s"]) == (Exit.LATER, "00ff00ff", None)


def test_a_revoked_certificate_stops_every_payment(processor, person):
    payment = processor.payment(person)
    with opened(processor.broker.home) as office:
        pins.revoke(office.ledger, pins.selected(principal=processor.name), "stolen")
    code, said = processor.pay(payment)
    assert (code, said["error"]) == (6, "CERTIFICATE_REVOKED")


def test_an_erasure_takes_everything_but_the_proof(processor, person):
    payment = processor.payment(person)
    processor.pay(payment)
    desk = RequestDesk(processor.broker)
    waiting = desk.step("Erase", desk.proven("erasure", person))
    assert desk.get(waiting.id).request.answered == 0
    assert processor.done("fulfil", "--once") == {"fulfilled": 1}
    assert desk.get(waiting.id).request.answered == 1
    assert payment["handle"].encode() not in processor.at_rest()
    assert processor.sealed() == []
    assert processor.done("verify") == {"receipts": 1, "wrong": {}}
    assert processor.pay(payment)[1]["error"] == "DATA_GONE"


def test_a_wrong_account_is_fetched_anew_and_the_wrong_one_gone(processor, person):
    processor.pay(processor.payment(person))
    (wrong,) = processor.sealed()
    rectify(processor.broker, person, payment__iban=OTHER_IBAN)
    (owed,) = [each for each in processor.client.obligations() if each.kind == "correct"]
    assert processor.done("fulfil", "--once") == {"fulfilled": 1}
    assert processor.client.obligation(owed.id).message.outcome == "corrected"
    (right,) = processor.sealed()
    assert right != wrong
    (found,) = processor.client.open_stored(right.read_bytes())
    assert found.values["payment.iban"] == OTHER_IBAN
    assert processor.pay(processor.payment(person))[1]["iban"] == OTHER_IBAN


def test_without_a_broker_the_payment_is_to_be_made_again(processor, person, monkeypatch):
    payment = processor.payment(person)
    text = (processor.profile / "profile.toml").read_text()
    (processor.profile / "profile.toml").write_text(text.replace(processor.broker.endpoint, "127.0.0.1:9"))
    monkeypatch.setattr("examples.payment_processor.payments.DEADLINE_S", 0.3)
    code, said = processor.pay(payment)
    assert (code, said["error"]) == (4, "LATER")
    (processor.profile / "profile.toml").write_text(text)
    assert processor.pay(payment)[0] == 0
