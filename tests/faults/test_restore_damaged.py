"""A restore from a replaced database that is damaged, or that is broken off, loses no "no" silently."""

from __future__ import annotations

import random
import uuid

import pytest

from broker.erasure import holds
from broker.errors import Reason, SlussError
from broker.operator import carrying, pins
from broker.operator.restored import PARTS
from broker.rights import CERTIFICATE
from broker.store.engine import truncate_log
from tests.faults.test_erasure import OTHER, House, database_files
from tests.integration.test_server_operator import run
from tests.support.restores import ACME, INTERNAL, OPERATOR, company, damaged, restore
from tests.unit.persons.world import CANARIES

PAGE = 4096


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "home")


def test_a_database_that_can_not_be_read_leaves_everything_unknown_and_that_is_said(house):
    before = house.backup("before")
    for file in database_files(house.home):
        file.write_bytes(b"no database" * 1000)
    carried = restore(house, before)
    assert (carried.known, carried.unknown) == (False, ["ledger", *carrying.EVERYTHING])


@pytest.mark.parametrize(
    ("spoil", "unknown", "choices"),
    [
        ("DELETE FROM ledger_entry WHERE type = 'choice'", ["ledger"], 0),
        ("DELETE FROM ledger_entry WHERE id = (SELECT max(id) FROM ledger_entry)", ["ledger"], 1),
        ("UPDATE ledger_entry SET entry = x'00' WHERE id = (SELECT max(id) FROM ledger_entry)", ["ledger"], 1),
        ("DROP TABLE choice", ["choices"], 0),
        ("DELETE FROM choice WHERE entry = (SELECT max(entry) FROM choice)", ["choices"], 1),
        ("UPDATE choice SET person = MOVED WHERE purpose LIKE 'offers%'", ["choices"], 2),
        ("DROP TABLE legal_hold", ["holds"], 2),
        ("DELETE FROM ledger_tile", ["contracts"], 2),
    ],
)
def test_what_can_still_be_read_is_said_again_and_the_rest_is_named(house, spoil, unknown, choices):
    person, other = house.registered(CANARIES), house.registered(OTHER)
    with company(house) as world:
        acme, operator = world.actor(ACME), world.actor(OPERATOR)
        contract = world.contract(acme, operator)
        before = house.backup("before")
        world.step(operator, contract)
        internal = world.actor(INTERNAL)
        world.choose(internal, person, "offers", "out")
        world.choose(internal, person, "offers.news", "out")
    damaged(house, spoil.replace("MOVED", str(other)))
    carried = restore(house, before)
    assert (carried.known, carried.unknown, len(carried.choices)) == (True, unknown, choices)
    assert len(carried.contracts) == 1
    assert house.verify() == []


def test_no_damage_to_the_file_makes_a_restore_fail_or_lose_a_no_silently(house, campaign):
    with company(house) as world:
        acme, operator, internal = (world.actor(name) for name in (ACME, OPERATOR, INTERNAL))
        contract = world.contract(acme, operator)
        persons = [world.person(internal) for _ in range(20)]
        before = house.backup("before")
        for person in persons:
            world.choose(internal, person, "offers", "out")
        world.step(operator, contract)
        pins.revoke(world.ledger, CERTIFICATE.c.spki == acme.evidence.spki, "stolen")
        house.change(lambda change: holds.place(change, uuid.uuid4().bytes, persons[0], "claim 12", None))
        truncate_log(world.engine)
    database = house.settings.folder.database
    whole = database.read_bytes()
    for seed in range(200 if campaign else 6):
        database.write_bytes(spoilt(bytearray(whole), random.Random(seed)))
        carried = restore(house, before)
        said = (len(carried.choices), len(carried.contracts), len(carried.certificates), len(carried.holds))
        assert carried.unknown or said == (20, 1, 1, 1), seed
        assert house.verify() == [], seed


def spoilt(data, chance):
    """The bytes of a database with some pages overwritten, emptied or with bits turned over, and perhaps cut off."""
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        start = chance.randrange(1, len(data) // PAGE) * PAGE
        how = chance.randrange(3)
        if how:
            data[start : start + PAGE] = bytes(PAGE) if how == 1 else chance.randbytes(PAGE)
            continue
        for _ in range(20):
            data[start + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
    return data[: chance.randrange(len(data))] if chance.random() < 0.2 else data


def test_a_restore_that_is_broken_off_changes_nothing(house, monkeypatch):
    person = house.registered(CANARIES)
    before = house.backup("before")
    with company(house) as world:
        world.choose(world.actor(INTERNAL), person, "offers", "out")
    stands = {file: file.read_bytes() for file in database_files(house.home)}

    def broken(*_):
        raise SlussError(Reason.LEDGER_UNAVAILABLE)

    with monkeypatch.context() as patched:
        patched.setattr(carrying.Carrier, "_holds", broken)
        with pytest.raises(SlussError):
            restore(house, before)
    assert {file: file.read_bytes() for file in database_files(house.home)} == stands
    assert len(restore(house, before).choices) == 1


def test_an_erasure_of_which_only_the_entry_is_left_is_not_known(house):
    persons = house.registered(CANARIES), house.registered(OTHER)
    before = house.backup("before")
    for person in persons:
        house.erase(person)
    house.settings.folder.erased.unlink()
    damaged(house, f"UPDATE erasure SET person = 'nobody' WHERE person = {persons[1]}")
    assert restore(house, before).unknown == ["erasures"]
    assert [each.person for each in house.register.all()] == [persons[0]]
    before = house.backup("later")
    house.erase(persons[1])
    house.settings.folder.erased.unlink()
    damaged(house, f"DELETE FROM erasure WHERE person = {persons[1]}")
    told = run("restore", before, "--replace", "--home", house.home).out
    assert "Nobody whom keys/erased.jsonl names as erased is on record.\n" in told
    assert f"  {PARTS['erasures']}\n" in told
