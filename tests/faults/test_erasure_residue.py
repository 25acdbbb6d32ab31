"""Promise 6 for a person of whom everything is kept: no row, no value and no sealed piece is left in any byte."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sluss.v1 import aggregate_pb2 as usage
from sluss.v1 import (
    aggregate_pb2_grpc,
    choice_pb2,
    complaint_pb2,
    complaint_pb2_grpc,
    erasure_pb2,
    person_pb2,
    policy_pb2,
)
from sluss.v1.erasure_pb2_grpc import ErasureServiceStub
from sqlalchemy import LargeBinary, select, text
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from broker.erasure.scrubbing import Scrubber
from broker.ids import parse_person
from broker.operator import backup, restoring
from broker.operator.office import opened
from broker.settings import load
from broker.store.engine import open_engine, reading
from tests.faults.siege import CALL_S
from tests.faults.test_erasure import House, bytes_of, database_files
from tests.support import postgres
from tests.support.broker import BrokerProcess, grant
from tests.support.erasure import MAY_NAME, named_by
from tests.support.persons import spellings
from tests.support.requests import RequestDesk
from tests.unit.persons.world import CANARIES

WORDS = {
    "asked": "Who has got my address? CANARY-ASKED",
    "requester": "CANARY-NAME, at the known address",
    "complaint": "CANARY-ABOUT: they keep calling me",
    "acceptance": "CANARY-EVIDENCE: the paper that I signed",
    "hold": "CANARY-HOLD: a claim of mine",
}
OLD = {"email": "canary-old-address@example.net", "phone": "+46701740699"}
STAYS = {
    ("obligation", "salt"): "of what a recipient still owes, under a handle, until it has answered",
    ("obligation", "handle"): "likewise",
    ("case_file", "keys"): "of the company's own notes on a complaint; what the person said is under other keys",
    ("case_file", "body"): "likewise",
    ("legal_hold", "keys"): "of the company's own reason, which outlives the person",
    ("legal_hold", "body"): "likewise",
    ("person_request", "facts"): "what accounts for a request: days and steps, nothing that was said",
}
SHORT = 12
"""Shorter runs of bytes stand for nobody."""


@pytest.fixture(params=["sqlite", "postgres"])
def broker(request, tmp_path):
    environment = {"SLUSS_MAINTAIN_S": "1"}
    if request.param == "sqlite":
        with BrokerProcess(tmp_path / "home", environment=environment) as started:
            yield started
        return
    with (
        postgres.empty_database(request.getfixturevalue("postgres_server")) as url,
        BrokerProcess(tmp_path / "home", database=url, environment=environment) as started,
    ):
        yield started


def everything(broker):
    """A person of whom every room keeps something; gives the id."""
    contract, client = broker.live_contract(grant("billing", ("email=full", "payment.iban=last4"), persons=10**6))
    person = broker.register(**{name.replace(".", "__"): value for name, value in (CANARIES | OLD).items()})
    client.disclose(contract, "billing", ["email"], broker.handles(contract, person))
    for name in OLD:
        shown = broker.persons().GetPerson(person_pb2.GetPersonRequest(person_id=person), timeout=CALL_S)
        value = person_pb2.FieldValue(field=name, value=CANARIES[name])
        asked = person_pb2.UpdatePersonRequest(person_id=person, values=[value], source="web", etag=shown.etag)
        broker.persons().UpdatePerson(asked, timeout=CALL_S)
    made = choice_pb2.ChoiceMade(purpose="offers.email", state=choice_pb2.CHOICE_STATE_OPTED_OUT, medium="web")
    said = choice_pb2.RecordChoiceRequest(
        person_id=person, choice=made, source="web", request_id=str(uuid.uuid4()), evidence="form 4711"
    )
    version = broker.choices().RecordChoice(said, timeout=CALL_S).policy_version
    accepted = policy_pb2.RecordAcceptanceRequest(
        request_id=str(uuid.uuid4()), person_id=person, version=version, source="paper", evidence=WORDS["acceptance"]
    )
    broker.policies("internal/import").RecordAcceptance(accepted, timeout=CALL_S)
    day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    event = usage.UsageEvent(
        person_id=person, event="advertisement_view", at=f"{day}T12:00:00.000000Z", seconds=30,
        attributes={"advertisement": "spring_trial", "country": "SE"},
    )  # fmt: skip
    used = usage.RecordUsageRequest(request_id=str(uuid.uuid4()), events=[event])
    aggregate_pb2_grpc.AggregateServiceStub(broker.channel("internal/import")).RecordUsage(used, timeout=CALL_S)
    complaint = complaint_pb2.OpenComplaintRequest(
        request_id=str(uuid.uuid4()), person_id=person, channel="email", kind="disclosure", about=WORDS["complaint"],
        links=[contract],
    )  # fmt: skip
    complaint_pb2_grpc.ComplaintServiceStub(broker.channel("privacy/team")).OpenComplaint(complaint, timeout=CALL_S)
    holds = ErasureServiceStub(broker.channel("legal/anna"))
    placed = erasure_pb2.PlaceHoldRequest(request_id=str(uuid.uuid4()), person_id=person, reason=WORDS["hold"])
    hold = holds.PlaceHold(placed, timeout=CALL_S).hold.hold_id
    lifted = erasure_pb2.LiftHoldRequest(request_id=str(uuid.uuid4()), hold_id=hold, reason="settled")
    holds.LiftHold(lifted, timeout=CALL_S)
    RequestDesk(broker).open("access", person, asked=WORDS["asked"], requester=WORDS["requester"])
    return person


def pieces(connection, person):
    """(table, column) -> the runs of bytes in rows that name the person."""
    found = {}
    for name, table in SQLModel.metadata.tables.items():
        owner = table.columns.get("id" if name == "person" else "person")
        if owner is None or name in MAY_NAME:
            continue
        for row in connection.execute(select(table).where(owner == person)).mappings():
            for column in table.columns:
                value = row[column.name]
                if isinstance(column.type, LargeBinary) and value and len(value) >= SHORT:
                    found.setdefault((name, column.name), []).append(bytes(value)[-60:])
    return {where: values for where, values in found.items() if where not in STAYS}


def erase(broker, person):
    """Erased at a request, and scrubbed."""
    desk = RequestDesk(broker)
    asked = desk.step("Erase", desk.proven("erasure", person))
    deadline = time.monotonic() + 30
    with opened(broker.home) as office:
        while time.monotonic() < deadline:
            with reading(office.engine) as connection:
                query = text("SELECT scrubbed_at FROM erasure WHERE cause = :cause")
                if connection.execute(query, {"cause": asked.id}).scalar_one():
                    return
            time.sleep(0.1)
    raise AssertionError("not scrubbed")


def values():
    texts = [*CANARIES.values(), *OLD.values(), *WORDS.values()]
    return {spelling for value in texts for spelling in spellings(value)}


def left(found, data):
    return {
        where: sum(piece in data for piece in runs) for where, runs in found.items() if any(p in data for p in runs)
    }


def heap(url):
    """The files of the database, and those of the write-ahead log, as they are on the disk."""
    with by_hand(url) as connection:
        connection.execute(text("CHECKPOINT"))
        folder = Path(connection.execute(text("SHOW data_directory")).scalar_one())
        oid = connection.execute(text("SELECT oid FROM pg_database WHERE datname = current_database()")).scalar_one()
    return bytes_of(folder / "base" / str(oid)), bytes_of(folder / "pg_wal")


@contextmanager
def by_hand(url):
    """A connection for single statements."""
    engine = open_engine(url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    finally:
        engine.dispose()


def sampled(url):
    """Column -> what the planner of PostgreSQL has kept of its content."""
    shown = "coalesce(most_common_vals::text, '') || coalesce(histogram_bounds::text, '')"
    with by_hand(url) as connection:
        query = f"SELECT tablename || '.' || attname, {shown} FROM pg_stats WHERE schemaname = 'public'"
        return dict(connection.execute(text(query)).all())


def shown(pieces, samples):
    """Which columns' samples show one of the pieces."""
    return {column for column, told in samples.items() if any(piece.hex() in told for piece in pieces)}


def test_of_a_person_of_whom_everything_is_kept_nothing_is_left(broker):
    person = everything(broker)
    number, url = parse_person(person), load(broker.home).database_url
    before = broker.home.parent / "before"
    with opened(broker.home) as office:
        with reading(office.engine) as connection:
            found, named = pieces(connection, number), named_by(connection, number)
        backup.take(office.engine, before, office.settings.origin)
    # Every room does keep something, or the test would show nothing.
    wanted = {"acceptance", "blind_index", "case_file", "choice", "former_index", "ledger_person", "legal_hold",
              "outbox_item", "person_request", "unique_number"}  # fmt: skip
    assert wanted <= named.keys()
    assert left(found, bytes_of(before)).keys() == found.keys()
    whole = [piece for runs in found.values() for piece in runs]
    if not url.startswith("sqlite"):
        with by_hand(url) as connection:
            connection.execute(text("ANALYZE"))
        assert shown(whole, sampled(url)) >= {"blind_index.digest"}
    erase(broker, person)
    with opened(broker.home) as office, reading(office.engine) as connection:
        assert named_by(connection, number) == {}
    broker.stop()
    later = broker.home.parent / "later"
    with opened(broker.home) as office:
        backup.take(office.engine, later, office.settings.origin)
    assert left(found, bytes_of(later)) == {}
    assert [value for value in values() if value in bytes_of(broker.home, later, before)] == []
    if url.startswith("sqlite"):
        assert left(found, bytes_of(*database_files(broker.home))) == {}
        restored(broker, before, number, found)
        told = strings(broker.home, later, before)
        assert [value for value in (*CANARIES.values(), *WORDS.values()) if value.encode() in told] == []
    else:
        base, log = heap(url)
        assert [value for value in values() if value in base or value in log] == []
        assert left(found, base) == {}
        assert shown(whole, sampled(url)) == set()


def restored(broker, before, number, found):
    """The backup from before the erasure, put back: it holds the pieces, and the store that comes of it does not."""
    restoring.put_back(load(broker.home), before, replace=True)
    with opened(broker.home) as office:
        restoring.erase_again(office)
        with reading(office.engine) as connection:
            assert named_by(connection, number) == {}
    for aside in broker.home.glob("sluss.db.before-*"):
        aside.unlink()
    assert left(found, bytes_of(*database_files(broker.home))) == {}


def strings(*places):
    """What the tool finds that whoever steals a disk would begin with."""
    if shutil.which("strings") is None:
        return b""
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    runs = [["strings", "-n", "6", f"-e{encoding}", *files] for encoding in "sSlb"]
    return b"".join(subprocess.run(run, capture_output=True, check=True).stdout for run in runs)


@pytest.mark.parametrize(
    ("isolation", "begun"),
    [("REPEATABLE READ", "SELECT count(*) FROM person"), ("READ COMMITTED", "SELECT pg_current_xact_id()")],
    ids=["a_reader", "a_writer_between_two_statements"],
)
def test_an_erasure_is_not_done_while_somebody_may_see_what_was_before(postgres_server, tmp_path, isolation, begun):
    """A vacuum spares the rows that a transaction of before may still see, and so would the mark be a lie."""
    with postgres.empty_database(postgres_server) as url:
        house = House(tmp_path / "home", url)
        person = house.registered(CANARIES)
        engine = open_engine(url)
        with engine.connect().execution_options(isolation_level=isolation) as reader:
            assert reader.execute(text(begun)).scalar_one() is not None
            house.erase(person, scrubbed=False)
            with opened(house.home) as office:
                assert not Scrubber(office.engine, house.register, lambda: 1).run()
                with reading(office.engine) as connection:
                    assert connection.execute(text("SELECT scrubbed_at FROM erasure")).scalars().all() == [0]
        engine.dispose()
        house.scrub()


@pytest.fixture(scope="module")
def analysing_server():
    """A server that looks for something to analyse every second, and analyses whatever has changed."""
    with postgres.own_server(
        autovacuum="on",
        autovacuum_naptime="1s",
        autovacuum_analyze_threshold="1",
        autovacuum_analyze_scale_factor="0",
    ) as url:
        yield url


def eventually(what):
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_what_the_planner_of_postgresql_has_sampled_goes_with_the_person(analysing_server, tmp_path):
    with postgres.empty_database(analysing_server) as url:
        house = House(tmp_path / "home", url)
        person = house.registered(CANARIES)
        for number in range(8):
            house.registered({"customer_number": f"OTHER-{number}", "email": f"somebody{number}@example.com"})
        pieces = house.pieces(person)
        # Digests by which somebody is found are sampled; keys and values never are.
        seen = eventually(lambda: shown(pieces, sampled(url)))
        assert seen <= {"blind_index.digest", "unique_number.digest"}
        assert [piece for piece in pieces if piece in heap(url)[0]] == pieces
        house.erase(person, scrubbed=False)
        with opened(house.home) as office:
            eventually(Scrubber(office.engine, house.register, lambda: 1).run)
        assert shown(pieces, sampled(url)) == set()
        assert [piece for piece in pieces if piece in heap(url)[0]] == []


def test_an_erasure_is_not_done_where_the_store_lets_nobody_clean_its_samples(postgres_server, tmp_path):
    """PostgreSQL warns, and leaves out what a role may not vacuum; the owner of the database may."""
    name = f"keeper_{uuid.uuid4().hex[:12]}"
    with postgres.empty_database(postgres_server) as owned, by_hand(owned) as connection:
        database = make_url(owned).database
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        try:
            connection.execute(text(f"GRANT ALL ON SCHEMA public TO {name}"))
            house = House(tmp_path / "home", make_url(owned).set(username=name).render_as_string())
            house.erase(house.registered(CANARIES), scrubbed=False)
            with opened(house.home) as office:
                assert not Scrubber(office.engine, house.register, lambda: 1).run()
            connection.execute(text(f"ALTER DATABASE {database} OWNER TO {name}"))
            house.scrub()
        finally:
            connection.execute(text(f"REASSIGN OWNED BY {name} TO postgres"))
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


def test_an_erasure_is_not_done_while_a_replication_slot_lags(tmp_path):
    """A slot keeps dead rows of the catalogue, `pg_statistic` among them, until its reader has caught up."""
    with postgres.own_server(wal_level="logical") as server, postgres.empty_database(server) as url:
        house = House(tmp_path / "home", url)
        person = house.registered(CANARIES)
        with by_hand(url) as connection:
            connection.execute(text("SELECT pg_create_logical_replication_slot('lagging', 'pgoutput')"))
            house.erase(person, scrubbed=False)
            with opened(house.home) as office:
                assert not Scrubber(office.engine, house.register, lambda: 1).run()
            connection.execute(text("SELECT pg_drop_replication_slot('lagging')"))
        house.scrub()
