"""Promises 2 and 6 for erasure: whoever is erased while being disclosed stands in no disclosure behind the erasure.

After an erasure nothing tells whom an entry speaks of, so the persons' secrets are taken beforehand: with them, every
slice of every disclosure in the ledger is tried.
"""

from __future__ import annotations

import threading
import uuid

import pytest
from sluss.v1 import person_request_pb2 as pb
from sqlalchemy import text

from broker.ids import parse_person
from broker.keys.file import FileProvider
from broker.ledger import entry
from broker.operator.office import opened
from broker.settings import load
from broker.store.engine import reading
from broker.store.queries import read_persons
from broker.vault import Vault, commitment
from tests.faults.siege import CALL_S, Siege, index_of, ledger_of, raw_bulk, raw_unary, request
from tests.support.broker import grant
from tests.support.patience import patiently_called
from tests.support.requests import RequestDesk

RUNS, WHOLE = 8, 2_000
"""Persons erased on each store."""
BATCH = 8
ERASERS = 2


def secrets_of(home, people):
    """The secrets of persons who are on record, by person."""
    vault = Vault(FileProvider(load(home).folder.rings).rings)
    with opened(home) as office, reading(office.engine) as connection:
        rows = {row.id: row for row in read_persons(connection, [parse_person(person) for person in people])}
    return {person: vault.person_secret(rows[parse_person(person)]) for person in people}


def spoken_of(entries, secrets):
    """Person -> (indexes of the disclosures with a slice of the person, index of the erasure)."""
    found = {person: ([], []) for person in secrets}
    for index, said in enumerate(entries):
        if said["type"] == "disclosure":
            named = {each["person"] for each in said["slices"]}
            at, where = said["terms"]["disclosure"], 0
        elif said["type"] == "erasure":
            named, at, where = {said["person"]}, said["at"], 1
        else:
            continue
        for person, secret in secrets.items():
            if entry.base64url(commitment(secret, at)) in named:
                found[person][where].append(index)
    return found


class Eraser(threading.Thread):
    """Erases persons of its own, one after the other, and looks from the other broker at once."""

    def __init__(self, desk, looks, contract, people):
        super().__init__()
        self.desk, self.looks, self.contract, self.people = desk, looks, contract, people
        self.broken, self.had = None, []

    def run(self):
        try:
            for asked, handle in self.people:
                message = pb.EraseRequest(id=asked.id, etag=asked.etag, request_id=str(uuid.uuid4()))
                erased = patiently_called(self.desk.stub.Erase, message, timeout=CALL_S).request
                assert erased.person_id == ""
                look = request(self.contract, [handle])
                self.had += patiently_called(self.looks.Disclose, look, timeout=CALL_S).disclosures
        except Exception as error:  # noqa: BLE001 - reported in the test's own thread
            self.broken = error


@pytest.mark.timeout(7_200)
def test_nothing_of_a_person_stands_behind_the_erasure(pair, campaign):
    broker, twin = pair
    contract, _ = broker.live_contract(grant("billing", ("email=full",), persons=10**9))
    desk = RequestDesk(broker)
    contested, handled = 0, set()
    for _ in range((WHOLE if campaign else RUNS) // BATCH):
        people = [broker.register(email=f"{uuid.uuid4().hex}@example.com") for _ in range(BATCH)]
        handles = broker.handles(contract, *people)
        secrets = secrets_of(broker.home, people)
        asked = [desk.proven("erasure", person) for person in people]
        erasers = [
            Eraser(
                RequestDesk(here), there.disclosures(), contract, list(zip(asked, handles, strict=True))[part::ERASERS]
            )
            for part, (here, there) in enumerate(((broker, twin), (broker, broker)))
        ]
        stubs = [place.disclosures() for place in pair for _ in range(2)]
        works = [raw_unary(stub, contract, handles) for stub in stubs]
        works += [raw_unary(stub, contract, [handle]) for stub, handle in zip(stubs, handles, strict=False)]
        works += [raw_bulk(stub, contract, chunk_size=size) for stub, size in zip(stubs, (1, 3, 100, 1), strict=True)]
        with Siege(*works) as siege:
            siege.wait_for(20)
            for each in erasers:
                each.start()
            for each in erasers:
                each.join()
        assert [each.broken for each in erasers if each.broken] == []
        assert [each.had for each in erasers if each.had] == []
        entries = [entry.parse(data) for data in ledger_of(broker.home)]
        for person, (disclosed, erased) in spoken_of(entries, secrets).items():
            assert len(erased) == 1, person
            assert [index for index in disclosed if index > erased[0]] == []
            # Under fire: the person stands in one of the last few entries before the erasure.
            contested += any(index >= erased[0] - 20 for index in disclosed)
        # What has left, too: no slice with the person's handle is of an entry behind the erasure.
        last = dict(zip(handles, (erased[0] for _, erased in spoken_of(entries, secrets).values()), strict=True))
        left = [(index_of(found), bytes(data[1:17])) for found in siege.got for data in found.slices]
        assert [index for index, handle in left if handle in last and index > last[handle]] == []
        assert nothing_ties(broker.home, people)
        handled.update(people)
    assert contested > len(handled) / 4


def nothing_ties(home, people):
    """Whether no entry is tied to these persons any more, not by a disclosure in flight either."""
    ids = ", ".join(str(parse_person(person)) for person in people)
    with opened(home) as office, reading(office.engine) as connection:
        return not connection.execute(text(f"SELECT count(*) FROM ledger_person WHERE person IN ({ids})")).scalar_one()
