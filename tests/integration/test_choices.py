"""Choices in the spine and as lists: what leaves by which channel, what a younger purpose gets, what a list changes."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from broker import slices
from broker.catalogue import default_catalogue_text
from broker.choices import importing as lists
from broker.choices import showing
from broker.choices.exporting import page
from broker.choices.model import Batch, ChoiceMade, ListRow, Outcome
from broker.clock import rfc3339
from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.operator.catalogues import put_in_force
from broker.vault import commitment
from tests.support.world import World

FIELDS = ("email", "mobile", "address.city", "name.given")
VALUES = {
    "email": "canary@example.com",
    "mobile": "+46701740605",
    "address.city": "Lund",
    "name.given": "Canary",
}
YOUNGER = """
[[purpose]]
code = "partners.travel"
kind = "secondary_third_party"
dpv = "https://w3id.org/dpv#Marketing"
en = "Travel"
sv = "Resor"
"""


class Scene:
    def __init__(self, world):
        self.world = world
        self.operator, self.acme = world.actor("operator/olle"), world.actor("subcontractor/acme")
        self.desk = world.actor("internal/registration")
        given = tuple(f"{name}=full" for name in FIELDS)
        terms = world.terms(self.acme.name, world.grant("offers", given), world.grant("partners", given))
        self.contract = world.contract(self.acme, self.operator, terms)
        self.number = 0

    def person(self, **values):
        self.number += 1
        return self.world.person(self.desk, VALUES | {"customer_number": f"K-{self.number}"} | values)

    def got(self, person, purpose, fields=FIELDS, **extra):
        """The fields that leave; None for a person who is not available."""
        handle = self.world.handle(self.contract, person)
        answer = self.world.disclose(self.acme, self.contract, [handle], purpose=purpose, fields=fields, **extra)
        return set(self.world.opened(answer)[handle]) if answer.sealed else None

    def choose(self, person, *choice):
        self.world.choose(self.desk, person, *choice)

    def load(self, *rows, **more):
        return [each.outcome for each in self.results(*rows, **more)]

    def results(self, *rows, **more):
        return lists.run(self.world.desk, self.desk.caller(), lambda: Batch(rows, **more))

    def read(self, work):
        return self.world.desk.read(self.desk.caller(), work)

    def of_type(self, name):
        return [found for found in self.world.entries() if found["type"] == name]

    def exported(self, kind=""):
        rows, _ = self.read(lambda view: page(view, 0, kind, ""))
        return [row(each.key, each.line.choice.purpose, each.line.choice.state, each.line.choice.channels,
                    kind=each.kind, at=rfc3339(each.line.chosen_at)) for each in rows]  # fmt: skip


def row(key, purpose, state, channels=(), *, kind="person", at=""):
    return ListRow(1, kind, key, ChoiceMade(purpose, state, tuple(channels), "list"), "import", "", at)


@pytest.fixture
def scene(store_engine, vault):
    return Scene(World(store_engine, vault))


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(World(sqlite_engine, vault))


def test_a_field_leaves_only_if_all_its_channels_are_allowed(scene):
    person = scene.person()
    assert scene.got(person, "offers") == set(FIELDS)
    scene.choose(person, "offers", "out", "phone")
    assert scene.got(person, "offers") == {"email", "address.city", "name.given"}
    scene.choose(person, "offers.email", "out")
    assert scene.got(person, "offers") == {"address.city", "name.given"}
    assert scene.got(person, "offers.email") is None
    assert scene.got(person, "offers", ("email", "name.given")) is None
    assert scene.got(person, "offers", ("name.given",)) == {"name.given"}
    scene.choose(person, "offers", "out", "post", "email", "sms")
    assert scene.got(person, "offers", ("name.given",)) is None


def test_a_third_party_gets_the_channels_that_were_opted_in(scene):
    person = scene.person()
    assert scene.got(person, "partners") is None
    scene.choose(person, "partners", "in", "sms", "email")
    assert scene.got(person, "partners") == {"email", "name.given"}
    assert scene.got(person, "partners.email", ("email",)) == {"email"}
    assert scene.got(person, "partners.post") is None


def test_what_is_kept_back_is_in_the_terms_and_the_entry_says_that_the_slice_lacks_it(lite):
    without = lite.person(customer_number="K-without")
    lite.choose(without, "offers", "out", "email")
    handle = lite.world.handle(lite.contract, without)
    answer = lite.world.disclose(lite.acme, lite.contract, [handle], purpose="offers", fields=FIELDS)
    said = lite.of_type("disclosure")[-1]
    assert [each["name"] for each in said["terms"]["fields"]] == ["address.city", "email", "mobile", "name.given"]
    assert [each["holds"] for each in said["slices"]] == ["1011"]
    assert "email" not in lite.world.opened(answer)[handle]


def test_a_retry_after_a_withdrawal_for_a_channel_is_refused_and_not_answered_with_the_field(lite):
    person, request = lite.person(), uuid.uuid4().bytes
    assert lite.got(person, "offers", request_id=request) == set(FIELDS)
    lite.choose(person, "offers", "out", "email")
    with pytest.raises(SlussError) as caught:
        lite.got(person, "offers", request_id=request)
    assert caught.value.reason is Reason.RECORD_CHANGED


def import_catalogue(world, text):
    with world.ledger.transaction() as tx:
        put_in_force(tx, text, "operator/test")


def test_an_opt_in_does_not_reach_a_purpose_that_is_younger_and_an_opt_out_does(scene):
    yes, no = scene.person(), scene.person()
    scene.choose(yes, "partners", "in")
    scene.choose(no, "partners", "out")
    import_catalogue(scene.world, default_catalogue_text() + YOUNGER)
    assert scene.got(yes, "partners.travel") is None
    assert scene.got(yes, "partners") == set(FIELDS)
    dated = row(person_text(yes), "partners", "in", at=rfc3339(1))
    assert scene.load(dated) == [Outcome.SUPERSEDED]
    assert scene.got(yes, "partners.travel") is None
    scene.choose(yes, "partners", "in")
    assert scene.got(yes, "partners.travel") == set(FIELDS)
    import_catalogue(scene.world, default_catalogue_text())
    import_catalogue(scene.world, default_catalogue_text() + YOUNGER + "\n")
    assert scene.got(yes, "partners.travel") is None
    assert scene.got(no, "partners.travel") is None


def test_an_opt_in_does_not_reach_a_younger_purpose_while_the_clock_stands(sqlite_engine, vault):
    scene = Scene(World(sqlite_engine, vault, clock=lambda: 1_800_000_000_000_000))
    person = scene.person()
    for state in ("in", "out", "in"):
        scene.choose(person, "partners", state)
    import_catalogue(scene.world, default_catalogue_text() + YOUNGER)
    assert scene.got(person, "partners") == set(FIELDS)
    assert scene.got(person, "partners.travel") is None
    assert len({each["person"] for each in scene.of_type("choice")}) == 3
    scene.choose(person, "partners", "in")
    assert scene.got(person, "partners.travel") == set(FIELDS)


def test_a_retry_gives_the_first_answer_and_looks_once_at_who_came_to_be_available_since(lite, monkeypatch):
    people = [lite.person() for _ in range(6)]
    for person in people[::2]:
        lite.choose(person, "offers", "out")
    handles = [lite.world.handle(lite.contract, person) for person in people]
    asks = {"purpose": "offers", "fields": ("email",), "request_id": uuid.uuid4().bytes}
    first = lite.world.disclose(lite.acme, lite.contract, handles, **asks)
    for person in people[::2]:
        lite.choose(person, "offers", "in")
    looked = []
    monkeypatch.setattr(slices, "commitment", lambda *about: looked.append(about) or commitment(*about))
    again = lite.world.disclose(lite.acme, lite.contract, handles, **asks)
    assert (again.sealed[0].slices, again.unavailable) == (first.sealed[0].slices, handles[::2])
    assert 3 <= len(looked) <= 6


def test_a_list_changes_what_is_older_and_only_once(scene):
    person = scene.person()
    text = person_text(person)
    old, new = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    assert scene.load(row(text, "offers", "out", ("email",), at=new)) == [Outcome.RECORDED]
    rows = [row(text, "offers", "in", at=old), row(text, "offers", "out", ("email",), at=new)]
    assert scene.load(*rows, dry_run=True) == [Outcome.RECORDED, Outcome.UNCHANGED]
    assert scene.load(*rows) == [Outcome.RECORDED, Outcome.UNCHANGED]
    assert scene.load(*rows) == [Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert scene.load(row(text, "offers", "in", ("email",), at=old)) == [Outcome.SUPERSEDED]
    assert scene.got(person, "offers") == {"mobile", "address.city", "name.given"}
    found = scene.read(lambda view: showing.listed(view, person, 0, 100))
    assert [(each.line.choice.state, each.channels) for each in found.standing] == [
        ("out", ("email",)),
        ("in", ["phone", "post", "sms"]),
    ]


def test_a_register_of_addresses_opts_out_everybody_who_has_one_and_nobody_else(scene):
    people = [scene.person(), scene.person(), scene.person(email="other@example.com")]
    keys = "CANARY@example.com", "nobody@example.com", "no address"
    rows = [row(key, "offers", "out", kind="email") for key in keys]
    results = scene.results(*rows)
    assert [each.outcome for each in results] == [Outcome.RECORDED, Outcome.NOBODY, Outcome.FAULTY]
    assert set(results[0].persons) == set(people[:2])
    assert "no address" not in repr(results[2])
    assert [scene.got(each, "offers") for each in people] == [None, None, set(FIELDS)]
    assert scene.load(*rows[:1]) == [Outcome.UNCHANGED]
    assert scene.load(row("canary@example.com", "partners", "in", kind="email")) == [Outcome.FAULTY]


def test_an_older_list_without_times_never_overrides_what_was_chosen_since(lite):
    person = lite.person()
    lite.choose(person, "offers", "in")
    assert lite.load(row(person_text(person), "offers", "out"), as_of=1) == [Outcome.SUPERSEDED]
    assert lite.got(person, "offers") == set(FIELDS)


@pytest.mark.parametrize("kind", ["", "customer_number"])
def test_what_is_exported_changes_nothing_when_it_is_imported(scene, kind):
    people = [scene.person() for _ in range(3)]
    scene.choose(people[0], "offers", "out")
    scene.choose(people[0], "offers", "in", "email", "sms")
    scene.choose(people[1], "partners.email", "in")
    rows = scene.exported(kind)
    assert len(rows) == 3
    before = scene.world.ledger.state().tree.size
    assert scene.load(*rows) == [Outcome.UNCHANGED] * 3
    assert scene.world.ledger.state().tree.size == before
    for person in people:
        scene.choose(person, "offers", "out", "email")
    assert scene.exported(kind) != rows


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": ""}, "whose"),
        ({"key": "P-1"}, "person_id"),
        ({"source": "Canary Person"}, "source"),
        ({"evidence": "canary@example.com"}, "evidence"),
        ({"chosen_at": "yesterday"}, "chosen_at"),
        ({"chosen_at": "2999-01-01T00:00:00Z"}, "chosen_at"),
        ({"choice": ChoiceMade("offers.email", "out", ("post",))}, "channels"),
        ({"choice": ChoiceMade("offers", "out", ("fax",))}, "channels"),
        ({"choice": ChoiceMade("offers", "", ())}, "state"),
        ({"choice": ChoiceMade("billing", "out", ())}, "purpose"),
        ({"choice": ChoiceMade("nothing", "out", ())}, "purpose"),
    ],
)
def test_a_faulty_row_is_named_and_recorded_nowhere(lite, changes, field):
    person = person_text(lite.person())
    bad = replace(row(person, "offers", "out"), **changes)
    results = lite.results(bad, row(person, "partners", "in"))
    assert [each.outcome for each in results] == [Outcome.FAULTY, Outcome.RECORDED]
    (fault,) = results[0].faults
    assert fault.field == field
    assert "anary" not in fault.detail
    assert [each["purpose"] for each in lite.of_type("choice")] == ["partners"]


def test_who_shares_an_address_is_exported_by_id_so_that_no_choice_becomes_the_others(scene):
    owner, other, alone = (scene.person(email=f"{name}@example.com") for name in ("both", "both", "alone"))
    scene.choose(owner, "offers", "out")
    scene.choose(other, "partners", "in")
    scene.choose(alone, "offers", "out")
    rows = scene.exported("email")
    assert {each.key for each in rows} == {person_text(owner), person_text(other), "alone@example.com"}
    before = len(scene.of_type("choice"))
    assert scene.load(*rows) == [Outcome.UNCHANGED] * 3
    assert len(scene.of_type("choice")) == before
