"""Promise 3, person by person: the entry says which fields each slice holds, and whoever reads it goes by that.

People lack fields, and choices keep fields back by channel. A reference model of a few lines says what may leave; what
the slices hold once they are open, what the entry says and what the model says must be one and the same.
"""

from __future__ import annotations

import random
import uuid

import pytest
from sqlalchemy import select

from broker.asks import Page
from broker.compromise import window
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.held import held
from broker.ledger import entry
from broker.legal import recipients
from broker.obligations import owing
from broker.person_requests import access
from broker.persons import update
from broker.persons.model import Correction
from broker.sealing import RecipientPrivateKey
from broker.store.queries import PERSON
from broker.tracing.model import Status
from tests.support.tracing import Scene as Traces
from tests.support.world import World

FIELDS = ("address.city", "email", "mobile", "name.given")
CHANNELS = {"address.city": {"post"}, "email": {"email"}, "mobile": {"phone", "sms"}, "name.given": set()}
ALL = ("email", "phone", "post", "sms")
ALWAYS = (0, 1 << 62)


class Scene:
    """Two recipients who may have all of `FIELDS`, and people who lack some."""

    def __init__(self, world):
        self.world = world
        self.desk = world.actor("internal/registration")
        self.privacy = world.actor("privacy/team")
        operator = world.actor("operator/olle")
        self.actors, self.contracts, self.keys = {}, {}, {}
        for name in ("acme", "mail"):
            actor = self.actors[name] = world.actor(f"subcontractor/{name}")
            given = tuple(f"{field}=full" for field in FIELDS)
            terms = world.terms(actor.name, world.grant("offers", given), world.grant("billing", given))
            self.keys[name] = RecipientPrivateKey.generate()
            self.contracts[name] = world.contract(actor, operator, terms, self.keys[name])
        self.number = 0

    def person(self, *fields):
        """Somebody of whom exactly these fields are on record."""
        self.number += 1
        whole = {"address.city": "Lund", "email": f"p{self.number}@example.com", "name.given": "Åsa"}
        whole["mobile"] = f"+4670174{self.number:04}"
        given = {name: whole[name] for name in fields} | {"customer_number": f"K-{self.number}"}
        return self.world.person(self.desk, given)

    def disclose(self, *people, to="acme", purpose="billing", fields=FIELDS, **extra):
        contract = self.contracts[to]
        handles = [self.world.handle(contract, person) for person in people]
        return self.world.disclose(self.actors[to], contract, handles, purpose=purpose, fields=fields, **extra)

    def told(self, answer):
        """What the entries of an answer say of each slice, by handle."""
        found = {}
        for sealed in answer.sealed:
            said = entry.parse(sealed.entry)
            for made, item in zip(sealed.slices, said["slices"], strict=True):
                found[made[1:17]] = set(entry.held_fields(said["terms"]["fields"], item["holds"]))
        return found

    def read(self, work):
        return self.world.desk.read(self.privacy.caller(), work)

    def change(self, work):
        return self.world.desk.change(self.privacy.caller(), work)

    def received(self, person):
        """Accounting: by entry, the fields and the place of the slice."""
        rows = self.read(lambda view: recipients.received(view, person, ALWAYS, -1, 100))
        return [(set(row.fields), row.held.place) for row in rows]


@pytest.fixture
def scene(store_engine, vault):
    return Scene(World(store_engine, vault))


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(World(sqlite_engine, vault))


def allowed(fields, out):
    """What may leave of somebody with these fields, who has said no to these channels; None if no way is left."""
    if all(channels & out for channels in CHANNELS.values() if channels):
        return None
    return {name for name in fields if not CHANNELS[name] & out}


def test_the_entry_says_of_every_slice_what_the_slice_holds_and_what_may_leave(scene):
    draw, expected = random.Random(3), {}
    for _ in range(40):
        fields = [name for name in FIELDS if draw.random() < 0.6]
        out = {channel for channel in ALL if draw.random() < 0.3}
        person = scene.person(*fields)
        if out:
            scene.world.choose(scene.desk, person, "offers", "out", *sorted(out))
        expected[scene.world.handle(scene.contracts["acme"], person)] = allowed(fields, out)
    answer = scene.disclose(purpose="offers", who=Page(0, 100))
    opened = {handle: set(values) for handle, values in scene.world.opened(answer, scene.keys["acme"]).items()}
    assert opened == scene.told(answer)
    assert {handle: opened.get(handle) for handle in expected} == expected
    assert len({frozenset(names) for names in opened.values()}) > 8
    lengths = {len(item["holds"]) for item in entry.parse(answer.sealed[0].entry)["slices"]}
    assert lengths == {len(FIELDS)}


def test_pages_of_two_recipients_can_not_be_joined_row_by_row(lite):
    people = [lite.person("email") for _ in range(60)]
    order = {}
    for to in ("acme", "mail"):
        answer = lite.disclose(to=to, fields=("email",), who=Page(0, 100))
        place = {lite.world.handle(lite.contracts[to], person): person for person in people}
        order[to] = [place[made[1:17]] for sealed in answer.sealed for made in sealed.slices]
    assert set(order["acme"]) == set(order["mail"]) == set(people)
    alike = sum(one == other for one, other in zip(order["acme"], order["mail"], strict=True))
    assert alike < 12  # of two orders by chance 1 is alike, and 12 once in a billion
    assert sorted(people) not in order.values()


def test_a_retry_gives_the_same_entry_and_another_record_is_refused(lite):
    person, request = lite.person("email", "name.given"), uuid.uuid4().bytes
    first = lite.disclose(person, request_id=request)
    again = lite.disclose(person, request_id=request)
    assert again.sealed[0].entry == first.sealed[0].entry
    assert list(lite.told(again).values()) == [{"email", "name.given"}]
    correct(lite, person, {"mobile": "+46701740605"})
    with pytest.raises(SlussError) as caught:
        lite.disclose(person, request_id=request)
    assert caught.value.reason is Reason.RECORD_CHANGED


def correct(scene, person, values):
    def work(change):
        version = change.connection.execute(select(PERSON.c.version).where(PERSON.c.id == person)).scalar_one()
        return update.update(change, Correction(person, list(values.items()), (), "desk", str(version)))

    scene.world.desk.change(scene.desk.caller(), work)


def test_the_accounting_names_what_each_slice_held_and_where_it_stands(scene):
    one, two = scene.person("email", "mobile"), scene.person("name.given")
    nothing = scene.person()
    scene.disclose(one, two, nothing)
    scene.disclose(one, fields=("name.given",))
    assert scene.received(one) == [({"email", "mobile"}, 0), (set(), 0)]
    assert scene.received(two) == [({"name.given"}, 1)]
    assert scene.received(nothing) == [(set(), 2)]


def test_a_choice_by_channel_shows_in_the_accounting(lite):
    person = lite.person(*FIELDS)
    lite.disclose(person, purpose="offers")
    lite.world.choose(lite.desk, person, "offers", "out", "sms", "post")
    lite.disclose(person, purpose="offers")
    assert lite.received(person) == [(set(FIELDS), 0), ({"email", "name.given"}, 0)]


def test_exactly_those_recipients_owe_a_correction_whose_slices_held_the_field(scene):
    person, other = scene.person("email", "name.given"), scene.person(*FIELDS)
    scene.disclose(person, other)
    scene.disclose(person, to="mail", fields=("mobile", "name.given"))
    owed = scene.change(lambda change: owing.owe(change, person, "correct", ("mobile",), "R-2026-0001"))
    assert owed == 0
    correct(scene, person, {"mobile": "+46701740699"})
    scene.disclose(person, to="mail", fields=("mobile", "name.given"))
    owed = scene.change(lambda change: owing.owe(change, person, "correct", ("mobile", "email"), "R-2026-0002"))
    assert owed == 2
    made = [said for said in scene.world.entries(type="obligation") if said["kind"] == "correct"]
    assert {said["recipient"]: said["fields"] for said in made} == {
        "subcontractor/acme": ["email"],
        "subcontractor/mail": ["mobile"],
    }


def test_whoever_got_an_empty_slice_has_the_handle_and_owes_the_erasure(lite):
    person = lite.person()
    lite.disclose(person)
    assert lite.change(lambda change: owing.owe(change, person, "correct", FIELDS, "R-2026-0001")) == 0
    lite.change(lambda change: erasing.erase(change, person, "R-2026-0002"))
    (made,) = [said for said in lite.world.entries(type="obligation") if said["kind"] == "erase"]
    assert (made["recipient"], made["fields"]) == ("subcontractor/acme", [])


def test_the_access_export_lists_the_fields_of_the_persons_own_slice(lite):
    person, other = lite.person("email"), lite.person(*FIELDS)
    lite.disclose(other, person)
    (row,) = lite.read(lambda view: access._received(view, person))
    assert row["fields"] == [{"field": "email", "transform": "full"}]


def test_a_tie_to_an_entry_that_does_not_speak_of_the_person_is_found(lite):
    person, other = lite.person("email"), lite.person("email")
    lite.disclose(person)
    with lite.world.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE ledger_person SET person = {other} WHERE person = {person}")
    for reads in (
        lambda: lite.received(other),
        lambda: lite.change(lambda change: owing.owe(change, other, "correct", FIELDS, "")),
    ):
        with pytest.raises(SlussError) as caught:
            reads()
        assert caught.value.reason is Reason.LEDGER_INCONSISTENT


def test_a_recipient_is_no_source_of_a_value_that_was_not_in_its_slice(lite):
    traces = Traces(lite.world)
    given = lite.world.grant("offers", ("email=full", "mobile=full"))
    contract = traces.contract("post", given)
    shy = traces.person("anna@example.org", mobile="+46701740605")
    free = traces.person("bo@example.org", mobile="+46701740606")
    lite.world.choose(lite.desk, shy, "offers", "out", "sms")
    traces.disclose("post", contract, [free, shy], purpose="offers", fields=("email", "mobile"))
    _, rows = traces.trace({"mobile": "+46701740605"}, "anna@example.org", {"mobile": "+46701740606"})
    assert [row.values[0][1] for row in rows] == [Status.NOT_DISCLOSED, Status.RECEIVED, Status.RECEIVED]


def test_what_an_entry_says_of_one_person_is_found_without_parsing_it():
    terms = {"disclosure": "D-00112233445566778899aabbccddeeff"}
    with pytest.raises(SlussError) as caught:
        held(b'{"slices":[],"terms":{}}', terms | {"fields": []}, bytes(32))
    assert caught.value.reason is Reason.LEDGER_INCONSISTENT


def test_the_facts_of_a_breach_name_the_fields_that_were_in_a_slice_and_count_who_was_erased(lite):
    kept, erased = lite.person("email"), lite.person("email", "name.given")
    lite.disclose(kept, erased, fields=("email", "mobile", "name.given"))
    lite.disclose(erased, fields=("email",))
    lite.change(lambda change: erasing.erase(change, erased, "R-2026-0001"))
    found = lite.read(lambda view: window.facts(view, report("subcontractor/acme")))
    assert (found.persons, found.records, found.erased_records) == (1, 3, 2)
    assert found.fields == ("email", "name.given")
    own = lite.read(lambda view: window.facts(view, report("", kept)))
    assert (own.persons, own.records, own.erased_records, own.fields) == (1, 1, 0, ("email",))


class report:  # noqa: N801 - stands for a file of the room, of which the facts need no more
    """A report of a principal, or of a person."""

    def __init__(self, principal, person=0):
        subject = "person" if person else "principal"
        self.body = {"principal": principal, "subject": subject, "suspect_from": 0, "suspect_until": 1 << 62}
        self.person, self.opened_at = person, 0
