"""Complaints and compromise reports under attack: erased, killed in the middle, raced by two brokers."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import grpc
import pytest
from sluss.v1 import (
    compromise_pb2,
    compromise_pb2_grpc,
    disclosure_pb2,
    disclosure_pb2_grpc,
    obligation_pb2,
    obligation_pb2_grpc,
    outbox_pb2,
)
from sqlalchemy import select, text, update

from broker import case_files
from broker.case_files import EVENT, FILE
from broker.complaints import handling
from broker.complaints.handling import Changes, NewComplaint
from broker.compromise import reports
from broker.compromise.locks import LOCK
from broker.compromise.reports import NewReport
from broker.errors import SlussError
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.findings import Kind as Found
from broker.operator.office import opened
from broker.person_requests import tracking
from broker.person_requests.model import Kind
from broker.person_requests.tracking import Opening
from broker.store.engine import reading, writing
from tests.faults.test_erasure import House, bytes_of, database_files, seen
from tests.support import nursery
from tests.support.broker import BrokerProcess
from tests.support.patience import patiently
from tests.support.world import World
from tests.unit.persons.world import CANARIES

PATIENCE_S = 30
SINCE = "2026-01-01T00:00:00.000000Z"
WORDS = ("CANARY-ABOUT a letter I never wanted", "CANARY-NOTE the person called in tears", "CANARY-TOLD we are sorry")


def test_no_byte_of_what_a_person_said_in_a_complaint_is_left_after_the_erasure(tmp_path):
    house = House(tmp_path / "home")
    person = house.registered(CANARIES)
    about, note, told = WORDS
    new = NewComplaint(person, "", "post", "disclosure", about, ("0",))
    file = house.change(lambda change: handling.open_complaint(change, new, uuid.uuid4().bytes))
    house.change(lambda change: handling.change_complaint(change, file.id, Changes(note, (), "", 0), "1"))
    house.change(lambda change: handling.set_outcome(change, file.id, "upheld", told, "2"))
    with opened(house.home) as office, reading(office.engine) as connection:
        row = connection.execute(select(FILE).where(FILE.c.id == file.id)).one()
        texts = connection.execute(select(EVENT.c.text).where(EVENT.c.file == file.id)).scalars().all()
    pieces = [bytes(row.private)[-40:], bytes(row.private_keys)[-40:], *(bytes(text)[-30:] for text in texts)]
    before = bytes_of(*database_files(house.home))
    assert len(seen(pieces, before)) == len(pieces)
    house.change(lambda change: handling.remedy(change, None, file.id, "erase_data", "", "as asked", "3"))
    house.scrub()
    after = bytes_of(*database_files(house.home), house.backup("later"))
    assert seen(pieces, after) == []
    assert seen([word.encode() for word in WORDS], before + after) == []

    def shown(change):
        held = case_files.load(change, "complaint", file.id)
        return held, case_files.timeline(change, held)

    held, events = house.change(shown)
    assert (held.person, held.private, held.state) == (0, None, "decided")
    assert [(each.event, each.text) for each in events] == [
        ("opened", ""), ("noted", ""), ("decided", ""), ("remedied", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("after_s", [0.0, 0.015])
def test_a_report_that_a_kill_cut_off_is_whole_or_not_there_and_the_same_call_makes_one(tmp_path, after_s):
    with BrokerProcess(tmp_path / "home") as broker:
        broker.live_contract()
        request = compromise_pb2.ReportCompromiseRequest(
            request_id=str(uuid.uuid4()), principal="subcontractor/acme", suspect_from=SINCE, how="a stolen laptop"
        )
        stub = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))
        call = stub.ReportCompromise.future(request, timeout=20)
        time.sleep(after_s)
        broker.kill()
        call.exception(timeout=20)

        def written():
            with opened(broker.home) as office:
                found = [entry.parse(row.entry) for row in office.ledger.entries(0, 10_000)]
            return Counter(
                (said["type"], said["event"]) for said in found
                if said["type"] == "compromise" or said.get("reason") == "reported as compromised"
            )  # fmt: skip

        whole = Counter({("compromise", "reported"): 1, ("certificate", "revoked"): 1, ("key", "retired"): 1})
        assert written() in (Counter(), whole)
        broker.start()
        stub = compromise_pb2_grpc.CompromiseServiceStub(broker.channel("privacy/team"))
        made = stub.ReportCompromise(request, timeout=20, wait_for_ready=True)
        again = stub.ReportCompromise(request, timeout=20)
        assert (made.report.revoked, made) == (1, again)
        assert written() == whole


class Two:
    """Two brokers on one store."""

    def __init__(self, engine, vault):
        one = World(engine, vault)
        self.worlds = (one, World(engine, vault, keys=one.keys))
        self.one, self.team = one, one.actor("privacy/team")

    def change(self, work, world=None):
        return (world or self.one).desk.change(self.team.caller(), work)

    def race(self, *works):
        """Each work on a broker of its own, at once; gives results, or the reasons of refusals."""
        barrier = threading.Barrier(len(works))

        def run(number):
            barrier.wait()
            try:
                return patiently(self.change, works[number], self.worlds[number % 2])
            except SlussError as error:
                return error.reason

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(run, range(len(works))))


@pytest.fixture
def two(store_engine, vault):
    return Two(store_engine, vault)


def new_report(two, subject="subcontractor/acme"):
    now = two.one.clock()
    return NewReport("principal", b"", subject, 0, 0, now, now, "a stolen laptop")


def test_of_two_brokers_that_decide_one_complaint_one_does(two):
    new = NewComplaint(0, "a caller", "phone", "other", "noise", ())
    for _ in range(5):
        file = two.change(lambda change: handling.open_complaint(change, new, uuid.uuid4().bytes))
        works = [
            lambda change, file=file, outcome=outcome: handling.set_outcome(change, file.id, outcome, "because", "1")
            for outcome in ("upheld", "not_upheld", "partly", "withdrawn")
        ]
        results = two.race(*works)
        assert sorted(str(each) for each in results if not isinstance(each, tuple)) == ["ETAG_STALE"] * 3
        (done,) = [each for each in results if isinstance(each, tuple)]
        events = two.change(lambda change, file=file: case_files.timeline(change, file))
        held = two.change(lambda change, file=file: case_files.load(change, "complaint", file.id))
        assert [each.event for each in events] == ["opened", "decided"]
        assert held.body["outcome"] == done[0].body["outcome"]


def test_one_request_to_two_brokers_opens_one_complaint_and_numbers_are_never_given_twice(two):
    new, same = NewComplaint(0, "a caller", "phone", "other", "noise", ()), uuid.uuid4().bytes
    same_twice = two.race(*[lambda change: handling.open_complaint(change, new, same)] * 4)
    assert len({file.id for file in same_twice}) == 1
    others = two.race(*[lambda change: handling.open_complaint(change, new, uuid.uuid4().bytes)] * 4)
    assert len({file.id for file in [*others, same_twice[0]]}) == 5


def test_of_two_reports_of_one_credential_one_revokes_it_and_a_repeated_one_is_the_same(two):
    two.one.actor("subcontractor/acme")
    new, same = new_report(two), uuid.uuid4().bytes
    results = two.race(
        lambda change: reports.report(change, new, same),
        lambda change: reports.report(change, new, same),
        lambda change: reports.report(change, new, uuid.uuid4().bytes),
        lambda change: reports.report(change, new, uuid.uuid4().bytes),
    )
    assert results[0][0].id == results[1][0].id
    made = {file.id: file for file, _ in results}
    assert len(made) == 3
    assert sorted(file.body["revoked"] for file in made.values()) == [0, 0, 1]
    # Closed by one of two.
    name = results[0][0].id
    closing = two.race(*[lambda change: reports.close(change, name, "1", "notified")] * 2)
    assert [str(each) for each in closing if not isinstance(each, tuple)] == ["ETAG_STALE"]


@pytest.mark.parametrize(
    "values", [{"state": "closed"}, {"handler": "privacy/other"}, {"due_at": 1}, {"opened_at": 1}, {"body": b"x"}],
    ids=lambda values: next(iter(values)),
)  # fmt: skip
def test_a_report_that_somebody_changed_in_the_store_is_refused(two, values):
    two.one.actor("subcontractor/acme")
    file, _ = two.change(lambda change: reports.report(change, new_report(two), uuid.uuid4().bytes))
    two.change(lambda change: change.connection.execute(update(FILE).where(FILE.c.id == file.id).values(values)))
    with pytest.raises(SlussError) as caught:
        two.change(lambda change: case_files.load(change, "compromise", file.id))
    assert str(caught.value.reason) in {"LEDGER_INCONSISTENT", "INTERNAL"}


def test_the_command_ends_open_streams_and_nothing_leaves_behind_its_entry(tmp_path):
    """A bulk stream in progress, and two streams that wait for news and would not notice by themselves."""
    with BrokerProcess(tmp_path / "home") as broker:
        contract, _ = broker.live_contract()
        for number in range(3):
            broker.register(email=f"m{number}@example.com")
        line = broker.channel("subcontractor/acme")
        owed = obligation_pb2_grpc.ObligationServiceStub(line)
        bulk = disclosure_pb2_grpc.DisclosureServiceStub(line)
        mailer = broker.outbox("internal/import")
        codes = {}

        def drain(name, call):
            try:
                for _ in call:
                    pass
            except grpc.RpcError as error:
                codes[name] = error.code()

        def disclose():
            while "bulk" not in codes:
                drain("bulk", bulk.DiscloseBulk(
                    disclosure_pb2.DiscloseBulkRequest(
                        request_id=str(uuid.uuid4()), contract_id=contract, purpose="billing", fields=["email"],
                        everyone=True,
                    ),
                    timeout=60,
                ))  # fmt: skip

        watched = owed.WatchObligations(obligation_pb2.WatchObligationsRequest(), timeout=60)
        mail = mailer.WatchOutbox(outbox_pb2.WatchOutboxRequest(consumer="mail"), timeout=60)
        workers = [
            threading.Thread(target=disclose),
            threading.Thread(target=drain, args=("owed", watched)),
            threading.Thread(target=drain, args=("mail", mail)),
        ]
        for worker in workers:
            worker.start()
        time.sleep(1)
        assert not codes
        for name in ("subcontractor/acme", "internal/import"):
            words = ["certificate", "revoke", "--home", broker.home, "--principal", name, "--reason", "stolen"]
            assert nursery.run(words).returncode == 0
        for worker in workers:
            worker.join(PATIENCE_S)
            assert not worker.is_alive()
        assert codes == dict.fromkeys(("bulk", "owed", "mail"), grpc.StatusCode.UNAUTHENTICATED)
        with opened(broker.home) as office:
            said = [entry.parse(row.entry) for row in office.ledger.entries(0, 10_000)]
        ends = [
            index for index, each in enumerate(said)
            if each["type"] == "certificate" and each["event"] == "revoked" and each["principal"].endswith("/acme")
        ]  # fmt: skip
        left = [index for index, each in enumerate(said) if each["type"] == "disclosure"]
        assert left
        assert max(left) < min(ends)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A home with an open request, an open complaint, and two reports about persons, of which one was reinstated."""
    house = House(tmp_path_factory.mktemp("cases") / "home")
    person, other = house.registered(CANARIES), house.registered({"email": "other@example.com"})
    opening = Opening(Kind.ERASURE, "post", date(2026, 1, 1), person, "all of it", "Anna", "en")
    complaint = NewComplaint(person, "", "post", "disclosure", "they call me", ())
    house.change(lambda change: tracking.open_request(change, opening, uuid.uuid4().bytes))
    house.change(lambda change: handling.open_complaint(change, complaint, uuid.uuid4().bytes))
    for each in (person, other):
        report = NewReport("person", b"", "", each, 1, 2, 2, "a phone was stolen")
        house.change(lambda change, new=report: reports.report(change, new, uuid.uuid4().bytes))
    house.change(lambda change: reports.reinstate(change, "B-2026-0002", "1", "found again"))
    return house


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        ("UPDATE person_request SET state = 'done'", "the row of R-2026-0001 does not stand where"),
        ("UPDATE person_request SET deadline = '2030-01-01'", "the row of R-2026-0001 does not stand where"),
        ("DELETE FROM person_request", "R-2026-0001 has no row"),
        ("DELETE FROM person_request_event", "R-2026-0001 has 1 entries, and its 0 rows name others"),
        ("UPDATE case_file SET state = 'closed' WHERE id LIKE 'K%'", "the row of K-2026-0001 does not stand where"),
        ("UPDATE case_file SET id = 'K-2026-0009' WHERE id LIKE 'K%'", "K-2026-0009 has a row, and no entry opened it"),
        ("DELETE FROM case_file_event WHERE file LIKE 'B%1'", "B-2026-0001 has 1 entries, and its 0 rows name others"),
        ("DELETE FROM credential_lock", "is not locked, and B-2026-0001 stands"),
        ("UPDATE credential_lock SET report = 'B-2026-0002'", "is locked for B-2026-0002, which does not lock"),
        ("UPDATE credential_lock SET person = person + 1", "is locked for B-2026-0001, which does not lock"),
        ("UPDATE case_file SET person = 0 WHERE id LIKE 'B%1'", "B-2026-0001 does not say whose credential it is"),
    ],
)
def test_a_row_that_hides_what_is_open_is_found(cases, tmp_path, forged, told):
    assert cases.verify() == []
    house = House(shutil.copytree(cases.home, tmp_path / "home"))
    with opened(house.home) as office, writing(office.engine) as connection:
        connection.execute(text(forged))
    found = house.verify()
    assert any(told in each.message for each in found)
    assert {each.kind for each in found} == {Found.CASE}


def test_nothing_is_found_after_an_erasure_a_remedy_or_a_restore(cases, tmp_path):
    house = House(shutil.copytree(cases.home, tmp_path / "home"))
    before = house.backup("before")
    with opened(house.home) as office, reading(office.engine) as connection:
        (person,) = connection.execute(select(LOCK.c.person)).scalars()
    house.change(lambda change: handling.set_outcome(change, "K-2026-0001", "upheld", "you are right", "1"))
    house.change(lambda change: handling.remedy(change, None, "K-2026-0001", "erase_data", "", "as asked", "2"))
    assert house.verify() == []
    assert house.restore(before) == [person_text(person)]
    assert house.verify() == []
