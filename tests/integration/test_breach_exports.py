"""Access exports in a suspect window: data that left to whoever made them, on both stores."""

from __future__ import annotations

import hashlib
import uuid
from datetime import date

import pytest

from broker.compromise import reports, window
from broker.compromise.reports import NewReport
from broker.erasure import erasing
from broker.ledger import entry
from broker.person_requests import access, doing, rows, tracking
from broker.person_requests.model import Identity, Kind
from broker.person_requests.tracking import Call, Opening
from tests.support.world import World

BEGIN = 1_767_225_600_000_000
"""2026-01-01, in microseconds."""


class Scene:
    """A privacy team, an internal service, and a subcontractor with a contract."""

    def __init__(self, world):
        self.world = world
        self.team, self.inside = (world.actor(name) for name in ("privacy/team", "internal/import"))
        self.acme = world.actor("subcontractor/acme")
        self.contract = world.contract(self.acme, world.actor("operator/olle"))

    def person(self, **values):
        given = {"customer_number": f"K-{uuid.uuid4().hex[:8]}"}
        return self.world.person(self.inside, given | {name.replace("__", "."): text for name, text in values.items()})

    def change(self, work, by=None):
        return self.world.desk.change((by or self.team).caller(), work)

    def asked(self, person):
        """An access request of a person whose identity is proven; of nobody known, without."""
        new = Opening(Kind.ACCESS, "email", date(2026, 11, 1), person, "What do you hold?", "Somebody", "en")
        held, _ = self.change(lambda change: tracking.open_request(change, new, uuid.uuid4().bytes))
        if person:
            call = Call(held.id, str(held.etag), uuid.uuid4().bytes)
            self.change(lambda change: tracking.note_identity(change, call, "eid", Identity.PASSED, person))
        return held.id

    def export(self, request, by):
        def made(view):
            held = rows.load(view, request)
            return held, access.export(view, held, "example.com/sluss")

        held, left = self.world.desk.read(by.caller(), made)
        digest = hashlib.sha256(left.data).digest()
        return self.change(lambda change: doing.export_left(change, held, left.record, digest, masked=left.masked), by)[
            1
        ]

    def facts(self, **subject):
        """The window of a new report: what is listed as exports, and the facts."""
        given = {"subject": "principal", "spki": b"", "principal": "", "person": 0} | subject
        new = NewReport(**given, suspect_from=BEGIN, suspect_until=None, noticed_at=None, how="a laptop was stolen")

        def work(change):
            # By a team whose own credential stands.
            return reports.report(change, new, uuid.uuid4().bytes)[0]

        return self.again(self.change(work, self.world.actor("operator/desk")))

    def again(self, file):
        def work(view):
            listed = window.suspects(view, file, -1, 1_000)
            said = [(each.index, entry.parse(each.entry), each.persons) for each in listed]
            return (
                [(index, persons) for index, body, persons in said if body["type"] == "person_request"],
                window.facts(view, file),
            )

        return self.world.desk.read(self.world.actor("operator/desk").caller(), work)


@pytest.fixture
def scene(store_engine, vault):
    return Scene(World(store_engine, vault))


def test_exports_count_for_whoever_made_them_and_for_the_person(scene):
    one = scene.person(email="one@example.com", payment__iban="SE4550000000058398257466")
    two, three, four = scene.person(mobile="+46701740605"), scene.person(name__given="Åsa"), scene.person()
    handles = [scene.world.handle(scene.contract, each) for each in (one, two)]
    scene.world.disclose(scene.acme, scene.contract, handles)
    requests = {person: scene.asked(person) for person in (one, two, three, four)}
    nobody = scene.asked(0)
    by_team = [scene.export(requests[one], scene.team) for _ in range(2)] + [scene.export(requests[two], scene.team)]
    by_inside = [scene.export(requests[person], scene.inside) for person in (one, three)]

    listed, facts = scene.facts(principal="privacy/team")
    assert listed == [(index, 1) for index in by_team]
    assert (facts.persons, facts.records, facts.disclosures, facts.exports, facts.erased_records) == (2, 3, 3, 3, 0)
    assert facts.fields == ("customer_number", "email", "mobile", "payment.iban")
    assert facts.recipients == ("privacy/team",)
    assert facts.reads_unrecorded

    listed, facts = scene.facts(principal="internal/import")
    assert listed == [(index, 1) for index in by_inside]
    assert (facts.persons, facts.records, facts.exports) == (2, 2, 2)
    assert facts.fields == ("customer_number", "email", "name.given", "payment.iban")

    # A report about a person has the exports of the person's own requests, whoever made them.
    of_one = [by_team[0], by_team[1], by_inside[0]]
    listed, facts = scene.facts(subject="person", person=one)
    assert listed == [(index, 1) for index in of_one]
    assert (facts.persons, facts.records, facts.disclosures, facts.exports) == (1, 4, 4, 3)
    assert facts.recipients == ("internal/import", "privacy/team", "subcontractor/acme")
    assert facts.fields == ("customer_number", "email", "payment.iban")
    listed, facts = scene.facts(subject="person", person=four)
    assert (listed, facts.persons, facts.exports, facts.recipients) == ([], 1, 0, ())
    assert facts.reads_unrecorded

    # A subcontractor makes none, and reads nothing that is not recorded.
    listed, facts = scene.facts(principal="subcontractor/acme")
    assert (listed, facts.persons, facts.exports, facts.reads_unrecorded) == ([], 2, 0, False)
    assert nobody


def test_an_export_of_a_person_who_was_erased_since_is_counted_as_one_of_nobody_known(scene):
    gone, stays = scene.person(email="gone@example.com"), scene.person(mobile="+46701740605")
    scene.asked(0)
    made = [scene.export(scene.asked(person), scene.inside) for person in (gone, stays)]

    def reported(**subject):
        given = {"subject": "principal", "spki": b"", "principal": "", "person": 0} | subject
        new = NewReport(**given, suspect_from=BEGIN, suspect_until=None, noticed_at=None, how="a laptop was stolen")
        return scene.change(lambda change: reports.report(change, new, uuid.uuid4().bytes)[0])

    service, person = reported(principal="internal/import"), reported(subject="person", person=gone)
    assert [index for index, _ in scene.again(person)[0]] == made[:1]
    scene.change(lambda change: erasing.erase(change, gone, "K-2026-0001"))
    service, person = (
        scene.change(lambda change, name=each.id: reports.case_files.load(change, "compromise", name))
        for each in (service, person)
    )
    listed, facts = scene.again(service)
    assert listed == [(index, 1) for index in made]
    assert (facts.persons, facts.records, facts.erased_records, facts.exports) == (1, 2, 1, 2)
    assert facts.fields == ("customer_number", "mobile")
    # Neither what others asked for nor a request of nobody known is listed for somebody who is gone.
    listed, facts = scene.again(person)
    assert (listed, facts.persons, facts.records, facts.exports) == ([], 0, 0, 0)


def test_only_exports_within_the_window_are_listed(scene):
    person = scene.person(email="one@example.com")
    request = scene.asked(person)
    scene.export(request, scene.inside)
    until = scene.world.clock()
    scene.export(request, scene.inside)
    first, facts = None, []
    for window_of in ({"suspect_until": until}, {"suspect_from": until, "suspect_until": None}):
        new = NewReport("principal", b"", "internal/import", 0, **{"suspect_from": BEGIN} | window_of,
                        noticed_at=None, how="x")  # fmt: skip
        file = scene.change(lambda change, new=new: reports.report(change, new, uuid.uuid4().bytes)[0])
        listed, found = scene.again(file)
        assert listed != first
        first, facts = listed, [*facts, found.exports]
    assert facts == [1, 1]
