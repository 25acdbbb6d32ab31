"""Rotating the rings: nobody notices, nothing is lost, and what is under a destroyed version opens nowhere any more."""

from __future__ import annotations

import shutil
import threading
import uuid

import grpc
import pytest
from sluss.v1 import disclosure_pb2, person_pb2

from broker.app import App
from broker.errors import Reason, SlussError
from broker.ids import parse_person
from broker.keys.file import FileProvider
from broker.operator import backup, rings
from broker.operator.office import opened
from broker.settings import load
from broker.store.engine import reading, writing
from broker.store.queries import PERSON
from broker.store.wrapped import counted
from broker.vault import Vault
from tests.faults.siege import info
from tests.faults.test_erasure import House
from tests.integration.test_server_operator import run
from tests.support import postgres
from tests.support.broker import BrokerProcess
from tests.support.persons import whole_row
from tests.support.requests import RequestDesk
from tests.unit.persons.world import CANARIES

ALL = ("records", "financial", "epochs")


@pytest.fixture(params=["sqlite", "postgres"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        with BrokerProcess(tmp_path / "home") as started:
            yield started
        return
    with (
        postgres.empty_database(request.getfixturevalue("postgres_server")) as url,
        BrokerProcess(tmp_path / "home", database=url) as started,
    ):
        yield started


def under(home):
    """Ring -> version -> keys in the store."""
    with opened(home) as office:
        return {ring: dict(found) for ring, found in counted(office.engine).items()}


def entries(home):
    with opened(home) as office:
        said = [row.entry for row in office.ledger.entries(0, 1_000)]
    return [each.decode() for each in said if b'"type":"key_ring"' in each]


def disclose(broker, contract, handles, request_id=""):
    request = disclosure_pb2.DiscloseRequest(
        request_id=request_id or str(uuid.uuid4()), contract_id=contract, purpose="billing", fields=["email"],
        handles=handles,
    )  # fmt: skip
    return broker.disclosures().Disclose(request, timeout=20)


def test_brokers_serve_on_while_rings_rotate_and_wrap_under_the_new_versions(broker):
    contract, _ = broker.live_contract()
    people = [broker.register(email=f"p{n}@example.com", payment__iban="SE4550000000058398257466") for n in range(30)]
    handles = broker.handles(contract, *people)
    first = str(uuid.uuid4())
    before = disclose(broker, contract, handles, first)
    stop, failed, rounds = threading.Event(), [], []

    def work():
        while not stop.is_set():
            try:
                disclose(broker, contract, handles[:5])
                broker.register(email=f"{uuid.uuid4()}@example.com", payment__iban="SE4550000000058398257466")
                rounds.append(1)
            except Exception as error:
                failed.append(error)
                raise

    busy = threading.Thread(target=work)
    busy.start()
    try:
        told = [run("keys", "rotate", "--home", broker.home, "--json").json for _ in range(2)]
    finally:
        stop.set()
        busy.join()
    assert not failed
    assert rounds
    assert [[(each["ring"], each["version"]) for each in one["added"]] for one in told] == [
        [(ring, number) for ring in ALL] for number in (2, 3)
    ]
    assert all(one["broken"] == [] for one in told)
    broker.register(email="late@example.com", payment__iban="SE4550000000058398257466")
    run("keys", "rewrap", "--home", broker.home)
    assert {ring: set(found) for ring, found in under(broker.home).items()} == {ring: {3} for ring in ALL}
    # A retry gives the same bytes: the epoch's secret is what it was.
    assert disclose(broker, contract, handles, first).disclosures[0].slices == before.disclosures[0].slices
    assert len(entries(broker.home)) == 6


def test_old_versions_are_destroyed_only_while_nothing_serves_and_nothing_is_under_them(broker):
    contract, client = broker.live_contract()
    person = broker.register(email="asa@example.com", payment__iban="SE4550000000058398257466")
    handles = broker.handles(contract, person)
    client.disclose(contract, "billing", ["email", "payment.iban"], handles)
    run("keys", "rotate", "--add-only", "--home", broker.home)
    destroy = ("keys", "destroy-old", "--yes", "--home", broker.home)
    assert "the broker is running" in run(*destroy, exits=2).err
    broker.stop()
    assert "sluss keys rewrap comes first" in run(*destroy, exits=2).err
    assert "--json can't ask" in run(*destroy[:2], "--json", "--home", broker.home, exits=2).out
    assert len(entries(broker.home)) == 3
    run("keys", "rewrap", "--home", broker.home)
    told = run(*destroy, "--json").json
    assert [(each["ring"], each["version"]) for each in told["destroyed"]] == [(ring, 1) for ring in ALL]
    assert "There was no old version." in run(*destroy).out
    shown = run("keys", "show", "--home", broker.home, "--json").json["rings"]
    assert [(each["ring"], each["version"], each["newest"], each["there"]) for each in shown] == [
        (ring, 2, True, True) for ring in ALL
    ]
    broker.start()
    (again,) = client.disclose(contract, "billing", ["email", "payment.iban"], handles)
    assert again.values["email"] == "asa@example.com"
    assert again.values["payment.iban"].endswith("7466")
    assert len(entries(broker.home)) == 6
    broker.stop()
    assert run("ledger", "verify", "--home", broker.home).code == 0


def test_a_destruction_that_was_broken_off_is_done_the_next_time(tmp_path, monkeypatch):
    house = House(tmp_path / "home")
    with opened(house.home) as office:
        rings.rotate(office, ["records"])
        with monkeypatch.context() as broken:
            broken.setattr(FileProvider, "destroy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                rings.destroy_old(office, ["records"])
        assert FileProvider(office.settings.folder.rings).rings["records"].versions == (1, 2)
        assert [(name, version) for name, version, _ in rings.destroy_old(office, ["records"])] == [("records", 1)]
        assert FileProvider(office.settings.folder.rings).rings["records"].versions == (2,)
    assert len(entries(house.home)) == 3


def test_bytes_from_before_an_erasure_open_no_more_once_the_rings_have_rotated(tmp_path):
    """What a write-ahead log, free pages or a stolen disk still hold of who was erased (DESIGN promise 6)."""
    with BrokerProcess(tmp_path / "home") as broker:
        person = broker.register(**{name.replace(".", "__"): value for name, value in CANARIES.items()})
        stayed = broker.register(email="stays@example.com")
        with opened(broker.home) as office:
            backup.take(office.engine, tmp_path / "before", office.settings.origin)
            with reading(office.engine) as connection:
                stolen = whole_row(connection, parse_person(person))
            folder = office.settings.folder
        copied = tmp_path / "copied.json"
        copied.write_bytes(folder.rings.read_bytes())
        copied.chmod(0o600)
        assert Vault(FileProvider(folder.rings).rings).open_record(stolen)
        desk = RequestDesk(broker)
        desk.step("Erase", desk.proven("erasure", person))
        run("keys", "rotate", "records", "financial", "--home", broker.home)
        broker.stop()
        run("keys", "destroy-old", "records", "financial", "--yes", "--home", broker.home)
        with pytest.raises(SlussError) as caught:
            Vault(FileProvider(folder.rings).rings).open_record(stolen)
        assert caught.value.reason is Reason.KEYS_UNAVAILABLE
        # So does everything of the backup from before, and a restore says it before it changes anything.
        database, files = (broker.home / "sluss.db").read_bytes(), set(broker.home.iterdir())
        ended = run("restore", tmp_path / "before", "--replace", "--home", broker.home, exits=4)
        assert "version 1 of the ring records" in ended.err
        assert (broker.home / "sluss.db").read_bytes() == database
        assert set(broker.home.iterdir()) == files
        broker.start()
        shown = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=stayed), timeout=10)
        assert shown.person_id == stayed
        # With a copy of the old rings, the stolen bytes open: this test could fail.
        assert Vault(FileProvider(copied).rings).open_record(stolen)


def test_a_backup_from_before_a_rotation_opens_as_long_as_the_old_version_is_there(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker:
        person = broker.register(email="asa@example.com")
        run("backup", tmp_path / "before", "--home", broker.home)
        run("keys", "rotate", "--home", broker.home)
        broker.stop()
        run("restore", tmp_path / "before", "--replace", "--home", broker.home)
        assert under(broker.home)["records"] == {1: 1}
        assert "sluss keys rewrap comes first" in run(
            "keys", "destroy-old", "--yes", "--home", broker.home, exits=2
        ).err  # fmt: skip
        broker.start()
        request = person_pb2.GetPersonRequest(person_id=person, include_values=True)
        shown = broker.persons("privacy/team").GetPerson(request, timeout=10)
        assert {each.value for each in shown.fields} >= {"asa@example.com"}


def test_an_altered_key_is_named_and_keeps_its_old_version_from_being_destroyed(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker:
        person, other = broker.register(email="asa@example.com"), broker.register(email="bo@example.com")
        broker.stop()
        with opened(broker.home) as office, writing(office.engine) as connection:
            row = whole_row(connection, parse_person(person))
            altered = row.keys[:-1] + bytes([row.keys[-1] ^ 1])
            connection.execute(PERSON.update().where(PERSON.c.id == row.id).values(keys=altered))
        told = run("keys", "rotate", "records", "--home", broker.home)
        assert f"NOT opened, altered in the database: {person}" in told.out
        assert other not in told.out
        assert "1 keys are under version 1" in run(
            "keys", "destroy-old", "records", "--yes", "--home", broker.home, exits=2
        ).err  # fmt: skip
        assert under(broker.home)["records"] == {1: 1, 2: 1}


def test_keys_under_a_version_that_the_file_lacks_are_shown_and_nothing_starts_again_with_its_number(tmp_path):
    house = House(tmp_path / "home")
    house.registered(CANARIES)
    older = house.settings.folder.rings.read_bytes()
    run("keys", "rotate", "--home", house.home)
    house.settings.folder.rings.write_bytes(older)
    shown = run("keys", "show", "--home", house.home)
    assert "MISSING in keys/rings.json: they can't be opened" in shown.out
    lost = [(each["ring"], each["keys"]) for each in run("keys", "show", "--home", house.home, "--json").json["rings"]
            if not each["there"]]  # fmt: skip
    assert lost == [("records", 1), ("financial", 1)]
    ended = run("keys", "rewrap", "--home", house.home, exits=4)
    assert "has no version 2" in ended.err
    for words in (("rotate",), ("destroy-old", "--yes")):
        ended = run("keys", *words, "--home", house.home, exits=4)
        assert "version 2 of the ring records, which keys/rings.json does not have" in ended.err
    assert house.settings.folder.rings.read_bytes() == older


def test_a_version_that_another_operator_adds_during_a_destruction_takes_none_with_it(tmp_path, monkeypatch):
    """What was looked at is destroyed, and not what has become old since."""
    house = House(tmp_path / "home")
    person = house.registered(CANARIES)
    with opened(house.home) as office:
        rings.rotate(office, ["records", "financial"])
        rings.rewrap(office)
        destroy = FileProvider.destroy

        def late(provider, name, versions):
            FileProvider(office.settings.folder.rings).rotate(name)
            destroy(provider, name, versions)

        monkeypatch.setattr(FileProvider, "destroy", late)
        rings.destroy_old(office, ["records"])
        provider = FileProvider(office.settings.folder.rings)
        assert provider.rings["records"].versions == (2, 3)
        with reading(office.engine) as connection:
            assert Vault(provider.rings).open_record(whole_row(connection, person))


def test_one_operator_at_a_time_destroys_rotates_or_restores(tmp_path):
    house = House(tmp_path / "home")
    done = threading.Event()

    def rotate():
        with opened(house.home) as office:
            rings.rotate(office, ["records"])
        done.set()

    with rings.alone(house.settings):
        other = threading.Thread(target=rotate)
        other.start()
        assert not done.wait(0.5)
        assert entries(house.home) == []
    other.join()
    assert len(entries(house.home)) == 1


def test_a_copy_of_the_rings_from_before_a_rotation_makes_no_second_version_of_its_number(tmp_path):
    """Two machines, each with a copy of its own: one of two keys of one number would be lost with all under it."""
    house = House(tmp_path / "home")
    house.registered(CANARIES)
    file = house.settings.folder.rings
    older = file.read_bytes()
    run("keys", "rotate", "records", "--add-only", "--home", house.home)
    newer = file.read_bytes()
    file.write_bytes(older)
    ended = run("keys", "rotate", "--add-only", "--home", house.home, exits=4)
    assert "the ledger tells of version 2 of the ring records, which keys/rings.json does not have" in ended.err
    assert file.read_bytes() == older
    # If it is lost for good, its end is an entry as well, and the next version has a number of its own.
    told = run("keys", "destroy-old", "records", "--yes", "--home", house.home, "--json").json["destroyed"]
    assert [(each["ring"], each["version"]) for each in told] == [("records", 2)]
    run("keys", "rotate", "records", "--home", house.home)
    assert FileProvider(file).rings["records"].versions == (1, 3)
    file.write_bytes(newer)
    ended = run("keys", "rotate", "records", "--home", house.home, exits=4)
    assert "version 3 of the ring records, which keys/rings.json does not have" in ended.err


def served(broker):
    """What keeps a broker from starting."""
    app = App(load(broker.home))
    try:
        with pytest.raises(SlussError) as caught:
            app.start()
    finally:
        app.close()
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    return caught.value.detail


def test_a_broker_does_not_start_on_other_rings_or_on_a_copy_from_before_a_destruction(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker, BrokerProcess(tmp_path / "elsewhere") as elsewhere:
        elsewhere.stop()
        broker.register(email="asa@example.com")
        broker.stop()
        file = broker.home / "keys" / "rings.json"
        older = file.read_bytes()
        file.write_bytes((elsewhere.home / "keys" / "rings.json").read_bytes())
        assert "opens nothing in the database: it is of another one" in served(broker)
        ended = run("keys", "rotate", "--home", broker.home, exits=4)
        assert "opens nothing in the database" in ended.err
        file.write_bytes(older)
        run("keys", "rotate", "--home", broker.home)
        run("keys", "destroy-old", "--yes", "--home", broker.home)
        newer = file.read_bytes()
        file.write_bytes(older)
        assert "version 1 of the ring records is destroyed" in served(broker)
        file.write_bytes(newer)
        broker.start()
        broker.register(email="bo@example.com")


def test_a_broker_whose_rings_are_replaced_registers_nobody_until_the_right_ones_are_back(tmp_path):
    with BrokerProcess(tmp_path / "home") as broker:
        person = broker.register(email="asa@example.com")
        file = broker.home / "keys" / "rings.json"
        older = file.read_bytes()
        run("keys", "rotate", "--home", broker.home)
        broker.register(email="bo@example.com")
        newer = file.read_bytes()
        file.write_bytes(older)
        with pytest.raises(grpc.RpcError) as caught:
            broker.register(email="lost@example.com")
        assert info(caught.value).reason == "KEYS_UNAVAILABLE"
        shown = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=10)
        assert shown.person_id == person
        file.write_bytes(newer)
        broker.register(email="kept@example.com")
        assert under(broker.home)["records"] == {2: 3}


def test_nothing_is_destroyed_while_a_broker_of_another_home_uses_the_database(postgres_server, tmp_path):
    with (
        postgres.empty_database(postgres_server) as url,
        BrokerProcess(tmp_path / "home", database=url) as broker,
    ):
        other = tmp_path / "other"
        shutil.copytree(broker.home, other)
        shutil.rmtree(other / "run", ignore_errors=True)
        run("keys", "rotate", "--home", other)
        destroy = ("keys", "destroy-old", "--yes", "--home", other)
        assert "uses the database" in run(*destroy, exits=2).err
        broker.stop()
        assert len(run(*destroy, "--json").json["destroyed"]) == 3
