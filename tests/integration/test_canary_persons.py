"""Canary persons over real stores: their contract sees them, nobody else ever does, and no row can accuse anybody."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import select, text, update

from broker.bulk import total
from broker.companions import ROOMS
from broker.contracts import ChoiceRule, Decision, Grant, PersonFacts, Population, admits
from broker.data.locales import LOCALES
from broker.errors import Reason, SlussError
from broker.ledger.verify import verify_store
from broker.legal import finding
from broker.legal.model import Ground
from broker.obligations import report
from broker.obligations.rules import Kind
from broker.persons import lookup
from broker.persons import rows as person_rows
from broker.persons.importing import Importer
from broker.persons.model import Batch, Outcome, Row
from broker.store.queries import CANARY, PERSON, persons_after
from broker.store.wrapped import rewrap_all
from broker.tracing.invention import Template
from tests.support.legal import Bar
from tests.support.patience import patiently
from tests.support.tracing import TEMPLATE, Scene
from tests.support.world import World

FIELDS = ("email=full", "phone=full", "name.given=full", "address.country=full")


@pytest.fixture
def scene(store_engine, vault):
    return Scene(World(store_engine, vault))


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(World(sqlite_engine, vault))


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value


def emails(values):
    return {each["email"] for each in values.values() if "email" in each}


def people(scene, count=5):
    return [
        scene.person(f"p{number}@example.org", phone=f"+467017406{number + 10}", name__given="Åsa")
        for number in range(count)
    ]


def test_only_its_own_contract_ever_sees_a_canary(scene):
    own, other, rival = scene.contract("post"), scene.contract("post"), scene.contract("pay")
    real = {f"p{number}@example.org" for number in range(5)}
    people(scene)
    planted, _, _ = scene.plant(own, 3)
    addresses = {each.values["email"] for each in planted}
    assert len(addresses) == 3
    assert emails(scene.everyone("post", own)) == real | addresses
    assert emails(scene.everyone("post", other)) == real
    assert emails(scene.everyone("pay", rival)) == real
    # By handle: its own contract's opens, and no handle of it exists under another.
    answer = scene.world.disclose(scene.actor("post"), own, [planted[0].handle])
    assert emails(scene.world.opened(answer, scene.keys["post"])) == {planted[0].values["email"]}
    for name, contract in (("post", other), ("pay", rival)):
        for handle in (planted[0].handle, scene.world.handle(contract, scene.canary_ids()[0])):
            assert scene.world.disclose(scene.actor(name), contract, [handle]).sealed == []


def test_a_retry_of_a_bulk_chunk_gives_the_canary_again(lite):
    own = lite.contract("post")
    people(lite)
    lite.plant(own, 2)
    stream = uuid.uuid4()
    first, second = (lite.everyone("post", own, stream=stream) for _ in range(2))
    assert first == second
    assert len(first) == 7


def test_a_predicate_admits_canaries_that_fulfil_it(lite):
    contract = lite.contract("post", lite.world.grant(fields=FIELDS, population=lite.country("DE")))
    people(lite)
    planted, _, _ = lite.plant(contract, 2)
    got = lite.everyone("post", contract, ("email", "address.country"))
    assert emails(got) == {each.values["email"] for each in planted}
    assert {each["address.country"] for each in got.values()} == {"DE"}


def test_a_canarys_name_and_number_are_of_its_country(lite):
    codes = {"SE": "+46", "GB": "+44", "DE": "+49"}
    countries = lite.world.grant(fields=FIELDS, population=lite.country("NO", "SE", "GB", "DE"))
    contract = lite.contract("post", countries)
    lite.person("kari@example.org", phone="+4746123456", name__given="Kari")
    planted, _, _ = lite.plant(contract, 12)
    found = {each.values["address.country"]: each.values for each in planted}
    assert found.keys() <= codes.keys()
    assert len(found) > 1
    given = {locale.country: locale.given for locale in LOCALES}
    for each in planted:
        country = each.values["address.country"]
        assert each.values["name.given"] in given[country]
        assert each.values["phone"].startswith(codes[country])


def test_no_canary_is_planted_in_a_country_whose_names_are_not_known(lite):
    contract = lite.contract("post", lite.world.grant(fields=FIELDS, population=lite.country("NO")))
    people(lite)
    error = refused(lambda: lite.plant(contract, 1))
    assert error.metadata["field"] == "template.country"
    assert "NO" in error.detail


def test_where_persons_are_listed_nobody_can_be_added(lite):
    person = lite.person("anna@example.org")
    listed = lite.world.grant(fields=FIELDS, population=Population(persons=frozenset({person})))
    error = refused(lambda: lite.plant(lite.contract("post", listed)))
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, "contract_id")


def test_a_contract_that_needs_a_yes_sees_its_canaries(lite):
    partners = lite.world.grant(purpose="partners.email", fields=FIELDS)
    contract = lite.contract("post", partners)
    people(lite)
    planted, _, _ = lite.plant(contract, 2)
    assert emails(lite.everyone("post", contract, purpose="partners.email")) == {
        each.values["email"] for each in planted
    }


def test_no_wish_is_asked_of_a_canary_and_every_wish_of_a_person():
    grant = Grant("partners", (), Population(everyone=True), 30, ())
    rule, until = ChoiceRule.ONLY_IF_OPTED_IN, date(2027, 1, 1)
    versions = frozenset({"2099-01"})
    decision = Decision("C-2026-0001", 1, "partners", grant, (), rule, until, financial=False, accepted=versions)
    person = PersonFacts(7, active=True, choices={}, value=lambda _name: None)
    assert not admits(decision, person)
    assert admits(decision, replace(person, canary=True))
    assert not admits(decision, replace(person, canary=True, active=False))


def test_internal_services_and_the_legal_team_find_no_canary(lite):
    contract = lite.contract("post")
    people(lite)
    (canary,), _, _ = lite.plant(contract)
    (person,) = lite.canary_ids()
    desk, registration = lite.world.desk, lite.registration.caller()
    for kind in ("email", "phone", "customer_number"):
        value = canary.values[kind]
        assert desk.read(registration, lambda view, k=kind, v=value: lookup.look_up(view, k, v)) == []
    for action in (
        lambda view: lookup.get(view, person, include_values=False),
        lambda view: lookup.handles(view, contract, [person]),
        lambda view: person_rows.active(view.connection, person),
    ):
        assert refused(lambda action=action: desk.read(registration, action)).reason is Reason.PERSON_UNKNOWN
    found = desk.read(registration, lambda view: finding.by_name(view, finding.folded(canary.values["name.given"]), 0))
    assert person not in [each.person for each in found[0]]
    assert desk.read(registration, finding.on_record) == 5
    assert refused(lambda: lite.correct(person, language="sv")).reason is Reason.PERSON_UNKNOWN


def test_an_imported_row_with_a_canarys_number_is_a_new_person(lite):
    contract = lite.contract("post")
    people(lite)
    (canary,), _, _ = lite.plant(contract)
    row = Row(1, [("customer_number", canary.values["customer_number"]), ("email", "new@example.org")])
    importer = Importer(lite.world.engine, lite.world.desk)
    (result,) = importer.run(lite.registration.caller(), lambda: Batch([row], "crm"))
    assert result.outcome is Outcome.CREATED
    assert result.person not in lite.canary_ids()
    # The number is somebody's now and tells no canary any more; its address does.
    assert lite.trace({"customer_number": canary.values["customer_number"]})[0].canaries == 0
    assert lite.trace(canary.values["email"])[0].canaries == 1


@pytest.mark.parametrize("population", [Population(everyone=True), Scene.country("SE", "NO")])
def test_a_merger_releases_no_canary(lite, population):
    bar = Bar(lite.world)
    own = lite.contract("post", lite.world.grant(fields=FIELDS, population=lite.country("SE")))
    real = people(lite)
    lite.plant(own, 3)
    case = bar.approved(bar.scope(population=population), ground=Ground.MERGER)
    messages = bar.release(bar.bo, case)
    assert len([part for message in messages for part in message.parts]) == len(real)
    assert bar.case(case).progress.total == len(real)
    scope = bar.scope(population=population)
    assert bar.read(lambda view: finding.preview(view, scope, Ground.MERGER)).persons == len(real)


def test_nothing_counts_a_canary_for_others(lite):
    own, other = lite.contract("post"), lite.contract("post")
    people(lite)
    lite.plant(own, 3)

    class Request:
        def __init__(self, contract):
            self.contract_id = contract

        @staticmethod
        def WhichOneof(_name):  # noqa: N802 - as protobuf has it
            return "everyone"

    def counted(contract):
        return lite.world.desk.read(lite.privacy.caller(), lambda view: total(view, Request(contract)))

    assert (counted(own), counted(other)) == (8, 5)


def test_a_canary_looks_like_its_neighbours(lite):
    contract = lite.contract("post", lite.world.grant(fields=FIELDS))
    for number in range(4):
        lite.person(f"p{number}@example.org", phone=f"+4670174061{number}", language="sv", birth_date="1980-01-02")
    planted, _, left_out = lite.plant(contract, 20)
    with lite.world.engine.connect() as connection:
        rows = persons_after(connection, 0, 100, contract)
        ids = {row.id for row in rows}
        shapes = {lite.world.vault.fields_present(row) for row in rows}
    assert len(shapes) == 1
    assert len(ids) == 24
    assert left_out == []
    assert {each.values["address.country"] for each in planted} == {"SE"}
    for name in ("email", "phone", "customer_number"):
        assert len({each.values[name] for each in planted}) == 20


def test_every_canary_has_a_field_that_tells_it_though_few_on_record_have(lite):
    contract = lite.contract("post", lite.world.grant(fields=("mobile=full", "name.given=full")))
    for number in range(10):
        lite.person(f"p{number}@example.org", name__given="Åsa")
    assert all(
        "mobile" in each.values for each in lite.plant(contract, 3, Template(("example.com",), ("+4687654###",)))[0]
    )
    lite.person("p@example.org", mobile="+46701740601", name__given="Åsa")
    (planted,), _, _ = lite.plant(contract)
    assert set(planted.values) == {"customer_number", "email", "mobile", "address.country", "name.given"}


def test_granted_fields_that_canaries_lack_are_told(lite):
    fields = ("email=full", "payment.iban=last4", "technical.last_ip=truncated_ip")
    contract = lite.contract("post", lite.world.grant(fields=fields))
    _, _, left_out = lite.plant(contract)
    assert left_out == ["payment.iban", "technical.last_ip"]


def test_the_ledger_counts_canaries_and_tells_neither_which_nor_where(lite):
    contract = lite.contract("post")
    people(lite)
    planted, index, _ = lite.plant(contract, 3)
    lite.retire(contract, [2])
    said = lite.world.entries(type="canary")
    assert [(each["event"], each["count"]) for each in said] == [("planted", 3), ("retired", 1)]
    text_of = b"".join(row.entry for row in lite.world.ledger.entries(0, 1000, type="canary")).decode()
    assert contract not in text_of
    assert "post" not in text_of
    assert not any(value in text_of for value in planted[0].values.values() if len(value) > 3)
    assert lite.world.ledger.entries(index, 1)[0].contract == ""
    assert lite.world.entries(recipient="subcontractor/post", type="canary") == []
    lite.world.ledger.publish()
    assert verify_store(lite.world.engine, lite.world.keys.signer().verifier, rooms=ROOMS).ok


def test_a_leaked_canary_points_to_its_contract_though_another_had_all_the_rest(lite):
    own, rival = lite.contract("post"), lite.contract("pay")
    people(lite, 20)
    planted, _, _ = lite.plant(own, 2)
    mine, theirs = lite.everyone("post", own), lite.everyone("pay", rival)
    assert len(mine) == len(theirs) + 2
    summary, rows = lite.trace("p1@example.org", "p2@example.org", planted[0].values["email"])
    best = summary.sources[summary.order[0]]
    assert (best.contract, best.canaries) == (own, 1)
    assert best.likelihood > 0.9999
    assert (summary.canaries, summary.canaries_undisclosed) == (1, 0)
    assert [row.canary for row in rows] == [False, False, True]


def test_a_canary_that_was_never_sent_points_inside(lite):
    own = lite.contract("post")
    people(lite)
    planted, _, _ = lite.plant(own)
    summary, _ = lite.trace(planted[0].values["email"])
    assert (summary.canaries_undisclosed, summary.sources) == (1, [])
    assert summary.elsewhere == 1.0


def test_a_retired_canary_is_sent_to_nobody_and_still_told(scene):
    own = scene.contract("post")
    people(scene)
    planted, _, _ = scene.plant(own, 2)
    scene.everyone("post", own)
    assert scene.retire(own)[0] == 2
    assert len(scene.everyone("post", own)) == 5
    assert scene.world.disclose(scene.actor("post"), own, [planted[0].handle]).sealed == []
    summary, _ = scene.trace(planted[0].values["email"])
    assert (summary.canaries, summary.sources[0].contract) == (1, own)
    assert all(each.intact and each.retired_at for each in scene.canaries())
    assert scene.retire(own) == (0, 0)
    assert refused(lambda: scene.retire(own, [1])).reason is Reason.INVALID_REQUEST
    with scene.world.engine.connect() as connection:
        left = connection.execute(select(PERSON).where(PERSON.c.id == scene.canary_ids()[0])).one()
    assert (left.keys, left.record) == (b"", b"")


def test_who_received_a_canary_owes_its_erasure_like_a_persons(scene):
    own = scene.contract("post")
    people(scene)
    planted, _, _ = scene.plant(own, 2)
    first = planted[0].handle
    scene.world.disclose(scene.actor("post"), own, [first])
    assert scene.retire(own)[0] == 2
    # The other one was never disclosed, and nobody is told of it.
    owed, _ = scene.world.desk.read(scene.privacy.caller(), lambda view: report.listed(view, report.Filter(), -1, 10))
    erase = [held for held in owed if held.account.kind is Kind.ERASE]
    assert [(each.account.contract, each.handle, each.person, each.cause) for each in erase] == [(own, first, 0, "")]
    assert verify_store(scene.world.engine, scene.world.keys.signer().verifier, rooms=ROOMS).ok


def test_the_same_request_plants_and_retires_once(lite):
    own = lite.contract("post")
    request = uuid.uuid4().bytes
    first, second = (lite.plant(own, 2, request_id=request) for _ in range(2))
    assert first == second
    assert refused(lambda: lite.plant(own, 3, request_id=request)).reason is Reason.REQUEST_ID_REUSED
    request = uuid.uuid4().bytes
    assert lite.retire(own, request_id=request) == lite.retire(own, request_id=request)
    assert len(lite.world.entries(type="canary")) == 2


def test_two_brokers_that_plant_at_once_plant_apart(scene):
    own = scene.contract("post")
    people(scene)
    other = Scene.__new__(Scene)
    other.__dict__.update(scene.__dict__)
    other.world = World(scene.world.engine, scene.world.vault, keys=scene.world.keys)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(patiently, each.plant, own, 5) for each in (scene, other) for _ in range(2)]
        for job in jobs:
            job.result()
    shown = scene.canaries(own)
    assert [each.number for each in shown] == list(range(1, 21))
    assert all(each.intact for each in shown)
    assert len({each.values["email"] for each in shown}) == 20


def test_its_values_follow_from_the_contracts_key_and_cannot_be_had_without(lite, sqlite_engine):
    own, other = lite.contract("post"), lite.contract("post")
    (mine,), _, _ = lite.plant(own)
    (theirs,), _, _ = lite.plant(other)
    assert mine.values["customer_number"] != theirs.values["customer_number"]
    assert lite.world.vault.canary_key(own) != lite.world.vault.canary_key(other)
    with sqlite_engine.connect() as connection:
        everything = b"".join(
            bytes(cell) if isinstance(cell, bytes) else str(cell).encode()
            for row in connection.execute(select(CANARY, PERSON).where(CANARY.c.person == PERSON.c.id))
            for cell in row
        )
    assert mine.values["email"].encode() not in everything


# --- whoever can write rows -------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["active", "canary:{other}", "canary:{rival}"])
def test_a_canary_whose_state_is_changed_leaves_under_no_contract(lite, state):
    own, other, rival = lite.contract("post"), lite.contract("post"), lite.contract("pay")
    people(lite)
    planted, _, _ = lite.plant(own)
    (person,) = lite.canary_ids()
    with lite.world.engine.begin() as connection:
        changed = state.format(other=other, rival=rival)
        connection.execute(update(PERSON).where(PERSON.c.id == person).values(state=changed))
    for name, contract in (("post", own), ("post", other), ("pay", rival)):
        assert planted[0].values["email"] not in emails(lite.everyone(name, contract))
        handle = lite.world.handle(contract, person)
        assert lite.world.disclose(lite.actor(name), contract, [handle]).sealed == []
    bar = Bar(lite.world)
    case = bar.approved(bar.scope(population=Population(everyone=True)), ground=Ground.MERGER)
    assert len([part for message in bar.release(bar.bo, case) for part in message.parts]) == 5
    assert [each.intact for each in lite.canaries()] == [False]


def test_a_person_who_is_turned_into_a_canary_leaves_no_more(lite):
    own = lite.contract("post")
    person = lite.person("anna@example.org")
    with lite.world.engine.begin() as connection:
        connection.execute(update(PERSON).where(PERSON.c.id == person).values(state=f"canary:{own}"))
    assert lite.everyone("post", own) == {}


@pytest.mark.parametrize("column", ["contract", "number", "facts", "person"])
def test_a_changed_canary_accuses_nobody(lite, column):
    own, rival = lite.contract("post"), lite.contract("pay")
    planted, _, _ = lite.plant(own, 1)
    lite.plant(rival, 1)
    lite.everyone("post", own)
    lite.everyone("pay", rival)
    values = {"contract": rival, "number": 7, "facts": b"\x00" * 80, "person": lite.canary_ids()[0] ^ 1}
    with lite.world.engine.begin() as connection:
        if column == "person":
            connection.execute(
                text("UPDATE canary_index SET person = (SELECT person FROM canary WHERE contract = :c)"), {"c": rival}
            )
        else:
            number = {"number": 7} if column == "contract" else {}
            connection.execute(
                update(CANARY).where(CANARY.c.contract == own).values(**{column: values[column], **number})
            )
    if column == "person":
        # The digest leads to the rival's canary, whose values are others: nothing is claimed of it.
        summary, _ = lite.trace(planted[0].values["email"])
        assert summary.sources == []
    else:
        assert refused(lambda: lite.trace(planted[0].values["email"])).reason is Reason.LEDGER_INCONSISTENT
    assert not all(each.intact for each in lite.canaries())


def test_a_canary_that_is_added_or_taken_away_beside_the_ledger_shows(lite):
    own = lite.contract("post")
    lite.plant(own, 3)
    assert all(each.intact for each in lite.canaries())
    with lite.world.engine.begin() as connection:
        connection.execute(text("DELETE FROM canary WHERE number = 2"))
    assert [each.intact for each in lite.canaries()] == [False, False]


def test_a_rotation_of_keys_reaches_canaries(lite, vault):
    own = lite.contract("post")
    planted, _, _ = lite.plant(own, 2)
    rewrap_all(lite.world.engine, vault)
    assert emails(lite.everyone("post", own)) == {each.values["email"] for each in planted}


# --- what is asked wrongly --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "template"),
    [
        ("template.email_domains", Template(("not a domain",))),
        ("template.phone_patterns", Template(("example.com",), ("070-####",))),
        ("template.customer_number_pattern", Template(("example.com",), (), "..")),
        ("template.country", Template(("example.com",), (), "", "XX")),
        ("template.email_domains", Template(("example.com",), ("+4687654321",))),
        ("template", Template((), (), "")),
    ],
)
def test_a_template_of_which_nothing_can_be_made_is_refused_by_name(lite, field, template):
    contract = lite.contract("post", lite.world.grant(fields=("email=full",)))
    if template.phone_patterns == ("+4687654321",):
        # A pattern with a single number has one canary in it.
        contract = lite.contract("pay", lite.world.grant(fields=("phone=full",)))
        field = "template.phone_patterns"
        lite.person("anna@example.org", phone="+4687654321")
    error = refused(lambda: lite.plant(contract, template=template))
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, field)
    assert lite.canaries() == []


def test_a_reason_that_names_a_contract_is_refused(lite):
    contract = lite.contract("post")
    error = refused(lambda: lite.plant(contract, reason=f"watch {contract.lower()}"))
    assert error.metadata["field"] == "reason"


def test_a_contract_that_is_unknown_not_accepted_or_over_takes_none(lite):
    assert refused(lambda: lite.plant("C-2026-0099")).reason is Reason.CONTRACT_UNKNOWN
    assert refused(lambda: lite.plant("nonsense")).reason is Reason.CONTRACT_UNKNOWN
    terms = lite.world.terms(lite.actor("late").name)
    waiting = lite.world.desk.change(
        lite.operator.caller(), lambda c: lite.world.agreed.propose(c, terms, uuid.uuid4().bytes)
    )
    assert refused(lambda: lite.plant(waiting.row.id)).reason is Reason.CONTRACT_NOT_ACCEPTED


def test_numbers_that_ring_nowhere_are_used_where_none_are_given(lite):
    contract = lite.contract("post", lite.world.grant(fields=FIELDS))
    people(lite)
    given = Template(TEMPLATE.email_domains, ("+4687654####",), TEMPLATE.customer_number_pattern)
    free, _, _ = lite.plant(contract, 5)
    own, _, _ = lite.plant(contract, 5, given)
    ranges = ("+463139006", "+464062804", "+468465004", "+469803192")
    assert all(each.values["phone"].startswith(ranges) for each in free)
    assert all(each.values["phone"].startswith("+4687654") for each in own)
