"""Erasure in the store: everything of a person goes in one transaction, and every old proof still verifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from broker.clock import rfc3339
from broker.companions import ROOMS
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.findings import Kind
from broker.ledger.signer import LedgerKeys
from broker.ledger.verify import verify_store
from broker.store import tables
from broker.store.engine import reading, truncate_log, writing
from broker.store.queries import WHOLE, read_persons
from broker.vault import commitment
from tests.unit.persons.world import CANARIES, ORIGIN, caller

ERASURE = "R-2026-0001"
OTHER = {"customer_number": "SECOND-1", "email": "other@example.com"}


def erase(world, person, cause=ERASURE):
    return world.desk.change(caller("ErasePerson", "privacy"), lambda change: erasing.erase(change, person, cause))


def row_of(world, person):
    with reading(world.engine) as connection:
        return read_persons(connection, [person], WHOLE)[0]


def findings(world):
    verifier = LedgerKeys(ORIGIN, b"\x01" * 32, b"\x02" * 32).signer().verifier
    return verify_store(world.engine, verifier, rooms=ROOMS).findings


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value.reason


def test_nothing_but_id_and_state_stays_and_the_others_are_as_they_were(world):
    gone, kept = world.register().person, world.register(OTHER).person
    for person in (gone, kept):
        world.choose(person, "offers.email", "out")
    before = row_of(world, kept), world.texts(kept)
    erase(world, gone)
    row = row_of(world, gone)
    assert row.state == "erased"
    assert (row.keys, row.financial_keys, row.record, row.fingerprint, row.choices) == (b"", b"", b"", b"", "{}")
    assert (row.created_at, row.updated_at) == (0, 0)
    for table in ("choice", "blind_index", "unique_number", "ledger_person"):
        assert {each.person for each in world.table(table)} == {kept}, table
    assert (row_of(world, kept), world.texts(kept)) == before
    assert refused(lambda: world.get(gone)) is Reason.PERSON_UNKNOWN
    assert list(world.look_up("email", CANARIES["email"])) == []


def test_the_entry_names_the_person_by_what_only_the_person_can_prove(world):
    person = world.register().person
    secret = world.vault.person_secret(row_of(world, person))
    index = erase(world, person)
    said = entry.parse(world.table("ledger_entry")[index].entry)
    assert said["person"] == entry.base64url(commitment(secret, said["at"]))
    assert (said["cause"], said["by"], said["ties"]) == (ERASURE, "privacy/one", 1)


def test_ties_become_numbers_that_add_up(world):
    one, two = world.register().person, world.register(OTHER).person
    for person in (one, two, one):
        world.choose(person, "offers.email", "out")
    shared = world.ledger.run(lambda tx: tx.append(entry.erasure(tx.at, bytes(32), 1, "x", "y"), persons=[one, two]))
    erased = [erase(world, one), erase(world, two)]
    sums = {row.entry: row.ties for row in world.table("ledger_erased")}
    assert sums[shared] == 2
    assert {sums[index] for index in erased} == {1}
    told = [entry.parse(world.table("ledger_entry")[index].entry)["ties"] for index in erased]
    assert told == [4, 3]
    assert sum(sums.values()) == sum(told)


def test_what_the_same_transaction_said_of_the_person_is_untied_too(world):
    person = world.register().person

    def work(change):
        secret = change.snapshot.vault.person_secret(row_of(world, person))
        said = commitment(secret, rfc3339(change.now_us))
        change.tx.append(
            entry.choice(
                change.now_us, said, entry.Chosen("offers", "out", (), "web", "s", "", change.now_us), "2026-01", "p"
            ),
            persons=[person],
        )
        return erasing.erase(change, person, ERASURE)

    index = world.desk.change(caller("ErasePerson", "privacy"), work)
    assert world.table("ledger_person") == []
    assert entry.parse(world.table("ledger_entry")[index].entry)["ties"] == 2


def test_a_person_is_erased_once_and_comes_back_as_somebody_else(world):
    person = world.register().person
    erase(world, person)
    assert refused(lambda: erase(world, person)) is Reason.PERSON_UNKNOWN
    again = world.register().person
    assert again != person
    assert list(world.look_up("email", CANARIES["email"])) == [again]


def test_rights_move_so_that_what_was_decided_before_is_decided_anew(world):
    person = world.register().person
    before = world.rights()
    erase(world, person)
    assert world.rights() == before + 1


def test_a_transaction_that_fails_behind_it_leaves_the_person_whole(world):
    person = world.register().person
    texts = world.texts(person)

    def work(change):
        erasing.erase(change, person, ERASURE)
        raise SlussError(Reason.INVALID_REQUEST)

    assert refused(lambda: world.desk.change(caller("ErasePerson", "privacy"), work)) is Reason.INVALID_REQUEST
    assert world.texts(person) == texts
    assert world.table("erasure") == world.table("ledger_erased") == []


@pytest.mark.parametrize("step", [1, -1])
def test_a_number_of_destroyed_ties_that_was_changed_shows(world, step):
    person = world.register().person
    world.choose(person, "offers.email", "out")
    erase(world, person)
    assert findings(world) == []
    column = tables.core(tables.LedgerErased).c
    with writing(world.engine) as connection:
        connection.execute(update(column.entry.table).where(column.entry > 0).values(ties=column.ties + step))
    kinds = {finding.kind for finding in findings(world)}
    assert kinds == {Kind.PERSON}
    with writing(world.engine) as connection:
        connection.execute(update(column.entry.table).where(column.entry > 0).values(ties=column.ties - step))


def test_ties_deleted_without_an_erasure_cant_be_made_up_for(world):
    person = world.register().person
    index = world.choose(person, "offers.email", "out").entry
    ties, erased = tables.core(tables.LedgerPerson), tables.core(tables.LedgerErased)
    with writing(world.engine) as connection:
        connection.execute(ties.delete())
        connection.execute(erased.insert().values(entry=index, ties=1))
    assert [finding.kind for finding in findings(world)] == [Kind.PERSON, Kind.CHOICE]
    with writing(world.engine) as connection:
        connection.execute(ties.insert().values(person=person, entry=index))
        connection.execute(erased.delete())


def test_nothing_of_what_was_sealed_is_in_any_byte_of_the_files(lite):
    person, _ = lite.register().person, lite.register(OTHER)
    lite.choose(person, "partners.email", "in")
    row = row_of(lite, person)
    digests = [each.digest for each in lite.table("blind_index") if each.person == person]
    pieces = [row.keys[-40:], row.financial_keys[-40:], row.record[-60:], row.fingerprint, *digests]
    path = Path(lite.engine.url.database)

    def found():
        data = b"".join(Path(f"{path}{end}").read_bytes() for end in ("", "-wal", "-shm"))
        return [piece for piece in pieces if piece in data]

    assert len(found()) == len(pieces)
    erase(lite, person)
    truncate_log(lite.engine)
    assert found() == []
