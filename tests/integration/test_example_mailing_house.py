"""The example of a mailing house, run as a programmer runs it, against a real broker."""

from __future__ import annotations

import contextlib
import io
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from examples.mailing_house.__main__ import main
from examples.mailing_house.house import House as PullingHouse
from examples.mailing_house.mailing_list import MailingList
from sluss.v1 import choice_pb2, contract_pb2
from sluss_client import Subcontractor
from sluss_client.errors import Aborted

from broker.ledger.entry import parse
from broker.operator.office import opened
from broker.sealing import handle_text
from tests.integration.test_obligations_broker import rectify
from tests.support.broker import BrokerProcess, grant
from tests.support.requests import RequestDesk

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
TIMEOUT_S = 30
FIELDS = tuple(
    f"{name}=full"
    for name in (
        "name.given",
        "name.family",
        "address.street",
        "address.postal_code",
        "address.city",
        "email",
        "language",
    )
)
ADDRESS = {"address__street": "Storgatan 1", "address__postal_code": "111 22", "address__city": "Stockholm"}


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


class House:
    """A mailing house with a contract, and a person of its own whom it alone may write to."""

    def __init__(self, broker, folder, *people):
        self.broker, self.list, self.letters = broker, folder / "list.db", folder / "letters"
        self.name = f"subcontractor/mail-{uuid.uuid4().hex[:8]}"
        population = contract_pb2.Population(persons=contract_pb2.PersonList(person_ids=people))
        terms = grant("offers", FIELDS, population=population) if people else grant("offers", FIELDS)
        self.contract, self.client = broker.live_contract(terms, subcontractor=self.name)

    def words(self, verb, *words):
        profile = [] if verb == "write" else [self.broker.profile(self.name)]
        return [str(word) for word in (verb, *profile, self.list, self.letters, *words)]

    def run(self, verb, *words):
        """The exit code, and what the program says."""
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as problems:
            code = main(self.words(verb, *words))
        return code, (problems if code else out).getvalue().rstrip()

    def done(self, verb, *words):
        code, said = self.run(verb, *words)
        assert code == 0, said
        return said

    def mail(self):
        """Pull and write; the letters by handle."""
        self.done("pull", self.contract)
        self.done("write")
        return self.written()

    def written(self):
        return {path.stem: path.read_text() for path in self.letters.glob("*.txt")}

    def handles(self, *people):
        return [handle_text(handle) for handle in self.broker.handles(self.contract, *people)]

    def at_rest(self):
        files = [self.list, *self.list.parent.glob("list.db-*"), *self.letters.glob("*")]
        found = b""
        for path in files:
            # The program may be at work: a journal comes and goes.
            with contextlib.suppress(FileNotFoundError):
                found += path.read_bytes()
        return found

    def disclosed(self):
        """How many slices the ledger says that we got."""
        with opened(self.broker.home) as office:
            found = [parse(row.entry) for row in office.ledger.entries(0, 10_000, type="disclosure")]
        return sum(len(said["slices"]) for said in found if said["terms"]["contract"] == self.contract)

    def request_id(self):
        with sqlite3.connect(self.list) as store:
            return store.execute("SELECT request_id FROM pull").fetchone()[0]

    def owed(self):
        return sorted(each.kind for each in self.client.obligations())


@pytest.fixture
def house(shared_broker, tmp_path):
    return House(shared_broker, tmp_path)


def register(broker, **values):
    given = {"name__given": "Åsa", "name__family": "Öberg", "language": "sv", **values}
    return broker.register(**given)


def choose(broker, person, channel):
    said = choice_pb2.ChoiceMade(
        purpose="offers",
        state=choice_pb2.CHOICE_STATE_OPTED_OUT,
        medium="web",
        channels=[channel] if channel else [],
    )
    request = choice_pb2.RecordChoiceRequest(person_id=person, choice=said, source="web", request_id=str(uuid.uuid4()))
    broker.choices().RecordChoice(request, timeout=10)


def test_everybody_is_written_to_in_a_way_that_they_do_not_mind(house, shared_broker):
    by_post = register(shared_broker, **ADDRESS, email="post@example.com")
    by_mail = register(shared_broker, **ADDRESS, email="mail@example.com", language="en")
    by_none = register(shared_broker, **ADDRESS, email="none@example.com")
    handles = house.handles(by_post, by_mail, by_none)
    choose(shared_broker, by_mail, "post")
    choose(shared_broker, by_none, "")
    letters = house.mail()
    assert letters[handles[0]].startswith("[post]\nÅsa Öberg\nStorgatan 1\n111 22 Stockholm\n\nHej Åsa Öberg,")
    assert letters[handles[1]].startswith("[email]\nmail@example.com\n\nDear Åsa Öberg,")
    assert handles[2] not in letters
    assert b"none@example.com" not in house.at_rest()
    assert house.list.stat().st_mode & 0o077 == 0


def test_whoever_says_no_between_two_pulls_is_off_the_list_and_their_letter_gone(house, shared_broker):
    person = register(shared_broker, email="leaving@example.com")
    (handle,) = house.handles(person)
    assert handle in house.mail()
    choose(shared_broker, person, "")
    house.done("pull", house.contract)
    assert house.written() == {}
    assert b"leaving@example.com" not in house.at_rest()
    house.done("write")
    assert handle not in house.written()


def test_no_letter_is_written_from_a_list_that_is_old_or_not_whole(house, shared_broker):
    assert house.run("write")[0] == 3
    register(shared_broker, email="old@example.com")
    house.done("pull", house.contract)
    with sqlite3.connect(house.list) as store:
        store.execute("UPDATE pull SET finished = finished - 90000")
    assert house.run("write") == (3, "there is no whole list of the last 24 hours: pull")
    assert house.run("pull", "C-2026-9999") == (3, f"this list is of {house.contract}")
    assert not house.letters.exists()


def test_an_erasure_takes_the_person_out_of_list_and_letters_and_is_attested(house, shared_broker):
    person = register(shared_broker, **ADDRESS, email="canary-erased@example.com", name__family="Canaryname")
    (handle,) = house.handles(person)
    assert handle in house.mail()
    desk = RequestDesk(shared_broker)
    waiting = desk.step("Erase", desk.proven("erasure", person))
    assert "erase" in house.owed()
    assert house.done("fulfil", "--once") == "1 obligations are fulfilled"
    assert house.owed() == ["delete_by"]
    found = house.at_rest()
    for trace in (b"canary-erased", b"Canaryname", handle.encode()):
        assert trace not in found
    assert handle not in house.written()
    assert desk.get(waiting.id).request.answered >= 1
    assert house.done("fulfil", "--once") == "0 obligations are fulfilled"


def test_a_correction_is_fetched_anew_and_the_wrong_value_gone(house, shared_broker):
    person = register(shared_broker, email="wrong-one@example.com")
    (handle,) = house.handles(person)
    assert "wrong-one@example.com" in house.mail()[handle]
    rectify(shared_broker, person, email="right-one@example.com")
    (owed,) = [each for each in house.client.obligations() if each.kind == "correct"]
    house.done("fulfil", "--once")
    assert house.client.obligation(owed.id).message.outcome == "corrected"
    assert b"wrong-one" not in house.at_rest()
    house.done("write")
    assert "right-one@example.com" in house.written()[handle]


def test_a_correction_of_who_may_not_be_written_to_any_more_is_a_deletion(house, shared_broker):
    person = register(shared_broker, email="wrong-two@example.com")
    house.mail()
    choose(shared_broker, person, "email")
    rectify(shared_broker, person, email="right-two@example.com")
    (owed,) = [each for each in house.client.obligations() if each.kind == "correct"]
    house.done("fulfil", "--once")
    assert house.client.obligation(owed.id).message.outcome == "deleted"
    assert b"wrong-two" not in house.at_rest()
    assert b"right-two" not in house.at_rest()


def test_what_is_due_is_deleted_and_nothing_before(house, shared_broker):
    register(shared_broker, email="dated@example.com")
    assert house.mail()
    assert house.done("fulfil", "--once") == "0 obligations are fulfilled"
    assert b"dated@example.com" in house.at_rest()
    assert house.done("fulfil", "--once", "--days-ahead", 31) == "1 obligations are fulfilled"
    assert b"dated@example.com" not in house.at_rest()
    assert house.written() == {}
    assert house.owed() == []


def test_an_obligation_of_another_list_is_not_attested(house, shared_broker):
    person = register(shared_broker, email="elsewhere@example.com")
    other, _ = shared_broker.live_contract(grant("offers", FIELDS), subcontractor=house.name)
    house.mail()
    (handle,) = shared_broker.handles(other, person)
    house.client.disclose(other, "offers", ["email"], [handle])
    rectify(shared_broker, person, email="elsewhere-right@example.com")
    house.done("fulfil", "--once")
    assert [(each.contract, each.kind) for each in house.client.obligations() if each.kind == "correct"] == [
        (other, "correct")
    ]


KILLED = """
import os, signal, sys
from examples.mailing_house import __main__, house, mailing_list
house.CHUNK = 2
take, taken = mailing_list.MailingList.take, []
def killed(people, pull, persons, cursor):
    taken.append(cursor)
    if len(taken) == 2:
        {second}
        os.kill(os.getpid(), signal.SIGKILL)
    take(people, pull, persons, cursor)
mailing_list.MailingList.take = killed
__main__.main(sys.argv[1:])
"""


def kill_at_the_second_chunk(house, *, taken):
    program = KILLED.format(second="take(people, pull, persons, cursor)" if taken else "pass")
    command = [sys.executable, "-c", program, *house.words("pull", house.contract)]
    ended = subprocess.run(command, cwd=CLIENTS, timeout=TIMEOUT_S, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert house.run("write")[0] == 3


@pytest.mark.parametrize("taken", [True, False], ids=["when-it-is-on-the-list", "when-it-is-not"])
def test_a_pull_that_is_killed_goes_on_and_nobody_is_disclosed_twice(shared_broker, tmp_path, taken, monkeypatch):
    people = [register(shared_broker, email=f"many{number}@example.com") for number in range(6)]
    house = House(shared_broker, tmp_path, *people)
    kill_at_the_second_chunk(house, taken=taken)
    monkeypatch.setattr("examples.mailing_house.house.CHUNK", 2)
    assert house.done("pull", house.contract) == "6 persons are on the list"
    assert house.disclosed() == 6
    house.done("write")
    assert house.written().keys() == set(house.handles(*people))


def test_who_changed_while_the_pull_was_dead_comes_as_they_are_now(shared_broker, tmp_path, monkeypatch):
    people = [register(shared_broker, email=f"before{number}@example.com") for number in range(6)]
    house = House(shared_broker, tmp_path, *people)
    kill_at_the_second_chunk(house, taken=False)
    for number, person in enumerate(people):
        rectify(shared_broker, person, email=f"after{number}@example.com")
    house.done("fulfil", "--once")
    asked = house.request_id()
    monkeypatch.setattr("examples.mailing_house.house.CHUNK", 2)
    house.done("pull", house.contract)
    # Who was on the way had changed: the broker does not give the same answer again, and was asked anew.
    assert house.request_id() != asked
    assert b"before" not in house.at_rest()
    house.done("write")
    text = "".join(house.written().values())
    assert all(f"after{number}@example.com" in text for number in range(6))


class Changing(Subcontractor):
    """After the first chunk of each of its first streams the next one is lost, and somebody in it has changed."""

    left = 2

    def bulk(self, *given, **named):
        for chunk in super().bulk(*given, **named):
            yield chunk
            if self.left:
                self.left -= 1
                raise Aborted("RECORD_CHANGED", "", {})


def test_a_pull_goes_on_however_often_somebody_has_changed_meanwhile(shared_broker, tmp_path, monkeypatch):
    monkeypatch.setattr("examples.mailing_house.house.CHUNK", 2)
    people = [register(shared_broker, email=f"often{number}@example.com") for number in range(6)]
    house = House(shared_broker, tmp_path, *people)
    with Changing.from_profile(shared_broker.profile(house.name)) as client, MailingList(house.list) as on_file:
        assert PullingHouse(on_file, house.letters).pull(client, house.contract) == 6


def test_a_disk_that_takes_nothing_is_told_in_a_line(house):
    house.done("pull", house.contract)
    house.letters.touch()
    assert house.run("write")[0] == 4
    house.letters.unlink()
    house.done("write")


def interrupted(process):
    """The exit code after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(TIMEOUT_S)
    finally:
        process.kill()


def test_it_watches_for_good_and_goes_on_after_the_broker_was_away(house, shared_broker):
    person = register(shared_broker, email="watched@example.com")
    house.mail()
    command = [sys.executable, "-m", "examples.mailing_house", *house.words("fulfil")]
    with subprocess.Popen(command, cwd=CLIENTS, stderr=subprocess.DEVNULL) as watching:
        try:
            shared_broker.kill()
            shared_broker.start()
            rectify(shared_broker, person, email="seen@example.com")
            deadline = time.monotonic() + TIMEOUT_S
            while b"seen@example.com" not in house.at_rest():
                assert time.monotonic() < deadline
                assert watching.poll() is None
                time.sleep(0.05)
        finally:
            assert interrupted(watching) == 130
