"""Promise 6: after an erasure nothing of the person is in database, log or backup, and no backup brings it back."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import uuid
from datetime import date

import pytest
from sluss.v1 import ledger_pb2, ledger_pb2_grpc, person_pb2, person_pb2_grpc
from sqlalchemy import text

from broker.choices import recording
from broker.choices.model import ChoiceMade, Recording
from broker.companions import ROOMS
from broker.complaints import handling
from broker.complaints.handling import NewComplaint
from broker.compromise import reports
from broker.compromise.reports import NewReport
from broker.desk import Change
from broker.erasure import erasing
from broker.erasure.register import Erased, ErasureRegister, come_back
from broker.erasure.scrubbing import Scrubber
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ids import parse_person, person_text
from broker.keys.file import FileProvider
from broker.ledger.verify import verify_store
from broker.operator import backup, restoring
from broker.operator.founding import Charter, found
from broker.operator.office import opened
from broker.person_requests import rows as request_rows
from broker.person_requests import tracking
from broker.person_requests.model import Kind
from broker.person_requests.tracking import Opening
from broker.persons import register as registering
from broker.persons.model import Registration
from broker.policies import acceptances
from broker.policies.model import Accepting
from broker.rights import Rights
from broker.settings import load
from broker.store.engine import open_engine, reading
from broker.store.queries import WHOLE, read_persons
from broker.vault import Vault
from tests.support import nursery
from tests.support.persons import spellings
from tests.support.postgres import empty_database
from tests.unit.persons.world import CANARIES

PRIVACY = parse_principal("privacy/team")
OTHER = {"customer_number": "OTHER-1", "email": "somebody@example.com"}


class House:
    """A broker's home without a broker: what its store room does, by hand."""

    def __init__(self, home, database=""):
        self.home = home
        if not home.exists():
            found(Charter(home, "example.com", "example.com/sluss", database=database))
        self.settings = load(home)
        self.vault = Vault(FileProvider(self.settings.folder.rings).rings)
        self.register = ErasureRegister(self.settings.folder.erased)

    def change(self, work):
        with opened(self.home) as office:

            def locked(tx):
                return work(Change(tx.connection, Rights(self.vault).at(tx.connection), PRIVACY, tx.at, tx))

            return office.ledger.run(locked)

    def registered(self, values):
        made = [ChoiceMade("partners.email", "in")]
        asked = Registration(uuid.uuid4().bytes, list(values.items()), "registration", made)
        return self.change(lambda change: registering.register(change, asked)).person

    def erase(self, person, *, scrubbed=True, cause="R-2026-0001"):
        index = self.change(lambda change: erasing.erase(change, person, cause))
        if scrubbed:
            self.scrub()
        return index

    def scrub(self):
        with opened(self.home) as office:
            assert Scrubber(office.engine, self.register, lambda: 1).run()

    def row(self, person, url=""):
        engine = open_engine(url or self.settings.database_url)
        try:
            with reading(engine) as connection:
                return next(iter(read_persons(connection, [person], WHOLE)), None)
        finally:
            engine.dispose()

    def pieces(self, person):
        """Every run of bytes at rest that stands for the person: wrapped keys, sealed values, digests."""
        row = self.row(person)
        with opened(self.home) as office, reading(office.engine) as connection:
            digests = [
                bytes(found)
                for table in ("blind_index", "unique_number")
                for found in connection.execute(text(f"SELECT digest FROM {table} WHERE person = {person}")).scalars()
            ]
        assert digests
        return [row.keys[-40:], row.financial_keys[-40:], row.record[-60:], row.fingerprint, *digests]

    def version(self):
        """The policy version in force."""
        return self.change(lambda change: change.snapshot.policy(change.now_us))

    def digests(self, person):
        """How many of the requests that the test made about the person are kept with what they asked for."""
        with opened(self.home) as office, reading(office.engine) as connection:
            found = connection.execute(text("SELECT id FROM request WHERE length(body) > 0")).scalars()
            return sum(bytes(request).startswith(person_text(person).encode()) for request in found)

    def backup(self, name):
        with opened(self.home) as office:
            backup.take(office.engine, self.home.parent / name, office.settings.origin)
        return self.home.parent / name

    def restore(self, folder, *, replace=True):
        restoring.put_back(self.settings, folder, replace=replace)
        with opened(self.home) as office:
            return [person_text(each.person) for each in restoring.erase_again(office).persons]

    def verify(self):
        with opened(self.home) as office:
            return verify_store(office.engine, office.signer.verifier, rooms=ROOMS).findings


def bytes_of(*places):
    """Everything in these files and folders; a running server may take a file away meanwhile."""
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    found = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            found.append(file.read_bytes())
    return b"".join(found)


def database_files(home):
    return [home / f"sluss.db{end}" for end in ("", "-wal", "-shm") if (home / f"sluss.db{end}").exists()]


def values():
    return {spelling for value in CANARIES.values() for spelling in spellings(value)}


def seen(pieces, data):
    return [piece for piece in pieces if piece in data]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "home")


@pytest.fixture(params=["sqlite", "postgres"])
def any_house(request, tmp_path):
    if request.param == "sqlite":
        yield House(tmp_path / "home")
        return
    with empty_database(request.getfixturevalue("postgres_server")) as url:
        yield House(tmp_path / "home", url)


def test_no_byte_of_the_database_its_log_or_a_later_backup_is_of_the_person(house):
    person, kept = house.registered(CANARIES), house.registered(OTHER)
    pieces = house.pieces(person)
    assert len(seen(pieces, bytes_of(*database_files(house.home)))) == len(pieces)
    house.erase(person)
    later = house.backup("later")
    found = bytes_of(*database_files(house.home), later)
    assert seen(pieces, found) == []
    assert seen(values(), found) == []
    assert len(seen(house.pieces(kept), found)) == len(house.pieces(kept))
    assert house.verify() == []


def test_a_restore_learns_from_the_database_it_replaces_who_was_erased(house):
    person, before = house.registered(CANARIES), house.backup("before")
    house.erase(person, scrubbed=False)
    assert house.register.all() == []
    assert house.restore(before) == [person_text(person)]


def test_a_database_that_can_not_be_read_can_be_replaced(house):
    house.registered(CANARIES)
    before = house.backup("before")
    for file in database_files(house.home):
        file.write_bytes(b"no database" * 1000)
    assert house.restore(before) == []


def test_a_backup_from_before_does_not_bring_the_person_back(house):
    person, kept = house.registered(CANARIES), house.registered(OTHER)
    pieces, before = house.pieces(person), house.backup("before")
    assert len(seen(pieces, bytes_of(before))) == len(pieces)
    house.erase(person)
    assert house.restore(before) == [person_text(person)]
    for aside in house.home.glob("sluss.db.before-*"):
        aside.unlink()
    found = bytes_of(*database_files(house.home))
    assert seen(pieces, found) == []
    assert seen(values(), found) == []
    row = house.row(person)
    assert (row.state, bytes(row.keys), bytes(row.record)) == ("erased", b"", b"")
    with pytest.raises(SlussError) as caught:
        house.vault.open_record(row)
    assert caught.value.reason is Reason.PERSON_UNAVAILABLE
    assert house.vault.open_record(house.row(kept))["email"].text == OTHER["email"]
    assert house.verify() == []


def test_strings_finds_none_of_the_persons_values_in_any_file(house):
    """The tool that whoever steals a disk would begin with."""
    if shutil.which("strings") is None:
        pytest.skip("binutils is not installed")
    person = house.registered(CANARIES)
    before = house.backup("before")
    house.erase(person)
    house.restore(before)
    files = [file for file in house.home.parent.rglob("*") if file.is_file()]
    for encoding in "sSlb":
        told = subprocess.run(["strings", "-n", "6", f"-e{encoding}", *files], capture_output=True, check=True).stdout
        assert seen({value.encode() for value in CANARIES.values()}, told) == []


def test_a_crash_between_erasing_and_scrubbing_is_made_good_by_the_next_run(any_house):
    person = any_house.registered(CANARIES)
    index = any_house.erase(person, scrubbed=False)
    assert any_house.register.all() == []
    any_house.scrub()
    any_house.scrub()
    assert any_house.register.all() == [Erased(index, person)]
    with opened(any_house.home) as office, reading(office.engine) as connection:
        assert connection.execute(text("SELECT scrubbed_at FROM erasure")).scalars().all() == [1]


def test_no_digest_of_what_was_asked_about_the_person_is_left_and_no_late_retry_is_answered(any_house):
    person, other = any_house.registered(CANARIES), any_house.registered(OTHER)

    def asked_about(person):
        name, made = person_text(person).encode(), ChoiceMade("offers.email", "out")
        accepting = Accepting(name + b"1", person, any_house.version(), "paper", "the paper that Anna signed")
        opening = Opening(Kind.ACCESS, "letter", date(2026, 1, 1), person, "what of me?", "Anna", "en")
        complaint = NewComplaint(person, "Anna", "letter", "disclosure", "they call me", ())
        report = NewReport("person", b"", "", person, 1, 2, 2, "a phone was stolen")
        return [
            lambda change: acceptances.record(change, accepting),
            lambda change: tracking.open_request(change, opening, name + b"2"),
            lambda change: handling.open_complaint(change, complaint, name + b"3"),
            lambda change: reports.report(change, report, name + b"4"),
            lambda change: recording.record(change, Recording(name + b"5", person, made, "letter")),
        ]

    for work in [*asked_about(person), *asked_about(other)]:
        any_house.change(work)
        any_house.change(work)
    assert (any_house.digests(person), any_house.digests(other)) == (5, 5)
    any_house.erase(person, scrubbed=False)
    assert (any_house.digests(person), any_house.digests(other)) == (0, 5)
    for work in asked_about(person):
        with pytest.raises(SlussError) as caught:
            any_house.change(work)
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
    for work in asked_about(other):
        any_house.change(work)


@pytest.mark.parametrize("restored", [False, True])
def test_whatever_else_the_person_asked_for_is_closed_whoever_erases(house, restored):
    person, other = house.registered(CANARIES), house.registered(OTHER)
    opened_ids = []
    for number, (whose, kind) in enumerate([(person, Kind.ACCESS), (person, Kind.ERASURE), (other, Kind.ACCESS)]):
        asked = Opening(kind, "letter", date(2026, 1, 1), whose, "please", "Anna", "en")
        opened_ids.append(house.change(lambda c, a=asked, n=number: tracking.open_request(c, a, bytes([n]) * 16))[0].id)
    before = house.backup("before")
    house.erase(person, cause="K-2026-0001")
    if restored:
        house.restore(before)
    found = [house.change(lambda change, name=name: request_rows.load(change, name)) for name in opened_ids]
    told = [(each.state.value, each.facts.ground, each.words is None) for each in found]
    assert told == [("refused", "erased", True), ("refused", "erased", True), ("received", "", False)]
    assert house.verify() == []


def test_backup_and_restore_keep_every_row_on_either_store(any_house):
    persons = [any_house.registered(CANARIES), any_house.registered(OTHER)]
    before = any_house.backup("before")
    told = json.loads((before / "manifest.json").read_text())
    assert told["rows"]["person"] == 2
    other = House(any_house.home.parent / "other")
    target = f"sqlite:///{other.home.parent / 'restored.db'}"
    with opened(any_house.home) as office:
        taken = backup.read(before, office.signer)
        backup.put_back(before, target, taken)
        engine = open_engine(target)
        assert verify_store(engine, office.signer.verifier, rooms=ROOMS).findings == []
        engine.dispose()
    for person in persons:
        assert tuple(any_house.row(person, target)) == tuple(any_house.row(person))


def test_a_backup_goes_back_into_postgresql(house, postgres_server):
    person = house.registered(CANARIES)
    before = house.backup("before")
    with empty_database(postgres_server) as url, opened(house.home) as office:
        backup.put_back(before, url, backup.read(before, office.signer))
        assert house.vault.open_record(house.row(person, url))["email"].text == CANARIES["email"]
        with pytest.raises(SlussError, match="holds a ledger already"):
            backup.put_back(before, url, backup.read(before, office.signer))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), Reason.INVALID_REQUEST),
        (lambda folder: (folder / "manifest.json").write_text("{}"), Reason.INVALID_REQUEST),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), Reason.INVALID_REQUEST),
        (lambda folder: (folder / "sluss.db").unlink(), Reason.INVALID_REQUEST),
        (lambda folder: change_manifest(folder, format=2), Reason.INVALID_REQUEST),
        (lambda folder: change_manifest(folder, size="5"), Reason.LEDGER_INCONSISTENT),
        (lambda folder: change_manifest(folder, origin="example.com/other"), Reason.LEDGER_INCONSISTENT),
        (lambda folder: change_manifest(folder, root="00" * 32), Reason.LEDGER_INCONSISTENT),
        (lambda folder: append(folder / "sluss.db"), Reason.LEDGER_INCONSISTENT),
    ],
)
def test_a_backup_that_is_not_whole_or_was_altered_is_refused_and_nothing_is_touched(house, spoil, reason):
    house.registered(CANARIES)
    folder = house.backup("before")
    spoil(folder)
    before = bytes_of(house.home / "sluss.db")
    with pytest.raises(SlussError) as caught:
        house.restore(folder)
    assert caught.value.reason is reason
    assert bytes_of(house.home / "sluss.db") == before


def append(file):
    file.write_bytes(file.read_bytes() + b"x")


def change_manifest(folder, **members):
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**told, **members}))


def test_a_backup_is_never_half_there(house, monkeypatch):
    house.registered(CANARIES)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_write_manifest", full)
    with pytest.raises(SlussError) as caught:
        house.backup("before")
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert list(house.home.parent.iterdir()) == [house.home]


# --- the register ---------------------------------------------------------------------------------


def test_a_line_torn_by_a_crash_is_cut_off_by_the_next_writer(tmp_path):
    register = ErasureRegister(tmp_path / "erased.jsonl")
    register.add([Erased(3, 7)])
    with (tmp_path / "erased.jsonl").open("ab") as file:
        file.write(b'{"entry": 9, "pers')
    assert register.all() == [Erased(3, 7)]
    register.add([Erased(9, 8), Erased(3, 7)])
    assert register.all() == [Erased(3, 7), Erased(9, 8)]


FULL = """
import resource, sys
from pathlib import Path
from broker.erasure.register import Erased, ErasureRegister
from broker.errors import SlussError
resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
try:
    ErasureRegister(Path(sys.argv[1])).add([Erased(1, 11), Erased(2, 12)])
except SlussError as error:
    print(error.reason)
"""


def test_a_disk_that_takes_half_a_line_has_not_taken_the_erasure(tmp_path):
    path = tmp_path / "erased.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, check=True, text=True)
    assert done.stdout == "KEYS_UNAVAILABLE\n"
    ErasureRegister(path).add([Erased(1, 11), Erased(2, 12)])
    assert ErasureRegister(path).all() == [Erased(1, 11), Erased(2, 12)]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b'{"entry":"3","person":"P-04CVZ6HGRM5PX"}\n', b'{"entry":3,"person":"x"}\n']
)
def test_a_malformed_register_is_refused_not_skipped(tmp_path, line):
    path = tmp_path / "erased.jsonl"
    path.touch(0o600)
    path.write_bytes(line)
    with pytest.raises(SlussError) as caught:
        ErasureRegister(path).all()
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_a_register_that_others_can_open_is_refused(tmp_path):
    register = ErasureRegister(tmp_path / "erased.jsonl")
    register.add([Erased(3, 7)])
    (tmp_path / "erased.jsonl").chmod(0o644)
    for call in (register.all, lambda: register.add([Erased(4, 8)])):
        with pytest.raises(SlussError) as caught:
            call()
        assert caught.value.reason is Reason.KEYS_UNAVAILABLE


ADDER = """
import sys
import uuid
import uuid
from pathlib import Path
from broker.erasure.register import Erased, ErasureRegister
register = ErasureRegister(Path(sys.argv[1]))
for entry in range(40):
    register.add([Erased(entry, 1000 + entry), Erased(entry + 100 * int(sys.argv[2]), 5)])
"""


def test_several_processes_lose_no_line_and_write_none_twice(tmp_path):
    path = tmp_path / "erased.jsonl"
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, path, str(number)]) for number in (1, 2, 3)]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0]
    found = ErasureRegister(path).all()
    assert len(found) == len(set(found)) == 40 + 3 * 40


# --- a running broker -----------------------------------------------------------------------------


def test_a_broker_does_not_start_on_a_database_that_brings_somebody_back(broker):
    persons = person_pb2_grpc.PersonServiceStub(broker.channel("internal/import"))
    given = [person_pb2.FieldValue(field=name, value=value) for name, value in CANARIES.items()]
    asked = person_pb2.RegisterPersonRequest(
        request_id="6a2b0f3e-8a55-4b0c-9f7e-0f4f2a1c9d11", values=given, source="registration"
    )
    person = parse_person(persons.RegisterPerson(asked).person_id)
    broker.stop()
    house = House(broker.home)
    before = house.backup("before")
    index = house.erase(person)
    broker.start()
    broker.stop()
    # By other means than `sluss restore`:
    for file in database_files(house.home):
        file.unlink()
    shutil.copy(before / "sluss.db", house.home / "sluss.db")
    refused = nursery.run(["serve", "--home", broker.home])
    assert refused.returncode != 0
    assert "1 persons who were erased are on record again" in refused.stderr
    with opened(house.home) as office:
        with reading(office.engine) as connection:
            assert come_back(connection, house.register) == [Erased(index, person)]
        restoring.erase_again(office)
    broker.start()
    reply = ledger_pb2_grpc.LedgerServiceStub(broker.channel("privacy/team")).ListEntries(
        ledger_pb2.ListEntriesRequest(type="erasure")
    )
    assert [json.loads(listed.entry)["cause"] for listed in reply.entries] == ["restore"]


def test_the_verbs_back_up_beside_a_running_broker_and_restore_only_without_one(broker):
    def sluss(*words):
        return nursery.run([*words, "--home", broker.home])

    folder = broker.home.parent / "taken"
    assert "entries" in sluss("backup", folder).stdout
    again = sluss("backup", folder)
    assert (again.returncode, "nothing is overwritten" in again.stderr) == (2, True)
    running = sluss("restore", folder, "--replace")
    assert (running.returncode, "stop it first" in running.stderr) == (2, True)
    broker.stop()
    assert "--replace" in sluss("restore", folder).stderr
    done = sluss("restore", folder, "--replace")
    assert (done.returncode, "Nobody who was erased is on record" in done.stdout) == (0, True), done.stderr
    broker.start()
